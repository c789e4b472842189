"""The Atari host: exact resume, rows, seeds, and refusals."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import optax
import pytest
from atari_scenes import (
    SETTINGS,
    TX,
    assert_same,
    build,
    differs,
    flat,
    make,
    network_fn,
)

from plasticity_jax import interventions, optimizers
from plasticity_jax.learners.atari import compat, dopamine
from plasticity_jax.types import Method

pytest.importorskip("dopamine", reason=f"needs the extra: {compat.INSTALL}")
pytestmark = pytest.mark.dopamine

CASES = ("double_dqn", "full_rainbow")
EVENTS = dict(replacement_rate=0.1, maturity=2)


def learner_of(case):
    """Double DQN plain; full Rainbow with all that an agent can have to keep."""
    if case == "double_dqn":
        return make(case)
    optimizer = functools.partial(optimizers.adam, 1e-3)
    method = Method(
        optimizer,
        (
            interventions.l2_init(0.1),
            interventions.noise(0.1),
            interventions.continual_backprop(**EVENTS),
            interventions.reset_last_layer(every_updates=0),
        ),
    )
    return build(method, agent=case, network={"norm": "layer"})


CONTINUE = """
import sys
sys.path.insert(0, "tests/learners")
import numpy as np
from flax import traverse_util
from atari_scenes import flat
from atari_test import learner_of

folder, *cases = sys.argv[1:]
for case in cases:
    with np.load(f"{folder}/{case}.npz") as file:
        tree = traverse_util.unflatten_dict(dict(file), sep="/")
    learner = learner_of(case)
    state = learner.advance(learner.restore(tree), 12)
    row, state = learner.metrics(state)
    np.savez(f"{folder}/{case}_on.npz", **flat({"row": row, **learner.export(state)}))
"""


def test_resumes_exactly_in_a_new_process(tmp_path):
    ended = {}
    for case in CASES:
        learner = learner_of(case)
        state = learner.advance(learner.init(), 13)
        np.savez(tmp_path / f"{case}.npz", **flat(learner.export(state)))
        state = learner.advance(state, 12)
        row, state = learner.metrics(state)  # its window spans the cut
        assert learner.updates(state) == 25
        ended[case] = flat({"row": row, **learner.export(state)})
    command = [sys.executable, "-c", CONTINUE, str(tmp_path), *CASES]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    for case in CASES:
        with np.load(tmp_path / f"{case}_on.npz") as file:
            assert_same(ended[case], dict(file))
    kept = [name for name in ended["full_rainbow"] if "intervention_states" in name]
    assert any("utility" in name for name in kept)
    assert ended["full_rainbow"]["replay/largest_priority"] > 1


def test_resumes_exactly_with_lives_and_long_returns():
    settings = {"game": "Breakout", "max_episode_steps": 1_000}
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


def test_rows_cover_the_window_and_divergence_is_dated():
    tx = optax.scale(np.nan)
    learner = build(tx)
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
        ({"agent": "rainbows"}, "agent: expected one of dqn, .* mean 'rainbow'"),
        ({"sampler": "prioritised"}, "sampler: expected .* Did you mean 'prioritized'"),
        ({"sampler": "prioritized"}, "sampler: expected uniform for dqn"),
        ({"double_q": True}, "double_q: expected False but for implicit_quantile"),
        ({"replay_capacity": 100}, "replay_capacity: expected 261 or more .* got 100"),
        ({"min_replay_history": 9}, "min_replay_history: expected 261 or more"),
        ({"replay_capacity": 10**12}, r"take about 7056000.0 GB, .* GB are available"),
        ({"batch_size": 1}, "batch_size: expected at least 2; got 1"),
        ({"discount": 1.5}, "discount: expected 0 to 1; got 1.5"),
    ],
)
def test_refuses_before_it_starts(settings, message):
    with pytest.raises(ValueError, match=message):
        dopamine.make(network_fn(), TX, 0, dopamine.Settings(**settings))


def test_restore_refuses_another_optimiser():
    state = make().init()
    other = build(optimizers.sgd(momentum=0.9))
    with pytest.raises(
        ValueError, match="saved state is of another network, optimiser"
    ):
        other.restore(make().export(state))
