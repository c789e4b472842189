"""Sweeps: grids into configs, configs into groups, groups into runs that go on."""

import copy
import csv
import fcntl
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from experiments.overrides import assign
from experiments.sweeps import folder, grids
from experiments.sweeps.groups import check, divide, join
from experiments.sweeps.jobs import Job, run_all

ROOT = Path(__file__).parents[2]
CONFIG = {
    "label": "default",
    "learner": {"kind": "dqn", "environment": "easy"},
    "network": {"kind": "mlp", "hidden": [8]},
    "optimizer": {"kind": "adam", "learning_rate": 0.1},
    "interventions": [{"kind": "redo", "tau": 0.1}],
    "seeds": {"first": 5, "count": 4},
    "total_updates": 10,
    "log_every": 5,
    "save_every": 5,
}
VARYING = ("learner.environment", "optimizer.learning_rate", "interventions.0.tau")


def can_vary(config, path):
    del config
    return path in VARYING


def get_config(names=""):
    """A config file's: the variant `small` halves the layer, `hard` is a factor's."""
    config = ConfigDict(copy.deepcopy(CONFIG))
    for name in filter(None, names.split(",")):
        config.label = name if config.label == "default" else f"{config.label}, {name}"
        if name == "small":
            config.network.hidden = [4]
        if name == "hard":
            config.learner.environment = "hard"
    return config


MODULE = SimpleNamespace(get_config=get_config)


def expand(*found, names="", changes=()):
    return grids.expand(MODULE, names, found, changes)


def divided(points, **limits):
    limits = {"max_members": 24, "processes": 1, **limits}
    return divide([point.config for point in points], can_vary, **limits)


def test_every_combination_of_every_grid_once():
    points, repeats = expand(
        {"variants": ["", "small"], "optimizer.learning_rate": [0.1, 0.2]},
        {"variants": ["hard"]},
        {"learner.environment": ["easy", "hard"]},  # both are there
        changes=["total_updates=7"],
    )
    told = [
        (p.factors["variants"], p.factors["optimizer.learning_rate"],
         p.factors["learner.environment"], p.config["network"]["hidden"])
        for p in points
    ]  # fmt: skip
    assert told == [
        ("", 0.1, "easy", [8]), ("", 0.2, "easy", [8]), ("small", 0.1, "easy", [4]),
        ("small", 0.2, "easy", [4]), ("hard", 0.1, "hard", [8]),
    ]  # fmt: skip
    assert repeats == 2
    assert {p.config["total_updates"] for p in points} == {7}


def test_equal_numbers_are_one_value():
    points, repeats = expand({"optimizer.learning_rate": [1e-3, 0.001, 1, 1.0]})
    assert len(points) == 2 and repeats == 2
    assert grids.exact({"b": [1.0, True], "a": 1e-8}) == '{"a": 1e-08, "b": [1, true]}'


def test_a_folders_name_is_short_in_bytes():
    points, _ = expand({"variants": ["", "small"], "optimizer.kind": ["\u6f22" * 300]})
    points = [p._replace(factors={"variants": f"\u6f22{p}"}) for p in points]
    for group in join(points, [[0], [1]]):
        assert len(group.slug.encode()) <= 100


def test_a_section_comes_before_what_changes_it():
    cnn = {"kind": "cnn", "hidden": [3]}
    points, _ = expand({"network.norm": ["layer"], "network": [cnn]}, names="small")
    assert points[0].config["network"] == {**cnn, "norm": "layer"}
    assert points[0].config["label"] == "small"


def test_what_one_program_can_run_is_one_group():
    points, _ = expand(
        {
            "network.hidden": [[8], [16]],
            "optimizer.learning_rate": [0.1, 0.2, 0.3],
            "interventions.0.tau": [0.1, 0.2],
        }
    )
    assert divided(points) == [[*range(6)], [*range(6, 12)]]  # 6 x 4 seeds = 24
    halves = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert divided(points, max_members=23) == halves
    assert divided(points, processes=3) == [[0, 1, 2], [3, 4, 5], [*range(6, 12)]]
    assert divided(points, max_members=1, processes=99) == [[i] for i in range(12)]


