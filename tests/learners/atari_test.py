"""The Atari host: exact resume, Dopamine's own arithmetic, and refusals."""

import functools
import subprocess
import sys
import types
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from flax import traverse_util

from plasticity_jax import optimizers
from plasticity_jax.learners.atari import compat, dopamine
from plasticity_jax.networks import NatureCNN

pytest.importorskip("dopamine", reason=f"needs the extra: {compat.INSTALL}")
pytestmark = pytest.mark.dopamine

AGENTS = ("dqn", "double_dqn")
TX = optimizers.adam(1e-3)
POOL = 32
SETTINGS = {
    "game": "Pong",
    "replay_capacity": 120,  # wraps within the runs below
    "min_replay_history": 80,
    "target_update_period": 20,
    "epsilon_decay_period": 100,
    "max_episode_steps": 60,  # episodes end within the runs below
    "max_noops": 5,
    "probe_pool": POOL,
}


def network_fn(num_actions, conv_impl):
    return NatureCNN(num_actions, width=0.25, conv_impl=conv_impl)


def build(tx, seed=0, **settings):
    return dopamine.make(network_fn, tx, seed, dopamine.Settings(**settings))


@functools.cache
def make(agent="dqn", seed=0):
    return build(TX, seed, agent=agent, **SETTINGS)


def flat(tree):
    tree = jax.tree.map(np.array, tree)
    return traverse_util.flatten_dict(tree, sep="/")


def assert_same(a, b):
    a, b = flat(a), flat(b)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def differs(a, b):
    a, b = flat(a), flat(b)
    return [name for name in a if not np.array_equal(a[name], b[name])]


CONTINUE = """
import sys
import numpy as np
from flax import traverse_util
from tests.learners.atari_test import flat, make

saved, target, agent = sys.argv[1:]
with np.load(saved) as file:
    tree = traverse_util.unflatten_dict(dict(file), sep="/")
learner = make(agent)
state = learner.advance(learner.restore(tree), 40)
row, state = learner.metrics(state)
np.savez(target, **flat({"row": row, "state": learner.export(state)}))
"""


