"""A metric against iterations, a line a method, and the probe's learning curves."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.figures import factors
from experiments.figures.paper import MEAN, PaperFigure
from experiments.figures.style import (
    MAX_MARKERS,
    MAX_POINTS,
    grid,
    logarithmic,
    name_edges,
    run_style,
    spread,
    time_colours,
)
from experiments.runs import Run
from plasticity_jax.statistics import mean_interval

MAX_TIMES = 5
CURVE_ARMS = ("none", "layer norm", "two-hot", "layer norm + two-hot")
CURVES_CAPTION = (
    "A copy of the network at each iteration is trained on new tasks, and its loss is"
    " followed: light curves are early networks, dark ones late. Curves that fall more"
    " slowly, or end higher, are lost plasticity. Dotted: the loss of the best constant"
    f" answer. {MEAN}"
)
GREY = "#666666"


def draw_lines(
    runs: Sequence[Run],
    metric: str,
    label: str,
    panel_of: Callable[[Run], str],
    line_of: Callable[[Run], str],
    log: bool = False,
    chance: float | None = None,
    between_copies: bool = False,
) -> Figure:
    """Draws a metric against iterations, a panel a setting.

    Args:
        runs: all have the metric.
        metric: its name in the records.
        label: of the vertical axis.
        panel_of, line_of: what a run's panel and line are called; a line has the same
            colour in every panel.
        log: whether the vertical axis is logarithmic.
        chance: the metric's value by chance, if it is a share, else None.
        between_copies: whether rows at a copy to the target network are left out, where
            there are others: targets have just moved there, and events have just fired.
    """
    panels = dict.fromkeys(map(panel_of, runs))
    figure, axes_of = grid(len(panels), 2, 3.9, sharey=True)
    lines = {}
    for title, axes in zip(panels, axes_of, strict=True):
        here = [run for run in runs if panel_of(run) == title]
        for run, name in zip(here, factors.names(here, line_of), strict=True):
            style = run_style(lines.setdefault(name, len(lines)))
            _draw_line(axes, run, metric, style, name, between_copies)
        axes.set_title(title)
        if log:
            logarithmic(axes)
        if chance is not None:
            axes.axhline(chance, color=GREY, linewidth=1, linestyle=":")
            axes.set_ylim(0, 1.03)
    name_edges(axes_of, "iterations (target periods)", label)
    handles = [Line2D([], [], **run_style(i)) for i in lines.values()]
    add_legend(figure, handles, list(lines))
    return figure


def add_legend(figure: Figure, handles: Sequence, labels: Sequence[str]) -> None:
    """Puts one legend under the panels, in as many columns as its letters allow."""
    fitting = int(figure.get_figwidth() / (max(map(len, labels)) / 16 + 1))
    columns = max(1, min(len(labels), fitting))
    below = {"loc": "outside lower center", "ncols": columns, "handlelength": 3.5}
    figure.legend(handles, labels, fontsize=9, **below)


def _draw_line(
    axes: Axes, run: Run, metric: str, style: dict, name: str, between_copies: bool
) -> None:
    updates, values = run.series(metric)
    between = updates % factors.period(run) != 0
    if between_copies and between.any():
        updates, values = updates[between], values[:, between]
    keep = spread(range(len(updates)), MAX_POINTS)
    times = updates[keep] / factors.period(run)
    mean, low, high = mean_interval(values[:, keep])
    every = -(-len(times) // MAX_MARKERS)
    axes.plot(times, mean, markevery=every, label=name, **style)
    axes.fill_between(times, low, high, color=style["color"], alpha=0.15, linewidth=0)


def draw_curves(runs: Sequence[Run], panel_of: Callable[[Run], str]) -> Figure:
    """Draws the probe's learning curves, a panel a run, a curve an iteration."""
    columns = 4 if len(runs) > 4 else 2
    figure, panels = grid(len(runs), columns, 3.3, sharex=True, sharey=True)
    titles = factors.names(runs, panel_of)
    for axes, run, title in zip(panels, runs, titles, strict=True):
        times = spread(run.array_times("plasticity"), MAX_TIMES)
        for updates, colour in zip(times, time_colours(len(times)), strict=True):
            steps, values = probe_curves(run, updates)
            mean, low, high = mean_interval(values)
            name = f"{updates / factors.period(run):g}"
            axes.plot(steps, mean, color=colour, label=name)
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        _, baseline = run.series("probe/baseline")
        if baseline.size:
            axes.axhline(np.nanmean(baseline), color=GREY, linewidth=1, linestyle=":")
        axes.set_title(title)
        frame = {"framealpha": 0.85, "edgecolor": "none", "loc": "best"}
        frame |= {"frameon": True, "title": "iteration"}
        axes.legend(fontsize=8.5, title_fontsize=8.5, **frame)
    panels[0].set_ylim(bottom=0)
    name_edges(panels, "probe steps", "probe loss (squared error)")
    return figure


def probe_curves(run: Run, updates: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probe's steps [L] and losses [S, L], means over its targets."""
    arrays = run.arrays("plasticity", updates)
    with warnings.catch_warnings():  # a step at which all targets have diverged
        warnings.simplefilter("ignore", RuntimeWarning)
        return arrays["steps"][0], np.nanmean(arrays["curves"], axis=1)


def with_curves(runs: Sequence[Run], *methods: str) -> list[Run]:
    """Selects Q-learning runs of methods (all without any) that kept probe curves."""
    return [
        run
        for run in factors.usual(list(filter(factors.is_q_learning, runs)))
        if run.array_times("plasticity")
        and (not methods or factors.arm(run) in methods)
    ]


def with_metric(runs: Sequence[Run], metric: str) -> list[Run]:
    """Selects Q-learning runs that measured a metric."""
    return [run for run in runs if factors.is_q_learning(run) and metric in run.metrics]


def curves_by_method(number: int, environment: str) -> PaperFigure:
    """Describes the figure of probe curves in an environment, a panel a method."""

    def select(runs):
        found = with_curves(runs, *CURVE_ARMS)
        found = [run for run in found if factors.environment(run) == environment]
        return sorted(found, key=lambda run: (factors.setting(run), factors.place(run)))

    def panel_of(run):
        return f"{factors.arm(run)}\n{factors.setting(run)}"

    return PaperFigure(
        title=f"Figure {number}. Learning curves of the probe ({environment})",
        caption=CURVES_CAPTION,
        alt="Probe loss against probe steps, a curve an iteration, a panel a method.",
        config="configs/block_mdp/probe_curves.py",
        select=select,
        draw=lambda runs: draw_curves(runs, panel_of),
    )
