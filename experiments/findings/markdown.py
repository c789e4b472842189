"""Numbers and tables as Markdown."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.summary import interval, number
from plasticity_jax.statistics import Estimate


class Table(NamedTuple):
    """A table, and the name by which prose refers to its cells."""

    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: int = 1  # so many cells at the left name a row
    folded: bool = False  # long: shown on a click


def estimate(found: Estimate) -> str:
    """Writes an estimate as `0.18 [0.17, 0.19]`; – where there is none."""
    return "–" if np.isnan(found.value) else interval(tuple(map(float, found[:3])))


def change(start: np.ndarray, end: np.ndarray) -> str:
    """Writes two means as `0.01 → 0.19`."""
    return " → ".join(number(average(values)) for values in (start, end))


def average(values: np.ndarray) -> float:
    """Returns the mean of what is there, NaN of nothing."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def render(found: Table) -> str:
    """Writes a table under its caption."""
    body = table(found.header, found.rows)
    if not found.folded:
        return f"{found.caption}\n\n{body}"
    summary = f"<details>\n<summary>{found.caption}</summary>"
    return f"{summary}\n\n{body}\n\n</details>"
