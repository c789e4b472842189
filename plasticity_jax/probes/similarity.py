"""What a matrix of inner products, [N, N], says of N vectors."""

import jax
import jax.numpy as jnp


def cosines(products: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (cosines [N, N], 0 where a length is; lengths [N])."""
    length = jnp.sqrt(jnp.maximum(jnp.diagonal(products), 0.0))
    inverse = jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1.0), 0.0)
    return products * inverse[:, None] * inverse, length


def mean_off_diagonal(values: jax.Array) -> jax.Array:
    """Returns the mean over i != j of [N, N], []."""
    n = len(values)
    others = jnp.where(jnp.eye(n, dtype=bool), 0.0, values)
    return jnp.sum(others) / (n * (n - 1))


def eigenvalues(matrix: jax.Array) -> jax.Array:
    """Of a positive semi-definite matrix, descending, rounding below 0 taken away."""
    return jnp.maximum(jnp.linalg.eigvalsh(matrix), 0.0)[::-1]
