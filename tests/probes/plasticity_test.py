import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax import probes
from plasticity_jax.networks import MLP
from plasticity_jax.probes.plasticity import curve_steps, fit, sine_targets

NETWORK = MLP(3, hidden=(8,))
INPUTS = jax.random.normal(jax.random.key(9), (24, 5))
BUDGET = dict(num_steps=30, batch_size=6)


def apply_fn(params, inputs):
    return NETWORK.apply({"params": params}, inputs)


def init_fn(key):
    return NETWORK.init(key, INPUTS[:1])["params"]


def measure(params, **options):
    tx = optax.adam(1e-2)
    return probes.plasticity(
        apply_fn, init_fn, tx, params, INPUTS, jax.random.key(0),
        num_targets=3, **BUDGET, **options,
    )  # fmt: skip


def test_fit_equals_a_plain_python_loop():
    params, key, tx = init_fn(jax.random.key(1)), jax.random.key(2), optax.adam(1e-2)
    targets = sine_targets(apply_fn, init_fn, INPUTS, jax.random.key(3), 2)
    got = fit(apply_fn, tx, params, INPUTS, targets, key, **BUDGET)
    for target, curve in zip(targets, got, strict=True):
        target = target + apply_fn(params, INPUTS).mean(0)
        current, state, losses = params, tx.init(params), {}
        loss = lambda p, x, y: jnp.mean((apply_fn(p, x) - y) ** 2)
        for step in range(31):
            losses[step] = loss(current, INPUTS, target)
            rows = jax.random.randint(jax.random.fold_in(key, step), (6,), 0, 24)
            gradient = jax.grad(loss)(current, INPUTS[rows], target[rows])
            updates, state = tx.update(gradient, state, current)
            current = optax.apply_updates(current, updates)
        want = [losses[step] for step in curve_steps(30)]
        np.testing.assert_allclose(curve, want, rtol=1e-4)


def test_targets_are_sines_of_fresh_networks_with_variance_one_half():
    targets = sine_targets(apply_fn, init_fn, INPUTS, jax.random.key(3), 40)
    assert targets.shape == (40, 24, 3)
    assert jnp.abs(targets).max() <= 1
    np.testing.assert_allclose(jnp.mean(jnp.var(targets, axis=1)), 0.48, atol=0.02)
    between = np.corrcoef(targets.reshape(40, -1))
    assert np.abs(between[~np.eye(40, dtype=bool)]).max() < 0.5


def test_against_itself_nothing_is_lost_and_the_fresh_network_differs():
    params = init_fn(jax.random.key(1))
    scalars, arrays = measure(params, reference_params=params)
    assert scalars["probe/plasticity_loss"] == 0
    assert scalars["probe/final_loss"] == scalars["probe/initial_loss"]
    assert scalars["probe/fresh_loss"] != scalars["probe/initial_loss"]
    np.testing.assert_allclose(
        scalars["probe/plasticity"],
        scalars["probe/baseline"] - scalars["probe/final_loss"],
        rtol=1e-6,
    )
    assert arrays["curves"].shape == (3, 21)
    assert scalars["probe/auc"] < arrays["curves"][:, 0].mean()


def test_a_kept_reference_gives_the_same_as_measuring_again():
    initial, now = init_fn(jax.random.key(1)), init_fn(jax.random.key(2))
    now = jax.tree.map(lambda x: 5 * x, now)
    again = measure(now, reference_params=initial)
    reference = probes.plasticity_reference(
        apply_fn, init_fn, optax.adam(1e-2), initial, INPUTS, jax.random.key(0),
        num_targets=3, **BUDGET,
    )  # fmt: skip
    kept = measure(now, reference=reference)
    for name, value in again.scalars.items():
        np.testing.assert_allclose(kept.scalars[name], value, rtol=1e-5, err_msg=name)


def test_a_drifted_mean_is_not_what_is_measured():
    params = init_fn(jax.random.key(1))
    drifted = jax.tree.map(lambda x: x, params)
    drifted["head"]["bias"] = drifted["head"]["bias"] + 64.0
    one, other = measure(params), measure(drifted)
    np.testing.assert_allclose(
        one.scalars["probe/final_loss"], other.scalars["probe/final_loss"], rtol=2e-2
    )


def test_a_network_that_cannot_move_is_flagged_and_keeps_its_curve_flat():
    params = init_fn(jax.random.key(1))
    scalars, arrays = probes.plasticity(
        apply_fn, init_fn, optax.sgd(0.0), params, INPUTS, jax.random.key(0),
        num_targets=2, reference_params=params, **BUDGET,
    )  # fmt: skip
    np.testing.assert_allclose(arrays["curves"], arrays["curves"][:, :1] * np.ones(21))
    assert scalars["probe/unsolved_at_init"] == 1


def test_parameters_are_left_alone_and_seeds_differ():
    params = init_fn(jax.random.key(1))
    before = jax.tree.map(np.array, params)
    one = measure(params).scalars["probe/final_loss"]
    assert one == measure(params).scalars["probe/final_loss"]
    jax.tree.map(np.testing.assert_array_equal, before, params)
    other = measure(init_fn(jax.random.key(4))).scalars["probe/final_loss"]
    assert one != other


@pytest.mark.parametrize("name", ["num_targets", "num_steps", "batch_size"])
def test_bad_counts_are_refused(name):
    options = dict(num_targets=1, num_steps=1, batch_size=1) | {name: 0}
    with pytest.raises(ValueError, match=f"{name}: expected at least 1"):
        probes.plasticity(
            apply_fn, init_fn, optax.sgd(1.0), init_fn(jax.random.key(0)), INPUTS,
            jax.random.key(0), **options,
        )  # fmt: skip


def test_half_precision_networks_are_measured_in_float32():
    half = lambda key: jax.tree.map(lambda x: x.astype(jnp.bfloat16), init_fn(key))
    reference = probes.plasticity_reference(
        apply_fn, half, optax.adam(1e-2), half(jax.random.key(1)), INPUTS,
        jax.random.key(0), num_targets=3, **BUDGET,
    )  # fmt: skip
    assert {x.dtype for x in reference.values()} == {jnp.dtype("float32")}
    assert len(np.unique(reference["targets"])) > 200  # bfloat16 has too few


def test_a_reference_of_other_settings_is_refused():
    params = init_fn(jax.random.key(1))
    reference = probes.plasticity_reference(
        apply_fn, init_fn, optax.adam(1e-2), params, INPUTS, jax.random.key(0),
        num_targets=2, **BUDGET,
    )  # fmt: skip
    with pytest.raises(
        ValueError, match=r"reference: expected targets .* \[3, 24, O\]"
    ):
        measure(params, reference=reference)
