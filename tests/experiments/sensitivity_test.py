"""Final states measured with other probes, and how well the orders of arms agree."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from configs.block_mdp import interventions
from experiments import other_probes, rankings
from experiments.build import build
from experiments.remeasure import members
from experiments.sweeps import folder, grids
from plasticity_jax.loop import run
from plasticity_jax.records import DiskRecords
from plasticity_jax.statistics import kendall

ROOT = Path(__file__).parents[2]
POINTS = [{"learner.environment": name} for name in ("easy", "hard")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two points and two seeds; its targets are a teacher's, not chaotic."""
    config = json.loads(interventions.get_config("quick").to_json())
    plasticity = config["probes"]["plasticity"] | {"family": "random_teacher"}
    config |= {"points": POINTS, "total_updates": 20, "save_every": 20}
    config["probes"] = {"plasticity": plasticity | {"at": [0, 20]}}
    workdir = tmp_path_factory.mktemp("sweep") / "01-all"
    experiment, records = build(config), DiskRecords(workdir)
    records.describe(config, {"command": "a test"})
    run(experiment.learner, experiment.probes, records, **experiment.counts)
    records.close()
    return workdir


def recorded(workdir, point, seed):
    """The last row of a member."""
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if (row["point"], row["seed"]) == (point, seed)][-1]


def assert_recorded(rows, workdir, **tolerance):
    for row in rows:
        want = recorded(workdir, row["point"], row["seed"])
        for name in other_probes.REPORTED:
            np.testing.assert_allclose(row[name], want[f"probe/{name}"], **tolerance)


def test_the_configs_own_probe_gives_the_record_of_any_members(trained):
    chosen = [(1, 1), (0, 0)]
    rows = other_probes.measure(trained, chosen, "reference")
    assert [(row["point"], row["seed"]) for row in rows] == chosen
    assert_recorded(rows, trained, rtol=0)
    assert rows[0]["final_loss"] != rows[1]["final_loss"]
    assert all(row["updates"] == 20 and row["num_inputs"] == 32 for row in rows)


def test_theta_0_is_measured_beside_as_the_library_does(trained, monkeypatch):
    """Without what the run kept of theta_0, in one program and no fresh network."""
    saved = other_probes.load(trained)._replace(references={})
    monkeypatch.setattr(other_probes, "load", lambda workdir: saved)
    rows = other_probes.measure(trained, [(0, 0), (1, 0)], "reference")
    assert_recorded(rows, trained, rtol=2e-3)
    assert rows[0]["initial_loss"] == rows[1]["initial_loss"]  # one seed: one theta_0


def test_a_factor_of_the_rate_is_that_of_the_optimiser(trained):
    config = json.loads((trained / "config.json").read_text())
    config["optimizer"] |= {"kind": "adamw", "weight_decay": 0.1}
    slower = json.loads(json.dumps(config))
    slower["optimizer"]["learning_rate"] /= 3

    def step(view):
        grads = jax.tree.map(lambda x: x + 0.1, view.params)
        return view.tx.update(grads, view.tx.init(view.params), view.params)[0]

    learner, wanted = (build(c | {"probes": {}}).learner for c in (config, slower))
    state = learner.init()
    scaled = other_probes._at_rate(learner, other_probes.RATES["third_rate"])
    found, wanted = (
        other.measure(step)(other.snapshot(state)) for other in (scaled, wanted)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, wanted
    )


def test_members_that_are_not_there_are_refused(trained):
    saved = other_probes.load(trained)
    with pytest.raises(ValueError, match=r"among \(point, seed\) .* got \(2, 0\)"):
        members(saved.learner, {}, [(0, 0), (2, 0)])


def test_a_probe_differs_from_the_configs_in_one_thing():
    own = {"num_inputs": 256, "num_steps": 1_000, "opt_state": "fresh", "family": "x"}
    found = {name: other_probes.changes(name, own, 360) for name in other_probes.NAMES}
    unchanged = {"reference", *other_probes.RATES, *other_probes.KEYS}
    assert {name for name, changed in found.items() if not changed} == unchanged
    assert all(len(changed) == 1 for name, changed in found.items() if changed)
    assert found["half_pool"] == {"num_inputs": 128}
    assert found["whole_pool"] == {"num_inputs": 360}
    assert found["double_steps"] == {"num_steps": 2_000}


def test_a_probe_that_is_the_configs_own_again_is_left_out(trained):
    assert other_probes.measure(trained, [(0, 0)], "random_teacher") == []


def cell(arm, probe, seed, loss, *, rho=0.5, unsolved=0, failed="", **more):
    row = dict(arm=arm, probe=probe, seed=seed, final_loss=loss, rho=rho)
    row |= dict(unsolved_at_init=unsolved, failed_at=failed, updates=20)
    return {n: str(v) for n, v in (row | {"environment": "easy"} | more).items()}


def readings(losses, **more):
    """{probe: {arm: losses of seeds}} as the table's rows, arranged."""
    rows = [
        cell(arm, probe, seed, loss, **more.get(f"{probe}/{arm}", {}))
        for probe, arms in losses.items()
        for arm, values in arms.items()
        for seed, loss in enumerate(values)
    ]
    return rankings.by_environment(rows)["easy"]


ONE = {"a": [0.1, 0.3], "b": [0.2, 0.4], "c": [0.5, 0.5], "d": [0.9, 0.7]}