def test_variants_that_change_only_what_can_vary_share_a_program():
    points, _ = expand({"variants": ["", "hard", "small"]})
    groups = join(points, divided(points))
    assert [group.slug for group in groups] == ["01-all", "02-small"]
    assert [group.config["label"] for group in groups] == ["default", "small"]
    environments = [{"learner.environment": name} for name in ("easy", "hard")]
    assert groups[0].config["points"] == environments


def test_a_missing_setting_is_another_program_than_one_with_a_value():
    points, _ = expand({"optimizer": [{"kind": "adam"}, CONFIG["optimizer"]]})
    assert divided(points) == [[0], [1]]


def test_the_points_of_a_group_give_back_every_config():
    points, _ = expand(
        {
            "network": [CONFIG["network"], {"kind": "cnn", "hidden": [3]}],
            "optimizer.learning_rate": [0.1, 0.2, 0.3],
            "learner.environment": ["easy", "hard"],
            "seeds.count": [1, 3],
        }
    )
    groups = join(points, divided(points, max_members=6))
    found = []
    for group in groups:
        config = {n: v for n, v in group.config.items() if n != "points"}
        for values in group.config.get("points", [{}]):
            found.append(copy.deepcopy(config))
            for path, value in values.items():
                assign(found[-1], path, value)
        assert group.num_members <= 6
        assert group.total == group.num_members * 10
    without = lambda config: {n: v for n, v in config.items() if n != "label"}
    said = Counter(grids.exact(without(point.config)) for point in points)
    assert Counter(grids.exact(without(config)) for config in found) == said
    assert len({group.slug for group in groups}) == len(groups)
    assert groups[0].slug == "01-mlp-count=1"
    assert groups[-1].config["label"] == "cnn, learning_rate 0.3, count 3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"learnr.environment": ["easy"]}', "Did you mean 'learner'"),
        ('{"variant": ["small"]}', "Did you mean 'variants'"),
        ('{"learner.environment": "easy"}', "expected a list of values; got 'easy'"),
        ('{"learner.environment": []}', "expected a list of values; got"),
        ('{"a"', "expected JSON"),
        ("[3]", "expected an object"),
        ('{"variants": ["", 3]}', "--grid: variants: expected a str; got 3"),
        ('{"variants": [null]}', "--grid: variants: expected a str; got None"),
        ('{"seeds.count": [0]}', "seeds.count: expected at least 1; got 0"),
        ('{"seeds.count": ["4"]}', "seeds.count: expected a whole number; got '4'"),
        ('{"seeds": [{"count": 1.5}]}', "seeds.count: expected a whole number"),
        ('{"total_updates": [5], "total_updates": [6]}', "expected each name once"),
        ('{"network": ["mlp"]}', "config.network: expected a Mapping"),
        ('{"interventions.1.tau": [1]}', "expected a place from 0 to 0"),
        ('{"points": [[{"optimizer.learning_rate": 1}]]}', "a sweep makes them"),
    ],
)
def test_bad_grids_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        expand(*grids.read(MODULE, "", [text]))


def test_what_cannot_be_built_is_refused_with_its_group():
    points, _ = expand({"learner.enviroment": ["easy"], "network.hidden": [[8], [9]]})
    with pytest.raises(ValueError, match=r"01-hidden=8: .*Did you mean 'environment'"):
        check(join(points, divided(points)))


def test_a_config_file_may_have_grids_of_its_own(tmp_path):
    with pytest.raises(ValueError, match="has no get_grids"):
        grids.read(MODULE, "", [])
    file = tmp_path / "study.py"
    file.write_text(
        "def get_config(names): ...\n"
        "def get_grids(names): return [{'variants': (names, 'b')}]\n"
    )
    assert grids.read(*grids.load(f"{file}:a,c"), []) == [{"variants": ["a,c", "b"]}]
    with pytest.raises(ValueError, match="get_grids returns none"):
        grids.read(SimpleNamespace(get_grids=lambda names: []), "", [])
    for bad in (tmp_path / "none.py", tmp_path / "study"):
        with pytest.raises(ValueError, match="--config="):
            grids.load(str(bad))


