"""Figure 14: the Hessian's largest eigenvalue with and without layer norm.

Needs the runs of configs/block_mdp/sharpness.py:
  python -m experiments.sweep --config=configs/block_mdp/sharpness.py:cpu \\
      --out=runs/sharpness
  python -m experiments.figures.fig14 runs/sharpness --out=docs/figures/fig14
"""

from collections.abc import Sequence

from experiments.figures import factors, lines
from experiments.figures.paper import MEAN, PaperFigure, main
from experiments.runs import Run

METRIC = "hessian/lambda_max"


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects plain and layer-norm networks whose curvature was measured."""
    found = lines.with_metric(runs, METRIC)
    arms = ("none", "layer norm")
    return [run for run in factors.of_paper(found) if factors.arm(run) in arms]


def draw(runs: Sequence[Run]):
    """Draws a panel an environment and network, a line a normalisation."""

    def panel_of(run):
        return f"{factors.environment(run)} ({factors.setting(run)})"

    label = "largest eigenvalue of the Hessian"
    return lines.draw_lines(runs, METRIC, label, panel_of, factors.arm, log=True)


FIGURE = PaperFigure(
    title="Figure 14. Sharpness over training, with and without layer norm",
    caption=(
        "Largest eigenvalue of the Hessian of a new task's loss at the network's"
        " present output, on a logarithmic scale: a level line is a landscape that"
        f" does not sharpen. {MEAN}"
    ),
    alt="Largest Hessian eigenvalue against iterations, a line a normalisation.",
    config="configs/block_mdp/sharpness.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
