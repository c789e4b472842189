"""Points of runs, one a seed: a statistic against what it may predict, by group."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from experiments.figures import factors
from experiments.figures.style import COLOURS, MARKERS
from experiments.runs import Run
from plasticity_jax import statistics

LOSS = "probe/plasticity_loss"
LOSS_LABEL = "plasticity loss (rise in final probe loss)"


class Points(NamedTuple):
    """One point a seed, or several."""

    x: np.ndarray  # [P]
    y: np.ndarray  # [P]
    solved: np.ndarray  # [P] bool: the probe could be learned at the start
    units: np.ndarray  # [P] what is resampled: points of one unit stay together


def collect(runs: Sequence[Run], metric: str) -> Points:
    """Returns a metric's last value against plasticity loss, seeds with both. A unit
    is a run, a setting: its seeds are near-copies."""
    rows = [
        (x, y, solved, unit)
        for unit, run in enumerate(runs)
        for x, y, solved in zip(
            factors.last(run, metric), factors.last(run, LOSS), factors.was_solved(run),
            strict=True,
        )
        if np.isfinite(x) and np.isfinite(y)
    ]  # fmt: skip
    x, y, solved, units = np.array(rows, dtype=float).reshape(-1, 4).T
    return Points(x, y, solved.astype(bool), units)


def grouped(runs: Sequence[Run], factor) -> dict[str, list[Run]]:
    """Groups runs by a factor's levels, in the order of the runs."""
    levels = dict.fromkeys(map(factor, runs))
    return {level: [run for run in runs if factor(run) == level] for level in levels}


def describe(points: Points) -> str:
    """Writes the rank correlation of the solved points with its interval."""
    x, y, units = (column[points.solved] for column in points[:2] + points[3:])
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return f"n {len(x)}"
    value, low, high, _ = statistics.spearman(x, y, units)
    if np.isnan(low):  # one setting: between its seeds there is nothing to compare
        return f"n {len(x)}"
    return f"ρ {value:+.2f} [{low:+.2f}, {high:+.2f}], n {len(x)}"


def draw_groups(
    axes: Axes, groups: Mapping[str, Points], with_lines: bool = True
) -> None:
    """Draws groups in colours of their own, each with its regression line.

    Unsolved points are hollow and bear on neither line nor correlation.
    """
    for index, (name, points) in enumerate(groups.items()):
        colour, marker = COLOURS[index % 7], MARKERS[(index + index // 7) % 7]
        style = {"color": colour, "marker": marker, "linestyle": "", "alpha": 0.65}
        x, y = points.x[points.solved], points.y[points.solved]
        label = f"{name}: {describe(points)}"
        axes.plot(x, y, label=label, markeredgewidth=0, **style)
        hollow = {"markerfacecolor": "none", "markeredgewidth": 0.8}
        axes.plot(points.x[~points.solved], points.y[~points.solved], **style | hollow)
        if with_lines and len(x) > 1 and np.ptp(x) > 0:
            ends = np.array([x.min(), x.max()])
            slope, offset = np.polyfit(x, y, 1)
            axes.plot(ends, offset + slope * ends, color=colour, linewidth=2)
    axes.axhline(0, color="#666666", linewidth=0.8)
    axes.legend(fontsize=8, handletextpad=0.2, loc="lower left", bbox_to_anchor=(0, 1))
