"""Performance and plasticity loss over training, side by side."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.figures.plot import Plot
from experiments.figures.style import draw_metric, grid, legend_of_runs
from experiments.runs import Run
from experiments.summary import performance_metric

UNITS = {
    "eval/accuracy": "accuracy (share correct)",
    "train/return": "return an episode",
    "train/reward": "mean reward a step",
    "train/loss": "training loss",
}
LOSS = "probe/plasticity_loss"


def draw(runs: Sequence[Run]) -> Figure | None:
    """Draws performance beside plasticity loss, or the one of them that there is."""
    performance = performance_metric(runs)
    measured = any(LOSS in run.metrics for run in runs)
    names = ([performance] if performance else []) + ([LOSS] if measured else [])
    if not names:
        return None
    figure, panels = grid(len(names), 2, 3.4)
    for axes, name in zip(panels, names, strict=True):
        draw_metric(axes, runs, name)
        if name == LOSS:
            axes.axhline(0, color="#666666", linewidth=1)
            axes.set_title("Plasticity loss: up is worse")
            axes.set_ylabel("rise in final probe loss (squared error)")
        else:
            better = "down" if name == "train/loss" else "up"
            axes.set_title(f"Performance: {better} is better")
            axes.set_ylabel(UNITS[name])
    if performance == "eval/accuracy":
        panels[0].set_ylim(0, 1.03)
    legend_of_runs(figure, runs, names)
    return figure


PLOT = Plot(
    name="outcome",
    title="Performance and plasticity loss",
    draw=draw,
    caption=(
        "Left, how well each run does its own task. Right, how much worse its network"
        " has become at a new task: the squared error that is left after a fixed number"
        " of training steps on the probe, minus the same for the network at its start."
        " Zero, the grey line, is no loss; below it the network learns better than it"
        " did. Lines are means over seeds, shading the 95 % bootstrap interval (none"
        " with one seed)."
    ),
    alt="Two panels over updates, a line a run: performance, and plasticity loss.",
    missing="No run has recorded performance or plasticity loss.",
)
