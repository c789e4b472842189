"""Dopamine's agents: its own arithmetic, exact resume, and what probes see of them."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from atari_scenes import AGENTS, POOL, assert_same, batch_of, build, differs, make

from plasticity_jax import optimizers
from plasticity_jax.learners.atari import compat
from plasticity_jax.learners.atari.adapters import ImplicitAdapter, Quantiles
from plasticity_jax.losses.quantile import midpoints

pytest.importorskip("dopamine", reason=f"needs the extra: {compat.INSTALL}")
pytestmark = pytest.mark.dopamine
ALL = pytest.mark.parametrize("agent", AGENTS)


def dopamines(agent):
    modules = compat.load()
    return {
        "dqn": modules.dqn_agent.JaxDQNAgent,
        "double_dqn": modules.full_rainbow_agent.JaxFullRainbowAgent,
        "rainbow": modules.rainbow_agent.JaxRainbowAgent,
        "full_rainbow": modules.full_rainbow_agent.JaxFullRainbowAgent,
        "quantile": modules.quantile_agent.JaxQuantileAgent,
        "implicit_quantile": modules.implicit_quantile_agent.JaxImplicitQuantileAgent,
    }[agent]


@ALL
def test_trains_as_dopamine_does(agent):
    """Dopamine's own `_train_step` and `_store_transition` give the same parameters."""
    learner, base = make(agent), dopamines(agent)
    ours, theirs = learner.init(), learner.init()
    assert isinstance(theirs.agent, base)
    for name in ("_train_step", "_store_transition"):
        setattr(theirs.agent, name, types.MethodType(getattr(base, name), theirs.agent))
    for _ in range(60):
        ours.play_step()
        theirs.play_step()
    assert learner.updates(ours) >= 10
    a, b = learner.export(ours), learner.export(theirs)
    assert_same(a["train"], b["train"])
    assert_same(a["replay"], b["replay"])
    assert_same(a["agent"], b["agent"])


@ALL
def test_resumes_exactly_and_the_seed_decides_everything(agent):
    learner = make(agent)
    state = learner.advance(learner.init(), 7)
    saved = learner.export(state)
    other = learner.restore(saved)
    again = learner.advance(learner.init(), 7)
    assert_same(saved, learner.export(again))
    state, other = learner.advance(state, 8), learner.advance(other, 8)
    ended = learner.export(state)
    assert_same(ended, learner.export(other))
    assert_same(saved, learner.export(again))  # a copy, which nobody wrote to
    third = make(agent, seed=1).init()
    assert "replay/generator/words" in differs(saved, learner.export(third))
    if AGENTS[agent][0].get("sampler") == "prioritized":
        sums = ended["replay"]["priority_sums"]
        leaves = sums[len(sums) // 2 :]
        assert len(set(leaves)) > 20 and np.isclose(sums[0], leaves.sum())
        np.testing.assert_array_equal(leaves > 0, np.arange(len(leaves)) < 120)


@dataclasses.dataclass(frozen=True)
class Midpoints(ImplicitAdapter):
    """What a probe sees of an implicit quantile network."""

    def apply(self, params, x, num_quantiles, rng):
        levels = midpoints(num_quantiles)[:, None]
        values = self.network.apply({"params": params}, x[None], tau=levels.T)
        return Quantiles(values[0].T, levels)


@ALL
def test_probed_loss_is_the_trained_loss(agent):
    learner = make(agent)
    state = learner.advance(learner.init(), 12)
    snapshot = learner.snapshot(state)
    assert snapshot["batch"].s_tm1.shape == (1, POOL, 84, 84, 4)
    assert snapshot["batch"].s_tm1.dtype == np.uint8

    shapes = {}

    def measure(view):
        key, params = jax.random.key(3), view.params
        shapes["fresh"] = jax.eval_shape(view.init_fn, key)
        shapes["features"] = jax.eval_shape(view.features_fn, params, view.inputs)
        row = jax.tree.map(lambda x: x[3:4], view.batch)
        values, fitted = view.apply_fn(view.params, view.inputs), np.zeros(POOL)
        if view.predict_fn is not None:
            outputs, values = values, view.predict_fn(values)
            fitted = view.fit_loss_fn(outputs, values)
        return {
            "all": view.loss_fn(view.params, view.batch, None),
            "row": view.loss_fn(view.params, row, None),
            "values": values,
            "fitted": fitted,
        }

    found = learner.measure(measure)(snapshot)
    found = jax.tree.map(lambda x: x[0], found)
    assert found["all"].shape == found["fitted"].shape == (POOL,)
    assert found["values"].shape == (POOL, state.agent.num_actions)
    np.testing.assert_allclose(found["row"], found["all"][3:4], rtol=1e-4, atol=1e-7)
    assert [*shapes["features"]][-1] == "hidden_3"
    expected = jax.tree.map(np.shape, state.agent.online_params)
    assert jax.tree.map(np.shape, shapes["fresh"]) == expected

    # Dopamine's own loss on these transitions, weights of one, its draws fixed.
    hosted = state.agent
    hosted._replay_scheme = "uniform"
    if agent == "full_rainbow":
        hosted._rng = jax.random.PRNGKey(0)
    if agent == "implicit_quantile":
        hosted.network_def = Midpoints(hosted.network_def.network)
    hosted._update(batch_of(snapshot))
    np.testing.assert_allclose(found["all"].mean(), hosted.loss, rtol=1e-5)


def test_a_diverged_prioritised_agent_goes_on_to_date_it():
    learner = build(optimizers.sgd(1e30), agent="quantile")
    state = learner.advance(learner.init(), 4)
    assert 1 <= learner.failed_at(state)[0] <= 4
    assert np.isfinite(learner.export(state)["replay"]["priority_sums"]).all()


@pytest.mark.parametrize(
    ("agent", "network", "message"),
    [
        ("dqn", {"head": "c51"}, "head: expected linear or shared_bias for Dopamine's"),
        ("rainbow", {"head": "two_hot"}, "head: expected c51 for Dopamine's rainbow"),
        ("dqn", {"noisy": True}, "noisy: expected False .* full_rainbow does"),
        ("dqn", {"norm": "batch"}, "without running state"),
    ],
)
def test_refuses_networks_that_it_cannot_train(agent, network, message):
    with pytest.raises(ValueError, match=message):
        build(optimizers.sgd(), agent=agent, network=network)
