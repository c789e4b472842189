"""A tidy table of finished runs: small enough to commit, with where it came from."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.runs import Run

PROVENANCE = ("command", "commit", "dirty", "started", "python", "devices")
LEARNERS_OWN = ("train/", "eval/")  # every other metric is a probe's


def write_tidy(
    runs: Sequence[Run], path: Path, factors: Sequence[Mapping] = (), **origin: str
) -> None:
    """Writes CSV: one row a run and seed, each metric as last measured.

    Columns: group (the workdir's name), label, seed, the factors, updates, failed_at,
    every metric of any run (empty where it was not measured or not finite),
    `<metric>@0` for what a probe measured at update 0, seconds (the workdir's, shared
    out alike among its members), then the provenance of the first launch.

    Args:
      runs: one a point where a workdir has several.
      path: of the file, replaced at once.
      factors: {factor: value} of each run, all with the same names.
      **origin: provenance in place of the launch's own.
    """
    header = ["group", "label", "seed", *(factors[0] if factors else ())]
    header += ["updates", "failed_at", *_metrics(runs), "seconds", *PROVENANCE]
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", newline="") as file:
        table = csv.DictWriter(file, header)
        table.writeheader()
        for run, values in zip(runs, factors or [{}] * len(runs), strict=True):
            own = {name: _text(value) for name, value in values.items()}
            own |= {"group": run.workdir.name, "label": run.label}
            own |= {"seconds": _seconds(run)} | _provenance(run) | origin
            for seed in run.all_seeds:
                table.writerow(_measured(run, seed, header) | own)
    os.replace(temporary, path)


def _metrics(runs: Sequence[Run]) -> list[str]:
    rows = [row for run in runs for row in run.rows]
    metrics = {name for row in rows for name in row if "/" in name}
    first = {name for row in rows if row["updates"] == 0 for name in row} & metrics
    first = {name for name in first if not name.startswith(LEARNERS_OWN)}
    return sorted(metrics | {f"{name}@0" for name in first})


def _measured(run: Run, seed: int, header: list[str]) -> dict:
    measured = {}
    for row in run.rows:
        if row["seed"] != seed:
            continue
        if row["updates"] == 0:
            measured |= {f"{name}@0": value for name, value in row.items()}
        measured |= row
    return {name: value for name, value in measured.items() if name in header}


def _seconds(run: Run) -> float:
    members = len(run.all_seeds) * run.num_points
    return round(sum(row["seconds"] for row in run.timings) / max(members, 1), 3)


def _provenance(run: Run) -> dict:
    launch = run.launches[0] if run.launches else {}
    found = {name: launch.get(name) for name in PROVENANCE}
    return found | {"devices": "; ".join(launch.get("devices", []))}


def _text(value) -> str | None:
    return value if isinstance(value, str | None) else json.dumps(value)
