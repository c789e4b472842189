"""The extreme eigenvalues of a mean loss's Hessian, with their eigenvectors."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from plasticity_jax import trees
from plasticity_jax.checks import one_of, within
from plasticity_jax.probes import checks
from plasticity_jax.probes.lanczos import (
    empty_basis,
    noise_level,
    orthogonalise,
    put,
    refuse_too_large,
    rescaled,
)
from plasticity_jax.probes.operators import hvp
from plasticity_jax.probes.result import report
from plasticity_jax.types import Key, LossFn, ProbeResult, PyTree

ORDERS = {  # by which Ritz values are taken, best first
    "largest": lambda values: -values,
    "smallest": lambda values: values,
    "magnitude": lambda values: -jnp.abs(values),
}


def top_eigenpairs(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    k: int,
    which: str = "largest",
    num_steps: int | None = None,
    block_size: int | None = None,
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    precision: str = "highest",
) -> ProbeResult:
    """Finds the k extreme eigenvalues of the mean loss's Hessian and their vectors.

    Block Lanczos, every vector re-orthogonalised twice against all before it: no
    eigenvalue is reported twice, and one that is there m times is found m times up to
    the size of the block.

    Args:
      loss_fn: (params, batch, key) -> losses [N], unreduced.
      params: P entries in all.
      batch: leading axis N.
      key: start vectors, and passed to `loss_fn`.
      k: how many, at most P.
      which: `largest` or `smallest` (algebraic), or `magnitude`.
      num_steps: M, vectors in the basis, k to P; by default 40 + 6 k. Where residuals
        are too large, more.
      block_size: start vectors; by default k, at most 4.
      where, chunk_size, precision: as `hvp`; with `where`, P counts what it accepts.

    Returns:
      scalars: eigenpairs/first (the most extreme value), eigenpairs/residual_max,
        eigenpairs/finite.
      arrays: values [k] (most extreme first); residuals [k], |H v - value v|: an
        eigenvalue lies within that distance of each value; vectors, a pytree like
        `params` with a leading axis k, orthonormal over all leaves.

    Raises:
      ValueError: as `hvp`, a count out of range, a basis larger than the device's
        memory.

    Source: Golub and Van Loan, Matrix Computations, 10.3.
    Cost: M + k + 1 Hessian-vector products and an [M, P] basis.
    """
    one_of("which", which, ORDERS)
    checks.is_key(key)
    checks.counts(k=k)
    key_loss, key_start = jax.random.split(key)
    flat, unravel = ravel_pytree(trees.select(checks.float_params(params), where))
    within(1, flat.size, k=k)
    num_steps = min(40 + 6 * k, flat.size) if num_steps is None else num_steps
    within(k, flat.size, num_steps=num_steps)
    block_size = min(k, 4) if block_size is None else block_size
    within(1, num_steps, block_size=block_size)
    refuse_too_large(num_steps, flat)
    product = hvp(
        loss_fn, params, batch, key_loss,
        where=where, chunk_size=chunk_size, precision=precision,
    )  # fmt: skip
    matvec = lambda vector: ravel_pytree(product(unravel(vector)))[0]

    with jax.default_matmul_precision(precision):
        start = jax.random.normal(key_start, flat.shape, flat.dtype)
        matvec, scale = rescaled(matvec, start)
        basis, matrix = _project(matvec, start, key_start, num_steps, block_size)
        values, coefficients = jnp.linalg.eigh(matrix)
        best = jnp.argsort(ORDERS[which](values))[:k]
        values, vectors = values[best], coefficients[:, best].T @ basis
        products = jax.lax.map(matvec, vectors)
        rest = products - values[:, None] * vectors
    values, residuals = scale * values, scale * jnp.linalg.norm(rest, axis=1)
    scalars = {"first": values[0], "residual_max": jnp.max(residuals)}
    arrays = {
        "values": values,
        "residuals": residuals,
        "vectors": jax.vmap(unravel)(vectors),
    }
    return report("eigenpairs", scalars, arrays, (values, residuals))


def _project(matvec: Callable, like: jax.Array, key: Key, num_rows: int, width: int):
    """Builds a block Krylov basis and the matrix of the map in it.

    Row j + width of the basis is what the map makes of row j, less what lies along the
    rows before; where nothing is left, the space being exhausted, a random vector.

    Returns:
      (basis [M, P], orthonormal rows; matrix [M, M], symmetric).
    """
    tolerance = noise_level(like.dtype)

    def random(row, basis):
        drawn = jax.random.normal(jax.random.fold_in(key, row), like.shape, like.dtype)
        drawn, _ = orthogonalise(basis, row, drawn / jnp.linalg.norm(drawn))
        drawn, _ = orthogonalise(basis, row, drawn / jnp.linalg.norm(drawn))
        return drawn / jnp.linalg.norm(drawn)

    def step(row, carry):
        basis, window, matrix, scale = carry
        count = jnp.minimum(row + width, num_rows)
        product = matvec(window[0])
        scale = jnp.maximum(scale, jnp.linalg.norm(product))
        rest, column = orthogonalise(basis, count, product)
        rest, _ = orthogonalise(basis, count, rest)
        beta = jnp.linalg.norm(rest)
        new, beta = jax.lax.cond(
            beta > tolerance * scale,
            lambda: (rest / beta, beta),
            lambda: (random(count, basis), jnp.zeros_like(beta)),
        )
        full = count == num_rows
        basis = put(basis, jnp.where(full, len(column), count), new)
        column = jnp.where(full, column, column.at[count].set(beta))
        window = jnp.concatenate([window[1:], new[None]])
        return basis, window, matrix.at[:, row].set(column), scale

    basis, window = empty_basis(num_rows, like.size, like.dtype), []
    for row in range(width):
        window.append(random(row, basis))
        basis = put(basis, row, window[-1])
    matrix = jnp.zeros((sum(map(len, basis)), num_rows), like.dtype)
    carry = basis, jnp.stack(window), matrix, jnp.zeros((), like.dtype)
    basis, _, matrix, _ = jax.lax.fori_loop(0, num_rows, step, carry)
    matrix = matrix[:num_rows]
    return jnp.concatenate(basis)[:num_rows], (matrix + matrix.T) / 2