def test_seeds_are_a_range():
    assert grids.seeds("100:108") == (100, 8)
    for bad in ("8", "8:8", "-1:3", "a:b"):
        with pytest.raises(ValueError, match="expected first:stop"):
            grids.seeds(bad)


def test_a_folder_keeps_one_sweep(tmp_path):
    points, _ = expand({"optimizer.learning_rate": [0.1, 0.2]})
    assert folder.recall(tmp_path / "new", points) is None
    folder.describe(tmp_path, "the command", points, [[0, 1]])
    assert folder.recall(tmp_path, points)["groups"] == [[0, 1]]
    others, _ = expand({"optimizer.learning_rate": [0.1, 0.3]})
    with pytest.raises(ValueError, match=r"learning_rate: 0\.2 there, 0\.3 asked for"):
        folder.recall(tmp_path, others)
    with pytest.raises(ValueError, match=r"2 points there, 1 asked for.*the command"):
        folder.recall(tmp_path, points[:1])
    (tmp_path / folder.DESCRIPTION).rename(tmp_path / "else.json")
    with pytest.raises(ValueError, match=r"it holds else\.json"):
        folder.recall(tmp_path, points)


def test_a_record_that_cannot_be_read_stops_no_other(tmp_path):
    points, _ = expand({"network.hidden": [[8], [16]]})
    jobs = [Job(group, tmp_path) for group in join(points, [[0], [1]])]
    row = json.dumps({"updates": 10, "seed": 5, "failed_at": None})
    for job, text in zip(jobs, (f"{row[:9]}\n{row}\n", f"{row}\n"), strict=True):
        job.workdir.mkdir()
        (job.workdir / "config.json").write_text(json.dumps(job.group.config))
        (job.workdir / "metrics.jsonl").write_text(text)
    with pytest.warns(UserWarning, match=r"without 01-hidden=8: .* line 1: expected"):
        folder.write_table(tmp_path, "the command", jobs)
    (row,) = read_table(tmp_path)
    assert row["group"] == "02-hidden=16" and row["network.hidden"] == "[16]"


def test_two_launches_at_once_are_refused(tmp_path):
    with (
        folder.occupied(tmp_path),
        pytest.raises(ValueError, match="a sweep is running there"),
        folder.occupied(tmp_path),
    ):
        pass


def test_a_failure_is_told_and_the_next_goes_on(tmp_path):
    """Neither config can be built: the second is started all the same."""
    points, _ = expand({"network": [{"kind": "mlp", "hiden": [n]} for n in (1, 2)]})
    jobs = [Job(group, tmp_path) for group in join(points, [[0], [1]])]
    ended = []
    with folder.occupied(tmp_path) as lock:
        failed = run_all(jobs, 2, lock, ended.append)
    assert sorted(job.group.slug for job in ended) == ["01-mlp", "02-mlp"]
    assert list(sorted(failed)) == ["01-mlp", "02-mlp"]
    assert "(exit code 1; " in failed["01-mlp"]
    assert failed["01-mlp"].startswith("config.")


# In processes: a whole sweep, and the same one killed, stopped and continued.

GRID = {"variants": ["", "layer_norm"], "learner.environment": ["easy", "hard"]}
FLAGS = [
    "--config=configs/block_mdp/dqn.py:quick",
    f"--grid={json.dumps(GRID)}",
    '--set=probes={"weights": {"every": 20}}',
    "--set=seeds.axis=vmap",
    "--set=log_every=10",
    "--set=save_every=10",
    "--seeds=3:5",
]
LAUNCH_OWN = ("seconds", "command", "commit", "dirty", "started")


def command(out, *more):
    return [sys.executable, "-m", "experiments.sweep", *FLAGS, f"--out={out}", *more]


