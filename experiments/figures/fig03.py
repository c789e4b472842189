"""Figure 3: plasticity loss against four statistics of the network, by group.

Needs the runs of configs/block_mdp/correlations.py:
  python -m experiments.sweep --config=configs/block_mdp/correlations.py:cpu \\
      --out=runs/correlations
  python -m experiments.figures.fig03 runs/correlations --out=docs/figures/fig03
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.figures import factors, lines, scatter
from experiments.figures.paper import PaperFigure, main
from experiments.figures.style import name_edges
from experiments.runs import Run

# The paper's panels: metric, in words, what it groups by.
PANELS = (
    ("weights/norm", "weight norm (L2)", factors.observations),
    ("weights/rank_0.01", "weight rank (summed over layers)", factors.observations),
    ("representation/dead_fraction", "dead units (share)", factors.architecture),
    ("representation/feature_rank", "feature rank", factors.environment),
)


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects plain networks of which the probe was taken."""
    found = lines.with_metric(runs, scatter.LOSS)
    return [run for run in found if factors.arm(run) == "none"]


def draw(runs: Sequence[Run]) -> Figure:
    """Draws a panel a statistic, a point a seed, a colour and line a group."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True).ravel()
    for axes, (metric, label, factor) in zip(panels, PANELS, strict=True):
        groups = {
            name: scatter.collect(alike, metric)
            for name, alike in scatter.grouped(runs, factor).items()
        }
        scatter.draw_groups(axes, groups)
        axes.set_xlabel(label)
    name_edges(panels, "", scatter.LOSS_LABEL)
    for axes, (_, label, _) in zip(panels, PANELS, strict=True):
        axes.set_xlabel(label)
    return figure


FIGURE = PaperFigure(
    title="Figure 3. Plasticity loss against four statistics, by group",
    caption=(
        "One point an agent (a seed of a run), at the end of training; lines are"
        " least squares a group, ρ Spearman's rank correlation with its 95 %"
        " bootstrap interval over settings (a setting's seeds are near-copies). A"
        " statistic that explained plasticity loss would have one sign in all groups."
        " Hollow: the probe could not be learned at the start (loss above 0.2 b);"
        " they bear on neither line nor ρ."
    ),
    alt="Four scatters of plasticity loss, with a regression line for each group.",
    config="configs/block_mdp/correlations.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
