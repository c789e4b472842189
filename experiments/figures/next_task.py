"""Beyond the paper: does the probe's loss predict how well the next task is learned?

Needs the runs of configs/supervised/next_task.py, streams probed at each boundary.
  python -m experiments.sweep --config=configs/supervised/next_task.py:cpu \\
      --out=runs/next_task
  python -m experiments.figures.next_task runs/next_task --out=docs/figures/next_task
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.figures import factors, scatter
from experiments.figures.paper import PaperFigure, main
from experiments.figures.style import grid
from experiments.runs import Run


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects runs on streams with both a probe and an accuracy."""
    wanted = {"probe/final_loss", "eval/accuracy"}
    return [
        run
        for run in runs
        if "updates_per_task" in run.config.get("learner", {})
        and wanted <= set(run.metrics)
    ]


def pairs(run: Run) -> scatter.Points:
    """Pairs the probe's loss at each boundary with the end of the task that follows.

    A row at a boundary is of the task that ends there.
    """
    period = factors.period(run)
    probed, losses = run.series("probe/final_loss")
    times, accuracies = run.series("eval/accuracy")
    found = [
        (losses[:, i], accuracies[:, int(np.flatnonzero(times == time + period)[0])])
        for i, time in enumerate(probed)
        if time % period == 0 and time + period in times
    ]
    x, y = np.array(found).reshape(-1, 2, len(run.seeds)).transpose(1, 0, 2)
    seeds = np.broadcast_to(run.seeds, x.shape)
    keep = np.isfinite(x) & np.isfinite(y)
    solved = np.ones(keep.sum(), dtype=bool)
    return scatter.Points(x[keep], y[keep], solved, seeds[keep])


def draw(runs: Sequence[Run]) -> Figure:
    """Draws a panel a kind of probe, a point a boundary and seed, a colour an arm."""
    families = scatter.grouped(runs, family)
    figure, panels = grid(len(families), 2, 5.4, sharey=True)
    for axes, (name, alike) in zip(panels, families.items(), strict=True):
        points = dict(zip(factors.names(alike, arm), map(pairs, alike), strict=True))
        columns = zip(*points.values(), strict=True)
        everyone = scatter.Points(*map(np.concatenate, columns))
        scatter.draw_groups(axes, points, with_lines=False)
        axes.set_xlabel(f"final loss of the probe with {name}, at a boundary")
        style = {"transform": axes.transAxes, "ha": "right", "va": "top"}
        axes.text(0.99, 0.99, f"all: {scatter.describe(everyone)}", **style)
    panels[0].set_ylabel("accuracy at the end of the next task")
    panels[0].set_ylim(0, 1.08)
    return figure


def family(run: Run) -> str:
    """Names what the probe's targets are."""
    kind = run.config["probes"]["plasticity"].get("family", "sine")
    return {"sine": "sines"}.get(kind, kind.replace("_", " "))


def arm(run: Run) -> str:
    """Names a run by optimiser and method; a fresh network a task is a control."""
    control = run.config["learner"].get("control", "none")
    if control != "none":
        return f"control: {control}"
    return f"{factors.optimizer(run)}, {factors.arm(run)}".removesuffix(", none")


FIGURE = PaperFigure(
    title="Does the probe predict the next task?",
    caption=(
        "One point a task boundary and seed: the probe's loss there, against the"
        " accuracy that the same network reaches on the task that begins there. A"
        " probe that predicts well puts its points on a falling line. ρ: Spearman's"
        " rank correlation with its 95 % bootstrap interval; all points of a seed are"
        " resampled together."
    ),
    alt="A scatter of next-task accuracy against probe loss, a colour an arm.",
    config="configs/supervised/next_task.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
