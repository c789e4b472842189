import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from plasticity_jax.records import DiskRecords, RecordsError, fork, read_checkpoint
from plasticity_jax.types import Part

TREE = {
    "learner": {
        "params": {"w": jnp.arange(6.0).reshape(2, 3)},
        "count": np.int64(7),
        "empty": np.zeros((0, 3), np.float32),
        "bytes": np.frombuffer(b"ale", np.uint8),
        "flag": np.array(True),
    }
}


def rows(updates, value=1.0):
    return [
        {"updates": updates, "seed": seed, "finite": True, "failed_at": None,
         "train/loss": value + seed}
        for seed in (0, 1)
    ]  # fmt: skip


def filled(workdir, last=4):
    """A run with rows and checkpoints at 0 .. last, arrays beside."""
    records = DiskRecords(workdir)
    records.describe({"a": 1}, {"command": "x"})
    assert records.restore() is None
    for updates in range(last + 1):
        records.write(rows(updates), {"probe": {"x": np.full((2, 3), updates)}})
        records.time(phase="advance", updates=updates, seconds=0.1)
        records.save(updates, {"u": np.array(updates)} | TREE)
        records.time(phase="save", updates=updates, seconds=0.1)
    records.close()


def lines(workdir, name="metrics.jsonl"):
    return [json.loads(line) for line in (workdir / name).read_text().splitlines()]