def test_agreement_is_kendalls_of_the_means():
    """Means .2 .3 .5 .8 against .2 .5 .3 .8: one pair of six is turned round."""
    other = ONE | {"b": [0.5, 0.5], "c": [0.2, 0.4]}
    found = rankings.agreement(
        readings({"other": other, "reference": ONE}), "other", "final_loss"
    )
    assert found.value == pytest.approx(4 / 6)
    taus = [  # of all resamples of two seeds: one of them twice, or both
        kendall(*np.array([[v[i] for v in x.values()] for x in (other, ONE)]))
        for i in (0, 1)
    ]
    assert found.low == pytest.approx(min(*taus, 4 / 6))
    assert (found.num_arms, found.num_seeds) == (4, 2)


def test_unsolved_arms_have_no_rho_and_failed_seeds_no_reading():
    both = readings(
        {"reference": ONE, "other": ONE},
        **{"other/d": {"unsolved": 1}, "reference/a": {"rho": 0.1}},
    )
    assert rankings.agreement(both, "other", "final_loss").num_arms == 4
    assert rankings.agreement(both, "other", "rho").num_arms == 3
    np.testing.assert_array_equal(
        rankings.ranks(both, "other", "final_loss"), [1, 2, 3, 4]
    )
    assert np.isnan(rankings.ranks(both, "other", "rho")[3])
    rows = [cell("a", "reference", s, 0.1 * s, failed="7" * (s == 2)) for s in range(4)]
    rows += [cell("b", "reference", s, 0.1, failed="") for s in range(4)]
    rows += [row | {"probe": "other"} for row in rows]
    found = rankings.by_environment(rows)["easy"]
    assert rankings.agreement(found, "other", "final_loss").num_seeds == 3
    assert found.of("other", "final_loss")[:, 0].tolist()[3] == pytest.approx(0.3)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.sensitivity", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture
def swept(tmp_path):
    """A sweep's folder, of which one run has ended and one has not."""
    config = json.loads(interventions.get_config("quick").to_json())
    points = []
    for arm in ("", "layer_norm"):
        for name in ("easy", "hard"):
            own = json.loads(json.dumps(config)) | {"label": arm or "default"}
            own["learner"]["environment"] = name
            own["network"]["norm"] = "layer" if arm else "none"
            points.append(grids.Point({"variants": arm}, own))
    sweep = tmp_path / "sweep"
    (sweep / "01-default" / "checkpoints" / "60").mkdir(parents=True)
    folder.describe(sweep, "the command", points, [[0, 1], [2, 3]])
    return sweep


def test_what_was_measured_is_kept_and_becomes_the_table(swept, tmp_path):
    (tmp_path / "out" / "parts").mkdir(parents=True)
    for probe in ("reference", "carry"):
        row = {"point": 1, "failed_at": None, "updates": 60, "devices": ["cpu", "cpu"]}
        row |= {"final_loss": 0.1, "rho": 0.2, "unsolved_at_init": 0.0, "commit": "abc"}
        part = tmp_path / "out" / "parts" / f"01-default--{probe}.json"
        part.write_text(json.dumps([row | {"seed": seed} for seed in (0, 1)]))
    flags = (swept, f"--out={tmp_path}/out", "--arms=none", "--environments=hard")
    found = command(*flags, "--probes=carry")
    assert found.returncode == 0, found.stderr
    assert "2 of 2 probes are there already" in found.stderr
    assert "hard, carry" in found.stdout
    with open(tmp_path / "out" / "sensitivity.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["probe"] for row in rows] == ["reference"] * 2 + ["carry"] * 2
    assert {(row["arm"], row["environment"]) for row in rows} == {("none", "hard")}
    assert rows[0]["devices"] == "cpu; cpu" and rows[0]["failed_at"] == ""
    other = command(*flags, "--probes=carry", "--seeds=0:1")
    assert other.returncode == 1
    assert other.stderr.startswith("error: --out=") and "Choose another" in other.stderr


def test_what_cannot_be_measured_is_one_line(swept, tmp_path):
    out = f"--out={tmp_path}/out"
    found = command(swept, out, "--arms=layer_norm")
    assert found.returncode == 1 and found.stderr.count("\n") == 1
    assert "expected a finished run" in found.stderr
    found = command(swept, out, "--arms=layer_nrm")
    assert "Did you mean 'layer_norm'" in found.stderr
    assert not (tmp_path / "out").exists()


def test_the_figure_shows_ranks_means_and_agreement():
    pytest.importorskip("matplotlib")
    from matplotlib import rc_context

    from experiments.figures import sensitivity
    from experiments.figures.style import RC

    swapped = ONE | {"a": [0.3, 0.5], "b": [0.1, 0.1]}
    found = readings(
        {"carry": swapped, "reference": ONE}, **{"carry/d": {"unsolved": 1}}
    )
    with rc_context(RC):
        figure = sensitivity.figure({"easy": found}).draw([])
    figure.draw_without_rendering()
    losses, rhos = figure.axes
    texts = [text.get_text() for text in losses.texts]
    assert texts[:4] == ["1  (0.20)", "2  (0.30)", "3  (0.50)", "4  (0.80)"]
    assert texts[4:] == ["2  (0.40)", "1  (0.10)", "3  (0.50)", "4  (0.80)"]
    assert [text.get_text() for text in rhos.texts][-1] == "–"
    labels = [label.get_text() for label in losses.get_xticklabels()]
    assert "τ 0.67" in labels[1] and labels[0].endswith("agreement:")
