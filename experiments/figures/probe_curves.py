"""The probe's own learning curves, at several times of training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.figures.plot import Plot
from experiments.figures.style import (
    grid,
    legend_of_times,
    name_edges,
    plain,
    short,
    spread,
    time_colours,
)
from experiments.runs import Run

MAX_TIMES = 6


def draw(runs: Sequence[Run]) -> Figure | None:
    """Draws a panel a run, a curve a time: mean over targets and seeds."""
    runs = [run for run in runs if run.array_times("plasticity") and run.seeds]
    if not runs:
        return None
    figure, panels = grid(len(runs), 3, 3.1, sharex=True, sharey=True)
    for axes, run in zip(panels, runs, strict=True):
        times = spread(run.array_times("plasticity"), MAX_TIMES)
        for updates, colour in zip(times, time_colours(len(times)), strict=True):
            arrays = run.arrays("plasticity", updates)
            curve = _mean(arrays["curves"], (0, 1))  # [L]
            steps = _mean(arrays["steps"], 0)
            axes.plot(steps, curve, color=colour, label=short(updates), linewidth=1.6)
        _draw_baseline(axes, run)
        axes.set_title(plain(run.label))
        axes.set_ylim(bottom=0)
        legend_of_times(axes)
    name_edges(panels, "probe steps", "probe loss (squared error)")
    return figure


def _draw_baseline(axes, run: Run) -> None:
    _, baseline = run.series("probe/baseline")
    if baseline.size:
        level = np.nanmean(baseline)
        axes.axhline(level, color="#666666", linewidth=1, linestyle=":", label="b")


def _mean(values: np.ndarray, axis) -> np.ndarray:
    """Mean over the finite entries: a target that diverged has none."""
    return np.ma.masked_invalid(values).mean(axis=axis).filled(np.nan)


PLOT = Plot(
    name="probe_curves",
    title="How the probe is learned, early and late",
    draw=draw,
    caption=(
        "Each curve is one measurement: a copy of the network is trained on a new task"
        " for a fixed number of steps, and its loss is followed. Light curves are"
        " early in training, dark ones late. A network that keeps its plasticity draws"
        " the same curve every time; one that loses it draws curves that fall more"
        " slowly or end higher. Dotted, where known: the baseline b, the loss of the"
        " best constant answer. Means over probe targets and seeds."
    ),
    alt="A panel a run: probe loss against probe step, a curve for each time.",
    missing="No run has kept the probe's learning curves (arrays/plasticity_*.npz).",
)
