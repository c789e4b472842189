"""Updates by hand, and against one step of training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.networks import MLP
from plasticity_jax.probes.updates import updates

KEY = jax.random.key(0)


def linear_loss(params, batch, key):
    """Losses whose gradient at any params is the example itself, bias included."""
    del key
    return batch["x"] @ params["w"] + batch["y"] * params["b"][0]


# The gradient of the mean is w: (3, 4), b: 12, of norm 13; the sum's would be 26.
BATCH = {"x": jnp.array([[6.0, 0.0], [0.0, 8.0]]), "y": jnp.array([24.0, 0.0])}
PARAMS = {"w": jnp.array([6.0, 8.0]), "b": jnp.zeros(1)}


def measure(tx, params=PARAMS, opt_state=None, **options):
    opt_state = tx.init(params) if opt_state is None else opt_state
    found = updates(linear_loss, tx, params, opt_state, BATCH, KEY, **options)
    scalars = {k.removeprefix("updates/"): v for k, v in found.scalars.items()}
    return scalars, found.arrays


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_gradient_descent_by_hand():
    scalars, arrays = measure(optax.sgd(0.1))
    assert scalars.keys() == {
        "gradient_norm", "update_norm", "effective_learning_rate", "finite"
    }  # fmt: skip
    close(scalars["gradient_norm"], 13)
    close(scalars["update_norm"], 1.3)
    close(scalars["effective_learning_rate"], 1.3 / 10)
    assert scalars["finite"] == 1
    close(arrays["gradient_norm/w"], 5)
    close(arrays["gradient_norm/b"], 12)
    close(arrays["update_norm/w"], 0.5)
    close(arrays["effective_learning_rate/w"], 0.5 / 10)


def test_the_update_is_what_the_optimiser_returns_from_its_own_state():
    # Adam's first step is lr a coordinate, whatever the gradient.
    scalars, _ = measure(optax.adam(0.01))
    close(scalars["gradient_norm"], 13)
    close(scalars["update_norm"], 0.01 * np.sqrt(3))
    # Momentum: trace 10 g -> .9 * 10 g + g = 10 g.
    tx = optax.sgd(0.1, momentum=0.9)
    trace = {"w": jnp.array([30.0, 40.0]), "b": jnp.array([120.0])}
    state = (tx.init(PARAMS)[0]._replace(trace=trace), *tx.init(PARAMS)[1:])
    scalars, _ = measure(tx, opt_state=state)
    close(scalars["update_norm"], 13)
    # Clipping acts on the update; weight decay reads the parameters.
    chain = optax.chain(optax.clip_by_global_norm(1.3), optax.sgd(1.0))
    close(measure(chain)[0]["update_norm"], 1.3)
    decay = optax.chain(
        optax.set_to_zero(), optax.add_decayed_weights(0.5), optax.scale(-1)
    )
    scalars, arrays = measure(decay)
    close(scalars["update_norm"], 5)
    close(arrays["effective_learning_rate/w"], 0.5)
    close(scalars["gradient_norm"], 13)


def test_parameters_of_norm_zero_never_give_a_quiet_nan():
    _, arrays = measure(optax.sgd(0.1))
    assert arrays["effective_learning_rate/b"] == np.inf  # 0, and moves
    scalars, arrays = measure(optax.set_to_zero())
    assert arrays["effective_learning_rate/b"] == 0  # 0, and stays
    assert scalars["effective_learning_rate"] == 0
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    scalars, _ = measure(optax.sgd(0.1), zeros)
    assert scalars["effective_learning_rate"] == np.inf
    assert scalars["finite"] == 1
    close(scalars["gradient_norm"], 13)


def test_churn_is_the_mean_absolute_change_on_held_out_inputs():
    # The step is w: (-.3, -.4), b: -1.2. Two outputs, x.w + b and 3b, of two inputs:
    # changes (-1.5, -3.6) and (+1.8, -3.6). The mean's absolute value would be 1.725.
    inputs = jnp.array([[1.0, 0.0], [-10.0, 0.0]])

    def apply_fn(params, inputs):
        b = jnp.full(len(inputs), params["b"][0])
        return jnp.stack([inputs @ params["w"] + b, 3 * b], axis=1)

    scalars, _ = measure(optax.sgd(0.1), apply_fn=apply_fn, inputs=inputs)
    close(scalars["output_churn"], (1.5 + 3.6 + 1.8 + 3.6) / 4)


def test_a_network_against_one_step_of_training_under_jit_and_vmap():
    network = MLP(2, hidden=(4,))
    x = jax.random.normal(jax.random.key(1), (6, 3))
    batch, inputs = x[:4], x[4:]
    keys = jax.random.split(jax.random.key(2), 2)
    params = jax.vmap(lambda key: network.init(key, x)["params"])(keys)
    apply_fn = lambda params, x: network.apply({"params": params}, x)
    loss_fn = lambda params, x, key: jnp.sum(apply_fn(params, x) ** 2, axis=-1)
    tx = optax.adamw(1e-2)

    def probe(params):
        return updates(
            loss_fn, tx, params, tx.init(params), batch, KEY,
            apply_fn=apply_fn, inputs=inputs,
        )  # fmt: skip

    together = jax.jit(jax.vmap(probe))(params)
    for seed in range(2):
        theta = jax.tree.map(lambda p, i=seed: p[i], params)
        gradient = jax.grad(lambda p: jnp.mean(loss_fn(p, batch, None)))(theta)
        step, _ = tx.update(gradient, tx.init(theta), theta)
        moved = optax.apply_updates(theta, step)
        churn = jnp.mean(jnp.abs(apply_fn(moved, inputs) - apply_fn(theta, inputs)))
        want = {
            "updates/gradient_norm": optax.global_norm(gradient),
            "updates/update_norm": optax.global_norm(step),
            "updates/effective_learning_rate": optax.global_norm(step)
            / optax.global_norm(theta),
            "updates/output_churn": churn,
        }
        for name, value in want.items():
            np.testing.assert_allclose(
                together.scalars[name][seed], value, rtol=1e-4, err_msg=name
            )
        kernel = jnp.linalg.norm(step["dense_0"]["kernel"])
        close(together.arrays["update_norm/dense_0/kernel"][seed], kernel)


def test_half_precision_is_measured_in_float32_with_the_optimisers_own_dtypes():
    # The condition inside refuses gradients of another dtype than the trace's.
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = optax.apply_if_finite(optax.sgd(0.125, momentum=0.9), 3)
    scalars, arrays = measure(tx, params)
    assert scalars["update_norm"].dtype == jnp.float32
    close(scalars["gradient_norm"], 13)
    close(scalars["update_norm"], 13 / 8)  # exact in bfloat16
    assert arrays["update_norm/w"].dtype == jnp.float32


@pytest.mark.parametrize("bad", [np.nan, 1e30])
def test_what_is_not_finite_or_overflows_is_said(bad):
    batch = BATCH | {"y": jnp.array([bad, 0.0])}
    tx = optax.sgd(0.1)
    with pytest.warns(RuntimeWarning, match="updates: met a NaN"):
        found = updates(linear_loss, tx, PARAMS, tx.init(PARAMS), batch, KEY)
    scalars = dict(found.scalars)
    assert scalars.pop("updates/finite") == 0
    assert all(np.isnan(value) for value in scalars.values())


def test_bad_input_is_refused():
    tx = optax.sgd(0.1)
    for options, given in (
        ({"apply_fn": lambda params, x: x}, "apply_fn only"),
        ({"inputs": jnp.zeros((2, 2))}, "inputs only"),
    ):
        with pytest.raises(ValueError, match=given):
            measure(tx, **options)
    reduced = lambda params, batch, key: jnp.mean(linear_loss(params, batch, key))
    with pytest.raises(ValueError, match="one per example"):
        updates(reduced, tx, PARAMS, tx.init(PARAMS), BATCH, KEY)
