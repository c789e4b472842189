"""Would another probe have told the same? Measures a sweep's networks with others:

  python -m experiments.sensitivity runs/interventions --out=runs/sensitivity
  python -m experiments.sensitivity runs/interventions --out=runs/all --arms=all \\
      --environments=all --seeds=100:108 --processes=2

The sweep is a finished one of configs/block_mdp/interventions.py: its final networks,
and those that they began as, are restored from the checkpoints and probed again, with
the config's own plasticity probe and around it, one thing changed at a time: half the
images or all, half or twice the steps, the optimiser's rate by a third or thrice, its
state carried on, other targets of the same kind (other_targets: what no order can agree
with better), targets of a random teacher, targets 10 away.

Without flags it takes what 15 CPU-minutes allow at CPU scale: six arms (a plain
network, tuned, layer_norm, l2_init, redo, reset_last_layer), the easy environment, the
first four seeds. Stopped by whatever, the same command goes on. OUT/sensitivity.csv
has a row for each network and probe; what is printed is how well each probe's order of
the arms agrees with the config's own (Kendall's tau-b, intervals over seeds).

`python -m experiments.figures.sensitivity OUT --out=docs/figures/sensitivity` draws it.
"""

import csv
import json
import multiprocessing
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from absl import app, flags, logging

from experiments import other_probes, rankings
from experiments.sweeps import folder, grids
from experiments.sweeps.groups import Group, join
from experiments.sweeps.jobs import Job
from experiments.threads import SIDE_BY_SIDE
from plasticity_jax import checks
from plasticity_jax.records import RecordsError
from plasticity_jax.records.files import read_json, replacing, write_json

TABLE = "sensitivity.csv"
REQUEST = "request.json"
ARMS = ("", "tuned", "layer_norm", "l2_init", "redo", "reset_last_layer")
NUM_SEEDS = 4
ALL = "all"
PLAIN = "none"  # how the arm without a variant is written

_OUT = flags.DEFINE_string("out", None, "A folder for the table, made if missing.")
_ARMS = flags.DEFINE_list(
    "arms", None, f"Arms of the sweep, + in place of their commas, {PLAIN}, or {ALL}."
)
_ENVIRONMENTS = flags.DEFINE_list("environments", ["easy"], f"Or {ALL}.")
_SEEDS = flags.DEFINE_string(
    "seeds", None, f"first:stop. Default: the sweep's first {NUM_SEEDS}."
)
_PROBES = flags.DEFINE_list(
    "probes", list(other_probes.NAMES), "Which; the first is always measured."
)
_PROCESSES = flags.DEFINE_integer("processes", 1, "At a time, each on one core.")


class Task(NamedTuple):
    """One probe of some members of one run."""

    group: Group
    workdir: Path
    members: list[tuple[int | None, int]]  # (point, seed)
    probe: str

    @property
    def name(self) -> str:
        """Its rows' file, without a suffix."""
        return f"{self.group.slug}--{self.probe}"

    @property
    def weight(self) -> float:
        """About how long it takes, beside others: members and fits, and compilation."""
        fits = {"reference": 1, "carry": 1, "half_steps": 1, "double_steps": 4}
        return 4 + len(self.members) * fits.get(self.probe, 2)


def main(argv: list[str]) -> int:
    """Measures, and turns every expected failure into one clear line."""
    warnings.showwarning = _warn
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if len(argv) != 2:
            raise ValueError(f"expected the folder of one sweep; got {argv[1:]}.")
        _measure_all(Path(argv[1]), Path(_OUT.value))
    except (ValueError, OSError, RecordsError) as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("stopped; the same command continues")
        return 130
    return 0


def _measure_all(sweep: Path, out: Path) -> None:
    checks.at_least(1, processes=_PROCESSES.value)
    for name in _PROBES.value:
        checks.one_of("--probes", name, other_probes.NAMES)
    tasks = _tasks(sweep)
    _remember(sweep, out, tasks)
    waiting = [task for task in tasks if not _part(out, task).exists()]
    if len(waiting) < len(tasks):
        _say(f"{len(tasks) - len(waiting)} of {len(tasks)} probes are there already")
    _run(out, waiting)
    path = out / TABLE
    _write(path, [row for task in tasks for row in _rows(out, task)])
    print(rankings.table(rankings.by_environment(rankings.read_rows(path))))
    print(path)


def _tasks(sweep: Path) -> list[Task]:
    """Lists what is to be measured, run after run."""
    described = sweep / folder.DESCRIPTION
    if not described.is_file():
        raise ValueError(f"{sweep}: expected a sweep's folder, with {described.name}.")
    there = read_json(described, dict)
    points = [grids.Point(**point) for point in there["points"]]
    arms = _choose("--arms", _arms_wanted(points), map(arm, points))
    places = _choose("--environments", _ENVIRONMENTS.value, map(environment, points))
    probes = dict.fromkeys((other_probes.REFERENCE, *_PROBES.value))
    tasks = []
    for job in (Job(group, sweep) for group in join(points, there["groups"])):
        members = _members(job.group, arms, places)
        if members and not job.is_finished():
            raise ValueError(
                f"{job.workdir}: expected a finished run. Give the sweep's command "
                f"again, or leave its arms out with --arms: {there['command']}"
            )
        tasks += [Task(job.group, job.workdir, members, p) for p in probes if members]
    return tasks


