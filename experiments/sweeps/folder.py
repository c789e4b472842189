"""A sweep's folder: what it holds, who may work in it, and its table.

sweep.json       command, points (factors and config of each), groups
<group>/         a run's workdir
launches/        each group's config and what its process printed
runs.csv         one row a point and seed
costs.json       seconds an update by group, where they were measured apart
"""

import contextlib
import fcntl
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.runs import is_run, load_runs
from experiments.sweeps.grids import Point, exact, leaves
from experiments.sweeps.groups import Group, join
from experiments.sweeps.jobs import LAUNCHES, Job
from experiments.tidy import write_tidy
from plasticity_jax.records.files import read_json, write_json

DESCRIPTION = "sweep.json"
TABLE = "runs.csv"
COSTS = "costs.json"  # of `experiments.costs`: {group: seconds an update}
_PATIENCE_SECONDS = 300.0  # for processes of a killed launch, which save and end


def recall(out: Path, points: Sequence[Point]) -> dict | None:
    """Reads what an earlier launch left, None if this is the first.

    Raises:
      ValueError: the folder holds another sweep, or something else.
    """
    path = out / DESCRIPTION
    if not path.exists():
        foreign = {p.name for p in out.glob("*")} - {LAUNCHES}
        if foreign:
            raise ValueError(
                f"--out={out}: expected a new folder, or one of a sweep; it holds "
                f"{', '.join(sorted(foreign)[:5])}. Choose another --out."
            )
        return None
    there = read_json(path, dict)
    if difference := _difference(there["points"], points):
        raise ValueError(
            f"--out={out}: it holds another sweep: {difference}. That one's command: "
            f"{there['command']}. Choose another --out."
        )
    return there


def _difference(there: list[dict], points: Sequence[Point]) -> str:
    if len(there) != len(points):
        return f"{len(there)} points there, {len(points)} asked for"
    for index, (old, new) in enumerate(zip(there, points, strict=True)):
        for name in ("factors", "config"):
            before, now = (dict(leaves(p[name])) for p in (old, new._asdict()))
            for path in before | now:
                if exact(before.get(path)) != exact(now.get(path)):
                    return (
                        f"point {index}, {path}: {before.get(path)!r} there, "
                        f"{now.get(path)!r} asked for"
                    )
    return ""


def groups(out: Path) -> list[Group]:
    """Returns the groups of the sweep in a folder; none of a folder of other runs."""
    if not (out / DESCRIPTION).is_file():
        return []
    there = read_json(out / DESCRIPTION, dict)
    return join([Point(**point) for point in there["points"]], there["groups"])


def describe(
    out: Path, command: str, points: Sequence[Point], groups: list[list[int]]
) -> None:
    """Writes what the sweep is; called before anything starts."""
    listed = [point._asdict() for point in points]
    write_json(out / DESCRIPTION, dict(command=command, groups=groups, points=listed))


@contextlib.contextmanager
def occupied(out: Path) -> Iterator[int]:
    """Makes the folder and takes it for this process and those it starts.

    Yields:
      A file descriptor for those processes, by which a later launch knows of them.

    Raises:
      ValueError: another sweep is running there.
    """
    (out / LAUNCHES).mkdir(parents=True, exist_ok=True)
    with (
        open(out / LAUNCHES / ".lock", "w") as own,
        open(out / LAUNCHES / ".runs.lock", "w") as shared,
    ):
        if not _take(own):
            raise ValueError(f"--out={out}: a sweep is running there. Wait for it.")
        if not _take(shared):
            print("waiting for runs of a killed launch to save", file=sys.stderr)
        until = time.monotonic() + _PATIENCE_SECONDS
        while not _take(shared):
            if time.monotonic() > until:
                raise ValueError(
                    f"--out={out}: runs of a killed launch are still there. Wait for "
                    "them, or end them, then give the same command again."
                )
            time.sleep(0.2)
        yield shared.fileno()


def _take(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_table(out: Path, command: str, jobs: Sequence[Job]) -> None:
    """Writes `runs.csv` of jobs that have ended, one row a point and seed; warns of a
    record that cannot be read."""
    runs, factors = [], []
    for job in jobs:
        if not is_run(job.workdir):
            continue
        try:
            runs += load_runs(job.workdir)
        except ValueError as error:  # the others go on
            warnings.warn(f"{TABLE} is without {job.group.slug}: {error}", stacklevel=2)
            continue
        factors += [point.factors for point in job.group.points]
    write_tidy(runs, out / TABLE, factors, command=command)
