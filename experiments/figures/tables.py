"""The page's tables and notes, as text cells."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.figures.style import short
from experiments.figures.timing import in_order
from experiments.runs import Run, flatten
from experiments.summary import number

ABSENT = "not set"


class Table(NamedTuple):
    """A header and rows of text; the first cell of a row names it."""

    header: list[str]
    rows: list[list[str]]


def config_differences(runs: Sequence[Run]) -> Table:
    """Lists the settings that are not the same in all runs. Labels are left out."""
    configs = [flatten(run.config) for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    rows = []
    for name in names:
        cells = [_setting(config, name) for config in configs]
        if len(set(cells)) > 1 and name != "label":
            rows.append([name, *cells])
    return Table(["setting", *(run.label for run in runs)], rows)


def _setting(config: dict, name: str) -> str:
    if name not in config:
        return ABSENT
    value = config[name]
    return value if isinstance(value, str) else json.dumps(value)


def phase_table(runs: Sequence[Run]) -> Table:
    """Gives the runs' seconds by phase, first calls in brackets, and their speed."""
    runs = [run for run in runs if run.timings]
    phases = in_order(row["phase"] for run in runs for row in run.timings)
    rows = [[phase, *(_seconds(run, phase) for run in runs)] for phase in phases]
    if rows:
        rows.append(["updates a second (of all seeds at once)", *map(_speed, runs)])
    return Table(["phase", *(run.label for run in runs)], rows)


def _seconds(run: Run, phase: str) -> str:
    calls = [row for row in run.timings if row["phase"] == phase]
    first = sum(row["seconds"] for row in calls if row.get("first_call"))
    steady = sum(row["seconds"] for row in calls) - first
    return f"{steady:,.1f} ({first:,.1f})" if calls else number(None)


def _speed(run: Run) -> str:
    """Updates a second in training's later calls; one update advances all seeds."""
    calls = [
        row
        for row in run.timings
        if row["phase"] == "advance" and not row.get("first_call")
    ]
    seconds = sum(row["seconds"] for row in calls)
    done = sum(row.get("num_updates", 0) for row in calls)
    return number(done / seconds if seconds else None)


def launches(runs: Sequence[Run]) -> Table:
    """Lists every launch of every run: when, what, from which commit, on what."""
    header = ["run", "launch", "started", "commit", "command", "devices", "platform"]
    rows = []
    for run in runs:
        for index, launch in enumerate(run.launches, 1):
            state = " (with uncommitted changes)" if launch.get("dirty") else ""
            rows.append(
                [
                    run.label,
                    f"{index} of {len(run.launches)}",
                    str(launch.get("started", "–")).replace("T", " "),
                    f"{str(launch.get('commit') or 'unknown')[:12]}{state}",
                    _command(launch.get("command", "–")),
                    ", ".join(map(str, launch.get("devices") or ["–"])),
                    str(launch.get("platform", "–")),
                ]
            )
    return Table(header, rows)


def _command(command: str | list) -> str:
    return " ".join(map(str, command)) if isinstance(command, list) else str(command)


def versions(runs: Sequence[Run]) -> Table:
    """Lists Python's and the packages' versions in each run's last launch."""
    last = [
        {
            "python": run.launches[-1].get("python", "–"),
            **run.launches[-1].get("versions", {}),
        }
        if run.launches
        else {}
        for run in runs
    ]
    names = dict.fromkeys(name for packages in last for name in packages)
    rows = [[name, *(str(each.get(name, "–")) for each in last)] for name in names]
    return Table(["package", *(run.label for run in runs)], rows)


def notes(runs: Sequence[Run]) -> list[str]:
    """Names what was left out of means, and measurements that mean little."""
    return [f"{run.label}: {line}" for run in runs for line in _notes(run)]


def _notes(run: Run) -> Iterator[str]:
    total = run.config.get("total_updates", 0)
    if not run.rows:
        yield "no metrics are recorded yet."
    elif run.updates < total:
        yield f"is at {run.updates:,} of {total:,} updates: not at its end."
    probed, _ = run.series("probe/final_loss")
    if len(probed) and probed[-1] < run.updates:
        yield f"last probed at {probed[-1]:,} of {run.updates:,} updates recorded."
    for seed, updates in run.failed.items():
        yield (
            f"seed {seed} failed at {updates:,} updates and is left out of every mean,"
            " interval and figure."
        )
    for name, seeds in run.nonfinite.items():
        yield (
            f"{name} is not finite in {_where(seeds)}; those values are left out of"
            " the means."
        )
    _, unsolved = run.series("probe/unsolved_at_init")
    count = int((unsolved[:, -1:] > 0).sum())
    if count:
        yield (
            f"the network at its start did not learn the probe in {count} of"
            f" {len(run.seeds)} seeds. Such a network has no plasticity to lose, and a"
            " small loss says nothing."
        )


def _where(seeds: dict[int, list[int]]) -> str:
    """Names seeds, and the first times of theirs, as `seed 1 at 6k updates`."""
    times = sorted({time for each in seeds.values() for time in each})
    more = f" and {len(times) - 3} more" if len(times) > 3 else ""
    at = ", ".join(map(short, times[:3]))
    noun = "seed" if len(seeds) == 1 else "seeds"
    return f"{noun} {', '.join(map(str, seeds))} at {at}{more} updates"
