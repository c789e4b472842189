"""Lanczos tridiagonalisation of a symmetric map, and what both its users share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

BLOCK = 8  # basis rows that are handled together


def empty_basis(num_rows: int, size: int, dtype) -> jax.Array:
    """Returns zeros [num_rows rounded up to whole blocks, size], one vector a row."""
    return jnp.zeros((-(-num_rows // BLOCK) * BLOCK, size), dtype)


def orthogonalise(basis: jax.Array, count, vector: jax.Array, passes: int):
    """Takes from a vector its components along the first `count` rows of the basis.

    Block by block over the rows in use, which is both faster than products with the
    whole masked basis and, each block seeing what the one before left, more exact.

    Args:
      basis: [M, P], orthonormal rows, zeros from row `count` on.
      count: [] rows in use.
      vector: [P].
      passes: 1 or 2; the second takes away what rounding left.
    """

    def take(block, vector):
        rows = jax.lax.dynamic_slice_in_dim(basis, block * BLOCK, BLOCK)
        return vector - (rows @ vector) @ rows

    for _ in range(passes):
        num_blocks = (count + BLOCK - 1) // BLOCK
        vector = jax.lax.fori_loop(0, num_blocks, take, vector)
    return vector


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
    zeros = jnp.zeros(num_steps, start.dtype)

    def step(m, carry):
        basis, vector, alive, scale, alphas, betas = carry
        basis = jax.lax.dynamic_update_slice_in_dim(basis, vector[None], m, axis=0)
        product = matvec(vector)
        alpha = jnp.where(alive, jnp.vdot(vector, product), alphas[0])
        length = jnp.linalg.norm(product)
        scale = jnp.maximum(scale, length)
        product = orthogonalise(basis, m + 1, product, passes)
        # Where nearly everything was taken, what is left is largely rounding, no longer
        # orthogonal: one pass alone would then invent eigenvalues.
        product = jax.lax.cond(
            jnp.linalg.norm(product) < 1e-2 * length,
            lambda: orthogonalise(basis, m + 1, product, 2 - passes),
            lambda: product,
        )
        beta = jnp.linalg.norm(product)
        alive &= beta > tolerance * scale
        beta = jnp.where(alive, beta, 0.0)
        vector = jnp.where(alive, product / jnp.where(alive, beta, 1.0), 0.0)
        return (
            basis,
            vector,
            alive,
            scale,
            alphas.at[m].set(alpha),
            betas.at[m].set(beta),
        )

    basis = empty_basis(num_steps, start.size, start.dtype)
    first = start / jnp.linalg.norm(start)
    alive, scale = jnp.array(True), jnp.zeros((), start.dtype)
    carry = (basis, first, alive, scale, zeros, zeros)
    *_, alphas, betas = jax.lax.fori_loop(0, num_steps, step, carry)
    return alphas, betas
