"""Beyond the paper: plasticity loss against the size of the values to be learned.

Needs the runs of configs/block_mdp/value_scale.py:
  python -m experiments.sweep --config=configs/block_mdp/value_scale.py:cpu \\
      --out=runs/value_scale
  python -m experiments.figures.value_scale runs/value_scale \\
      --out=docs/figures/value_scale
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.figures import factors, lines, scatter
from experiments.figures.paper import PaperFigure, main
from experiments.figures.style import grid, name_edges
from experiments.runs import Run

METRIC = "eval/mean_abs_q"
LABEL = "mean |Q| at the end (logarithmic)"


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects runs that measured their values and the probe."""
    found = lines.with_metric(runs, scatter.LOSS)
    found = [run for run in found if METRIC in run.metrics]
    return sorted(found, key=target_scale)


def target_scale(run: Run) -> tuple[float, float, float]:
    """Returns discount, and what rewards are multiplied and shifted by."""
    learner = run.config["learner"]
    names = {"reward_scale": 1.0, "reward_offset": 0.0}
    return learner["discount"], *(
        learner.get(name, usual) for name, usual in names.items()
    )


def by_discount(run: Run) -> str:
    """Names a run by what future rewards weigh."""
    return f"γ {run.config['learner']['discount']:g}"


def by_reward(run: Run) -> str:
    """Names a run by what its rewards are multiplied by and shifted by."""
    _, scale, offset = target_scale(run)
    shift = f" + {offset:g}" if offset else ""
    return f"reward × {scale:g}{shift}"


def draw(runs: Sequence[Run]) -> Figure:
    """Draws the same points twice: grouped by discount, and by reward."""
    arms = sorted({factors.arm(run) for run in runs})
    figure, panels = grid(2 * len(arms), 2, 4.4, sharex=True, sharey=True)
    for index, axes in enumerate(panels):
        here = [run for run in runs if factors.arm(run) == arms[index // 2]]
        factor = (by_discount, by_reward)[index % 2]
        groups = scatter.grouped(here, factor)
        points = {
            name: scatter.collect(alike, METRIC) for name, alike in groups.items()
        }
        scatter.draw_groups(axes, points, with_lines=False)
        axes.set_xscale("log")
        everyone = scatter.describe(scatter.collect(here, METRIC))
        style = {"transform": axes.transAxes, "ha": "left", "va": "top"}
        axes.text(0.01, 0.99, f"{arms[index // 2]}, all: {everyone}", **style)
    name_edges(panels, LABEL, scatter.LOSS_LABEL)
    return figure


FIGURE = PaperFigure(
    title="Plasticity loss against the scale of the values",
    caption=(
        "One point an agent (a seed of a run), at the end of training, coloured left by"
        " the discount, right by what rewards were multiplied and shifted by. ρ:"
        " Spearman's rank correlation within a group, with its 95 % bootstrap interval."
        " Hollow: the probe could not be learned at the start (loss above 0.2 b)."
    ),
    alt="Two scatters of plasticity loss against mean absolute action value.",
    config="configs/block_mdp/value_scale.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
