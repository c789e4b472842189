"""The functional route beside Dopamine: games, losses, updates, returns, schedules."""

import collections
import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import optimizers
from plasticity_jax.learners.atari import agent as functions
from plasticity_jax.learners.atari import compat, functional
from plasticity_jax.learners.atari.agents import Adapter
from plasticity_jax.learners.atari.emulator import Emulator
from plasticity_jax.learners.atari.environments import PRESETS, Environments
from plasticity_jax.learners.atari.replay import Batch, FrameReplay
from plasticity_jax.learners.atari.sampling import Prioritized
from plasticity_jax.networks import NatureCNN
from plasticity_jax.types import Method
from tests.learners.atari_functional_test import ADAM, SETTINGS

pytest.importorskip("dopamine", reason=f"needs the extra: {compat.INSTALL}")
pytestmark = pytest.mark.dopamine

NUM_ACTIONS = 6
RMSPROP = functools.partial(
    optimizers.rmsprop, 2.5e-4, decay=0.95, eps=0.01 / 32**2, centered=True
)


@pytest.mark.parametrize("game", ["Pong", "Breakout", "Seaquest"])
def test_frames_and_rewards_are_dopamines(game):
    preset = PRESETS["dopamine"]._replace(sticky_probability=0.0)
    games = Environments(game, 2, 0, preset)
    games.reset()
    emulator = Emulator(game, sticky_probability=0.0, max_noops=0, seed=0)
    theirs = compat.load().atari_lib.AtariPreprocessing(emulator)
    np.testing.assert_array_equal(theirs.reset()[..., 0], games.frame[1])
    chance, paid = np.random.default_rng(1), 0.0
    for action in chance.integers(games.num_actions, size=400).tolist():
        frame, reward, over, _ = theirs.step(action)
        step = games.step(np.array([0, action]))
        assert reward == step.reward[1] and over == step.last[1] == step.terminal[1]
        paid += abs(reward)
        if over:
            frame = theirs.reset()
        np.testing.assert_array_equal(frame[..., 0], games.frame[1])
    assert paid > 0


class Categorical(Adapter):
    """A network with a C51 head, as Dopamine's Rainbow calls it."""

    Output = collections.namedtuple("Output", "q_values logits probabilities")

    def apply(self, params, x, support, **unused):
        (logits,) = self.network.apply({"params": params}, x[None])
        probabilities = jax.nn.softmax(logits)
        values = jnp.sum(support * probabilities, axis=1)
        return self.Output(values, logits, probabilities)


def batch_of(count, seed=0):
    chance = np.random.default_rng(seed)
    frames = lambda: chance.integers(0, 256, (count, 4, 84, 84)).astype(np.uint8)
    alive = chance.random(count) < 0.7
    discounts = (0.99 * alive).astype(np.float32)
    rewards = chance.integers(-1, 2, count).astype(np.float32)
    actions = chance.integers(0, NUM_ACTIONS, count).astype(np.int32)
    return Batch(frames(), actions, rewards, discounts, frames())


def dopamine_arguments(adapter, train, tx, batch):
    moved = functions.to_transition(batch)
    terminal = batch.discount_t == 0
    return (
        adapter, train.params, train.target_params, tx, train.opt_state,
        moved.s_tm1, batch.a_tm1, moved.s_t, batch.r_t, terminal,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["dqn", "double_dqn", "rainbow"])
def test_losses_and_updates_are_dopamines(kind):
    """One step from equal parameters, online and target apart, on the same batch."""
    modules, count = compat.load(), 16
    head = {"head": "c51", "support": (-10.0, 10.0)} if kind == "rainbow" else {}
    network = NatureCNN(
        NUM_ACTIONS, "layer", width=0.25, padding="VALID", conv_impl="lax", **head
    )
    settings = functional.Settings(agent=kind if kind != "rainbow" else "dqn")
    parts = functional._parts(network, Method(RMSPROP), settings, NUM_ACTIONS)
    agent = functions.make(parts, parts)
    state, other = agent.init(jax.random.key(0)), agent.init(jax.random.key(1))
    train = state.optimized.train
    train = train._replace(target_params=other.optimized.train.params)
    state = state._replace(optimized=state.optimized._replace(train=train))
    batch, tx = batch_of(count), parts.bind(()).setup.tx
    weights = np.random.default_rng(2).random(count).astype(np.float32) + 0.1

    arguments = dopamine_arguments(Adapter(network), train, tx, batch)
    if kind == "dqn":
        weights[:] = 1
        _, params, loss = modules.dqn_agent.train(*arguments, 0.99, "huber")
        mean = loss
    elif kind == "double_dqn":
        key = jax.random.PRNGKey(0)
        _, params, losses, mean, _ = modules.full_rainbow_agent.train(
            *arguments, weights, None, 0.99, True, False, False, key
        )
    else:
        train_rainbow = importlib.import_module(
            "dopamine.jax.agents.rainbow.rainbow_agent"
        ).train
        arguments = (Categorical(network), *arguments[1:])
        support = jnp.linspace(-10.0, 10.0, 51)
        _, params, losses, mean = train_rainbow(*arguments, weights, support, 0.99)

    before = jax.tree.map(np.array, train.params)
    learned, ours = agent.learn(state, np.uint32(0), batch, weights)
    row, _ = agent.metrics(learned)
    np.testing.assert_allclose(row["train/loss"], mean, rtol=1e-5)
    if kind != "dqn":
        np.testing.assert_allclose(ours, losses, rtol=1e-5, atol=1e-7)
    moved = jax.tree.map(np.subtract, learned.optimized.train.params, before)
    theirs = jax.tree.map(np.subtract, params, before)
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=3e-8)  # of parameters of .2


