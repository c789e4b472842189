import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax import probes
from plasticity_jax.probes import families
from plasticity_jax.probes.plasticity import curve_steps, fit

INPUTS = jax.random.normal(jax.random.key(9), (24, 5))
TX = optax.adam(1e-2)
BUDGET = dict(num_steps=30, batch_size=6)
SQUARED = lambda outputs, target: jnp.mean((outputs - target) ** 2, axis=-1)


def apply_fn(params, inputs):
    hidden = jax.nn.relu(inputs @ params["hidden"])
    return hidden @ params["head"] + params["bias"]


def init_fn(key, num_outputs=3):
    weights = jax.random.normal(key, (8, 5 + num_outputs)) / 2
    head, bias = weights[:, 5:], jnp.zeros(num_outputs)
    return {"hidden": weights[:, :5].T, "head": head, "bias": bias}


def drifted(params):
    return params | {"bias": params["bias"] + 3}


def measure(params, num_targets=3, **options):
    return probes.plasticity(
        apply_fn, init_fn, TX, params, INPUTS, jax.random.key(0),
        num_targets=num_targets, **BUDGET, **options,
    )  # fmt: skip


def reference_of(params, num_targets=3, **options):
    return probes.plasticity_reference(
        apply_fn, init_fn, TX, params, INPUTS, jax.random.key(0),
        num_targets=num_targets, **BUDGET, **options,
    )  # fmt: skip


def fitted_by_hand(params, state, target, key, fit_loss, reported_loss):
    """A plain loop. Both losses: (params, inputs, target) -> [N]."""
    losses = []

    @jax.jit
    def update(params, state, rows):
        batch, batch_target = jax.tree.map(lambda x: x[rows], (INPUTS, target))
        mean = lambda p: fit_loss(p, batch, batch_target).mean()
        updates, state = TX.update(jax.grad(mean)(params), state, params)
        loss = reported_loss(params, INPUTS, target).mean()
        return optax.apply_updates(params, updates), state, loss

    for step in range(31):
        rows = jax.random.randint(jax.random.fold_in(key, step), (6,), 0, 24)
        params, state, loss = update(params, state, rows)
        losses.append(loss)
    return [losses[step] for step in curve_steps(30)]


def a_next_task(key, inputs, outputs):
    """Two arrays a target: which output, and what it should be."""
    column = jax.random.randint(key, (len(inputs),), 0, outputs.shape[1])
    targets = {"column": column, "value": outputs.mean(1) + inputs[:, 0]}
    return targets, _error_of_the_column


def _error_of_the_column(outputs, targets):
    chosen = jnp.take_along_axis(outputs, targets["column"][:, None], axis=1)[:, 0]
    return optax.huber_loss(chosen, targets["value"])


LOSSES = {
    "sine": SQUARED,
    "offset": SQUARED,
    "random_teacher": SQUARED,
    "random_labels": optax.softmax_cross_entropy_with_integer_labels,
    a_next_task: _error_of_the_column,
}


@pytest.mark.parametrize("family", LOSSES)
def test_fit_equals_a_plain_python_loop(family):
    params, key = drifted(init_fn(jax.random.key(1))), jax.random.key(2)
    outputs = apply_fn(params, INPUTS)
    recentred = family in ("sine", "random_teacher")
    want_loss = LOSSES[family]
    family = families.resolve(family, key, INPUTS, outputs)
    targets = families.draw(family, apply_fn, init_fn, params, INPUTS, key, 2)
    got = fit(apply_fn, TX, params, INPUTS, targets, key, family=family, **BUDGET)
    target = jax.tree.map(lambda x: x[1], targets)
    target = target + outputs.mean(0) if recentred else target
    loss = lambda p, x, y: want_loss(apply_fn(p, x), y)
    want = fitted_by_hand(params, TX.init(params), target, key, loss, loss)
    np.testing.assert_allclose(got[1], want, rtol=1e-4)


def test_carrying_on_from_an_optimiser_state_equals_a_plain_python_loop():
    params, target = init_fn(jax.random.key(1)), INPUTS[:, :3]
    family = families.Family(
        draw=lambda key, inputs, outputs, fresh: inputs[:, :3],
        loss=SQUARED,
        baseline=lambda targets, outputs: targets.var(1).mean(),
    )
    gradient = jax.tree.map(jnp.ones_like, params)
    state = TX.update(gradient, TX.init(params), params)[1]
    got = measure(
        params, num_targets=1, family=family, opt_state=state, reference_params=params
    )
    loss = lambda p, x, y: SQUARED(apply_fn(p, x), y)
    _, key_fit, _ = jax.random.split(jax.random.key(0), 3)
    want = fitted_by_hand(params, state, target, key_fit, loss, loss)
    np.testing.assert_allclose(got.arrays["curves"][0], want, rtol=1e-4)
    want = fitted_by_hand(params, TX.init(params), target, key_fit, loss, loss)
    np.testing.assert_allclose(got.scalars["probe/initial_loss"], want[-1], rtol=1e-4)


