"""The Hessian of a mean loss: products, and its spectrum by Lanczos quadrature."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from plasticity_jax.checks import at_least
from plasticity_jax.probes import checks
from plasticity_jax.probes.result import report
from plasticity_jax.types import Key, LossFn, ProbeResult, PyTree


def hvp(loss_fn: LossFn, params: PyTree, batch: PyTree, key: Key) -> Callable:
    """Returns v -> H v, H the Hessian of the *mean* loss over the batch.

    Forward over reverse: about twice the cost of a gradient.

    Args:
      loss_fn: (params, batch, key) -> losses [N], unreduced.
      params: where to differentiate, P entries in all.
      batch: leading axis N.
      key: passed to `loss_fn`.

    Returns:
      A function from a pytree like `params` to another.

    Raises:
      ValueError: reduced losses, unequal leading axes, parameters not floating.

    Source: Pearlmutter 1994.
    """
    params = checks.float_params(params)
    n = checks.num_examples(batch)
    checks.unreduced(loss_fn, params, batch, key, n)
    gradient = jax.grad(lambda params: jnp.mean(loss_fn(params, batch, key)))

    def product(vector: PyTree) -> PyTree:
        vector = jax.tree.map(lambda v, p: v.astype(p.dtype), vector, params)
        with jax.default_matmul_precision("highest"):
            return jax.jvp(gradient, (params,), (vector,))[1]

    return product


def lanczos(matvec: Callable, start: jax.Array, num_steps: int):
    """Tridiagonalises a symmetric operator, re-orthogonalising fully, twice.

    Stops early where the Krylov space is exhausted: from there on the off-diagonal is
    0 and the diagonal repeats its first entry, which lies inside the spectrum, so no
    extreme value is invented.

    Args:
      matvec: [P] -> [P].
      start: [P], any nonzero vector.
      num_steps: M, at most P.

    Returns:
      (diagonal [M], off-diagonal [M]: entry m couples m and m + 1).
    """
    tolerance = max(10, num_steps) * jnp.finfo(start.dtype).eps
    basis = jnp.zeros((num_steps, start.size), start.dtype)
    first = start / jnp.linalg.norm(start)

    def step(carry, m):
        basis, vector, alive, scale = carry
        basis = basis.at[m].set(vector)
        product = matvec(vector)
        alpha = jnp.vdot(vector, product)
        scale = jnp.maximum(scale, jnp.linalg.norm(product))
        for _ in range(2):
            product = product - (basis @ product) @ basis
        beta = jnp.linalg.norm(product)
        go_on = alive & (beta > tolerance * scale)
        beta = jnp.where(go_on, beta, 0.0)
        vector = jnp.where(go_on, product / jnp.where(go_on, beta, 1.0), 0.0)
        return (basis, vector, go_on, scale), (alpha, beta, alive)

    carry = (basis, first, jnp.array(True), jnp.zeros((), start.dtype))
    _, (alphas, betas, alive) = jax.lax.scan(step, carry, jnp.arange(num_steps))
    return jnp.where(alive, alphas, alphas[0]), betas


def hessian_spectrum(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    num_steps: int = 90,
    num_draws: int = 4,
    num_grid: int = 10_000,
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
      num_grid: G points of the density.

    Returns:
      scalars: hessian/lambda_max and lambda_min (extremes over draws),
        negative_mass (share of eigenvalues below 0 by more than M eps max |lambda|),
        negative_energy (their share of the sum of |lambda|), trace (its estimate),
        effective_rank (exp of the entropy of |lambda| under the measure),
        residual_max (largest Ritz residual of the two extremes, same units as lambda),
        finite (0 or 1; where 0, the others are NaN).
      arrays: nodes, weights (sum 1 a draw), residuals [K, M]; grid, density (mean over
        draws, integrates to 1), density_spread (standard deviation over draws) [G].

    Raises:
      ValueError: as `hvp`, or a count below 1.

    Source: Ghorbani et al. 2019, arXiv 1901.10159.
    Cost: K M Hessian-vector products and an [M, P] basis.
    """
    at_least(1, num_steps=num_steps, num_draws=num_draws)
    at_least(2, num_grid=num_grid)
    key_loss, key_draws = jax.random.split(key)
    params = checks.float_params(params)
    product = hvp(loss_fn, params, batch, key_loss)
    flat, unravel = ravel_pytree(params)
    num_steps = min(num_steps, flat.size)

    def matvec(vector):
        return ravel_pytree(product(unravel(vector)))[0]

    def draw(key):
        start = jax.random.normal(key, flat.shape, flat.dtype)
        alphas, betas = lanczos(matvec, start, num_steps)
        off_diagonal = jnp.diag(betas[:-1], 1)
        matrix = jnp.diag(alphas) + off_diagonal + off_diagonal.T
        nodes, vectors = jnp.linalg.eigh(matrix)
        return nodes, vectors[0] ** 2, betas[-1] * jnp.abs(vectors[-1])

    with jax.default_matmul_precision("highest"):
        draws = jax.lax.map(draw, jax.random.split(key_draws, num_draws))
    return _summarise(*draws, flat.size, num_grid)


def _summarise(nodes, weights, residuals, num_params, num_grid) -> ProbeResult:
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
    scalars = {
        "lambda_max": top,
        "lambda_min": bottom,
        "negative_mass": jnp.mean(jnp.sum(weights * (nodes < -noise), axis=1)),
        "negative_energy": jnp.where(
            total > 0, jnp.sum(mass * (nodes < 0)) / total, 0.0
        ),
        "trace": num_params * jnp.mean(jnp.sum(weights * nodes, axis=1)),
        "effective_rank": jnp.where(total > 0, jnp.exp(entropy), 0.0),
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
