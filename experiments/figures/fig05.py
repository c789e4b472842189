"""Figure 5: plasticity loss against width, a line a target period.

Needs the runs of configs/block_mdp/width.py:
  python -m experiments.sweep --config=configs/block_mdp/width.py:cpu --out=runs/width
  python -m experiments.figures.fig05 runs/width --out=docs/figures/fig05
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.figures import factors, lines
from experiments.figures.paper import MEAN, PaperFigure, main
from experiments.figures.style import WIDTH, run_style
from experiments.runs import Run
from plasticity_jax.statistics import mean_interval

ROWS = {
    "probe/plasticity_loss": "plasticity loss\n(log beyond ±0.01)",
    "probe/rho": "share of what could be\nlost that is lost (rho)",
}
CEILINGS = {"probe/plasticity_loss": 1.0, "probe/rho": 1.25}  # twice b; all, and more
LINEAR = 0.01  # loss below which the axis is linear, as it may be 0 or less


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects plain networks of which the probe was taken."""
    found = lines.with_metric(runs, "probe/plasticity_loss")
    return [run for run in found if factors.arm(run) == "none"]


def draw(runs: Sequence[Run]) -> Figure:
    """Draws a column a network and environment, a row a reading, a line a period."""
    columns = list(dict.fromkeys(map(column_of, runs)))
    periods = sorted({factors.period(run) for run in runs})
    size = (max(6.5, min(WIDTH, 3.6 * len(columns))), 5.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(2, len(columns), squeeze=False, sharex="col", sharey="row")
    for top, bottom, title in zip(*panels, columns, strict=True):
        here = [run for run in runs if column_of(run) == title]
        for axes, metric in zip((top, bottom), ROWS, strict=True):
            for index, period in enumerate(periods):
                alike = [run for run in here if factors.period(run) == period]
                _draw_line(axes, alike, metric, run_style(index))
            axes.axhline(0, color="#666666", linewidth=0.8)
        top.set_title(title)
        top.set_yscale("symlog", linthresh=LINEAR)
        for axes, ceiling in zip((top, bottom), CEILINGS.values(), strict=True):
            axes.set_ylim(top=1.02 * ceiling)
        is_mlp = factors.architecture(here[0]) == "MLP"
        _name_widths(bottom, here, "units a layer" if is_mlp else "channels, first")
    for axes, label in zip(panels[:, 0], ROWS.values(), strict=True):
        axes.set_ylabel(label)
    handles = [Line2D([], [], **run_style(i)) for i in range(len(periods))]
    labels = [f"target period {period:,}" for period in periods]
    lines.add_legend(figure, handles, labels)
    return figure


def column_of(run: Run) -> str:
    """Names the panel of a run."""
    return f"{factors.setting(run)}, {factors.environment(run)}"


def _draw_line(axes: Axes, runs: Sequence[Run], metric: str, style: dict) -> None:
    runs = sorted(runs, key=factors.width)
    means = [mean_interval(factors.last(run, metric)) for run in runs]
    if means:
        # Diverged values, drawn at the upper edge, would hide all others.
        mean, low, high = np.minimum(np.array(means).T, CEILINGS[metric])
        widths = [factors.width(run) for run in runs]
        axes.plot(widths, mean, **style)
        axes.fill_between(widths, low, high, color=style["color"], alpha=0.18)


def _name_widths(axes: Axes, runs: Sequence[Run], label: str) -> None:
    widths = sorted({factors.width(run) for run in runs})
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(f"width ({label})")


FIGURE = PaperFigure(
    title="Figure 5. Plasticity loss against width",
    caption=(
        "Above, the rise in final probe loss from the first to the last iteration;"
        " below, the same as a share of all there was to lose, so that networks that"
        " start nearer their ceiling compare. What lies at the upper edge is beyond it:"
        f" its values diverged. {MEAN}"
    ),
    alt="Plasticity loss and its share against width, a line a target period.",
    config="configs/block_mdp/width.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