def launch(out, *more):
    return subprocess.run(
        command(out, *more), cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def interrupt(out, number, ready):
    """Starts the sweep and sends a signal as soon as it is ready for it."""
    process = subprocess.Popen(
        command(out), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 200
    while not ready():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(number)
    return process.communicate(timeout=120)[1], process.returncode


def read_table(out):
    with open(out / "runs.csv", newline="") as file:
        return list(csv.DictReader(file))


def launches(run):
    path = run / "environment.json"
    return len(json.loads(path.read_text())) if path.exists() else 0


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def wait_for_orphans(out):
    with open(out / "launches" / ".runs.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "whole"
    found = launch(out, "--processes=2")
    assert found.returncode == 0, found.stderr
    assert "[sweep] 480/480 updates" in found.stderr
    return out


def test_the_table_has_every_member_with_its_factors(whole):
    table = read_table(whole)
    told = [(r["variants"], r["learner.environment"], int(r["seed"])) for r in table]
    assert told == [(v, e, s) for v in GRID["variants"]
                    for e in GRID["learner.environment"] for s in (3, 4)]  # fmt: skip
    assert {row["group"] for row in table} == {"01-default", "02-layer_norm"}
    assert table[-1]["label"] == "layer norm, environment hard"
    text = (whole / "02-layer_norm" / "metrics.jsonl").read_text()
    rows = {
        (row["updates"], row["point"], row["seed"]): row
        for row in map(json.loads, text.splitlines())
    }
    last, first = rows[60, 1, 4], rows[0, 1, 4]  # of the table's last row
    assert float(table[-1]["weights/norm"]) == last["weights/norm"]
    assert float(table[-1]["weights/norm@0"]) == first["weights/norm"]
    assert float(table[-1]["eval/accuracy"]) == last["eval/accuracy"]
    assert "eval/accuracy@0" not in table[-1]  # the learner's own, no probe's
    assert table[-1]["updates"] == "60" and table[-1]["failed_at"] == ""
    seconds = (whole / "02-layer_norm" / "timing.jsonl").read_text().splitlines()
    share = sum(json.loads(line)["seconds"] for line in seconds) / 4
    assert float(table[-1]["seconds"]) == pytest.approx(share, abs=1e-3)
    assert table[-1]["command"].startswith("python -m experiments.sweep --config=")


def test_killed_and_stopped_it_ends_with_the_same_table(whole, tmp_path):
    out = tmp_path / "killed"
    first, second = out / "01-default", out / "02-layer_norm"
    _, code = interrupt(
        out, signal.SIGKILL, lambda: lines(second / "timing.jsonl") >= 12
    )
    assert code == -signal.SIGKILL
    wait_for_orphans(out)  # the run has noticed that it is alone
    assert not (second / "checkpoints" / "60").exists()
    told, code = interrupt(out, signal.SIGTERM, lambda: launches(second) == 2)
    assert code == 130 and "stopped and saved; the same command continues" in told
    assert not (second / "checkpoints" / "60").exists()
    found = launch(out)
    assert found.returncode == 0, found.stderr
    assert "2 runs (a compiled program each), 1 finished" in found.stdout
    assert launches(first) == 1 and launches(second) == 3
    without = lambda table: [
        {name: value for name, value in row.items() if name not in LAUNCH_OWN}
        for row in table
    ]
    assert without(read_table(out)) == without(read_table(whole))


def test_a_dry_run_checks_tells_and_starts_nothing(tmp_path):
    out = tmp_path / "dry"
    grid = '--grid={"optimizer.eps": [1e-8, 1e-3], "network.norm": ["none", "layer"]}'
    found = launch(out, grid, "--dry_run")
    assert found.returncode == 0, found.stderr
    assert "2 combinations repeat others' settings" in found.stdout
    assert "01-default-none: 3 combinations x seeds 3 to 4" in found.stdout
    assert "optimizer.eps: 1e-08, 0.001" in found.stdout
    assert "12 members with their seeds, 720 updates" in found.stdout
    assert not out.exists()
