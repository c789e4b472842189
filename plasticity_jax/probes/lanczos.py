"""Lanczos tridiagonalisation of a symmetric map, and the basis both its users keep.

A basis is a tuple of blocks [rows, P]. As arrays of their own they enter matrix
products where they are; slices of one large array would be copied first, which on CPU
makes re-orthogonalisation half as long again.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax import trees
from plasticity_jax.probes import checks

MAX_BLOCKS = 16  # each is one more branch in the program


def empty_basis(num_rows: int, size: int, dtype) -> tuple[jax.Array, ...]:
    """Returns blocks of zeros for so many vectors of this size, one a row."""
    block = 8 * -(-num_rows // (8 * MAX_BLOCKS))
    num_blocks = -(-num_rows // block)
    return tuple(jnp.zeros((block, size), dtype) for _ in range(num_blocks))


def refuse_too_large(num_rows: int, like: jax.Array) -> None:
    """Refuses a basis of so many vectors that one device cannot hold."""
    checks.fits(
        num_rows * like.nbytes,
        f"The Lanczos basis of {num_rows} steps x {like.size:,} parameters",
        "Take fewer steps (num_steps), or a part of the parameters (where).",
    )


def put(basis: tuple[jax.Array, ...], index, vector: jax.Array):
    """Returns the basis with a vector in row `index`; past the end, as it is."""
    block = len(basis[0])
    write = lambda rows: jax.lax.dynamic_update_slice(
        rows, vector[None], (index % block, 0)
    )
    return tuple(
        jax.lax.cond(index // block == place, write, lambda rows: rows, rows)
        for place, rows in enumerate(basis)
    )


def orthogonalise(basis: tuple[jax.Array, ...], count, vector: jax.Array):
    """Takes from a vector its components along the first `count` rows of the basis.

    Only blocks in use are read, each seeing what the one before left.

    Args:
      basis: orthonormal rows, zeros from row `count` on.
      count: [] rows in use.
      vector: [P].

    Returns:
      (what is left [P]; the components, one a row of the basis).
    """

    def take(rows, vector):
        along = rows @ vector
        return vector - along @ rows, along

    def leave(rows, vector):
        return vector, jnp.zeros(len(rows), rows.dtype)

    components = []
    for place, rows in enumerate(basis):
        in_use = place * len(rows) < count
        vector, along = jax.lax.cond(in_use, take, leave, rows, vector)
        components.append(along)
    return vector, jnp.concatenate(components)


def rescaled(matvec: Callable, start: jax.Array) -> tuple[Callable, jax.Array]:
    """Brings a map to the size of 1, where squares neither overflow nor vanish.

    Returns:
      (matvec / scale, scale [], a power of two).
    """
    product = matvec(start / jnp.linalg.norm(start))
    scale = trees.power_of_two(jnp.max(jnp.abs(product)))
    return lambda vector: matvec(vector) / scale, scale


def noise_level(dtype) -> float:
    """What is left of a vector, relative to its length, when it was in the span."""
    return 10 * jnp.finfo(dtype).eps


def tridiagonalise(matvec: Callable, start: jax.Array, num_steps: int, passes: int):
    """Runs Lanczos with full re-orthogonalisation from one vector.

    Stops early where the Krylov space is exhausted: from there on the off-diagonal is
    0 and the diagonal repeats its first entry, which lies inside the spectrum, so no
    extreme value is invented.

    Args:
      matvec: [P] -> [P], symmetric, of the size of 1.
      start: [P], any nonzero vector.
      num_steps: M, at most P.
      passes: of re-orthogonalisation, 1 or 2.

    Returns:
      (diagonal [M]; off-diagonal [M], entry m couples m and m + 1; residual vector [M]:
      the length of what the last vector's product has outside the space, at that
      vector's place, else 0).
    """

    def step(m, carry):
        basis, vector, alive, scale, alphas, betas, rests = carry
        basis = put(basis, m, vector)
        product = matvec(vector)
        length = jnp.linalg.norm(product)
        scale = jnp.maximum(scale, length)
        alpha = jnp.vdot(vector, product)
        # First what is known to be there: through the basis, whose rows are orthogonal
        # to rounding only, a large alpha would carry their errors on and let them grow.
        product, _ = orthogonalise(basis, m + 1, product - alpha * vector)
        # Where nearly everything was taken, what is left is largely rounding, no longer
        # orthogonal: one pass alone would then invent eigenvalues.
        again = (passes == 2) | (jnp.linalg.norm(product) < 1e-2 * length)
        product = jax.lax.cond(
            again, lambda: orthogonalise(basis, m + 1, product)[0], lambda: product
        )
        rest = jnp.linalg.norm(product)
        go_on = alive & (rest > noise_level(start.dtype) * scale)
        beta = jnp.where(go_on, rest, 0.0)
        vector = jnp.where(go_on, product / jnp.where(go_on, rest, 1.0), 0.0)
        last = alive & (~go_on | (m == num_steps - 1))
        alphas = alphas.at[m].set(jnp.where(alive, alpha, alphas[0]))
        rests = rests.at[m].set(jnp.where(last, rest, 0.0))
        return basis, vector, go_on, scale, alphas, betas.at[m].set(beta), rests

    basis = empty_basis(num_steps, start.size, start.dtype)
    alive, scale = jnp.array(True), jnp.zeros((), start.dtype)
    zeros = jnp.zeros(num_steps, start.dtype)
    carry = basis, start / jnp.linalg.norm(start), alive, scale, zeros, zeros, zeros
    *_, alphas, betas, rests = jax.lax.fori_loop(0, num_steps, step, carry)
    return alphas, betas, rests
