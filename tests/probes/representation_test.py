"""Hand-computed cases in which neighbouring definitions give different numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import probes
from plasticity_jax.probes.ranks import from_singular_values, ranks, srank

RANKS = (
    "feature_rank", "srank", "approximate_rank", "effective_rank", "stable_rank",
    "participation_ratio",
)  # fmt: skip


def measure(*layers, **options):
    found = {f"layer_{i}": jnp.asarray(h, jnp.float32) for i, h in enumerate(layers)}
    inputs = jnp.zeros((len(layers[0]), 1))
    result = probes.representation(lambda params, x: found, {}, inputs, **options)
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
    assert found["dead_fraction_by_layer"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert found["active_fraction"] == pytest.approx(4 / 6)
    assert found["active_fraction_by_layer"] == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_a_unit_that_is_off_now_and_then_is_neither_dead_nor_dormant():
    found = measure([[0.0, 1.0], [2.0, 1.0]])
    assert found["dead_fraction"] == 0
    assert found["dormant_fraction_0.1"] == 0
    assert found["active_fraction"] == pytest.approx(3 / 4)


def test_an_all_dead_layer_is_dormant_and_has_rank_zero():
    found = measure(np.zeros((3, 4)))
    assert found["dormant_fraction_0"] == 1
    assert found["dead_fraction"] == 1
    assert found["linearised_fraction"] == 0
    for name in RANKS:
        assert found[name] == 0, name
    assert found["finite"] == 1


def test_linearised_means_above_zero_on_the_threshold_share_of_examples():
    # Ten examples; units on in 10, 9, 8 and 0 of them. A second layer of one unit: 10.
    first = np.stack([np.arange(10) < on for on in (10, 9, 8, 0)], axis=1)
    found = measure(first, np.ones((10, 1)))
    assert found["linearised_fraction"] == pytest.approx(3 / 5)
    assert found["linearised_fraction_by_layer"] == pytest.approx((2 / 4 + 1) / 2)
    for threshold, want in ((0.8, 4 / 5), (0.81, 3 / 5), (1.0, 2 / 5)):
        found = measure(first, np.ones((10, 1)), linearised_threshold=threshold)
        assert found["linearised_fraction"] == pytest.approx(want), threshold


def test_saturation_depends_on_the_activation():
    # tanh: three of 8 pairs, |a| > .99 on either side; the sign matters to sigmoid.
    h = [[0.995, -0.995, 0.5, 0.005], [1.0, 0.98, -0.5, 0.0]]
    found = measure(h, [[0.0], [1.0]], activation="tanh")
    assert found["saturated_fraction"] == pytest.approx(4 / 10)
    assert found["saturated_fraction_by_layer"] == pytest.approx((3 / 8 + 1 / 2) / 2)
    assert "linearised_fraction" not in found
    h = [[0.995, 0.5, 0.005, 0.02], [0.985, 0.5, 0.0, 0.02]]
    found = measure(h, activation="sigmoid")
    assert found["saturated_fraction"] == pytest.approx(3 / 8)
    for activation, linearised in (("relu", True), ("gelu", True), ("other", False)):
        found = measure(h, activation=activation)
        assert "saturated_fraction" not in found
        assert ("linearised_fraction" in found) == linearised


def test_a_convolutions_unit_is_a_channel():
    h = np.zeros((2, 3, 3, 3))
    h[0, 1, 1, 0] = 1.0  # one pixel of one example: lives; channel 1 is dead
    h[..., 2] = 2.0
    h[0, 0, 0, 2] = 0.0  # on in 17 of 18 (example, position) pairs, 1 of 2 examples
    found = measure(h)
    assert found["dead_fraction"] == pytest.approx(1 / 3)
    assert found["linearised_fraction"] == pytest.approx(1 / 3)
    assert found["active_fraction"] == pytest.approx((1 / 18 + 17 / 18) / 3)
    # The mean |h| of channel 0 is 1/18, of channel 2 34/18: scores 3/35 and 102/35.
    assert found["dormant_fraction_0.1"] == pytest.approx(2 / 3)
    assert found["dormant_fraction_0.025"] == pytest.approx(1 / 3)
    # F has a feature a position: 27, more than the 2 examples.
    assert found["rank_limited"] == 1
    assert found["feature_norm"] == pytest.approx((np.sqrt(33) + 6) / 2)


def test_norm_and_variance_of_the_last_layer_by_hand():
    # Rows of norm 5 and 1; variances over examples 9/4 and 4: the mean 25/8. Divisor
    # n - 1 would say 25/4, one variance over all entries 2.75.
    found = measure(np.ones((2, 3)), [[3.0, 4.0], [0.0, 0.0]])
    assert found["feature_norm"] == pytest.approx(2.5)
    assert found["feature_variance"] == pytest.approx((9 / 4 + 4) / 2)
    assert found["num_examples"] == 2
    assert found["rank_limited"] == 0


def test_the_six_ranks_tell_a_spectrum_apart():
    # Singular values 100, 10, 3, .001 of a [4, 4] matrix; sqrt(n) = 2.
    s = np.array([100.0, 10.0, 3.0, 0.001])
    left, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    found = ranks(jnp.asarray(left * s, jnp.float32))
    p = s / s.sum()
    want = {
        "feature_rank": 3,  # 50, 5, 1.5 are above .01; .0005 is not
        "srank": 3,  # 110 / 113 = .973 < .99
        "approximate_rank": 2,  # 10000 / 10109 = .9892 < .99 <= 10100 / 10109
        "effective_rank": np.exp(-np.sum(p * np.log(p))),
        "stable_rank": (s**2).sum() / s[0] ** 2,
        "participation_ratio": (s**2).sum() ** 2 / (s**4).sum(),
    }
    assert found.keys() == want.keys() == set(RANKS)
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)


def test_srank_counts_the_value_that_reaches_the_threshold():
    # Identity: .99 * 4 needs all four; an off-by-one would say three. Of a hundred
    # equal values, 99 reach .99 exactly; strictly above would say a hundred.
    for name in ("srank", "approximate_rank", "participation_ratio", "stable_rank"):
        assert ranks(jnp.eye(4))[name] == pytest.approx(4), name
    assert srank(jnp.ones(100)) == 99


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_ranks_hold_at_scales_whose_fourth_power_float32_cannot(scale):
    s = jnp.array([3.0, 2.0, 1.0])
    near, far = from_singular_values(s, 4), from_singular_values(s * scale, 4)
    for name in set(RANKS) - {"feature_rank"}:
        np.testing.assert_allclose(far[name], near[name], rtol=1e-5, err_msg=name)
    assert far["feature_rank"] == (3 if scale > 1 else 0)


def test_fewer_examples_than_units_drops_nothing_and_says_so():
    found = measure(np.eye(2, 5))
    assert found["num_examples"] == 2
    assert found["rank_limited"] == 1
    for name in RANKS:
        assert found[name] == pytest.approx(2), name
    assert all(np.isfinite(value) for value in found.values())
    assert measure(np.eye(5, 5))["rank_limited"] == 0


def test_jit_and_vmap_over_seeds_change_nothing():
    x = jax.random.normal(jax.random.key(0), (6, 4))
    params = jax.random.normal(jax.random.key(1), (2, 4, 5))

    def probe(params):
        features_fn = lambda w, x: {"a": jax.nn.relu(x @ w), "b": jax.nn.relu(x @ -w)}
        return probes.representation(features_fn, params, x)

    together = jax.jit(jax.vmap(probe))(params)
    for seed in range(2):
        alone = probe(params[seed])
        assert alone.arrays["active/a"].shape == (5,)
        for one, both in zip(alone, together, strict=True):
            assert one.keys() == both.keys()
            for name in one:
                np.testing.assert_allclose(
                    both[name][seed], one[name], rtol=1e-4, atol=1e-5, err_msg=name
                )


def test_parameters_reach_the_network_in_float32_whatever_their_dtype():
    seen = {}

    def features_fn(params, inputs):
        seen.update(jax.tree.map(jnp.result_type, params))
        return {"h": inputs * params["w"]}

    params = {"w": jnp.ones(3, jnp.bfloat16), "step": jnp.int32(3)}
    probes.representation(features_fn, params, jnp.ones((2, 1), jnp.bfloat16))
    assert seen == {"w": jnp.float32, "step": jnp.int32}


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_what_is_not_finite_or_overflows_is_said(bad):
    # 1e30 is finite, its square is not.
    with pytest.warns(RuntimeWarning, match="representation: met a NaN"):
        found = measure([[1.0, 2.0], [bad, 4.0]])
    assert found.pop("finite") == 0
    assert all(np.isnan(value) for value in found.values())


def test_bad_input_is_refused():
    inputs = jnp.zeros((2, 1))
    for layers, message in (
        ({}, "at least one layer"),
        ({"a": jnp.zeros(2)}, r"expected activations \[N, ..., units\]"),
        ({"a": jnp.zeros((2, 0))}, "at least one unit"),
        ({"a": jnp.zeros((4, 3))}, "one leading axis"),
    ):
        with pytest.raises(ValueError, match=message):
            probes.representation(lambda p, x, h=layers: h, {}, inputs)
    with pytest.raises(
        ValueError, match=r"activation: expected one of relu.*'sigmoid'"
    ):
        measure(np.ones((2, 2)), activation="sigmoyd")
    with pytest.raises(ValueError, match="linearised_threshold: expected 0 to 1"):
        measure(np.ones((2, 2)), linearised_threshold=90)


@pytest.mark.parametrize("found", [jnp.ones((2, 3)), {"a": (jnp.ones((2, 3)),)}])
def test_what_is_no_dict_of_arrays_is_refused(found):
    with pytest.raises(ValueError, match="one array a layer"):
        probes.representation(lambda params, x: found, {}, jnp.zeros((2, 1)))
