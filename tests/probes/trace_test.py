import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import probes

MATRIX = jnp.asarray(
    (lambda a: a + a.T)(np.random.default_rng(0).normal(size=(12, 12))), jnp.float32
)


def loss_fn(params, batch, key):
    flat = jnp.concatenate([params["a"], params["b"]])
    return 0.5 * flat @ MATRIX @ flat * batch


def measure(key, **options):
    params = {"a": jnp.ones(4), "b": jnp.ones(8)}
    return probes.hessian_trace(loss_fn, params, jnp.ones(2), key, **options)


def test_the_standard_error_covers_the_truth_at_its_rate():
    keys = jax.random.split(jax.random.key(0), 1_000)
    scalars, arrays = jax.jit(jax.vmap(lambda key: measure(key, num_draws=40)))(keys)
    assert arrays["draws"].shape == (1_000, 40)
    traces, errors = (
        np.asarray(scalars[f"hessian_trace/{name}"])
        for name in ("trace", "standard_error")
    )
    truth = np.trace(MATRIX)
    inside = np.abs(traces - truth) < 2.02 * errors  # t of 39 degrees, 95 %
    assert 0.93 < inside.mean() < 0.97
    # Signs have variance 2 sum of squares off the diagonal.
    off = np.asarray(MATRIX) - np.diag(np.diag(MATRIX))
    np.testing.assert_allclose(traces.std(), np.sqrt(2 * (off**2).sum() / 40), rtol=0.1)
    assert abs(traces.mean() - truth) < 5 * traces.std() / np.sqrt(1_000)
    mean = scalars["hessian_trace/mean_eigenvalue"]
    np.testing.assert_allclose(mean, traces / 12, rtol=1e-5)


def test_drawing_stops_by_the_standard_error_and_not_before():
    options = dict(num_draws=2_000, relative_error=0.2)
    scalars, arrays = measure(jax.random.key(1), **options)
    taken = int(scalars["hessian_trace/num_draws"])
    assert 10 <= taken < 2_000
    draws = np.asarray(arrays["draws"])
    assert np.isnan(draws[taken:]).all()
    draws = draws[:taken]
    error = draws.std(ddof=1) / np.sqrt(taken)
    np.testing.assert_allclose(
        scalars["hessian_trace/standard_error"], error, rtol=1e-4
    )
    assert error <= 0.2 * abs(draws.mean())
    earlier = draws[:-1]
    if taken > 10:
        error = earlier.std(ddof=1) / np.sqrt(len(earlier))
        assert error > 0.2 * abs(earlier.mean())


def test_a_diagonal_hessian_needs_no_luck_and_where_takes_a_part():
    diagonal = lambda params, batch, key: (
        jnp.sum(jnp.arange(3) * params["a"] ** 2) + params["b"] ** 2 + 0 * batch
    )
    params = {"a": jnp.ones(3), "b": jnp.array(1.0)}
    for where, want in ((None, 8.0), (lambda path: path == "a", 6.0)):
        scalars, _ = probes.hessian_trace(
            diagonal, params, jnp.ones(2), jax.random.key(0), num_draws=3, where=where
        )
        np.testing.assert_allclose(scalars["hessian_trace/trace"], want, rtol=1e-6)
        assert scalars["hessian_trace/standard_error"] < 1e-5


def test_one_draw_has_no_error_and_is_refused():
    with pytest.raises(ValueError, match="num_draws: expected at least 2; got 1"):
        measure(jax.random.key(0), num_draws=1)