def test_resumes_exactly_in_a_new_process(tmp_path):
    learner = make("double_dqn")
    state = learner.advance(learner.init(), 40)
    np.savez(tmp_path / "saved.npz", **flat(learner.export(state)))
    state = learner.advance(state, 40)
    row, state = learner.metrics(state)  # its window spans the cut
    names = [str(tmp_path / name) for name in ("saved.npz", "continued.npz")]
    command = [sys.executable, "-c", CONTINUE, *names, "double_dqn"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    with np.load(names[1]) as file:
        continued = traverse_util.unflatten_dict(dict(file), sep="/")
    row = traverse_util.unflatten_dict(row, sep="/")
    assert_same({"row": row, "state": learner.export(state)}, continued)
    assert learner.updates(state) == 80


def test_resumes_exactly_with_lives_and_long_returns():
    settings = SETTINGS | {"game": "Breakout", "max_episode_steps": 1_000}
    settings |= {"terminal_on_life_loss": True, "update_horizon": 3}
    learner = build(TX, **settings)
    state = learner.advance(learner.init(), 40)
    other = learner.restore(learner.export(state))
    state, other = learner.advance(state, 40), learner.advance(other, 40)
    assert_same(learner.export(state), learner.export(other))
    row, _ = learner.metrics(state)
    assert row["train/episodes"][0] >= 1  # five lives were lost on the way


def test_advance_may_be_cut_and_probes_change_nothing():
    learner = make("double_dqn")
    whole = learner.advance(learner.init(), 20)
    state = learner.init()
    measure = learner.measure(lambda view: view.loss_fn(view.params, view.batch, None))
    for num_updates in (5, 3, 12):
        state = learner.advance(state, num_updates)
        measure(learner.snapshot(state))
    assert_same(learner.export(whole), learner.export(state))


def test_the_seed_decides_everything():
    first = make(seed=0).export(make(seed=0).advance(make(seed=0).init(), 5))
    again = make(seed=0).export(make(seed=0).advance(make(seed=0).init(), 5))
    assert_same(first, again)
    other = make(seed=1).export(make(seed=1).advance(make(seed=1).init(), 5))
    changed = differs(first["train"], other["train"])
    assert "online_params/conv_0/kernel" in changed
    assert differs(first["replay"]["generator"], other["replay"]["generator"])
    generators = [x["environment"]["emulator"]["generator"] for x in (first, other)]
    assert differs(*generators)


@pytest.mark.parametrize("agent", AGENTS)
def test_trains_as_dopamine_does(agent):
    """Dopamine's own `_train_step` and `_store_transition` give the same parameters."""
    learner, modules = make(agent), compat.load()
    ours, theirs = learner.init(), learner.init()
    base = {
        "dqn": modules.dqn_agent.JaxDQNAgent,
        "double_dqn": modules.full_rainbow_agent.JaxFullRainbowAgent,
    }[agent]
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


@pytest.mark.parametrize("agent", AGENTS)
def test_probed_loss_is_the_trained_loss(agent):
    learner, modules = make(agent), compat.load()
    state = learner.advance(learner.init(), 12)
    snapshot = learner.snapshot(state)
    assert snapshot["batch"].s_tm1.shape == (1, POOL, 84, 84, 4)
    assert snapshot["batch"].s_tm1.dtype == np.uint8

    def measure(view):
        row = jax.tree.map(lambda x: x[3:4], view.batch)
        return {
            "all": view.loss_fn(view.params, view.batch, None),
            "row": view.loss_fn(view.params, row, None),
            "q": view.apply_fn(view.params, view.inputs),
            "features": view.features_fn(view.params, view.inputs),
            "fresh": view.init_fn(jax.random.key(3)),
        }

    found = learner.measure(measure)(snapshot)
    found = jax.tree.map(lambda x: x[0], found)
    assert found["all"].shape == (POOL,)
    np.testing.assert_allclose(found["row"], found["all"][3:4], rtol=1e-4, atol=1e-7)
    assert [*found["features"]][-1] == "hidden_3"
    shapes = [
        jax.tree.map(np.shape, x) for x in (found["fresh"], state.agent.online_params)
    ]
    assert shapes[0] == shapes[1]

    hosted, batch = state.agent, jax.tree.map(lambda x: x[0], snapshot["batch"])
    gamma = hosted.cumulative_gamma
    common = [hosted.network_def, hosted.online_params, hosted.target_network_params]
    common += [hosted.optimizer, hosted.optimizer_state]
    common += [batch.s_tm1, batch.a_tm1, batch.s_t, batch.r_t, batch.discount_t == 0]
    if agent == "dqn":
        loss = modules.dqn_agent.train(*common, gamma, "huber")[2]
    else:
        weights, support = np.ones(POOL, np.float32), hosted._support
        args = (weights, support, gamma, True, False, False, hosted._rng)
        loss = modules.full_rainbow_agent.train(*common, *args)[3]
    np.testing.assert_allclose(found["all"].mean(), loss, rtol=1e-5)


def test_rows_cover_the_window_and_divergence_is_dated():
    tx = optax.scale(np.nan)
    learner = build(tx, **SETTINGS)
    state = learner.init()
    row, state = learner.metrics(learner.advance(state, 1))
    assert np.isfinite(row["train/loss"]).tolist() == [True]
    assert learner.failed_at(state).tolist() == [-1]
    row, state = learner.metrics(learner.advance(state, 30))
    assert np.isnan(row["train/loss"][0])
    assert learner.failed_at(state).tolist() == [2]  # the first update made NaNs
    assert row["train/episodes"].tolist() == [2]
    assert row["train/episode_steps"].tolist() == [SETTINGS["max_episode_steps"]]
    assert row["frames"][0] >= 4 * row["env_steps"][0] - 3
    row, _ = learner.metrics(state)
    assert "train/return" not in row
    assert row["train/episodes"].tolist() == [0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"game": "Seaqest"}, r"got 'Seaqest'. Nearest: seaquest"),
        ({"agent": "rainbow"}, "agent: expected one of dqn, double_dqn; got 'rainbow'"),
        ({"replay_capacity": 100}, "replay_capacity: expected 261 or more .* got 100"),
        ({"min_replay_history": 9}, "min_replay_history: expected 261 or more"),
        ({"replay_capacity": 10**12}, r"take about 7056000.0 GB, .* GB are available"),
        ({"batch_size": 1}, "batch_size: expected at least 2; got 1"),
        ({"discount": 1.5}, "discount: expected 0 to 1; got 1.5"),
    ],
)
def test_refuses_before_it_starts(settings, message):
    with pytest.raises(ValueError, match=message):
        build(TX, **settings)


def test_restore_refuses_another_optimiser():
    state = make().init()
    other = build(optimizers.sgd(momentum=0.9), **SETTINGS)
    with pytest.raises(
        ValueError, match="saved state is of another network, optimiser"
    ):
        other.restore(make().export(state))
