"""The functional Atari route: exact resume, the games, the arithmetic, refusals."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import optax
import pytest
from flax import traverse_util

from plasticity_jax import interventions, optimizers
from plasticity_jax.learners.atari import functional
from plasticity_jax.learners.atari.environments import (
    PRESETS,
    Environments,
    Preprocessing,
)
from plasticity_jax.learners.atari.evaluation import play
from plasticity_jax.networks import NatureCNN
from plasticity_jax.types import Method
from tests.learners.atari_scenes import assert_same, flat

SETTINGS = {
    "num_envs": 2,
    "max_noops": 5,
    "max_episode_steps": 60,  # episodes end within the runs below
    "replay_capacity": 160,  # wraps within the runs below
    "min_replay_history": 120,
    "target_update_period": 40,
    "epsilon_decay_period": 200,
    "batch_size": 8,
    "probe_pool": 16,
}
ADAM = functools.partial(optimizers.adam, 1e-3)
RAINBOW = {"update_horizon": 3, "sampler": "prioritized"}
EVENTS = (interventions.redo(every_updates=20), interventions.l2_init(1e-3))


def build(method=Method(ADAM), seed=0, head="linear", **settings):  # noqa: B008
    support = {"support": (-10.0, 10.0)} if head == "c51" else {}

    def network_fn(num_actions, conv_impl):
        return NatureCNN(
            num_actions, "layer", width=0.125, head=head, conv_impl=conv_impl, **support
        )

    settings = functional.Settings(**SETTINGS | settings)
    return functional.make(network_fn, method, seed, settings)


@functools.cache
def rainbow(seed=0):
    """With interventions, lives, sticky actions and three games."""
    sticky = {"game": "Breakout", "num_envs": 3, "sticky_probability": 0.25}
    return build(Method(ADAM, EVENTS), seed, head="c51", **RAINBOW | sticky)


@functools.cache
def double():
    return build()


def unflat(arrays):
    return traverse_util.unflatten_dict(dict(arrays), sep="/")


CONTINUE = """
import sys
import numpy as np
from tests.learners.atari_functional_test import flat, rainbow, unflat

with np.load(sys.argv[1]) as file:
    state = rainbow().restore(unflat(file))
