"""A saved model probed again: the run's own figures, or others on other terms."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.build import build
from experiments.remeasure import (
    alter,
    load_images,
    make_request,
    parse_call,
    run_probe,
    table,
)
from plasticity_jax.loop import run
from plasticity_jax.optimizers import sgd
from plasticity_jax.records import DiskRecords, RecordsError, fork, read_checkpoint
from plasticity_jax.tasks import datasets

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "dqn": "configs/block_mdp/dqn.py",
    "supervised": "configs/supervised/adam_instability.py",
    "dopamine": "configs/atari/dopamine.py",
}


def train(host, workdir, **probes):
    """Runs a quick config, its probes' settings changed by name."""
    config = runpy.run_path(str(ROOT / CONFIGS[host]))["get_config"]("quick")
    for name, settings in probes.items():
        config.probes[name].update(settings)
    config = json.loads(config.to_json())
    experiment, records = build(config), DiskRecords(workdir)
    records.describe(config, {"command": "a test"})
    run(experiment.learner, experiment.probes, records, **experiment.counts)
    records.close()
    return workdir


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    made = {}

    def get(host):
        if host not in made:
            made[host] = train(host, tmp_path_factory.mktemp(host) / "run")
        return made[host]

    return get


def command(*flags):
    return subprocess.run(
        [sys.executable, "-m", "experiments.probe", *map(str, flags)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def remeasure(workdir, text, *, updates=60, key=None, images=None, **changes):
    """What the command does, in this process."""
    config = json.loads((workdir / "config.json").read_text())
    learner = build(config | {"probes": {}}).learner
    updates, tree = read_checkpoint(workdir, updates)
    state = learner.restore(tree["learner"])
    if images:
        changes["inputs"] = load_images(images, learner, state)
    request = make_request(config, text, updates)
    learner = alter(learner, key=key, **changes)
    references = {} if changes or key is not None else tree["references"]
    return run_probe(learner, state, request, references, lambda text: None)


def recorded(workdir, updates):
    """The rows of metrics.jsonl at one update count."""
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["updates"] == updates]


def assert_recorded(rows, workdir, updates=60):
    """Each row's scalars are those of the record, to the last bit."""
    want = recorded(workdir, updates)
    assert [row["seed"] for row in rows] == [row["seed"] for row in want]
    for row, there in zip(rows, want, strict=True):
        scalars = {name: value for name, value in row.items() if "/" in name}
        assert scalars
        assert scalars == {name: there[name] for name in scalars}


def stamps(folder):
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in [folder, *folder.rglob("*")]
    }


@pytest.mark.parametrize(
    "host",
    [
        "dqn",
        pytest.param("dopamine", marks=[pytest.mark.dopamine, pytest.mark.long]),
    ],
)
def test_the_command_repeats_the_record_and_leaves_it_alone(trained, host, tmp_path):
    if host == "dopamine":
        pytest.importorskip("dopamine")
    workdir, out = trained(host), tmp_path / "again.json"
    records = DiskRecords(workdir)  # as a run that is still going on
    before = stamps(workdir)
    found = command(f"--workdir={workdir}", f"--out={out}")
    assert stamps(workdir) == before
    records.close()
    assert found.returncode == 0, found.stderr
    assert "] plasticity ..." in found.stderr
    assert "hessian/lambda_max" in found.stdout
    report = json.loads(out.read_text())
    assert report["updates"] == 60
    assert report["run"]["workdir"] == str(workdir)
    assert report["command"].startswith("python -m experiments.probe --workdir")
    assert {"commit", "versions", "launches"} <= report.keys()
    config = json.loads((workdir / "config.json").read_text())
    assert [entry["probe"] for entry in report["probes"]] == list(config["probes"])
    for entry in report["probes"]:
        assert_recorded(entry["rows"], workdir)
        there = workdir / "arrays" / f"{entry['probe']}_000000060.npz"
        with np.load(out.parent / entry["arrays"]) as again, np.load(there) as own:
            assert set(again.files) == set(own.files)
            for name in own.files:
                np.testing.assert_array_equal(again[name], own[name], err_msg=name)


