"""Hand-computed cases in which neighbouring definitions give different numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import probes
from plasticity_jax.probes.representation import ranks


def measure(*layers):
    found = {f"layer_{i}": jnp.asarray(h, jnp.float32) for i, h in enumerate(layers)}
    n = len(layers[0])
    result = probes.representation(lambda params, x: found, {}, jnp.zeros((n, 1)))
    return {k.removeprefix("representation/"): v for k, v in result.scalars.items()}


def test_dormancy_is_relative_to_the_layers_mean_and_pooled_over_units():
    # Layer 0: means 0, .01, 1.19, 2.8: scores 0, .01, 1.19, 2.8 (layer mean 1).
    # Layer 1: two units, one dead.
    first = np.tile([0, 0.01, 1.19, 2.8], (2, 1))
    second = np.tile([0, 4.0], (2, 1))
    found = measure(first, second)
    assert found["dormant_fraction_0"] == pytest.approx(2 / 6)
    assert found["dormant_fraction_0.025"] == pytest.approx(3 / 6)
    assert found["dormant_fraction_0_by_layer"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert found["dormant_fraction_0.025_by_layer"] == pytest.approx((0.5 + 0.5) / 2)
    assert found["dead_fraction"] == pytest.approx(2 / 6)
    assert found["active_fraction"] == pytest.approx(4 / 6)


def test_a_unit_that_is_off_now_and_then_is_neither_dead_nor_dormant():
    found = measure([[0.0, 1.0], [2.0, 1.0]])
    assert found["dead_fraction"] == 0
    assert found["dormant_fraction_0.1"] == 0
    assert found["active_fraction"] == pytest.approx(3 / 4)


def test_an_all_dead_layer_is_dormant_and_has_rank_zero():
    found = measure(np.zeros((3, 4)))
    assert found["dormant_fraction_0"] == 1
    assert found["dead_fraction"] == 1
    for name in ("feature_rank", "srank", "effective_rank", "stable_rank"):
        assert found[name] == 0
    assert found["participation_ratio"] == 0


def test_a_convolutions_unit_is_a_channel():
    h = np.zeros((2, 3, 3, 2))
    h[0, 1, 1, 0] = 1.0  # one pixel of one example: channel 0 lives, channel 1 is dead
    found = measure(h)
    assert found["dead_fraction"] == pytest.approx(1 / 2)


def test_the_five_ranks_tell_a_spectrum_apart():
    # Singular values 100, 2, 1, .001 of a [4, 4] matrix; sqrt(n) = 2.
    s = np.array([100.0, 2.0, 1.0, 0.001])
    left, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    found = ranks(jnp.asarray(left * s, jnp.float32))
    p = s / s.sum()
    want = {
        "feature_rank": 3,  # 50, 1, .5 are above .01; .0005 is not
        "srank": 2,  # 100 / 103 = .971 < .99 <= 102 / 103
        "effective_rank": np.exp(-np.sum(p * np.log(p))),
        "stable_rank": (s**2).sum() / s[0] ** 2,
        "participation_ratio": (s**2).sum() ** 2 / (s**4).sum(),
    }
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)


def test_srank_counts_the_value_that_reaches_the_threshold():
    # Identity: .99 * 4 needs all four; an off-by-one would say three.
    assert ranks(jnp.eye(4))["srank"] == 4
    assert ranks(jnp.eye(4))["participation_ratio"] == pytest.approx(4)


def test_fewer_examples_than_units_drops_nothing():
    found = measure(np.eye(2, 5))
    assert found["num_examples"] == 2
    assert found["feature_rank"] == 2
    assert all(np.isfinite(value) for value in found.values())


def test_no_layers_is_refused():
    with pytest.raises(ValueError, match="at least one layer"):
        probes.representation(lambda params, x: {}, {}, jnp.zeros((2, 1)))


def test_weights_by_hand():
    initial = {"a": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    params = {"a": jnp.diag(jnp.array([3.0, 0.01])), "b": jnp.array([0.0, -4.0])}
    scalars, arrays = probes.weights(params, initial)
    np.testing.assert_allclose(scalars["weights/norm"], np.sqrt(25 + 1e-4), rtol=1e-6)
    np.testing.assert_allclose(scalars["weights/mean_abs"], 7.01 / 6, rtol=1e-6)
    assert scalars["weights/distance_from_init"] == scalars["weights/norm"]
    assert scalars["weights/rank_0.01"] == 1  # .01 is below .01 of 3
    p = np.array([3, 0.01]) / 3.01
    want = np.exp(-np.sum(p * np.log(p)))
    np.testing.assert_allclose(scalars["weights/effective_rank"], want, rtol=1e-5)
    assert arrays["norm/b"] == 4
    for other in ({"a": jnp.zeros(2)}, initial | {"b": jnp.zeros(1)}):
        with pytest.raises(ValueError, match="initial_params: expected arrays of"):
            probes.weights(params, other)
    scalars, _ = probes.weights(
        params | {"c": jnp.zeros((0, 3))}, initial | {"c": jnp.zeros((0, 3))}
    )
    assert scalars["weights/rank_0.01"] == 1