def tensorboard(workdir):
    """(seed, tag, step, value) of every event on disk."""
    found = []
    for path in sorted((workdir / "tensorboard").rglob("events*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            at += 12 + size + 4
            for value in event.summary.value:
                seed = path.parent.name
                found.append((seed, value.tag, event.step, value.simple_value))
    return found


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    filled(tmp_path)
    records = DiskRecords(tmp_path)
    updates, tree = records.restore()
    records.close()
    assert updates == 4
    assert tree["u"] == 4
    learner = tree["learner"]
    np.testing.assert_array_equal(learner["params"]["w"], np.arange(6).reshape(2, 3))
    assert learner["count"].dtype == np.int64
    assert learner["empty"].shape == (0, 3)
    assert learner["empty"].dtype == np.float32
    assert bytes(learner["bytes"]) == b"ale"
    assert learner["flag"].dtype == bool


def test_three_checkpoints_are_kept(tmp_path):
    filled(tmp_path)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["2", "3", "4"]


def test_what_came_after_the_checkpoint_is_cut(tmp_path):
    filled(tmp_path, last=2)
    records = DiskRecords(tmp_path)
    records.restore()
    records.write(rows(3, 9.0), {"probe": {"x": np.zeros(2)}})  # then killed
    records.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"updates": 4, "se')  # a torn line
    (tmp_path / "arrays" / ".probe_000000003.tmp.npz").write_text("half")
    records = DiskRecords(tmp_path)
    assert records.restore()[0] == 2
    records.write(rows(3, 5.0), {})
    records.close()
    assert [(r["updates"], r["seed"]) for r in lines(tmp_path)] == [
        (u, s) for u in range(4) for s in (0, 1)
    ]
    assert lines(tmp_path)[-1]["train/loss"] == 6.0
    arrays = sorted(p.name for p in (tmp_path / "arrays").iterdir())
    assert arrays == [f"probe_00000000{u}.npz" for u in range(3)]
    events = tensorboard(tmp_path)
    assert sorted(e[:3] for e in events) == sorted(
        (f"seed_{s:03d}", "train/loss", u) for u in range(4) for s in (0, 1)
    )
    assert ("seed_001", "train/loss", 3, 6.0) in events


def damage_state(folder, how):
    """Tears or alters the largest file of a checkpoint's arrays."""
    files = [p for p in (folder / "state").rglob("*") if p.is_file()]
    victim = max(files, key=lambda p: p.stat().st_size)
    data = victim.read_bytes()
    if how == "truncate":
        victim.write_bytes(data[: len(data) // 2])
    elif how == "flip":
        middle = len(data) // 2
        victim.write_bytes(
            data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        )
    elif how == "delete":
        victim.unlink()
    elif how == "no meta":
        for path in (folder / "meta").iterdir():
            path.unlink()


@pytest.mark.parametrize("how", ["truncate", "flip", "delete", "no meta"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, how):
    filled(tmp_path)
    damage_state(tmp_path / "checkpoints" / "4", how)
    records = DiskRecords(tmp_path)
    with pytest.warns(
        UserWarning, match=r"checkpoint 4 .* Falling back to checkpoint 3"
    ):
        updates, tree = records.restore()
    assert updates == 3
    assert tree["u"] == 3
    assert lines(tmp_path)[-1]["updates"] == 3
    records.save(4, TREE)  # the place is free again
    records.close()
    records = DiskRecords(tmp_path)
    assert records.restore()[0] == 4
    records.close()


def test_another_configuration_is_refused_with_the_ways_out(tmp_path):
    filled(tmp_path)
    records = DiskRecords(tmp_path)
    with pytest.raises(RecordsError) as error:
        records.describe({"a": 2, "b": {"c": 3}}, {})
    records.close()
    text = str(error.value)
    assert "a: 1 there, 2 asked for" in text
    assert "b.c: None there, 3 asked for" in text
    for way in ("continue", "--fork_from", "another --workdir"):
        assert way in text


def test_each_launch_is_logged(tmp_path):
    filled(tmp_path)
    records = DiskRecords(tmp_path)
    records.describe({"a": 1}, {"command": "again"})
    records.close()
    launches = json.loads((tmp_path / "environment.json").read_text())
    assert [launch["command"] for launch in launches] == ["x", "again"]


def test_a_second_process_in_the_folder_is_refused(tmp_path):
    records = DiskRecords(tmp_path)
    with pytest.raises(RecordsError, match="in use by another process"):
        DiskRecords(tmp_path)
    records.close()
    DiskRecords(tmp_path).close()


def test_fork_takes_the_past_and_leaves_the_source_alone(tmp_path):
    filled(tmp_path / "a")
    assert fork(tmp_path / "a", tmp_path / "b")
    records = DiskRecords(tmp_path / "b")
    records.describe({"a": 2}, {})
    assert records.restore()[0] == 4
    records.write(rows(5), {})
    records.close()
    assert len(lines(tmp_path / "b")) == len(lines(tmp_path / "a")) + 2
    assert not fork(tmp_path / "a", tmp_path / "b")  # again: nothing is overwritten
    assert len(lines(tmp_path / "b")) == len(lines(tmp_path / "a")) + 2
    with pytest.raises(RecordsError, match="has no checkpoints"):
        fork(tmp_path / "nowhere", tmp_path / "c")
    with pytest.raises(RecordsError, match="nor is it a fork of"):
        fork(tmp_path / "a", tmp_path / "a")


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match=r"could not write the folder .* Make room"):
        DiskRecords(tmp_path / "file" / "run")


FULL_DISK = """
import resource, sys
from tests.records_test import *
from pathlib import Path
workdir = Path(sys.argv[1])
records = DiskRecords(workdir)
records.restore()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    for updates in range(5, 200):
        big = np.random.default_rng(updates).normal(size=int(sys.argv[3]))
        records.write(rows(updates), {})
        records.save(updates, {"big": big})
except RecordsError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("limit", "size", "what"),
    [(2_000, 1, "metrics.jsonl"), (60_000, 20_000, "checkpoint 5")],
)
def test_no_space_is_a_clear_error_and_earlier_records_are_whole(
    tmp_path, limit, size, what
):
    filled(tmp_path)
    root = Path(__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit), str(size)],
        capture_output=True, text=True, cwd=root, env=os.environ,
    )  # fmt: skip
    assert f"could not write {what}" in found.stdout, found.stdout + found.stderr
    assert "Saved there so far: updates 0 to" in found.stdout
    records = DiskRecords(tmp_path)
    updates, _ = records.restore()
    records.close()
    assert updates >= 4
    assert [r["updates"] for r in lines(tmp_path)] == sorted(
        2 * list(range(updates + 1))
    )


def test_no_file_is_a_pickle(tmp_path):
    filled(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith(b"\x80"), path
            assert path.suffix not in (".pkl", ".pickle")


def test_a_forks_first_state_comes_without_references(tmp_path):
    records = DiskRecords(tmp_path / "a")
    records.describe({"a": 1}, {})
    records.restore()
    records.write(rows(3), {})
    records.save(3, TREE | {"references": {"x": np.ones(2)}})
    records.close()
    fork(tmp_path / "a", tmp_path / "b")
    for expected in ({"learner"}, {"learner", "references"}):
        records = DiskRecords(tmp_path / "b")
        updates, tree = records.restore()
        assert set(tree) == expected
        records.write(rows(updates + 1), {})
        records.save(updates + 1, TREE | {"references": {"x": np.ones(2)}})
        records.close()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("metrics.jsonl", lambda p: p.unlink(), "expected 10 rows up to update 4"),
        ("metrics.jsonl", lambda p: garble(p, 3), "line 3 is not a row"),
        ("timing.jsonl", lambda p: garble(p, 2), "line 2 is not a row"),
        ("config.json", lambda p: p.write_text("[1]"), "expected a JSON dict"),
        ("config.json", lambda p: p.write_text("{"), "expected a JSON dict"),
        ("environment.json", lambda p: p.write_text("{}"), "expected a JSON list"),
        ("checkpoints", lambda p: wipe(p), "has lost its checkpoints"),
        ("checkpoints", lambda p: empty(p), "no checkpoint in .* can be read"),
    ],
)
def test_what_is_damaged_is_refused_and_left_alone(tmp_path, name, damage, message):
    filled(tmp_path)
    damage(tmp_path / name)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    records = DiskRecords(tmp_path)
    with pytest.raises(RecordsError, match=message):
        records.describe({"a": 1}, {})
        records.restore()
    records.close()
    for path, content in before.items():
        if path.name not in ("environment.json", "_CHECKPOINT_METADATA"):
            assert path.read_bytes() == content, path


def garble(path, number):
    text = path.read_text().splitlines()
    text[number - 1] = "garbage{"
    path.write_text("\n".join(text) + "\n")


def wipe(folder):
    shutil.rmtree(folder)


def empty(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    mine = tmp_path / "tensorboard" / "mine"
    mine.mkdir(parents=True)
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "exp_12.npz").write_text("x")
    (tmp_path / "metrics.jsonl").write_text("mine")
    records = DiskRecords(tmp_path)
    with pytest.raises(RecordsError, match=r"holds metrics.jsonl, .* Choose another"):
        records.describe({"a": 1}, {})
    records.close()
    assert mine.is_dir()
    assert (tmp_path / "metrics.jsonl").read_text() == "mine"


def test_files_of_others_in_a_runs_folder_stay(tmp_path):
    filled(tmp_path)
    for name in ("arrays/notes.npz", "arrays/exp_12.npz", "tensorboard/notes"):
        (tmp_path / name).write_text("x")
    records = DiskRecords(tmp_path)
    assert records.restore()[0] == 4
    records.close()
    for name in ("arrays/notes.npz", "arrays/exp_12.npz", "tensorboard/notes"):
        assert (tmp_path / name).exists()


# Parts: what checkpoints share.


def ring(start, names):
    """A tree of which two leaves never change."""
    made = lambda name: Part(name, lambda: np.full(3, int(name[-1]), np.uint8))
    frames = {name: made(name) for name in names}
    return {"replay": {"frames": frames, "newest": np.arange(start)}, "n": np.ones(1)}


def parts_of(workdir):
    return sorted(path.stem for path in (workdir / "parts").iterdir())


def test_parts_are_saved_once_and_dropped_with_the_last_that_names_them(tmp_path):
    records = DiskRecords(tmp_path, keep=2)
    stamps = {}
    for updates in range(1, 5):
        names = [f"part{updates + i}" for i in range(3)]
        records.save(updates, ring(updates, names))
        for name in names:
            stamp = (tmp_path / "parts" / f"{name}.npz").stat().st_mtime_ns
            assert stamps.setdefault(name, stamp) == stamp
    assert parts_of(tmp_path) == ["part3", "part4", "part5", "part6"]
    records.close()
    (tmp_path / "parts" / "part9.npz").write_bytes(b"of a save that a kill ended")
    updates, tree = DiskRecords(tmp_path).restore()
    assert updates == 4 and sorted(tree["replay"]["frames"]) == names
    for name, array in tree["replay"]["frames"].items():
        np.testing.assert_array_equal(array, np.full(3, int(name[-1]), np.uint8))
    assert parts_of(tmp_path) == ["part3", "part4", "part5", "part6"]


@pytest.mark.parametrize("harm", ["flip", "tear", "delete"])
def test_a_checkpoint_whose_part_is_harmed_is_set_aside(tmp_path, harm):
    records = DiskRecords(tmp_path)
    records.save(1, ring(1, ["part1"]))
    records.save(2, ring(2, ["part1", "part2"]))
    records.close()
    path = tmp_path / "parts" / "part2.npz"
    if harm == "delete":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data if harm == "flip" else data[: len(data) // 2])
    with pytest.warns(UserWarning, match="checkpoint 2 .* cannot be read"):
        updates, tree = DiskRecords(tmp_path).restore()
    assert updates == 1 and list(tree["replay"]["frames"]) == ["part1"]


def test_a_fork_has_its_own_parts(tmp_path):
    source = DiskRecords(tmp_path / "source")
    source.describe({}, {})
    source.save(1, ring(1, ["part1"]))
    source.close()
    fork(tmp_path / "source", tmp_path / "fork")
    shutil.rmtree(tmp_path / "source")
    updates, tree = read_checkpoint(tmp_path / "fork")
    assert updates == 1 and list(tree["replay"]["frames"]) == ["part1"]
