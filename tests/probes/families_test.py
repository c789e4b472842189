import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.probes import families

INPUTS = jax.random.normal(jax.random.key(9), (40, 5))
OUTPUTS = jnp.zeros((40, 3))
KEY = jax.random.key(2)


def predict(params, inputs):
    return jnp.tanh(inputs @ params["w"]) @ params["v"] + params["b"]


def init_fn(key):
    w, v, b = jax.random.split(key, 3)
    return {
        "w": jax.random.normal(w, (5, 8)),
        "v": jax.random.normal(v, (8, 3)) / 3,
        "b": jax.random.normal(b, (3,)),
    }


def draw(family, num_targets, init_fn=init_fn):
    family = families.resolve(family, KEY, INPUTS, OUTPUTS)
    params = init_fn(jax.random.key(1))
    return families.draw(family, predict, init_fn, params, INPUTS, KEY, num_targets)


def draw_from(family, taught):
    return family.draw(KEY, INPUTS, OUTPUTS, lambda key: taught)


def test_sines_are_of_fresh_networks_with_variance_one_half():
    got = draw("sine", 50)
    keys = jax.random.split(KEY, 50)
    taught = jax.vmap(lambda key: predict(init_fn(key), INPUTS))(keys)
    # The sine is chaotic: the last bit of f is .01 in its phase.
    assert np.abs(got - np.sin(1e5 * np.float64(taught))).mean() < 0.1
    between = np.corrcoef(got.reshape(50, -1))
    assert np.abs(between[~np.eye(50, dtype=bool)]).max() < 0.5
    b = families.baseline(families.sine(), got, OUTPUTS)
    np.testing.assert_allclose(b, 0.5 * (1 - 1 / 40), atol=0.02)


@pytest.mark.parametrize(
    ("family", "mean"), [(families.offset(), 10.0), (families.offset(-7.0), -7.0)]
)
def test_offset_targets_are_the_same_sines_elsewhere(family, mean):
    taught = jax.random.normal(KEY, (40, 3))
    want = draw_from(families.sine(), taught) + mean
    np.testing.assert_allclose(draw_from(family, taught), want, atol=1e-6)
    assert families.sine().recentred and not family.recentred


def test_teachers_are_standardised_and_a_constant_one_is_zero_but_nan_stays_nan():
    taught = np.array(jax.random.normal(KEY, (40, 5)))
    taught[:, 1] = 100 + 1e-2 * taught[:, 1]
    taught[:, 2] = 0.3
    taught[:, 3] = 0.3 + 1e-8 * taught[:, 3]  # rounding
    taught[7, 4] = np.nan
    got = draw_from(families.random_teacher(), jnp.array(taught))
    want = (taught[:, 0] - taught[:, 0].mean()) / taught[:, 0].std()
    np.testing.assert_allclose(got[:, 0], want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got[:, 1].var(), 1, rtol=1e-3)
    np.testing.assert_array_equal(got[:, 2:4], 0)
    assert np.isnan(got[:, 4]).all()


def test_labels_are_uniform_classes_and_their_baseline_is_their_entropy():
    got = draw("random_labels", 100)
    assert got.shape == (100, 40)
    counts = np.bincount(np.ravel(got))
    np.testing.assert_allclose(counts, 4000 / 3, rtol=0.1)
    one = jnp.array([[0, 0, 0, 2]])
    b = families.baseline(families.random_labels(), one, OUTPUTS[:4])
    np.testing.assert_allclose(b, -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), 1e-6)


@pytest.mark.parametrize(
    "family", [families.sine(), families.offset(1e3), families.random_labels()]
)
def test_the_baseline_found_numerically_equals_the_closed_form(family):
    targets = draw(family, 3)
    want = families.baseline(family, targets, OUTPUTS)
    found = families.baseline(family._replace(baseline=None), targets, OUTPUTS)
    np.testing.assert_allclose(found, want, atol=1e-4)


def test_the_best_constant_for_an_absolute_error_is_the_median_under_vmap_too():
    def task(key, inputs, outputs):
        return inputs[:, :3], lambda outputs, x: jnp.abs(outputs - x).mean(-1)

    family = families.resolve(task, KEY, INPUTS, OUTPUTS)
    x = jnp.stack([INPUTS[:, :3] + 5, 3 * INPUTS[:, 2:]])
    found = jax.vmap(lambda x: families.baseline(family, x[None], OUTPUTS))(x)
    want = jnp.abs(x - jnp.median(x, axis=1, keepdims=True)).mean((1, 2))
    np.testing.assert_allclose(found, want, atol=1e-4)


def test_bad_families_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'random_labels'"):
        draw("random_label", 1)
    with pytest.raises(ValueError, match=r"\(targets, loss\).* got tuple"):
        draw(lambda key, inputs, outputs: (outputs, outputs), 1)
    with pytest.raises(ValueError, match=r"leading axis 40.* \[\(39, 3\)\]"):
        draw(lambda key, inputs, outputs: (outputs[1:], jnp.subtract), 1)