def test_an_earlier_checkpoint_and_the_saved_reference(trained):
    result = remeasure(trained("supervised"), "representation", updates=20)
    assert_recorded(result.rows, trained("supervised"), 20)
    result = remeasure(trained("supervised"), "plasticity")
    assert result.reference == "of the run"
    assert_recorded(result.rows, trained("supervised"))
    same = remeasure(trained("supervised"), "plasticity:num_steps=20")
    assert (same.reference, same.rows) == ("of the run", result.rows)


def test_other_settings_give_the_record_of_a_run_that_had_them(trained, tmp_path):
    settings = {"num_steps": 30, "num_targets": 3}
    other = train("supervised", tmp_path / "other", plasticity=settings)
    text = "plasticity:num_steps=30,num_targets=3"
    result = remeasure(trained("supervised"), text)
    assert result.reference == "measured anew"
    assert_recorded(result.rows, other)
    assert result.request.settings["num_inputs"] == 32  # the config's, not 256


def test_the_runs_own_images_give_the_runs_own_figures(trained, tmp_path):
    _, held_out = datasets.split(datasets.load("digits"), 360)
    pixels, rows = np.asarray(held_out.images), recorded(trained("dqn"), 60)
    scaled = (pixels / 255).astype(np.float32)
    for images in (pixels, scaled):
        np.savez(tmp_path / "images.npz", images=images[::-1])  # order has no say
        path = str(tmp_path / "images.npz")
        result = remeasure(trained("dqn"), "representation", images=path)
        for row, want in zip(result.rows, rows, strict=True):
            for name in ("active_fraction", "stable_rank", "num_examples"):
                name = f"representation/{name}"
                np.testing.assert_allclose(row[name], want[name], rtol=1e-4)


def test_other_images_are_looked_at(trained, tmp_path):
    """All alike: features of rank 1, and targets without variance."""
    path = str(tmp_path / "images.npz")
    np.savez(path, images=np.full((40, 8, 8, 1), 200, np.uint8))
    result = remeasure(trained("dqn"), "representation", images=path)
    for row in result.rows:
        assert row["representation/num_examples"] == 40
        np.testing.assert_allclose(row["representation/stable_rank"], 1, rtol=1e-4)
    result = remeasure(trained("dqn"), "plasticity", images=path)
    assert result.reference == "measured anew"
    assert all(row["probe/baseline"] < 1e-6 for row in result.rows)
    with pytest.raises(ValueError, match="asks for 64 examples"):
        remeasure(trained("dqn"), "plasticity:num_inputs=64", images=path)


def test_another_optimiser(trained):
    frozen = remeasure(trained("supervised"), "plasticity", tx=sgd(learning_rate=1e-30))
    curves = frozen.arrays["curves"]
    start = np.broadcast_to(curves[..., :1], curves.shape)
    np.testing.assert_allclose(curves, start, rtol=1e-5)
    assert frozen.reference == "measured anew"


def test_other_draws(trained):
    own, one, again = (
        remeasure(trained("dqn"), "hessian", key=key) for key in (None, 1, 1)
    )
    assert_recorded(own.rows, trained("dqn"))
    assert one.rows == again.rows
    assert one.rows[0]["hessian/trace"] != own.rows[0]["hessian/trace"]


def test_a_fork_does_not_compare_with_the_old_runs_reference(trained, tmp_path):
    source, new = trained("supervised"), tmp_path / "fork"
    fork(source, new)
    assert "references" in read_checkpoint(source)[1]
    assert "references" not in read_checkpoint(new)[1]


def test_checkpoints_that_cannot_be_read_are_named(trained, tmp_path):
    workdir = trained("supervised")
    with pytest.raises(RecordsError, match=r"at update 7; there: 20, 40, 60"):
        read_checkpoint(workdir, 7)
    with pytest.raises(RecordsError, match="has no checkpoint: a run leaves its first"):
        read_checkpoint(tmp_path)
    fork(workdir, tmp_path / "copy")
    files = sorted((tmp_path / "copy" / "checkpoints" / "60").rglob("*"))
    for path in files:
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(RecordsError, match=r"checkpoint 60 .* be read .* 20, 40, 60"):
        read_checkpoint(tmp_path / "copy")
    assert sorted((tmp_path / "copy" / "checkpoints" / "60").rglob("*")) == files


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("weights", {}),
        ("weights:", {}),
        ("hessian:loss=training,num_steps=30", {"loss": "training", "num_steps": 30}),
        ("x:a=(8,8),b=-1e-4,c='d,e'", {"a": (8, 8), "b": -1e-4, "c": "d,e"}),
        ("x:where=dense_0/kernel,on=True", {"where": "dense_0/kernel", "on": True}),
    ],
)
def test_settings_are_read_as_keyword_arguments(text, found):
    assert parse_call("--probe", text) == (text.partition(":")[0], found)


