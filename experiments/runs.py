"""Reads the workdirs of finished or running experiments: the only reader of records.

A workdir holds `config.json`, `environment.json` (one object a launch),
`metrics.jsonl` (one row per update count and seed), `timing.jsonl` and
`arrays/<probe>_<updates>.npz`. Nothing here is written, and no file is unpickled.
"""

import copy
import dataclasses
import functools
import math
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from experiments.json_files import read_json, read_lines
from experiments.overrides import assign

CONFIG = "config.json"
METRICS = "metrics.jsonl"
_ARRAY_FILE = re.compile(r"(?P<probe>.+)_(?P<updates>\d{9,})\.npz")


@dataclasses.dataclass(frozen=True)
class Run:
    """What one workdir recorded, or, where a launch had several `points`, of one.

    A seed that failed (`failed_at` set in any of its rows) is left out of `seeds`, and
    so out of every series and array: a mean whose seeds change along the way shows
    jumps that no network made.
    """

    label: str
    workdir: Path
    config: dict
    launches: list[dict]
    rows: list[dict]
    timings: list[dict]
    point: int | None = None  # which of the launch's
    num_points: int = 1

    @functools.cached_property
    def all_seeds(self) -> list[int]:
        """Seeds in the order of the record, which is also that of the arrays."""
        return list(dict.fromkeys(row["seed"] for row in self.rows))

    @functools.cached_property
    def failed(self) -> dict[int, int]:
        """Seeds that diverged, as {seed: updates at which it was noticed}."""
        pairs = ((row["seed"], row.get("failed_at")) for row in self.rows)
        return {seed: updates for seed, updates in pairs if updates is not None}

    @functools.cached_property
    def seeds(self) -> list[int]:
        """Seeds that did not fail."""
        return [seed for seed in self.all_seeds if seed not in self.failed]

    @functools.cached_property
    def nonfinite(self) -> dict[str, dict[int, list[int]]]:
        """Values of healthy seeds that are not finite: {metric: {seed: updates}}."""
        found = {}
        for row in self.rows:
            for name, value in row.items() if row["seed"] in self.seeds else ():
                if "/" in name and not _is_finite(value):
                    seeds = found.setdefault(name, {})
                    seeds.setdefault(row["seed"], []).append(row["updates"])
        return found

    @functools.cached_property
    def updates(self) -> int:
        """Largest update count recorded; 0 where nothing is."""
        return max((row["updates"] for row in self.rows), default=0)

    @property
    def metrics(self) -> list[str]:
        """Names with at least one finite value of a healthy seed, sorted."""
        return sorted(self._columns)

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Collects one metric of the healthy seeds.

        Args:
            name: metric name, as `probe/final_loss`.

        Returns:
            Updates [U], ascending, and values [S, U]; NaN where a seed has none. U is 0
            where no seed has the metric.
        """
        columns = self._columns.get(name, {})
        times = sorted(columns)
        values = np.array([columns[time] for time in times])
        values = values.reshape(len(times), len(self.seeds))
        return np.array(times, dtype=np.int64), values.T

    @functools.cached_property
    def _columns(self) -> dict[str, dict[int, np.ndarray]]:
        """Values by metric and update count, each [S]."""
        place = {seed: index for index, seed in enumerate(self.seeds)}
        metrics = {}
        for row in self.rows:
            for name, value in row.items() if row["seed"] in place else ():
                # Names without a folder are the row's own: updates, seed, ...
                if "/" in name and _is_finite(value):
                    columns = metrics.setdefault(name, {})
                    empty = np.full(len(place), np.nan)
                    column = columns.setdefault(row["updates"], empty)
                    column[place[row["seed"]]] = value
        return metrics

    def array_times(self, probe: str) -> list[int]:
        """Update counts at which a probe left arrays, ascending."""
        return sorted(self._array_files.get(probe, {}))

    def arrays(self, probe: str, updates: int) -> dict[str, np.ndarray]:
        """Loads the arrays of one probe at one time, healthy seeds only.

        Returns:
            Arrays by name, each [S, ...] in the order of `seeds`.

        Raises:
            ValueError: an array does not have one entry a seed.
        """
        path = self._array_files[probe][updates]
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except Exception as error:  # NumPy raises many kinds for an altered file
            raise ValueError(f"{path}: not a whole NPZ file ({error})") from error
        num_seeds = len(self.all_seeds)
        num_members, first = self.num_points * num_seeds, (self.point or 0) * num_seeds
        keep = [first + self.all_seeds.index(seed) for seed in self.seeds]
        for name, array in arrays.items():
            if array.shape[:1] != (num_members,):
                raise ValueError(
                    f"{path}: expected {num_members} seeds (those of {METRICS})"
                    f" on the first axis of {name!r}, got shape {array.shape}; the"
                    " file and the rows are not of one run"
                )
        return {name: array[keep] for name, array in arrays.items()}

    @functools.cached_property
    def _array_files(self) -> dict[str, dict[int, Path]]:
        files = {}
        for path in sorted((self.workdir / "arrays").glob("*.npz")):
            match = _ARRAY_FILE.fullmatch(path.name)
            if not match:
                continue
            if not zipfile.is_zipfile(path):
                warnings.warn(f"{path}: not a whole NPZ file, skipped", stacklevel=2)
                continue
            files.setdefault(match["probe"], {})[int(match["updates"])] = path
        return files


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def is_run(path: Path) -> bool:
    """Whether a folder holds what every run writes first."""
    return (path / CONFIG).is_file() and (path / METRICS).is_file()


def load_runs(workdir: Path) -> list[Run]:
    """Reads one workdir: one run, or one for each of its config's `points`.

    The label is the config's, or else the folder's name; a point's values follow it.
    """
    workdir = Path(workdir).resolve()
    config = read_json(workdir / CONFIG, dict)
    environment = workdir / "environment.json"
    rows = {}
    for row in read_lines(workdir / METRICS, ("updates", "seed")):
        # A resumed run may write a row again: the later one counts.
        rows[row["updates"], row.get("point"), row["seed"]] = row
    whole = Run(
        label=str(config.get("label") or workdir.name),
        workdir=workdir,
        config=config,
        launches=read_json(environment, list) if environment.is_file() else [],
        rows=list(rows.values()),
        timings=read_lines(workdir / "timing.jsonl", ("phase", "seconds")),
    )
    points = config.get("points", [])
    return [_at_point(whole, index) for index in range(len(points))] or [whole]


def _at_point(whole: Run, index: int) -> Run:
    values = whole.config["points"][index]
    config = {n: copy.deepcopy(v) for n, v in whole.config.items() if n != "points"}
    for path, value in values.items():
        assign(config, path, value)
    told = (f"{path.split('.')[-1]} {value}" for path, value in values.items())
    return dataclasses.replace(
        whole,
        label=", ".join([whole.label, *told]),
        config=config,
        rows=[row for row in whole.rows if row["point"] == index],
        point=index,
        num_points=len(whole.config["points"]),
    )


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Loads every run named: a workdir, or a folder whose children are workdirs.

    Args:
        paths: folders; one that is named twice is read once.

    Returns:
        Runs with labels that differ.

    Raises:
        ValueError: a path is neither, or a record cannot be read.
    """
    workdirs = {}
    for path in map(Path, paths):
        found = [path] if is_run(path) else _children(path)
        workdirs.update((workdir.resolve(), None) for workdir in found)
    return _distinct([run for workdir in workdirs for run in load_runs(workdir)])


