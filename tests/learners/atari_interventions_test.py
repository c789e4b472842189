"""Interventions on Dopamine's agents: in their optimiser, and after their updates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from atari_scenes import assert_same, batch_of, build, differs, flat, make

from plasticity_jax import interventions, optimizers, trees
from plasticity_jax.interventions import compose
from plasticity_jax.learners.atari import compat, hosted
from plasticity_jax.types import Method

pytest.importorskip("dopamine", reason=f"needs the extra: {compat.INSTALL}")
pytestmark = pytest.mark.dopamine
ADAM = functools.partial(optimizers.adam, 1e-3)
PERIOD = 5  # updates between copies: 20 agent steps, 4 an update


def on(*chosen, optimizer=ADAM, **settings):
    return build(Method(optimizer, chosen), **settings)


def by_update(learner, count):
    """Yields (the agent before, after) each of some updates."""
    state = learner.init()
    for _ in range(count):
        before = dict(vars(state.agent))
        state = learner.advance(state, 1)
        yield before, state.agent


def test_l2_init_adds_its_pull_to_dopamines_gradient():
    rate, strength = 0.05, 0.3
    sgd = functools.partial(optimizers.sgd, rate)
    learner = on(interventions.l2_init(strength), optimizer=sgd)
    plain = on(optimizer=sgd)
    state, other = learner.advance(learner.init(), 6), plain.init()
    agent, batch = state.agent, batch_of(learner.snapshot(state))
    start, theta_0 = agent.online_params, agent.initial_params
    assert trees.norm(trees.sub(start, theta_0)) > 1e-3
    other.agent.online_params = start
    other.agent.target_network_params = agent.target_network_params
    agent._update(batch)
    other.agent._update(batch)
    want = jax.tree.map(
        lambda after, before, then: after - rate * strength * (before - then),
        other.agent.online_params, start, theta_0,
    )  # fmt: skip
    for name, value in flat(agent.online_params).items():
        np.testing.assert_allclose(value, flat(want)[name], rtol=1e-5, atol=1e-7)
    assert not hasattr(learner.snapshot(state)["opt_state"], "initial_params")


def test_the_key_of_an_update_is_a_function_of_its_number():
    def update(grads, state, params=None, *, key, initial_params):
        del params, initial_params
        return jax.tree.map(lambda g: jax.random.normal(key, g.shape), grads), state

    inner = optax.GradientTransformationExtraArgs(optax.init_empty_state, update)
    key, params = jax.random.key(5), {"w": jnp.zeros(3)}
    tx = hosted.supply(inner, key)
    state = tx.init(params)
    for number in range(3):
        steps, state = tx.update(params, state, params=params)
        own = jax.random.fold_in(trees.named_key(key, "optimizer"), number)
        np.testing.assert_array_equal(steps["w"], jax.random.normal(own, (3,)))


def test_decoupled_decay_acts_in_dopamines_chain():
    rate, strength = 0.05, 0.3
    sgd = functools.partial(optimizers.sgd, rate)
    learner = on(interventions.weight_decay(strength), optimizer=sgd)
    plain = on(optimizer=sgd)
    state, other = learner.advance(learner.init(), 1), plain.advance(plain.init(), 1)
    start = flat(state.agent.initial_params)
    for name, value in flat(other.agent.online_params).items():
        want = value - rate * strength * start[name]
        got = flat(state.agent.online_params)[name]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)


def test_events_of_period_0_meet_the_copies_to_the_target():
    learner, fired = on(interventions.reset_last_layer(every_updates=0)), []
    for update, (before, agent) in enumerate(by_update(learner, 2 * PERIOD + 1)):
        copied = not differs(
            agent.target_network_params["conv_0"], agent.online_params["conv_0"]
        )
        theta, target = agent.online_params, agent.target_network_params
        if copied:
            fired.append(update)
            assert differs(theta, target) == ["head/bias", "head/kernel"]
            assert not np.any(theta["head"]["bias"])
        else:
            assert np.abs(theta["head"]["kernel"] - _head(before)).max() < 2e-3
    assert np.diff(fired).tolist() == [PERIOD] * (len(fired) - 1) and len(fired) >= 2


def _head(agent):
    return agent["online_params"]["head"]["kernel"]


def test_redo_recycles_a_dead_unit_and_no_other():
    learner = on(interventions.redo(tau=0.0, every_updates=PERIOD))
    state = learner.init()
    params = jax.tree.map(jnp.asarray, state.agent.online_params)
    dense = params["dense_3"]
    dense["kernel"] = dense["kernel"].at[:, 2].set(0.0)
    dense["bias"] = dense["bias"].at[2].set(-9.0)  # for good
    state.agent.online_params = params
    for _ in range(PERIOD):
        before = state.agent.online_params
        state = learner.advance(state, 1)
        after = state.agent.online_params
        if after["dense_3"]["bias"][2] == 0:
            break
    kernel = after["dense_3"]["kernel"]
    assert np.std(kernel[:, 2]) > 0.5 / np.sqrt(len(kernel))
    assert not np.any(after["head"]["kernel"][2])
    gap = np.abs(kernel - before["dense_3"]["kernel"])
    gap = np.where(kernel == 0, 0, gap)  # what a recycled channel gives
    changed = gap.max(axis=0) > 2e-3  # more than Adam's step
    alive = np.arange(len(changed)) != 2
    fresh = np.any(after["head"]["kernel"], axis=1)
    assert not changed[alive & fresh].any() and fresh.sum() > 5


def test_both_kinds_act_and_resume_exactly():
    chosen = (
        interventions.l2_init(0.1),
        interventions.redo(tau=0.5, every_updates=PERIOD),
        interventions.hare_tortoise(decay=0.5),
    )
    learner = on(*chosen)
    state = learner.advance(learner.init(), 7)
    other = learner.restore(learner.export(state))
    state, other = learner.advance(state, 7), learner.advance(other, 7)
    saved = learner.export(state)
    assert_same(saved, learner.export(other))
    assert "conv_0" in saved["train"]["intervention_states"]["2"]["1"]
    plain = make().export(make().advance(make().init(), 3))["train"]
    acted = learner.export(learner.advance(learner.init(), 3))["train"]
    assert "conv_0/kernel" in differs(plain["online_params"], acted["online_params"])


def test_probes_see_the_optimiser_that_probes_have():
    chosen = (interventions.l2_init(0.1), interventions.l2_penalty(0.1))
    learner = on(*chosen)
    state = learner.advance(learner.init(), 2)

    def measure(view):
        steps, _ = view.tx.update(view.params, view.opt_state, view.params)
        return trees.norm(steps)

    assert np.isfinite(learner.measure(measure)(learner.snapshot(state)))[0]
    want = compose.chain(Method(ADAM, chosen), in_probes=True)
    shapes = jax.eval_shape(want.init, state.agent.online_params)
    found = learner.snapshot(state)["opt_state"]
    found = compose.probe_state(Method(ADAM, chosen), found)
    assert jax.tree.structure(found) == jax.tree.structure(shapes)


@pytest.mark.parametrize(
    ("chosen", "settings", "message"),
    [
        (interventions.parseval(), {}, "parseval adds to the loss, .* l2_init or redo"),
        (interventions.infer(), {}, "infer adds to the loss"),
        (interventions.plasticity_injection(), {}, "keeps a state beside its param"),
        (interventions.redo(every_updates=7), {}, "a multiple or a divisor of 5"),
        (
            interventions.redo(),
            {"target_update_period": 22},
            "a multiple of update_period = 4; got 22",
        ),
        (interventions.nap(), {}, "nap: expected a norm"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_refuses_what_dopamines_agents_cannot_have(chosen, settings, message):
    with pytest.raises(ValueError, match=message):
        on(chosen, **settings)


def test_a_finished_chain_is_refused_where_counts_are_shared():
    with pytest.raises(ValueError, match="count"):
        on(interventions.redo(every_updates=PERIOD), optimizer=optax.adam(1e-3))