@pytest.mark.parametrize(
    "text", ["x:a", "x:a=", "x:a=1)+f(2", "x:**a", "x:a=1,a=2", "x:a=1;b=2"]
)
def test_other_forms_are_refused(text):
    with pytest.raises(ValueError, match="--probe: expected NAME or NAME:SETTING=VAL"):
        parse_call("--probe", text)


CONFIG = {"learner": {"kind": "dqn"}, "probes": {"hessian": {"at": [0]}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hesian", "--probe has no key 'hesian'. Did you mean 'hessian'"),
        ("hessian:los=training", "Did you mean 'loss'"),
        ("hessian:num_steps=many", "num_steps: expected a whole number; got 'many'"),
        ("hessian:num_steps=0", "num_steps: expected at least 1; got 0"),
        ("hessian:every=10", "has no key 'every'"),
    ],
)
def test_requests_that_do_not_fit_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        make_request(CONFIG, text, 60)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros((9, 8, 8, 1))}, "expected an array `images`; it holds im"),
        ({"images": np.zeros((9, 8, 8))}, r"shape \[N, 8, 8, 1\], .* got \[9, 8, 8\]"),
        ({"images": np.zeros((1, 8, 8, 1))}, "N at least 2; got"),
        ({"images": np.zeros((9, 8, 8, 1), int)}, "uint8 or floating point .* int64"),
        ({"images": np.full((9, 8, 8, 1), 255.0)}, r"in \[0, 1\], as the run's own"),
        ({"images": np.full((9, 8, 8, 1), np.nan)}, r"in \[0, 1\], as the run's own"),
    ],
)
def test_images_that_do_not_fit_are_refused(trained, tmp_path, arrays, message):
    path = str(tmp_path / "images.npz")
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        remeasure(trained("dqn"), "representation", images=path)


def test_a_file_that_is_no_npz_is_refused(trained, tmp_path):
    (tmp_path / "images.npz").write_text("no")
    for name in ("images.npz", "none.npz"):
        with pytest.raises(ValueError, match="expected an NPZ file"):
            remeasure(trained("dqn"), "weights", images=str(tmp_path / name))


def test_table():
    row = lambda seed, value, failed_at=None: {
        "updates": 9, "seed": seed, "failed_at": failed_at, "a/b": value, "a/nan": None
    }  # fmt: skip
    lines = table([row(0, 1.0), row(1, 4.0), row(2, 9e9, failed_at=7)]).splitlines()
    assert lines[0].split() == ["mean", "lowest", "highest"]
    assert lines[1].split() == ["a/b", "2.5", "1", "4"]
    assert lines[2].endswith("finite in 0 of 2 seeds")
    assert lines[3].strip() == "seed 2 is left out: it diverged at update 7"
    assert table([row(0, 1.5)]).splitlines()[1].split() == ["a/b", "1.5"]


def test_what_is_wrong_is_one_line(trained, tmp_path):
    workdir = f"--workdir={trained('dqn')}"
    for flags, message in (
        ([f"--workdir={tmp_path}"], "expected a run's folder, with config.json"),
        ([workdir, "--updates=x"], "--updates=x"),
        ([workdir, "--updates=7", "--probe=weights"], "there: 20, 40, 60"),
    ):
        found = command(*flags)
        assert found.returncode == 1
        assert message in found.stderr
        assert len(found.stderr.splitlines()) == 1, found.stderr


def test_help():
    found = command("--help")
    assert "python -m experiments.probe --workdir=runs/dqn" in found.stdout
    assert "array `images` takes the place of the probe pool" in found.stdout