def _children(path: Path) -> list[Path]:
    children = sorted(path.iterdir(), key=_natural) if path.is_dir() else []
    runs = [child for child in children if is_run(child)]
    if not runs:
        kind = "has neither, nor children that do" if path.is_dir() else "is no folder"
        raise ValueError(
            f"expected a run's folder, with {CONFIG} and {METRICS} in it, or a folder"
            f" of such folders; {str(path)!r} {kind}; give the workdir of a run"
        )
    return runs


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts `width9` before `width10`."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _distinct(runs: list[Run]) -> list[Run]:
    """Appends as much of the folder's path as it takes to tell equal labels apart."""
    depth = 0
    labels = [run.label for run in runs]
    while len(set(labels)) < len(labels):
        depth += 1
        repeated = Counter(run.label for run in runs)
        tails = ["/".join(run.workdir.parts[-depth:]) for run in runs]
        labels = [
            f"{run.label} ({tail})" if repeated[run.label] > 1 else run.label
            for run, tail in zip(runs, tails, strict=True)
        ]
    return [
        dataclasses.replace(run, label=label)
        for run, label in zip(runs, labels, strict=True)
    ]


def flatten(config: dict, prefix: str = "") -> dict[str, object]:
    """Turns a nested config into {dotted name: value}."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