state = rainbow().advance(state, 30)
row, state = rainbow().metrics(state)
np.savez(sys.argv[2], **flat({"row": row, "state": rainbow().export(state)}))
"""


def test_resumes_exactly_in_a_new_process(tmp_path):
    learner, saved = rainbow(), tmp_path / "saved.npz"
    state = learner.advance(learner.init(), 41)
    np.savez(saved, **flat(learner.export(state)))
    state = learner.advance(state, 30)
    row, state = learner.metrics(state)  # its window spans the cut
    command = [sys.executable, "-c", CONTINUE, str(saved), str(tmp_path / "b.npz")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    with np.load(tmp_path / "b.npz") as file:
        continued = unflat(file)
    row = traverse_util.unflatten_dict(row, sep="/")
    assert_same({"row": row, "state": learner.export(state)}, continued)
    assert learner.updates(state) == 71
    assert row["train"]["episodes"] >= 3


def test_advance_may_be_cut_and_probes_change_nothing():
    learner = double()
    whole = learner.advance(learner.init(), 20)
    state = learner.init()
    measure = learner.measure(lambda view: view.loss_fn(view.params, view.batch, None))
    for num_updates in (5, 3, 12):
        state = learner.advance(state, num_updates)
        found = measure(learner.snapshot(state))
        assert found.shape == (1, SETTINGS["probe_pool"]) and np.isfinite(found).all()
    assert_same(learner.export(whole), learner.export(state))


def test_the_seed_decides_everything():
    first, again, other = (
        flat(learner.export(learner.advance(learner.init(), 3)))
        for learner in (build(), build(), build(seed=1))
    )
    assert_same(first, again)
    for name in ("agent/optimized/train/params/conv_0/kernel", "games/actions"):
        assert not np.array_equal(first[name], other[name])


def test_clocks_rows_and_exploration():
    learner = double()
    state = learner.init()
    assert state.env_steps == SETTINGS["min_replay_history"] and state.epsilon() == 1
    row, state = learner.metrics(learner.advance(state, 25))
    assert row["env_steps"] == 120 + 4 * 25 and row["frames"] == 4 * row["env_steps"]
    np.testing.assert_allclose(row["train/epsilon"], 1 - 0.9 * 100 / 200, rtol=1e-6)
    assert row["train/episodes"] == 2 * (row["env_steps"][0] // 2 // 60)
    assert row["train/episode_steps"] == 60 and np.isfinite(row["train/loss"]).all()
    row, _ = learner.metrics(state)
    assert "train/return" not in row and row["train/episodes"] == 0


def test_the_target_follows_at_its_period():
    learner = double()  # every 40 agent steps: 10 updates
    kernel = lambda tree: np.array(tree["conv_0"]["kernel"])
    state, copies = learner.init(), []
    before = kernel(state.agent_state.optimized.train.target_params)
    for _ in range(22):
        state = learner.advance(state, 1)
        train = state.agent_state.optimized.train
        if not np.array_equal(before, kernel(train.target_params)):
            copies.append(learner.updates(state))
            np.testing.assert_array_equal(
                kernel(train.params), kernel(train.target_params)
            )
        before = kernel(train.target_params)
    assert copies == [10, 20]


def test_what_is_learned_from_is_what_was_seen():
    """The stacks acted on are in the replay as they were, rewards clipped."""
    state = double().init()
    acted_on = [state._stack.copy()]
    for _ in range(30):
        state.play()
        acted_on.append(state._stack.copy())
    lanes, newest = np.arange(2), state.replay.count - 1
    for back, stacks in enumerate(reversed(acted_on[:-1])):
        times = np.full(2, newest - back)
        np.testing.assert_array_equal(state.replay.stacks(lanes, times), stacks)
    assert np.abs(state.replay.reward).max() <= 1


def test_divergence_is_dated():
    learner = build(optax.scale(np.nan))
    state = learner.init()
    state = learner.advance(state, 1)
    assert learner.failed_at(state).tolist() == [-1]
    state = learner.advance(state, 3)
    assert learner.failed_at(state).tolist() == [2]  # the first update made NaNs
    row, _ = learner.metrics(state)
    assert np.isnan(row["train/loss"]).all()


def test_evaluation_changes_nothing_and_counts_each_episode_once():
    learner = build(eval_episodes=3)
    state = learner.advance(learner.init(), 2)
    before = flat(learner.export(state))
    one, again = state.evaluate(3), state.evaluate(3)
    np.testing.assert_array_equal(one.returns, again.returns)
    assert one.steps.tolist() == [60] * 3 and len(one.frames) == 60
    assert not np.array_equal(one.frames[-1], state.evaluate(3, 1).frames[-1])
    assert_same(before, flat(learner.export(state)))
    row, _ = learner.metrics(state)
    assert row["eval/return"] == one.returns.mean() and row["eval/episode_steps"] == 60


def test_an_evaluated_return_is_the_games():
    """Three games by fixed actions, each until its own end."""
    settings = Preprocessing(0.0, 0, "ignored")
    actions = lambda frames, epsilon, number: np.array([number % 4] * 3)
    played = play(actions, Environments("Pong", 3, 0, settings), epsilon=0.0)
    games, number, paid = Environments("Pong", 1, 0, settings), 0, 0.0
    games.reset()
    while True:
        step = games.step(np.array([number % 4]))
        paid, number = paid + step.reward[0], number + 1
        if step.last[0]:
            break
    assert played.returns.tolist() == [paid] * 3 and paid < -15
    assert played.steps.tolist() == [number] * 3 and len(played.frames) == number


# The games.


@pytest.mark.parametrize("game", ["Breakout", "Pong"])
def test_games_go_on_after_their_actions_are_played_again(game):
    settings = Preprocessing(0.25, 5, max_episode_steps=90)
    games, chance = Environments(game, 3, 7, settings), np.random.default_rng(0)
    games.reset()
    lost = 0
    for _ in range(250):
        step = games.step(chance.integers(0, games.num_actions, 3))
        lost += (step.terminal & ~step.last).sum()
    assert (lost > 0) == (game == "Breakout")
    other = Environments(game, 3, 7, settings)
    other.load(games.save())
    for _ in range(150):
        np.testing.assert_array_equal(games.frame, other.frame)
        actions = chance.integers(0, games.num_actions, 3)
        for a, b in zip(games.step(actions), other.step(actions), strict=True):
            np.testing.assert_array_equal(a, b)
    assert games.num_frames == other.num_frames


def test_every_episode_has_a_seed_of_its_own():
    games = Environments("Seaquest", 2, 0, Preprocessing(max_episode_steps=40))
    games.reset()
    starts = [games.frame.copy()]
    for _ in range(120):
        if games.step(np.zeros(2)).last.all():
            starts.append(games.frame.copy())
    seeds = {games._episode_seed(lane) for lane in range(2)}
    assert len(starts) == 4 and len(seeds) == 2
    assert not np.array_equal(starts[0], starts[1])  # after other numbers of no-ops


def test_presets_are_the_literatures():
    assert PRESETS["dqn_zoo"] == functional.preprocessing(functional.Settings())
    assert PRESETS["dopamine"].sticky_probability == 0.25
    assert not PRESETS["dopamine"].full_action_space
    assert PRESETS["machado2018"].full_action_space
    assert Environments("Pong", 1, 0, PRESETS["machado2018"]).num_actions == 18


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"game": "Seaqest"}, r"got 'Seaqest'. Nearest: seaquest"),
        ({"agent": "rainbow"}, "agent: expected one of dqn, double_dqn"),
        ({"sampler": "uniforn"}, "Did you mean 'uniform'"),
        ({"life_loss": "ends"}, "life_loss: expected one of ignored, discount"),
        ({"replay_capacity": 40}, "replay_capacity: expected 42 or more"),
        ({"min_replay_history": 9}, "min_replay_history: expected 42 or more"),
        (
            {"replay_capacity": 10**12},
            r"take about 7056000.0 GB, .* available",
        ),
        ({"target_update_period": 30}, "expected a multiple of update_period = 4"),
        ({"discount": 1.5}, "discount: expected 0 to 1; got 1.5"),
        ({"num_envs": 0}, "num_envs: expected at least 1; got 0"),
    ],
)
def test_refuses_before_it_starts(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_noise_that_nobody_draws_is_refused():
    def network_fn(num_actions, conv_impl):
        return NatureCNN(num_actions, width=0.125, noisy=True, conv_impl=conv_impl)

    with pytest.raises(ValueError, match=r"network\.noisy: expected false"):
        functional.make(network_fn, Method(ADAM), 0, functional.Settings(**SETTINGS))


def test_restore_refuses_another_optimiser():
    saved = double().export(double().init())
    other = build(Method(functools.partial(optimizers.sgd, momentum=0.9)))
    with pytest.raises(ValueError, match="saved state is of another network, optim"):
        other.restore(unflat(flat(saved)))
