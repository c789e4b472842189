"""The trace of a mean loss's Hessian, with the error of its estimate."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax import trees
from plasticity_jax.checks import at_least
from plasticity_jax.probes import checks
from plasticity_jax.probes.operators import hvp
from plasticity_jax.probes.result import report
from plasticity_jax.types import Key, LossFn, ProbeResult, PyTree

MIN_DRAWS = 30  # before the standard error is trusted to end the drawing


def hessian_trace(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    num_draws: int = 100,
    relative_error: float = 0.0,
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    precision: str = "highest",
) -> ProbeResult:
    """Estimates the trace of the mean loss's Hessian: the mean of v . H v over draws.

    Args:
      loss_fn: (params, batch, key) -> losses [N], unreduced.
      params: P entries in all.
      batch: leading axis N.
      key: of the signs v, and passed to `loss_fn`.
      num_draws: K, the most vectors of random signs drawn, at least 2.
      relative_error: stops once the standard error is below this share of |trace|, not
        before 30 draws; 0 draws all. Two running means that agree tell nothing. Where
        it ends early, the error is a little small: two of it cover .93, not .95.
      where, chunk_size, precision: as `hvp`; with `where`, P counts what it accepts.

    Returns:
      scalars: hessian_trace/trace; standard_error (of it: standard deviation over draws
        / sqrt(draws)); mean_eigenvalue (trace / P); num_draws (taken); finite.
      arrays: draws [K], NaN where not taken.

    Raises:
      ValueError: as `hvp`, or fewer than 2 draws.

    Source: Hutchinson 1990.
    Cost: up to K Hessian-vector products.
    """
    checks.is_key(key)
    checks.counts(num_draws=num_draws)
    at_least(2, num_draws=num_draws)
    at_least(0, relative_error=relative_error)
    key_loss, key_draws = jax.random.split(key)
    selected = trees.select(checks.float_params(params), where)
    product = hvp(
        loss_fn, params, batch, key_loss,
        where=where, chunk_size=chunk_size, precision=precision,
    )  # fmt: skip
    keys = jax.random.split(key_draws, num_draws)

    def sample(index):
        signs = trees.rademacher(keys[index], selected)
        return trees.dot(signs, product(signs))

    def estimate(draws, taken):
        drawn = jnp.arange(num_draws) < taken
        mean = jnp.sum(jnp.where(drawn, draws, 0.0)) / taken
        squares = jnp.sum(jnp.where(drawn, (draws - mean) ** 2, 0.0))
        return mean, jnp.sqrt(squares / jnp.maximum(taken - 1, 1) / taken)

    def go_on(carry):
        draws, taken = carry
        mean, error = estimate(draws, taken)
        early = (taken >= MIN_DRAWS) & (error <= relative_error * jnp.abs(mean))
        return (taken < num_draws) & ~(early & (relative_error > 0))

    def step(carry):
        draws, taken = carry
        return draws.at[taken].set(sample(taken)), taken + 1

    with jax.default_matmul_precision(precision):
        first = sample(0)
        draws = jnp.full(num_draws, jnp.nan, first.dtype).at[0].set(first)
        draws, taken = jax.lax.while_loop(go_on, step, (draws, 1))
    trace, error = estimate(draws, taken)
    scalars = {
        "trace": trace,
        "standard_error": error,
        "mean_eigenvalue": trace / trees.size(selected),
        "num_draws": taken,
    }
    return report("hessian_trace", scalars, {"draws": draws}, (trace, error))
