"""Runs every combination of a grid, in as few compiled programs as possible:

  python -m experiments.sweep --config=configs/block_mdp/dqn.py:quick --out=runs/a \\
      --grid='{"variants": ["", "layer_norm"], "optimizer.eps": [1e-8, 1e-3]}'
  python -m experiments.sweep --config=... --out=... --seeds=100:108 --dry_run

A factor is a path of the config, as optimizer.learning_rate, or a whole section, as
network, with values in JSON; or the word variants, with names of the config file's
variants and of interventions, separated by commas. --grid may be repeated: all their
combinations are run, each once. Without --grid, the config file's own get_grids.

Combinations that one program can run (another learning rate, strength, environment,
discount, ...) are members of one run, beside their seeds; the others are runs of
their own, each a launch of experiments.train in a folder under --out. A second launch
goes on where the first was stopped, by whatever; nothing finished is started again.
Ctrl-C and SIGTERM save first. OUT/runs.csv has a row for each combination and seed, a
column for each factor and metric. Compare runs with `python -m experiments.report OUT`.

On a GPU leave --processes=1. On a CPU give one a core: each takes one core only.
"""

import shlex
import signal
import sys
import warnings
from pathlib import Path

import jax
from absl import app, flags

from experiments import points as point_paths
from experiments.sweeps import folder, grids
from experiments.sweeps.groups import check, divide, join
from experiments.sweeps.jobs import Job, run_all
from plasticity_jax import checks
from plasticity_jax.records import RecordsError

_CONFIG = flags.DEFINE_string(
    "config", None, "A file under configs/, with `:variant,variant` if wanted."
)
_OUT = flags.DEFINE_string("out", None, "The sweep's folder, made if missing.")
_GRID = flags.DEFINE_multi_string("grid", [], 'JSON: {"factor": [value, ...]}; again.')
_SEEDS = flags.DEFINE_string("seeds", None, "first:stop, as 100:108 for 100 to 107.")
_SET = flags.DEFINE_multi_string(
    "set", [], "path=value, in JSON, for every run, before the factors; again."
)
_PROCESSES = flags.DEFINE_integer("processes", 1, "Runs at a time.")
_MAX_MEMBERS = flags.DEFINE_integer(
    "max_members", 24, "Combinations times seeds in one program, at most."
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Check, print the runs, start nothing.")


def main(argv: list[str]) -> int:
    """Sweeps, and turns every expected failure into one clear line."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only; got {argv[1:]}.")
    warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    jax.config.update("jax_platforms", "cpu")  # here; an accelerator is for the runs
    try:
        return _sweep(Path(_OUT.value))
    except (ValueError, ImportError, OSError, RecordsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped and saved; the same command continues", file=sys.stderr)
        return 130


def _sweep(out: Path) -> int:
    checks.at_least(1, processes=_PROCESSES.value, max_members=_MAX_MEMBERS.value)
    points = _points()
    there = folder.recall(out, points)
    command = shlex.join(["python", "-m", "experiments.sweep", *sys.argv[1:]])
    if there is None:
        there = {"command": command, "groups": _divide(points)}
        check(join(points, there["groups"]))
    jobs = [Job(group, out) for group in join(points, there["groups"])]
    if _DRY_RUN.value:
        print("\n".join(map(_line, jobs)))
    print(_summary(jobs))
    if _DRY_RUN.value:
        return 0
    with folder.occupied(out) as lock:
        folder.describe(out, there["command"], points, there["groups"])
        return _run(out, there["command"], jobs, lock)


def _points() -> list[grids.Point]:
    module, names = grids.load(_CONFIG.value)
    changes = list(_SET.value)
    if _SEEDS.value:
        first, count = grids.seeds(_SEEDS.value)
        changes += [f"seeds.first={first}", f"seeds.count={count}"]
    read = grids.read(module, names, _GRID.value)
    points, repeats = grids.expand(module, names, read, changes)
    if repeats:
        print(f"{repeats} combinations repeat others' settings; each is run once")
    return points


def _divide(points: list[grids.Point]) -> list[list[int]]:
    return divide(
        [point.config for point in points],
        point_paths.can_vary,
        max_members=_MAX_MEMBERS.value,
        processes=_PROCESSES.value,
    )


def _run(out: Path, command: str, jobs: list[Job], lock: int) -> int:
    ended = {job.group.slug for job in jobs if job.is_finished()}

    def tell(job):
        ended.add(job.group.slug)
        folder.write_table(out, command, [j for j in jobs if j.group.slug in ended])

    failed = run_all(jobs, _PROCESSES.value, lock, tell)
    folder.write_table(out, command, jobs)
    print(out / folder.TABLE)
    for slug, reason in failed.items():
        print(f"error: {slug}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _summary(jobs: list[Job]) -> str:
    groups = [job.group for job in jobs]
    finished = sum(job.is_finished() for job in jobs)
    return (
        f"{len(jobs)} runs (a compiled program each), {finished} finished; "
        f"{sum(len(group.points) for group in groups)} combinations, "
        f"{sum(group.num_members for group in groups)} members with their seeds, "
        f"{sum(group.total for group in groups):,} updates"
    )


def _line(job: Job) -> str:
    """What a dry run says of a run."""
    group, seeds = job.group, job.group.config["seeds"]
    first, count = seeds.get("first", 0), seeds.get("count", 1)
    lines = [
        f"{group.slug}{' (finished)' if job.is_finished() else ''}: "
        f"{len(group.points)} combinations x seeds {first} to {first + count - 1}, "
        f"{group.config['total_updates']:,} updates each"
    ]
    for name in group.points[0].factors:
        values = dict.fromkeys(grids.exact(p.factors[name]) for p in group.points)
        lines.append(f"    {name}: {', '.join(values)}")
    return "\n".join(lines)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "out"])
    app.run(main)