def _arms_wanted(points: Sequence[grids.Point]) -> list[str]:
    if _ARMS.value is not None:
        named = [name.replace("+", ",") for name in _ARMS.value]
        return ["" if name == PLAIN else name for name in named]
    there = set(map(arm, points))
    return [name for name in ARMS if name in there] or [ALL]


def arm(point: grids.Point) -> str:
    """Returns the variants that a point of a sweep names."""
    return point.factors.get(grids.VARIANTS) or ""


def environment(point: grids.Point) -> str:
    """Returns where a point of a sweep acts."""
    return point.config["learner"].get("environment", "")


def _choose(flag: str, wanted: Sequence[str], there: Iterable[str]) -> list[str]:
    there = list(dict.fromkeys(there))
    if wanted == [ALL]:
        return there
    for name in wanted:
        checks.one_of(flag, name, there)
    return list(wanted)


def _members(
    group: Group, arms: Sequence[str], environments: Sequence[str]
) -> list[tuple[int | None, int]]:
    seeds = group.config["seeds"]
    first, count = seeds.get("first", 0), seeds.get("count", 1)
    chosen = range(first, first + min(count, NUM_SEEDS))
    if _SEEDS.value:
        start, number = grids.seeds(_SEEDS.value)
        chosen = range(start, start + number)
        if chosen.start < first or chosen.stop > first + count:
            raise ValueError(
                f"--seeds={_SEEDS.value}: expected some of {first}:{first + count}, "
                f"those of {group.slug}."
            )
    has_points = "points" in group.config
    return [
        (index if has_points else None, seed)
        for index, point in enumerate(group.points)
        if arm(point) in arms and environment(point) in environments
        for seed in chosen
    ]


def _remember(sweep: Path, out: Path, tasks: Sequence[Task]) -> None:
    """Writes what is measured; refuses a folder in which something else was."""
    members = {task.group.slug: task.members for task in tasks}
    request = json.loads(json.dumps(dict(sweep=str(sweep.resolve()), members=members)))
    path = out / REQUEST
    if path.exists() and read_json(path, dict) != request:
        raise ValueError(
            f"--out={out}: it holds another sweep's networks, or other arms, "
            "environments or seeds. Choose another --out."
        )
    (out / "parts").mkdir(parents=True, exist_ok=True)
    write_json(path, request)


def _part(out: Path, task: Task) -> Path:
    return out / "parts" / f"{task.name}.json"


def _run(out: Path, tasks: Sequence[Task]) -> None:
    """Measures in processes of their own; each result is kept as it comes."""
    os.environ.update(SIDE_BY_SIDE | os.environ)
    context = multiprocessing.get_context("spawn")
    left, start = sum(task.weight for task in tasks), time.monotonic()
    done = 0.0
    with ProcessPoolExecutor(_PROCESSES.value, context, _quiet) as pool:
        try:
            found = {
                pool.submit(other_probes.measure, t.workdir, t.members, t.probe): t
                for t in tasks
            }
            for number, future in enumerate(as_completed(found), start=1):
                task = found[future]
                write_json(_part(out, task), future.result())
                done, left = done + task.weight, left - task.weight
                seconds = (time.monotonic() - start) / done * left
                told = f"[{number}/{len(tasks)}] {task.name}"
                _say(f"{told}, {seconds:,.0f} s left")
        except BaseException:  # a measurement takes minutes: it is not waited for
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    logging.set_verbosity(logging.WARNING)
    warnings.simplefilter("ignore", UserWarning)  # the sweep has said them
    warnings.showwarning = _warn


def _rows(out: Path, task: Task) -> list[dict]:
    rows = read_json(_part(out, task), list)
    command = shlex.join(["python", "-m", "experiments.sensitivity", *sys.argv[1:]])
    found = []
    for row in rows:
        point = task.group.points[row["point"] or 0]
        devices = {"devices": "; ".join(row["devices"])}
        what = {"group": task.group.slug, "label": point.config["label"]}
        what |= {"arm": arm(point) or PLAIN, "environment": environment(point)}
        found.append(row | devices | what | {"probe": task.probe, "command": command})
    return found


HEADER = (
    "group", "label", "arm", "environment", "seed", "probe", "num_inputs", "num_steps",
    "learning_rate", "opt_state", "family", "num_targets", "batch_size", "updates",
    "failed_at", *other_probes.REPORTED, "seconds", "command", "commit", "dirty",
    "started", "python", "devices",
)  # fmt: skip


def _write(path: Path, rows: Sequence[dict]) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        table = csv.DictWriter(file, HEADER, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def _warn(text, *_) -> None:
    _say(f"warning: {text}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    flags.mark_flag_as_required("out")
    app.run(main)
