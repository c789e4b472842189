"""A tidy table of finished runs: small enough to commit, with where it came from."""

import csv
from collections.abc import Sequence
from pathlib import Path

from experiments.runs import Run

PROVENANCE = ("command", "commit", "dirty", "started", "python", "devices")


def write_tidy(runs: Sequence[Run], path: Path) -> None:
    """Writes CSV: one row a run and seed, each metric as last measured.

    Columns: label, seed, updates, failed_at, every metric of any run (empty where it
    was not measured or not finite), then the provenance of the run's first launch.
    """
    metrics = sorted({n for run in runs for row in run.rows for n in row if "/" in n})
    header = ["label", "seed", "updates", "failed_at", *metrics, *PROVENANCE]
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, header)
        table.writeheader()
        for run in runs:
            launch = run.launches[0] if run.launches else {}
            origin = {name: launch.get(name) for name in PROVENANCE}
            origin["devices"] = "; ".join(launch.get("devices", []))
            for seed in run.all_seeds:
                rows = [row for row in run.rows if row["seed"] == seed]
                last = {n: v for row in rows for n, v in row.items() if n in header}
                table.writerow(last | origin | {"label": run.label})
