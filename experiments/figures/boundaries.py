"""Beyond the paper: update norms and dead units in the updates around a boundary.

Needs the runs of configs/supervised/boundaries.py, streams with rows dense there:
  python -m experiments.sweep --config=configs/supervised/boundaries.py:cpu \\
      --out=runs/boundaries --seeds=100:104
  python -m experiments.figures.boundaries runs/boundaries --out=docs/figures/boundaries
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.figures import factors, lines
from experiments.figures.paper import MEAN, PaperFigure, main
from experiments.figures.style import WIDTH, logarithmic, plain, run_style, short
from experiments.runs import Run
from plasticity_jax.statistics import mean_interval

PANELS = {
    "train/update_norm": "update norm, mean\nsince the row before",
    "representation/dead_fraction": "share of dead units",
    "eval/accuracy": "accuracy on the task",
}
LINEAR = 2  # updates about the boundary that a logarithm would swallow
AFTER = 5  # rows that a boundary needs in so many updates after it, to be drawn


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects runs on streams whose rows are dense around some boundaries."""
    return [
        run
        for run in runs
        if "updates_per_task" in run.config.get("learner", {})
        and set(PANELS) <= set(run.metrics)
        and boundaries(run)
    ]


def boundaries(run: Run) -> list[int]:
    """Returns the update counts of the boundaries with rows at once after them."""
    times, period = run.series("eval/accuracy")[0], factors.period(run)
    ends = range(period, run.updates, period)
    return [end for end in ends if np.sum((times > end) & (times <= end + AFTER)) > 1]


def around(run: Run, metric: str, boundary: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a metric's times from a boundary [U], as far on one side as its rows are
    dense there, and values [S, U]."""
    times, values = run.series(metric)
    asked = np.array(run.config["probes"]["representation"]["at"])
    asked = asked[abs(asked - boundary) < factors.period(run) / 2]
    near = (times >= asked.min()) & (times <= asked.max())
    return times[near] - boundary, values[:, near]


def draw(runs: Sequence[Run]) -> Figure:
    """Draws a column a boundary, a row a reading, a line an arm."""
    columns = sorted({time for run in runs for time in boundaries(run)})
    size = (WIDTH, 2.6 * len(PANELS) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(
        len(PANELS), len(columns), squeeze=False, sharex=True, sharey="row"
    )
    names = [plain(run.label) for run in runs]
    for row, (metric, label) in zip(panels, PANELS.items(), strict=True):
        for axes, boundary in zip(row, columns, strict=True):
            for index, run in enumerate(runs):
                if boundary in boundaries(run):
                    _draw_line(axes, run, metric, boundary, run_style(index))
            axes.axvline(0, color="#999999", linewidth=1, linestyle=":")
        row[0].set_ylabel(label)
        if metric == "train/update_norm":
            logarithmic(row[0])
        else:
            row[0].set_ylim(-0.03, 1.03)
    for axes, boundary in zip(panels[0], columns, strict=True):
        axes.set_title(f"task {boundary // factors.period(runs[0]) + 1} begins")
    reach = max(abs(around(run, metric, columns[0])[0]).max() for run in runs)
    for axes in panels[-1]:
        _label_times(axes, reach)
    handles = [Line2D([], [], **run_style(i)) for i in range(len(runs))]
    lines.add_legend(figure, handles, names)
    return figure


def _draw_line(axes: Axes, run: Run, metric: str, boundary: int, style: dict) -> None:
    times, values = around(run, metric, boundary)
    mean, low, high = mean_interval(values)
    axes.plot(times, mean, markersize=3.5, **{"linewidth": 1.4} | style)
    axes.fill_between(times, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _label_times(axes: Axes, reach: int) -> None:
    """Sets times from the boundary, logarithmic on both sides."""
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=0.7)
    powers = [10**power for power in range(1, 9) if 10**power <= reach]
    ticks = [*(-power for power in reversed(powers)), 0, *powers]
    axes.set_xticks(ticks, [short(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("updates from the boundary")


FIGURE = PaperFigure(
    title="Around a change of task: update norms, dead units, accuracy",
    caption=(
        "One network on a stream of random labels, an arm a line; each column is the"
        " change to another task, at the dotted line, with time logarithmic on both"
        " sides. Top: the L2 norm of the applied update, averaged since the row"
        " before (right after the change each update has a row). Middle: hidden units"
        " that are 0 on all images learned. Bottom: the share of labels fitted, left of"
        f" the line the old ones, right of it the new. {MEAN}"
    ),
    alt="Update norm, dead units and accuracy against updates from three boundaries.",
    config="configs/supervised/boundaries.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
