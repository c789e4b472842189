import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import optimizers, trees
from plasticity_jax.interventions import compose
from plasticity_jax.interventions.infer import infer
from plasticity_jax.learners import training
from plasticity_jax.networks import MLP, topology
from plasticity_jax.networks.model import as_model
from plasticity_jax.types import Context, Method, Model, TrainState

INPUTS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
HEADS, SCALE, STRENGTH = 3, 7.0, 0.5


@functools.cache
def plain() -> Model:
    return as_model(MLP(2, hidden=(7, 5)), (4,))


def bound(**settings) -> training.Bound:
    settings = {"num_heads": HEADS, "scale": SCALE, "strength": STRENGTH} | settings
    method = Method(optimizers.sgd(0.1), (infer(**settings),))
    return training.Bound(
        compose.setup(plain(), method, period=3, has_target=True), method
    )


def by_hand(params):
    """Features and heads' outputs in float64."""
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    x = INPUTS.astype(np.float64)
    for layer in ("dense_0", "dense_1"):
        x = np.maximum(x @ params[layer]["kernel"] + params[layer]["bias"], 0)
    return x @ params["infer"]["kernel"] + params["infer"]["bias"]


@functools.cache
def moved():
    """A setup, its initial train state, and one whose parameters have moved."""
    setup, method, _ = bound()
    params, model_state = setup.model.init(jax.random.key(0))
    train = TrainState(params, {}, (), model_state, params)
    signs = trees.rademacher(jax.random.key(1), params)
    now = jax.tree.map(lambda a, sign: a + 0.2 * sign, params, signs)
    return setup, method, train, now


def penalty(params, **settings):
    _, _, train, _ = moved()
    setup, method, _ = bound(**settings)
    states = compose.init(setup, method, train, jax.random.key(2))
    features = setup.model.apply(params, train.model_state, INPUTS).features
    context = Context(setup, 1, INPUTS, features)
    key = jax.random.key(3)
    return compose.penalty(method, params, states, train, context, key)[0]


def test_the_penalty_is_the_formula():
    _, _, train, now = moved()
    gaps = by_hand(now) - SCALE * by_hand(train.initial_params)
    want = STRENGTH * np.mean(gaps**2)
    np.testing.assert_allclose(jax.jit(penalty)(now), want, rtol=1e-5)


def test_the_gradient_is_that_of_the_formula():
    _, _, train, now = moved()
    gradient = jax.jit(jax.grad(penalty))(now)
    gaps = by_hand(now) - SCALE * by_hand(train.initial_params)
    np.testing.assert_allclose(  # d mean(gaps^2) / d bias
        gradient["infer"]["bias"],
        STRENGTH * 2 * gaps.mean(axis=0) / HEADS,
        rtol=1e-4,
    )
    for layer in ("dense_0", "dense_1"):
        assert np.any(gradient[layer]["kernel"])
    assert not np.any(gradient["head"]["kernel"])


def test_at_the_start_with_scale_one_nothing_is_to_be_done():
    _, _, train, _ = moved()
    value, gradient = jax.value_and_grad(penalty)(train.params, scale=1.0)
    assert value == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_the_network_is_drawn_and_answers_as_without_heads():
    setup, _, train, _ = moved()
    params, _ = plain().init(jax.random.key(0))
    heads = train.params["infer"]
    assert jax.tree.map(np.shape, heads) == {"kernel": (5, HEADS), "bias": (HEADS,)}
    rest = {k: v for k, v in train.params.items() if k != "infer"}
    assert jax.tree.all(jax.tree.map(np.array_equal, rest, params))
    np.testing.assert_array_equal(
        setup.model.apply(train.params, {}, INPUTS).outputs,
        plain().apply(params, {}, INPUTS).outputs,
    )
    other, _ = setup.model.init(jax.random.key(4))
    assert not np.array_equal(other["infer"]["kernel"], heads["kernel"])


def test_a_unit_of_the_last_layer_is_silenced_through_its_outgoing_entries():
    setup, _, _, now = moved()
    for before, after in zip(plain().units[:-1], setup.model.units[:-1], strict=True):
        assert before == after
    units = setup.model.units[-1]
    silent = jnp.arange(units.size) == 2
    params = now
    for wire in units.outgoing:
        array = topology.get(params, wire)
        mask = topology.spread(wire, silent, array.ndim)
        params = topology.replace(params, wire, jnp.where(mask, 0, array))
    incoming = now["dense_1"]
    dead = {  # the unit itself is 0 for every input
        "kernel": incoming["kernel"].at[:, 2].set(0),
        "bias": incoming["bias"].at[2].set(0),
    }
    np.testing.assert_allclose(
        by_hand(params), by_hand({**now, "dense_1": dead}), rtol=1e-5
    )
    assert [wire.path for wire in units.next_bias] == [
        ("head", "bias"), ("infer", "bias"),
    ]  # fmt: skip


def test_a_probe_does_not_see_it():
    setup, _, _, now = moved()
    optimized = bound().init(jax.random.key(0))

    def losses(params, batch, key):
        del batch, key
        return jnp.sum(setup.model.apply(params, {}, INPUTS).outputs, axis=1)

    view = bound().view(optimized.train, losses, INPUTS, None)
    headless = {layer: arrays for layer, arrays in now.items() if layer != "infer"}
    want = plain().apply(headless, {}, INPUTS).outputs
    np.testing.assert_array_equal(view.apply_fn(now, INPUTS), want)
    gradient = jax.grad(lambda p: jnp.mean(view.loss_fn(p, None, None)))(now)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["infer"]))
    drawn = view.init_fn(jax.random.key(5))
    assert jax.tree.structure(drawn) == jax.tree.structure(now)


def test_an_update_moves_the_heads_towards_their_scaled_start():
    learner = bound()
    optimized = learner.init(jax.random.key(0))

    def losses_fn(params, model_state):
        forward = learner.setup.model.apply(params, model_state, INPUTS)
        return jnp.zeros(len(INPUTS)), forward

    @jax.jit
    def update(optimized, updates):
        return learner.update(optimized, losses_fn, updates, INPUTS, jax.random.key(1))[
            0
        ]

    initial = by_hand(optimized.train.initial_params)
    gaps = []
    for updates in range(3):
        outputs = by_hand(optimized.train.params)
        gaps.append(np.mean((outputs - SCALE * initial) ** 2))
        optimized = update(optimized, updates)
    assert gaps[0] > gaps[1] > gaps[2]


def test_strength_and_scale_may_differ_between_seeds():
    _, _, _, now = moved()
    pairs = jnp.array([[0.0, 1.0], [2.0, 3.0]])
    of_pair = lambda pair: penalty(now, strength=pair[0], scale=pair[1])
    together = jax.jit(jax.vmap(of_pair))(pairs)
    alone = [penalty(now, strength=float(a), scale=float(b)) for a, b in pairs]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_heads: expected at least 1; got 0"):
        infer(num_heads=0)
    with pytest.raises(ValueError, match="strength: expected at least 0"):
        infer(strength=-0.1)


def test_a_network_without_a_linear_head_is_refused():
    headless = plain()._replace(init=lambda key: ({"dense_0": {}}, {}))
    with pytest.raises(ValueError, match=r"head/kernel.*got layers dense_0"):
        infer().architecture(headless)


def test_heads_have_the_dtype_of_the_networks_head():
    def init(key):
        params, model_state = plain().init(key)
        return jax.tree.map(lambda x: x.astype(jnp.bfloat16), params), model_state

    model = infer().architecture(plain()._replace(init=init))
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
