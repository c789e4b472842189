"""Reads what is committed of a study, and reduces it."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plasticity_jax.statistics import Estimate, bootstrap_mean

RESULTS = "results"
FIGURES = "docs/figures"
SOLVED = 0.2  # of the baseline b: the loss the probe must reach at the start
Row = Mapping[str, str | float | None]


class Kept(NamedTuple):
    """A study as it is committed."""

    rows: list[Row]  # of agents that did not diverge
    diverged: list[Row]
    origin: dict
    series: list[Row]  # more than one row an agent; empty for most studies


def read(study: str, root: Path) -> Kept | None:
    """Reads a study; None where it is not there.

    Raises:
      OSError: the table is there, and what says where it came from is not.
    """
    folder = root / RESULTS
    if not (folder / f"{study}.csv").is_file():
        return None
    rows = read_rows(folder / f"{study}.csv")
    return Kept(
        [row for row in rows if row["failed_at"] is None],
        [row for row in rows if row["failed_at"] is not None],
        json.loads((folder / f"{study}.json").read_text()),
        read_rows(folder / f"{study}_series.csv"),
    )


def read_rows(path: Path) -> list[Row]:
    """Reads a table; numbers as such, empty cells as None. No file: no rows."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return [
            {name: _value(text) for name, text in row.items()}
            for row in csv.DictReader(file)
        ]


def _value(text: str) -> str | float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """Returns a column [N] of numbers, NaN where there is none."""
    values = [row.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in values], float)


def grouped(rows: Sequence[Row], *names: str) -> dict[tuple, list[Row]]:
    """Groups rows by what they are called in some columns, in order of appearance."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in names), []).append(row)
    return groups


def mean(rows: Sequence[Row], metric: str) -> Estimate:
    """Averages a metric over agents, with the 95 % interval; NaN without a value."""
    return bootstrap_mean(column(rows, metric))


def solved(rows: Sequence[Row]) -> list[Row]:
    """Returns the agents that could learn the probe at the start (unknown: as if)."""
    start, baseline = column(rows, "probe/initial_loss"), column(rows, "probe/baseline")
    kept = ~(start > SOLVED * baseline)
    return [row for row, keep in zip(rows, kept, strict=True) if keep]


def by_seed(groups: Mapping[tuple, Sequence[Row]], metric: str) -> np.ndarray:
    """Returns a metric [S, groups]: a row a seed, NaN where a group lacks it."""
    seeds = sorted({row["seed"] for rows in groups.values() for row in rows})
    table = np.full((len(seeds), len(groups)), np.nan)
    for place, rows in enumerate(groups.values()):
        table[[seeds.index(row["seed"]) for row in rows], place] = column(rows, metric)
    return table
