"""Points: settings that differ inside one program, and what a reader makes of them."""

import copy
import json
import re

import numpy as np
import pytest

from configs.block_mdp import dqn as dqn_config
from experiments import axis, points
from experiments.build import build
from experiments.runs import find_runs
from plasticity_jax.loop import run
from plasticity_jax.records import DiskRecords

POINTS = [
    {"learner.environment": "easy", "learner.discount": 0.5, "optimizer.b1": 0.8},
    {"learner.environment": "sparse", "learner.discount": 0.9, "optimizer.b1": 0.9},
]


def config(**changes):
    made = copy.deepcopy(dqn_config.get_config("quick").to_dict())
    made["probes"] = {"plasticity": {**made["probes"]["plasticity"], "num_steps": 4}}
    made["seeds"]["axis"] = "map"
    return made | {"total_updates": 8, "log_every": 4, "save_every": 8} | changes


def launch(config, workdir):
    records, experiment = DiskRecords(workdir), build(config)
    records.describe(config, {})
    run(experiment.learner, experiment.probes, records, **experiment.counts)
    records.close()
    return find_runs([workdir])


@pytest.mark.filterwarnings("ignore:probe times")
def test_a_point_is_what_its_settings_give_alone(tmp_path):
    together = launch(config(points=POINTS), tmp_path / "together")
    alone = config()
    alone["learner"].update(environment="sparse", discount=0.9)
    alone["optimizer"]["b1"] = 0.9
    (alone,) = launch(alone, tmp_path / "alone")
    sparse = together[1]
    assert [r.seeds for r in together] == [[0, 1], [0, 1]]
    assert sparse.label == "default, environment sparse, discount 0.9, b1 0.9"
    for section in ("learner", "optimizer"):
        assert sparse.config[section] == alone.config[section]
    assert "points" not in sparse.config
    assert sparse.metrics == alone.metrics
    for metric in alone.metrics:
        times, values = alone.series(metric)
        assert times.tolist() == sparse.series(metric)[0].tolist()
        np.testing.assert_allclose(sparse.series(metric)[1], values, rtol=1e-4)
    for name, array in alone.arrays("plasticity", 0).items():
        found = sparse.arrays("plasticity", 0)[name]
        np.testing.assert_allclose(found, array, rtol=1e-4)
    losses = [r.series("eval/td_loss")[1] for r in together]
    assert (losses[0] != losses[1]).all()
    # The two points of a seed start from the same network.
    starts = [r.series("eval/mean_abs_q")[1][:, 0] for r in together]
    np.testing.assert_array_equal(*starts)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([{}], "points[0]: expected the paths of the first point"),
        ([POINTS[0], {"learner.discount": 0.1}], "points[1]: expected the paths"),
        ([POINTS[0], POINTS[0]], "points[1]: expected another"),
        ([{"learner.batch_size": 4}], "learner.batch_size cannot differ inside one"),
        ([{"optimizer.kind": "sgd"}], "optimizer.kind cannot differ inside one"),
        ([{"interventions.0.tau": 0.1}], "interventions.0.tau cannot differ"),
        ([{"optimizer.b1": "high"}], "points[0].optimizer.b1: expected a number"),
        ([{"learner.discount": 2.0}], "points[0]: discount: expected"),
        ([{"learner.environment": "esay"}], "Did you mean 'easy'"),
    ],
)
def test_points_that_cannot_work_are_refused(made, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(config(points=made, probes={}))


def test_one_value_a_seed_holds_at_every_point():
    settings = config(interventions=[{"kind": "redo", "tau": [0.1, 0.2]}], probes={})
    settings["optimizer"] |= {"eps": [1e-8, 1e-3], "b1": [0.5, 0.6]}
    settings["points"] = POINTS  # b1 is theirs
    spread = points.spread(settings, 2)
    assert spread["optimizer"]["eps"] == [1e-8, 1e-3, 1e-8, 1e-3]
    assert spread["optimizer"]["b1"] == [0.8, 0.8, 0.9, 0.9]
    assert spread["interventions"][0]["tau"] == [0.1, 0.2, 0.1, 0.2]
    assert build(settings).learner.seeds == (0, 1, 0, 1)


def test_what_can_differ_is_what_a_program_takes_as_an_argument():
    settings = config(interventions=[{"kind": "redo", "tau": 0.1}])
    for path in ("optimizer.eps", "interventions.0.tau", "learner.reward_scale"):
        assert points.can_vary(settings, path)
    for path in ("interventions.0.every_updates", "network.width", "seeds.first"):
        assert not points.can_vary(settings, path)
    for path in ("learner.replay_capacity", "optimizer.schedule", "optimizer"):
        assert not points.can_vary(settings, path)


def test_an_axis_is_measured_once_and_remembered(tmp_path, monkeypatch, capsys):
    settings = config(probes={})
    assert axis.resolve(settings, tmp_path) == settings
    settings["seeds"]["axis"] = "auto"
    monkeypatch.setattr(axis, "MEASURED_UPDATES", 2)
    chosen = axis.resolve(settings, tmp_path)
    assert chosen["seeds"]["axis"] in ("vmap", "map")
    assert (
        f"seeds.axis: {chosen['seeds']['axis']} (2 updates" in capsys.readouterr().out
    )
    assert settings["seeds"]["axis"] == "auto"
    for remembered in ("vmap", "map"):
        stored = {"seeds": {"axis": remembered}}
        (tmp_path / "config.json").write_text(json.dumps(stored))
        assert axis.resolve(settings, tmp_path)["seeds"]["axis"] == remembered
    assert not capsys.readouterr().out
