"""Lanczos tridiagonalisation of a symmetric map, and the basis both its users keep.

A basis is a tuple of blocks [rows, P]. As arrays of their own they enter matrix
products where they are; slices of one large array would be copied first, which on CPU
makes re-orthogonalisation half as long again.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

MAX_BLOCKS = 16  # each is one more branch in the program


def empty_basis(num_rows: int, size: int, dtype) -> tuple[jax.Array, ...]:
    """Returns blocks of zeros for so many vectors of this size, one a row."""
    block = 8 * -(-num_rows // (8 * MAX_BLOCKS))
    num_blocks = -(-num_rows // block)
    return tuple(jnp.zeros((block, size), dtype) for _ in range(num_blocks))


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


def noise_level(num_steps: int, dtype) -> float:
    """What is left of a vector, relative to its length, when it was in the span."""
    return max(10, num_steps) * jnp.finfo(dtype).eps


def tridiagonalise(matvec: Callable, start: jax.Array, num_steps: int, passes: int):
    """Runs Lanczos with full re-orthogonalisation from one vector.

    Stops early where the Krylov space is exhausted: from there on the off-diagonal is
    0 and the diagonal repeats its first entry, which lies inside the spectrum, so no
    extreme value is invented.

    Args:
      matvec: [P] -> [P], symmetric.
      start: [P], any nonzero vector.
      num_steps: M, at most P.
      passes: of re-orthogonalisation, 1 or 2.

    Returns:
      (diagonal [M], off-diagonal [M]: entry m couples m and m + 1).
    """
    tolerance = noise_level(num_steps, start.dtype)

    def step(m, carry):
        basis, vector, alive, scale, alphas, betas = carry
        basis = put(basis, m, vector)
        product = matvec(vector)
        length = jnp.linalg.norm(product)
        scale = jnp.maximum(scale, length)
        product, components = orthogonalise(basis, m + 1, product)
        alpha = jnp.where(alive, components[m], alphas[0])
        # Where nearly everything was taken, what is left is largely rounding, no longer
        # orthogonal: one pass alone would then invent eigenvalues.
        again = (passes == 2) | (jnp.linalg.norm(product) < 1e-2 * length)
        product = jax.lax.cond(
            again, lambda: orthogonalise(basis, m + 1, product)[0], lambda: product
        )
        beta = jnp.linalg.norm(product)
        alive &= beta > tolerance * scale
        beta = jnp.where(alive, beta, 0.0)
        vector = jnp.where(alive, product / jnp.where(alive, beta, 1.0), 0.0)
        alphas, betas = alphas.at[m].set(alpha), betas.at[m].set(beta)
        return basis, vector, alive, scale, alphas, betas

    basis = empty_basis(num_steps, start.size, start.dtype)
    alive, scale = jnp.array(True), jnp.zeros((), start.dtype)
    zeros = jnp.zeros(num_steps, start.dtype)
    carry = basis, start / jnp.linalg.norm(start), alive, scale, zeros, zeros
    *_, alphas, betas = jax.lax.fori_loop(0, num_steps, step, carry)
    return alphas, betas