def test_a_categorical_head_is_fitted_by_its_own_loss_and_reported_by_expectation():
    support = jnp.linspace(-2.0, 2.0, 4)
    logits_fn = lambda p, x: apply_fn(p, x).reshape(-1, 2, 4)  # two values, four bins
    init_logits = lambda key: init_fn(key, num_outputs=8)
    predict_fn = lambda logits: jax.nn.softmax(logits) @ support

    def fit_loss_fn(logits, target):  # two-hot: weights fall linearly with distance
        weights = jax.nn.relu(1 - jnp.abs(target[..., None] - support) / (4 / 3))
        return optax.softmax_cross_entropy(logits, weights).mean(-1)

    params, key = init_logits(jax.random.key(1)), jax.random.key(0)
    options = dict(predict_fn=predict_fn, fit_loss_fn=fit_loss_fn, num_targets=1)
    reference = probes.plasticity_reference(
        logits_fn, init_logits, TX, params, INPUTS, key, **BUDGET, **options
    )
    got = probes.plasticity(
        logits_fn, init_logits, TX, params, INPUTS, key, **BUDGET, **options,
        reference=reference,
    )  # fmt: skip
    assert reference["targets"].shape == (1, 24, 2)
    target = reference["targets"][0] + predict_fn(logits_fn(params, INPUTS)).mean(0)
    want = fitted_by_hand(
        params, TX.init(params), target, jax.random.split(key, 3)[1],
        lambda p, x, y: fit_loss_fn(logits_fn(p, x), y),
        lambda p, x, y: SQUARED(predict_fn(logits_fn(p, x)), y),
    )  # fmt: skip
    np.testing.assert_allclose(got.arrays["curves"][0], want, rtol=1e-4)
    assert got.scalars["probe/plasticity_loss"] == 0
    with pytest.raises(ValueError, match=r"family: .* \(24,\).* got \(24, 2\)"):
        probes.plasticity(logits_fn, init_logits, TX, params, INPUTS, key)


def test_a_drifted_mean_matters_to_offset_targets_alone():
    params = init_fn(jax.random.key(1))
    for family, same in (("sine", True), ("offset", False)):
        one, other = (measure(p, family=family) for p in (params, drifted(params)))
        one, other = (r.scalars["probe/final_loss"] for r in (one, other))
        assert np.isclose(one, other, rtol=1e-4) == same
    # Ten away from its targets, or seven: the start says so.
    curves = measure(drifted(params), family="offset").arrays["curves"]
    np.testing.assert_allclose(curves[:, 0].mean(), 7**2, rtol=0.2)


def test_a_task_is_made_for_theta_0_and_shared_with_theta_t():
    def shifted(key, inputs, outputs):
        return outputs + 1, SQUARED

    initial, now = init_fn(jax.random.key(1)), init_fn(jax.random.key(2))
    f_0, f_t = (apply_fn(p, INPUTS) for p in (initial, now))
    scalars, arrays = measure(now, family=shifted, reference_params=initial)
    start = arrays["curves"][:, 0]
    np.testing.assert_allclose(start, jnp.mean((f_t - f_0 - 1) ** 2), rtol=1e-5)
    np.testing.assert_allclose(scalars["probe/baseline"], f_0.var(0).mean(), rtol=1e-4)
    alone = measure(now, family=shifted)
    np.testing.assert_allclose(alone.arrays["curves"][:, 0], 1, rtol=1e-5)


def test_under_jit_and_vmap_over_seeds_in_half_precision():
    half = lambda params: jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    seeds = half(jax.vmap(init_fn)(jax.random.split(jax.random.key(3), 2)))

    @jax.jit
    def probe(params):
        state = TX.init(params)  # its moments too are in half precision
        return measure(params, family="random_labels", opt_state=state)

    got = jax.vmap(probe)(seeds)
    assert {x.dtype for x in got.scalars.values()} == {jnp.dtype("float32")}
    for seed in range(2):
        one = jax.tree.map(lambda x, seed=seed: x[seed].astype(jnp.float32), seeds)
        want = probe(one).scalars
        for name, value in want.items():
            have = got.scalars[name][seed]
            np.testing.assert_allclose(have, value, rtol=1e-4, err_msg=name)


