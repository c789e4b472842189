"""The spectrum of a mean loss's Hessian, by stochastic Lanczos quadrature."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from plasticity_jax import trees
from plasticity_jax.checks import above_zero, at_least, within
from plasticity_jax.probes import checks
from plasticity_jax.probes.lanczos import (
    refuse_too_large,
    rescaled,
    tridiagonalise,
)
from plasticity_jax.probes.operators import hvp
from plasticity_jax.probes.result import report
from plasticity_jax.types import Key, LossFn, ProbeResult, PyTree


def hessian_spectrum(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    num_steps: int = 90,
    num_draws: int = 4,
    passes: int = 1,
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    epsilon: float = 1e-2,
    num_grid: int = 10_000,
    precision: str = "highest",
) -> ProbeResult:
    """Estimates the spectral density of the mean loss's Hessian.

    Stochastic Lanczos quadrature: from a random unit vector, the eigenvalues of the
    tridiagonal matrix are nodes, the squared first components of its eigenvectors are
    weights, and the density is their sum smoothed by a Gaussian of variance
    1e-5 max(1, lambda_max - lambda_min), or wider where the grid is coarser than that.

    Args:
      loss_fn: (params, batch, key) -> losses [N], unreduced.
      params: P entries in all.
      batch: leading axis N.
      key: start vectors, and passed to `loss_fn`.
      num_steps: M, Lanczos steps; at most P are taken.
      num_draws: K start vectors.
      passes: of re-orthogonalisation: 1, or 2 where small eigenvalues beside huge ones
        matter.
      where, chunk_size, precision: as `hvp`; with `where`, P counts what it accepts.
      epsilon: of the epsilon-rank, in units of the eigenvalues.
      num_grid: G points of the density.

    Returns:
      scalars: hessian/lambda_max and lambda_min (extremes over draws),
        negative_mass (share of eigenvalues below 0 by more than M eps max |lambda|),
        negative_energy (their share of the sum of |lambda|), trace (its estimate),
        effective_rank (exp of the entropy of |lambda| under the measure),
        epsilon_rank (number of eigenvalues with |lambda| > epsilon, arXiv 2509.22335),
        residual_max (largest Ritz residual of the two extremes, same units as lambda),
        finite (0 or 1; where 0, the others are NaN).
      arrays: nodes, weights (sum 1 a draw), residuals [K, M]; grid, density (mean over
        draws, integrates to 1), density_spread (standard deviation over draws) [G].

    Raises:
      ValueError: as `hvp`, a count below 1, a basis larger than the device's memory.

    Source: Ghorbani et al. 2019, arXiv 1901.10159.
    Cost: K (M + 1) Hessian-vector products and, one draw at a time, an [M, P] basis.
    """
    checks.is_key(key)
    checks.counts(num_steps=num_steps, num_draws=num_draws)
    at_least(2, num_grid=num_grid)
    within(1, 2, passes=passes)
    above_zero(epsilon=epsilon)
    key_loss, key_draws = jax.random.split(key)
    selected = trees.select(checks.float_params(params), where)
    flat, unravel = ravel_pytree(selected)
    num_steps = min(num_steps, flat.size)
    refuse_too_large(num_steps, flat)

    def draw(key):
        product = hvp(
            loss_fn, params, batch, key_loss,
            where=where, chunk_size=chunk_size, precision=precision,
        )  # fmt: skip
        start = jax.random.normal(key, flat.shape, flat.dtype)
        matvec = lambda vector: ravel_pytree(product(unravel(vector)))[0]
        matvec, scale = rescaled(matvec, start)
        alphas, betas, rests = tridiagonalise(matvec, start, num_steps, passes)
        off_diagonal = jnp.diag(betas[:-1], 1)
        matrix = jnp.diag(alphas) + off_diagonal + off_diagonal.T
        nodes, vectors = jnp.linalg.eigh(matrix)
        return scale * nodes, vectors[0] ** 2, scale * jnp.abs(rests @ vectors)

    with jax.default_matmul_precision(precision):
        draws = jax.lax.map(draw, jax.random.split(key_draws, num_draws))
    return _summarise(*draws, flat.size, epsilon, num_grid)


def _summarise(nodes, weights, residuals, num_params, epsilon, num_grid):
    top, bottom = jnp.max(nodes), jnp.min(nodes)
    width = jnp.sqrt(1e-5 * jnp.maximum(1.0, top - bottom))
    # No narrower than the grid can show: peaks between its points would be lost.
    width = jnp.maximum(width, 1.5 * (top - bottom) / (num_grid - 1))
    grid = jnp.linspace(bottom - 10 * width, top + 10 * width, num_grid)
    density = jax.lax.map(lambda xs: _smooth(grid, *xs, width), (nodes, weights))
    # A node of weight w stands for P w of the P eigenvalues.
    magnitude = jnp.abs(nodes)
    mass = num_params * weights / len(weights) * magnitude
    total = jnp.sum(mass)
    logs = jnp.log(jnp.where(magnitude > 0, magnitude, 1.0))
    entropy = jnp.log(total) - jnp.sum(mass * logs) / total
    # Below the arithmetic's own noise a sign means nothing: the bulk often sits at 0.
    noise = nodes.shape[1] * jnp.finfo(nodes.dtype).eps * jnp.max(magnitude)
    count = lambda which: jnp.mean(jnp.sum(weights * which, axis=1))
    scalars = {
        "lambda_max": top,
        "lambda_min": bottom,
        "negative_mass": count(nodes < -noise),
        "negative_energy": jnp.where(
            total > 0, jnp.sum(mass * (nodes < 0)) / total, 0.0
        ),
        "trace": num_params * jnp.mean(jnp.sum(weights * nodes, axis=1)),
        "effective_rank": jnp.where(total > 0, jnp.exp(entropy), 0.0),
        "epsilon_rank": num_params * count(magnitude > epsilon),
        "residual_max": jnp.max(residuals[:, jnp.array([0, -1])]),
    }
    arrays = {
        "nodes": nodes,
        "weights": weights,
        "residuals": residuals,
        "grid": grid,
        "density": jnp.mean(density, axis=0),
        "density_spread": jnp.std(density, axis=0),
    }
    return report("hessian", scalars, arrays, (nodes, weights))


def _smooth(grid, nodes, weights, width):
    kernel = jnp.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2)
    return kernel @ weights / (width * jnp.sqrt(2 * jnp.pi))
