"""Figure 4: the probe's learning curves from networks of several iterations.

Needs the runs of configs/block_mdp/probe_curves.py; the paper's are CNNs on easy:
  python -m experiments.sweep --config=configs/block_mdp/probe_curves.py:cpu \\
      --out=runs/probe_curves
  python -m experiments.figures.fig04 runs/probe_curves --out=docs/figures/fig04
"""

from collections.abc import Sequence

from experiments.figures import factors, lines
from experiments.figures.paper import PaperFigure, main
from experiments.runs import Run


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects plain networks on easy that kept probe curves."""
    found = lines.with_curves(runs, "none")
    return [run for run in found if factors.environment(run) == "easy"]


FIGURE = PaperFigure(
    title="Figure 4. Learning curves of the probe, early and late in training (easy)",
    caption=lines.CURVES_CAPTION,
    alt="Probe loss against probe steps, a curve an iteration, a panel a network.",
    config="configs/block_mdp/probe_curves.py",
    select=select,
    draw=lambda runs: lines.draw_curves(runs, factors.setting),
)

if __name__ == "__main__":
    main(FIGURE)
