"""Norms by hand, ranks against NumPy and on spectra made to order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import probes

INITIAL = {"a": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
PARAMS = {"a": jnp.diag(jnp.array([3.0, 0.01])), "b": jnp.array([0.0, -4.0])}


def measure(params, initial=None):
    result = probes.weights(params, params if initial is None else initial)
    scalars = {k.removeprefix("weights/"): v for k, v in result.scalars.items()}
    return scalars, result.arrays


def test_weights_by_hand():
    scalars, arrays = measure(PARAMS, INITIAL)
    np.testing.assert_allclose(scalars["norm"], np.sqrt(25 + 1e-4), rtol=1e-6)
    np.testing.assert_allclose(scalars["mean_abs"], 7.01 / 6, rtol=1e-6)
    assert scalars["distance_from_init"] == scalars["norm"]
    assert scalars["rank_0.01"] == 1  # .01 is below .01 of 3
    assert scalars["numerical_rank"] == 2
    p = np.array([3, 0.01]) / 3.01
    want = np.exp(-np.sum(p * np.log(p)))
    np.testing.assert_allclose(scalars["effective_rank"], want, rtol=1e-5)
    np.testing.assert_allclose(arrays["norm/a"], np.sqrt(9 + 1e-4), rtol=1e-6)
    np.testing.assert_allclose(arrays["mean_abs/a"], 3.01 / 4, rtol=1e-6)
    assert arrays["norm/b"] == 4
    assert arrays["mean_abs/b"] == 2
    for name, value in scalars.items():
        if "rank" in name:  # of matrices only
            assert arrays[f"{name}/a"] == value
            assert f"{name}/b" not in arrays


def test_distance_is_of_the_difference_and_per_array():
    initial = {"a": jnp.full((2, 2), 1.0), "b": jnp.array([3.0, 0.0])}
    params = {"a": jnp.full((2, 2), 1.0), "b": jnp.array([0.0, 4.0])}
    scalars, arrays = measure(params, initial)
    assert scalars["distance_from_init"] == 5  # of the norms: sqrt(20) - sqrt(13)
    assert arrays["distance_from_init/a"] == 0
    assert arrays["distance_from_init/b"] == 5


def test_ranks_are_summed_over_matrices_a_convolution_flattened():
    rng = np.random.default_rng(0)
    kernel = np.zeros((3, 3, 2, 4), np.float32)  # HWIO: [18, 4] of rank 2
    kernel[0, 0], kernel[2, 1] = rng.normal(size=4), 1.0
    dense = rng.normal(size=(5, 3)).astype(np.float32)
    scalars, arrays = measure({"conv": kernel, "dense": dense, "bias": np.ones(3)})
    for name, matrix in (("conv", kernel.reshape(18, 4)), ("dense", dense)):
        want = np.linalg.matrix_rank(matrix)
        assert arrays[f"numerical_rank/{name}"] == want
    assert scalars["numerical_rank"] == 2 + 3
    total = arrays["effective_rank/conv"] + arrays["effective_rank/dense"]
    np.testing.assert_allclose(scalars["effective_rank"], total, rtol=1e-6)
    assert 1 < arrays["effective_rank/conv"] <= 2.0001


def test_numerical_rank_takes_the_rounding_of_the_dtype_given():
    # max(shape) = 4: the tolerance is 4.8e-7 in float32, 3.9e-3 in float16 and 3.1e-2
    # in bfloat16; the values are exact in each.
    s = jnp.diag(jnp.array([1.0, 2.0**-6, 2.0**-9, 2.0**-22]))
    for dtype, want in ((jnp.float32, 3), (jnp.float16, 2), (jnp.bfloat16, 1)):
        scalars, _ = measure({"w": s.astype(dtype)})
        assert scalars["numerical_rank"] == want
        assert scalars["rank_0.01"] == 2
        assert scalars["norm"].dtype == jnp.float32
    # The longer side counts, 64: the tolerance is then 7.6e-6 in float32.
    s = jnp.zeros((2, 64)).at[0, 0].set(1.0)
    for small, want in ((2.0**-18, 1), (2.0**-16, 2)):
        assert measure({"w": s.at[1, 1].set(small)})[0]["numerical_rank"] == want
    # From 128 rows on bfloat16 says nothing, as documented.
    scalars, _ = measure({"w": jnp.eye(128, dtype=jnp.bfloat16)})
    assert scalars["numerical_rank"] == 0
    assert scalars["rank_0.01"] == 128


def test_zeros_have_rank_zero_and_empty_arrays_count_for_nothing():
    params = PARAMS | {"c": jnp.zeros((0, 3)), "d": jnp.zeros((3, 2))}
    scalars, arrays = measure(params)
    assert scalars["rank_0.01"] == 1
    for name in ("effective_rank", "numerical_rank", "rank_0.01"):
        assert arrays[f"{name}/d"] == 0
    assert arrays["mean_abs/c"] == 0
    np.testing.assert_allclose(scalars["mean_abs"], 7.01 / 12, rtol=1e-6)
    scalars, _ = measure({"b": jnp.ones(2)})  # no matrix at all
    assert scalars["effective_rank"] == 0
    assert scalars["finite"] == 1


def test_jit_and_vmap_over_seeds_change_nothing():
    params = {"w": jax.random.normal(jax.random.key(0), (2, 4, 3))}
    initial = jax.tree.map(jnp.ones_like, params)
    together = jax.jit(jax.vmap(probes.weights))(params, initial)
    for seed in range(2):
        pick = lambda tree, i=seed: jax.tree.map(lambda x: x[i], tree)
        alone = probes.weights(pick(params), pick(initial))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
            pick(together), alone,
        )  # fmt: skip


@pytest.mark.parametrize("where", ["params", "initial_params"])
def test_what_is_not_finite_is_said(where):
    trees = {"params": PARAMS, "initial_params": INITIAL}
    trees[where] = trees[where] | {"b": jnp.array([np.nan, 1.0])}
    with pytest.warns(RuntimeWarning, match="weights: met a NaN"):
        scalars, _ = measure(trees["params"], trees["initial_params"])
    assert scalars.pop("finite") == 0
    assert all(np.isnan(value) for value in scalars.values())


def test_bad_input_is_refused():
    for other in ({"a": jnp.zeros(2)}, INITIAL | {"b": jnp.zeros(1)}, {}):
        with pytest.raises(ValueError, match="initial_params: expected arrays of"):
            probes.weights(PARAMS, other)
    with pytest.raises(ValueError, match="expected floating point arrays; w is int32"):
        measure({"w": jnp.ones((2, 2), jnp.int32)})
