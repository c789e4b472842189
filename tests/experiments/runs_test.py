"""Reading workdirs: whole, torn, failed, misnamed."""

import json

import numpy as np
import pytest

from experiments.runs import find_runs, flatten, load_runs


def load_run(path):
    (run,) = load_runs(path)
    return run


def write_run(path, rows, label="", text=None):
    """Writes the two files that make a folder a run."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"label": label}))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (path / "metrics.jsonl").write_text(lines if text is None else text)
    return path


def row(updates, seed, value=None, **more):
    """A row with one metric."""
    return {"updates": updates, "seed": seed, "a/b": value, **more}


def test_series_is_ordered_by_time_and_seed(tmp_path):
    rows = [row(5, 7, 1.0), row(5, 3, 2.0), row(0, 7, 3.0), row(9, 7), row(9, 3)]
    run = load_run(write_run(tmp_path / "r", rows))
    updates, values = run.series("a/b")
    assert run.seeds == [7, 3] and run.updates == 9 and run.metrics == ["a/b"]
    np.testing.assert_array_equal(updates, [0, 5])
    np.testing.assert_array_equal(values, [[3.0, 1.0], [np.nan, 2.0]])
    updates, values = run.series("a/unknown")
    assert updates.shape == (0,) and values.shape == (2, 0)


def test_values_that_are_not_finite_are_missing_and_named(tmp_path):
    rows = [row(0, 0, 1.0), row(4, 0, float("nan"), finite=False), row(4, 1, 2.0)]
    run = load_run(write_run(tmp_path / "r", rows))
    np.testing.assert_array_equal(run.series("a/b")[1], [[1, np.nan], [np.nan, 2]])
    assert run.nonfinite == {"a/b": {0: [4]}} and run.failed == {}


def test_a_failed_seed_is_left_out_everywhere(tmp_path):
    rows = [row(0, 0, 1.0), row(0, 1, 2.0), row(4, 0, 9.0, failed_at=3), row(4, 1, 4.0)]
    path = write_run(tmp_path / "r", rows)
    (path / "arrays").mkdir()
    np.savez(path / "arrays" / "some_probe_000000004.npz", x=np.array([[0.0], [1.0]]))
    run = load_run(path)
    assert run.failed == {0: 3} and run.seeds == [1] and run.all_seeds == [0, 1]
    np.testing.assert_array_equal(run.series("a/b")[1], [[2.0, 4.0]])
    assert run.array_times("some_probe") == [4]
    np.testing.assert_array_equal(run.arrays("some_probe", 4)["x"], [[1.0]])


def test_a_later_row_replaces_an_earlier_one(tmp_path):
    run = load_run(write_run(tmp_path / "r", [row(0, 0, 1.0), row(0, 0, 2.0)]))
    np.testing.assert_array_equal(run.series("a/b")[1], [[2.0]])


@pytest.mark.parametrize("torn", ['{"updates": 9, "se', '{"a": "\udcc3', "{"])
def test_torn_last_line_is_skipped_with_a_warning(tmp_path, torn):
    path = write_run(tmp_path / "r", [row(0, 0, 1.0)])
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(torn.encode("utf-8", "surrogateescape"))
    with pytest.warns(UserWarning, match="torn last line 2"):
        run = load_run(path)
    assert run.rows == [row(0, 0, 1.0)]


def test_a_torn_line_in_the_middle_is_an_error(tmp_path):
    text = '{"updates": 0, "seed\n' + json.dumps(row(1, 0)) + "\n"
    with pytest.raises(ValueError, match="line 1: expected a JSON object"):
        load_run(write_run(tmp_path / "r", [], text=text))


def test_rows_without_a_seed_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="expected an object with updates, seed"):
        load_run(write_run(tmp_path / "r", [{"updates": 0}]))


def test_labels(tmp_path):
    write_run(tmp_path / "x" / "one", [], label="named")
    write_run(tmp_path / "x" / "two", [], label="named")
    write_run(tmp_path / "y" / "two", [], label="named")
    write_run(tmp_path / "y" / "three", [])
    labels = [run.label for run in find_runs([tmp_path / "x", tmp_path / "y"])]
    assert labels == ["named (x/one)", "named (x/two)", "three", "named (y/two)"]
    labels = [run.label for run in find_runs([tmp_path / "x"])]
    assert labels == ["named (one)", "named (two)"]


def test_a_run_named_twice_is_read_once(tmp_path):
    path = write_run(tmp_path / "runs" / "a", [])
    assert len(find_runs([path, tmp_path / "runs", path / ".." / "a"])) == 1


def test_children_are_in_natural_order(tmp_path):
    for name in ("width10", "width9", "9", "a"):
        write_run(tmp_path / name, [])
    labels = [run.label for run in find_runs([tmp_path])]
    assert labels == ["a", "width9", "width10", "9"]


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"config\.json and metrics\.jsonl.*has neither"
    ):
        find_runs([tmp_path])
    with pytest.raises(ValueError, match="'absent' is no folder"):
        find_runs(["absent"])


def test_arrays_of_other_seeds_are_refused(tmp_path):
    path = write_run(tmp_path / "r", [row(0, 0), row(0, 1)])
    (path / "arrays").mkdir()
    np.savez(path / "arrays" / "probe_000000000.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"expected 2 seeds .* got shape \(3,\)"):
        load_run(path).arrays("probe", 0)


def test_a_torn_array_file_is_skipped_with_a_warning(tmp_path):
    path = write_run(tmp_path / "r", [row(0, 0)])
    (path / "arrays").mkdir()
    (path / "arrays" / "probe_000000000.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.warns(UserWarning, match="not a whole NPZ file"):
        assert load_run(path).array_times("probe") == []


def test_objects_in_arrays_are_not_unpickled(tmp_path):
    path = write_run(tmp_path / "r", [row(0, 0)])
    (path / "arrays").mkdir()
    harmful = np.array([{"an": "object"}], dtype=object)
    np.savez(path / "arrays" / "probe_000000000.npz", x=harmful)
    with pytest.raises(ValueError, match="allow_pickle"):
        load_run(path).arrays("probe", 0)


def test_flatten():
    nested = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}}
    assert flatten(nested) == {"a.b": 1, "a.c.d": [2], "e": {}}