def test_returns_over_a_scripted_episode_are_dopamines():
    """Up to the episode's last steps, which Dopamine 4.1.2 ends one step early."""
    modules, horizon, length = compat.load(), 3, 30
    accumulator = modules.accumulator.TransitionAccumulator(4, horizon, 0.99)
    memory = FrameReplay(60, 1, horizon=horizon, discount=0.99)
    chance = np.random.default_rng(0)
    found = []
    for time in range(length):
        frame = chance.integers(0, 256, (84, 84)).astype(np.uint8)
        action, reward = int(chance.integers(4)), float(chance.integers(-1, 2))
        memory.add(frame[None], [action], [reward], [False], [False])
        step = modules.elements.TransitionElement(frame, action, reward, False, False)
        found += [(time - horizon, x) for x in accumulator.accumulate(step)]
    # Theirs begins its stacks with the episode's fourth frame.
    assert [time for time, _ in found if time >= 3] == list(range(3, length - horizon))
    for time, theirs in found:
        ours = memory.draw(np.array([0]), np.array([time]))
        stacked = functions.to_transition(ours)
        np.testing.assert_allclose(ours.r_t[0], theirs.reward, atol=1e-6)
        assert ours.a_tm1[0] == theirs.action
        np.testing.assert_array_equal(stacked.s_tm1[0], theirs.state)
        np.testing.assert_array_equal(stacked.s_t[0], theirs.next_state)


def test_priorities_are_dopamines():
    modules = compat.load()
    theirs = modules.samplers.PrioritizedSamplingDistribution(max_capacity=32, seed=0)
    memory = FrameReplay(32, 1, horizon=1, discount=0.99)
    ours, chance = Prioritized(memory), np.random.default_rng(0)
    frame = np.zeros((1, 84, 84), np.uint8)
    for time in range(20):
        memory.add(frame, [0], [0.0], [False], [False])
        ours.added()
        if time:  # a step can be drawn when the next is there
            largest = theirs._sum_tree.max_recorded_priority
            theirs.add(time - 1, priority=largest)
        if time > 4:
            drawn = ours.draw(4, chance)
            losses = (5 * chance.random(4)).astype(np.float32)
            keys, last = np.unique(drawn.times[::-1], return_index=True)
            priorities = np.sqrt(losses[::-1][last] + 1e-10)
            theirs.update(keys.astype(np.int32), priorities=priorities)
            ours.update(drawn, losses)
        index = np.array([theirs._index_by_key[key] for key in range(time)], int)
        wanted = theirs._sum_tree.get(index) if time else []
        np.testing.assert_allclose(ours.tree.leaves[:time], wanted, rtol=1e-6)
    np.testing.assert_allclose(ours.tree.total, theirs._sum_tree.root, rtol=1e-6)
    drawn = ours.draw(8, chance)
    probs = theirs._sum_tree.get(drawn.times) / theirs._sum_tree.root
    weights = 1 / np.sqrt(probs + 1e-10)
    np.testing.assert_allclose(drawn.weights, weights / weights.max(), rtol=1e-5)


def test_exploration_decays_as_dopamines():
    schedule = compat.load().dqn_agent.linearly_decaying_epsilon
    learner = functional.make(
        lambda n, impl: NatureCNN(n, width=0.125, conv_impl=impl),
        Method(ADAM), 0, functional.Settings(**SETTINGS),
    )  # fmt: skip
    state = learner.init()
    start, decay = SETTINGS["min_replay_history"], SETTINGS["epsilon_decay_period"]
    for state.env_steps in range(0, start + 2 * decay, 7):
        wanted = schedule(decay, state.env_steps, start, 0.1)
        np.testing.assert_allclose(state.epsilon(), wanted, rtol=1e-6)


@pytest.mark.parametrize("kind", ["dqn", "rainbow"])
def test_networks_are_as_large_as_dopamines(kind):
    networks = importlib.import_module("dopamine.jax.networks")
    state, key = jnp.zeros((84, 84, 4)), jax.random.key(0)
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    if kind == "dqn":
        theirs = networks.NatureDQNNetwork(NUM_ACTIONS).init
        shapes = jax.eval_shape(theirs, key, state)
        ours = NatureCNN(NUM_ACTIONS)
    else:
        theirs = networks.RainbowNetwork(NUM_ACTIONS, num_atoms=51).init
        shapes = jax.eval_shape(theirs, key, state, jnp.linspace(-10.0, 10.0, 51))
        ours = NatureCNN(NUM_ACTIONS, head="c51", support=(-10.0, 10.0), num_atoms=51)
    params = jax.eval_shape(ours.init, key, state[None])["params"]
    assert count(shapes) == count(params)
