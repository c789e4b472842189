"""Figure 3, every metric: the sign of its correlation with plasticity loss, by group.

Needs the runs of configs/block_mdp/correlations.py:
  python -m experiments.sweep --config=configs/block_mdp/correlations.py:cpu \\
      --out=runs/correlations
  python -m experiments.figures.fig03_all runs/correlations \\
      --out=docs/figures/fig03_all
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures import factors, fig03, scatter
from experiments.figures.paper import PaperFigure, main
from experiments.figures.small_multiples import names_of
from experiments.runs import Run
from plasticity_jax.statistics import Estimate, sign_consistency, spearman

PREFIXES = ("weights/", "representation/", "updates/", "hessian/", "gradients/", "ntk/")
ALSO = ("hessian/lambda_max", "eval/accuracy", "eval/mean_abs_q", "eval/td_error")
FACTORS = (
    factors.observations,
    factors.architecture,
    factors.environment,
    factors.optimizer,
)
SIGNS = {(True, True): "both signs", (True, False): "+", (False, True): "−"}


class Table(NamedTuple):
    """Correlations [metrics, groups], and which signs of theirs are sure."""

    metrics: list[str]
    groups: list[str]
    values: np.ndarray
    signs: np.ndarray  # 1, -1, or 0 where not sure

    def verdict(self, row: int) -> str:
        """Says which signs are sure somewhere: `both signs`, `+`, `−` or nothing."""
        signs = self.signs[row]
        return SIGNS.get((bool((signs > 0).any()), bool((signs < 0).any())), "")


def table(runs: Sequence[Run]) -> Table:
    """Correlates every metric with plasticity loss, in each group of agents.

    Raises:
        ValueError: the probe could not be learned at the start by any agent.
    """
    runs = [run for run in runs if factors.was_solved(run).any()]
    if not runs:
        raise ValueError(
            "expected agents that could learn the probe at the start (loss at or below"
            f" {factors.SOLVED} b); got none. Give it more steps or fewer inputs."
        )
    present = {name for run in runs for name in run.metrics}
    metrics = names_of(runs, PREFIXES) + [name for name in ALSO if name in present]
    groups = {}
    for factor in FACTORS:
        levels = scatter.grouped(runs, factor)
        groups |= levels if len(levels) > 1 else {}
    groups = groups or {"all": list(runs)}
    estimates = [_correlate(alike, metrics) for alike in groups.values()]
    values = np.stack([estimate.value for estimate in estimates], axis=1)
    signs = sign_consistency(estimates).signs.T
    varies = ~np.isnan(values).all(axis=1)
    kept = [name for name, one in zip(metrics, varies, strict=True) if one]
    return Table(kept, list(groups), values[varies], signs[varies])


def _correlate(runs: Sequence[Run], metrics: Sequence[str]) -> Estimate:
    """Returns rank correlations [metrics] over the agents whose probe was solved."""
    solved = np.concatenate([factors.was_solved(run) for run in runs])
    columns = [
        np.concatenate([factors.last(run, name) for run in runs])[solved]
        for name in (*metrics, scatter.LOSS)
    ]
    *x, y = columns
    settings = np.repeat(np.arange(len(runs)), [len(run.seeds) for run in runs])
    return spearman(np.stack(x, axis=1), y, settings[solved])


def draw(runs: Sequence[Run]) -> Figure:
    """Draws a row a metric, a column a group; what is sure stands in bold."""
    metrics, groups, values, signs = found = table(runs)
    size = (3.9 + 0.78 * len(groups), 0.235 * len(metrics) + 1.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        if not np.isnan(value):
            _write(axes, x, y, value, signs[y, x] != 0)
    for y in range(len(metrics)):
        said = found.verdict(y)
        weight = "bold" if said == "both signs" else "normal"
        axes.text(len(groups) - 0.4, y, said, va="center", fontsize=8, weight=weight)
    axes.set_yticks(range(len(metrics)), metrics, fontsize=8)
    axes.set_xticks(range(len(groups)), groups, rotation=30, ha="left", fontsize=8.5)
    axes.tick_params(top=False, labeltop=True, labelbottom=False, length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    below = {"location": "bottom", "shrink": 0.5, "aspect": 40, "pad": 0.01}
    bar = figure.colorbar(image, ax=axes, **below)
    bar.set_label("Spearman's ρ with plasticity loss")
    return figure


def _write(axes: Axes, x: int, y: int, value: float, sure: bool) -> None:
    colour = "white" if value < -0.5 or value > 0.75 else "black"
    weight = "bold" if sure else "normal"
    style = {"ha": "center", "va": "center", "fontsize": 8, "weight": weight}
    axes.text(x, y, f"{value:+.2f}", color=colour, **style)


FIGURE = PaperFigure(
    title="Figure 3, every metric: rank correlation with plasticity loss",
    caption=(
        "Spearman's rank correlation of each metric with plasticity loss at the end"
        " of training, in each group of agents. Bold: the sign is sure (bootstrap"
        " over settings, of which seeds are near-copies, two-sided at 5 %, by Holm's"
        " correction over a metric's groups). At the right, the signs that are sure"
        " in some group: a metric with both explains nothing by itself. Agents whose"
        " probe could not be learned at the start (loss above 0.2 b) are left out."
    ),
    alt="A heat map of rank correlations, a row a metric, a column a group of agents.",
    config="configs/block_mdp/correlations.py",
    select=fig03.select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
