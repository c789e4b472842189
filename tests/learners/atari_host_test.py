"""The Atari host's ground: the emulator, and how Dopamine is imported."""

import functools
import subprocess
import sys

import ale_py
import numpy as np
import pytest

from plasticity_jax.learners.atari import compat
from plasticity_jax.learners.atari.emulator import NOOP, Emulator

pytest.importorskip("dopamine", reason=f"needs the extra: {compat.INSTALL}")
pytestmark = pytest.mark.dopamine


@pytest.mark.parametrize("game", ["pong", "breakout"])
def test_environment_is_dopamines(game):
    atari_lib = compat.load().atari_lib
    camel = game.title()
    theirs = atari_lib.create_atari_environment(camel, sticky_actions=False)
    emulator = Emulator(camel, sticky_probability=0.0, max_noops=0, seed=0)
    ours = atari_lib.AtariPreprocessing(emulator)
    theirs.environment.reset(seed=0)
    np.testing.assert_array_equal(theirs.reset(), ours.reset())
    draw = np.random.default_rng(0)
    for action in draw.integers(emulator.action_space.n, size=150).tolist():
        a, b = theirs.step(action), ours.step(action)
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1:3] == b[1:3]
        if a[2]:
            np.testing.assert_array_equal(theirs.reset(), ours.reset())


def test_sticky_actions_follow_the_stated_probability():
    emulator = Emulator("pong", sticky_probability=0.25, max_noops=0, seed=0)
    emulator.reset()
    num_frames, stuck = 2_000, 0
    for frame in range(num_frames):
        before, action = emulator.executed_action, 1 + frame % 5  # never the last one
        emulator.step(action)
        assert emulator.executed_action in (before, action)
        stuck += emulator.executed_action == before
    # 0.05: five standard deviations of the rate.
    assert abs(stuck / num_frames - 0.25) < 0.05
    emulator.sticky_probability = 1.0
    emulator.reset()
    emulator.step(1)
    assert emulator.executed_action == NOOP


@pytest.mark.parametrize("game", ["pong", "breakout", "montezuma_revenge"])
def test_restored_emulators_play_on_alike(game):
    build = functools.partial(Emulator, game, sticky_probability=0.25, max_noops=9)
    draw = np.random.default_rng(0)
    emulator = build(seed=0)
    emulator.reset()
    for _ in range(6):
        other = build(seed=1)
        other.load(emulator.save())
        for action in draw.integers(emulator.action_space.n, size=60).tolist():
            a, b = emulator.step(action), other.step(action)
            np.testing.assert_array_equal(a[0], b[0])
            assert a[1:] == b[1:]
            if a[2]:
                emulator.reset()
                other.reset()


def test_ales_own_sticky_actions_cannot_be_resumed():
    """When this fails, ALE saves the action it would repeat: `Emulator` may use it."""
    rom = ale_py.roms.get_rom_path("pong")

    def build(seed):
        ale = ale_py.ALEInterface()
        ale.setFloat("repeat_action_probability", 0.25)
        ale.setInt("random_seed", seed)
        ale.loadROM(rom)
        return ale

    ale, draw, parted = build(0), np.random.default_rng(0), False
    actions = ale.getMinimalActionSet()
    for _ in range(60):
        for index in draw.integers(len(actions), size=20):
            ale.act(actions[index])
        other = build(1)
        other.restoreSystemState(ale.cloneSystemState())
        for index in draw.integers(len(actions), size=6):
            ale.act(actions[index])
            other.act(actions[index])
            parted |= not np.array_equal(ale.getRAM(), other.getRAM())
        if parted:
            return
    pytest.fail("60 restored emulators played on alike")


def test_dopamine_still_drops_the_last_reward():
    """When this fails, mend `fill_replay` and the deviations in `dopamine`."""
    modules, found = compat.load(), []
    accumulator = modules.accumulator.TransitionAccumulator(4, 1, 0.99)
    for time in range(7):
        frame, over = np.full((2, 2), time, np.uint8), time == 6
        step = modules.elements.TransitionElement(frame, time, float(time), over, over)
        found.append([*accumulator.accumulate(step)])
    *before, last = found
    assert [len(items) for items in before] == [0, 1, 1, 1, 1, 1]
    assert [(x.action, x.reward, x.is_terminal) for x in last] == [(5, 5.0, True)] * 4


def test_without_the_extra_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dopamine", None)
    with pytest.raises(ImportError, match=r"pip install 'plasticity-jax\[dopamine\]'"):
        compat.load.__wrapped__()


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("dopamine.discrete_domains.atari_lib", "No module named 'baselines'"),
        ("tensorflow_probability.substrates.jax", "pytype_aval_mappings"),
    ],
)
def test_mend_is_still_needed(module, error):
    """When this fails, the mend in `compat` has become needless: delete it."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, text=True
    )
    assert done.returncode != 0 and error in done.stderr


def test_dopamine_still_forgets_the_replay_scheme():
    """When this fails, mend what `agents` says of prioritised replay."""
    modules = compat.load()
    samplers, buffer = modules.samplers, modules.replay_buffer
    make = functools.partial(samplers.PrioritizedSamplingDistribution, max_capacity=9)

    class Agent(modules.rainbow_agent.JaxRainbowAgent):
        def _build_replay_buffer(self):
            return buffer.ReplayBuffer(None, make(0), batch_size=2, max_capacity=9)

        def _build_networks_and_optimizer(self):
            pass

    assert Agent(3, replay_scheme="prioritized", seed=0)._replay_scheme == "uniform"


def test_dopamines_full_sum_tree_still_lacks_a_leaf():
    """When this fails, `agents` need not ask for one more."""
    sampler = compat.load().samplers.PrioritizedSamplingDistribution(0, max_capacity=4)
    for key in range(4):
        sampler.add(key, priority=1.0)
    with pytest.raises(IndexError):
        sampler.add(4, priority=1.0)  # the replay adds before it removes