def test_targets_of_a_half_precision_network_are_in_float32():
    half = lambda key: jax.tree.map(lambda x: x.astype(jnp.bfloat16), init_fn(key))
    params, key = half(jax.random.key(1)), jax.random.key(0)
    targets = families.draw(families.sine(), apply_fn, half, params, INPUTS, key, 3)
    assert len(np.unique(targets)) > 200  # bfloat16 has too few


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
    kept = measure(now, reference=reference_of(initial))
    for name, value in again.scalars.items():
        np.testing.assert_allclose(kept.scalars[name], value, rtol=1e-5, err_msg=name)
    loss = again.scalars["probe/final_loss"] - again.scalars["probe/initial_loss"]
    room = again.scalars["probe/baseline"] - again.scalars["probe/initial_loss"]
    np.testing.assert_allclose(again.scalars["probe/rho"], loss / room, rtol=1e-5)


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


def test_a_baseline_that_is_not_finite_is_reported():
    def likelihood(key, inputs, outputs):  # log 0 at the constant 0, and below
        return outputs, lambda outputs, targets: -jnp.log(outputs.sum(-1) * 0)

    with pytest.warns(RuntimeWarning, match="probe"):
        scalars, _ = measure(init_fn(jax.random.key(1)), family=likelihood)
    assert scalars["probe/finite"] == 0 and np.isnan(scalars["probe/plasticity"])


@pytest.mark.parametrize("name", ["num_targets", "num_steps", "batch_size"])
def test_bad_counts_are_refused(name):
    options = dict(num_targets=1, num_steps=1, batch_size=1) | {name: 0}
    with pytest.raises(ValueError, match=f"{name}: expected at least 1"):
        probes.plasticity(
            apply_fn, init_fn, TX, init_fn(jax.random.key(0)), INPUTS,
            jax.random.key(0), **options,
        )  # fmt: skip


def test_bad_options_are_refused():
    params = init_fn(jax.random.key(1))
    with pytest.raises(ValueError, match="Did you mean 'sine'"):
        measure(params, family="sines")
    with pytest.raises(ValueError, match="Pass the state itself to carry it"):
        measure(params, opt_state="carry")
    with pytest.raises(ValueError, match="opt_state: expected the state of `tx`"):
        measure(params, opt_state=optax.sgd(1.0).init(params))
    with pytest.raises(ValueError, match=r"family: expected losses.* got \(\)"):
        measure(params, family=lambda *_: (INPUTS, lambda outputs, x: outputs.mean()))
    with pytest.raises(ValueError, match=r"fit_loss_fn: expected.* got \(24, 3\)"):
        measure(params, fit_loss_fn=jnp.subtract)


def test_a_reference_of_other_settings_is_refused():
    params = init_fn(jax.random.key(1))
    reference = {"targets": jnp.zeros((2, 24, 3))}
    expected = r"reference: expected targets of shape \(3, 24{}.* got \(2, 24, 3\)"
    with pytest.raises(ValueError, match=expected.format(", 3")):
        measure(params, reference=reference)
    with pytest.raises(ValueError, match=expected.format("")):
        measure(params, reference=reference, family="random_labels")


def test_slips_are_told_and_harmless_ones_pass():
    params, key = init_fn(jax.random.key(1)), jax.random.key(0)

    def measure(tx=TX, init_fn=init_fn, inputs=INPUTS, key=key, **options):
        options = BUDGET | dict(num_targets=1) | options
        return probes.plasticity(apply_fn, init_fn, tx, params, inputs, key, **options)

    for options, message in (
        (dict(tx="adam"), "tx: expected an Optax transformation; got 'adam'"),
        (dict(init_fn=params), r"init_fn: expected \(key\) -> params"),
        (dict(init_fn=lambda key: {"w": key}), r"init_fn\(key\): expected arrays of"),
        (dict(key=0), r"key: expected jax.random.key\(seed\); got 0"),
        (dict(num_targets=1.0), "num_targets: expected a whole number"),
        (
            dict(reference={}),
            "reference: expected what `plasticity_reference` returned",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            measure(**options)
    want = measure().arrays["curves"]
    for options in (dict(inputs=np.asarray(INPUTS)), dict(family=families.sine)):
        np.testing.assert_array_equal(measure(**options).arrays["curves"], want)
    reference = probes.plasticity_reference(
        apply_fn, init_fn, TX, params, INPUTS, key, num_targets=1, **BUDGET
    )
    measure(reference=reference)
    for options in (dict(key=jax.random.key(5)), dict(num_steps=31)):
        with pytest.raises(ValueError, match="made with the same key and budget"):
            measure(reference=reference, **options)
