"""Figure 2: curvature and gradient cosines, descent against random walks.

Needs the runs of configs/block_mdp/landscape.py: descent, whose probe `displaced` is
the one twin, and the random walk, the other.
  python -m experiments.sweep --config=configs/block_mdp/landscape.py:cpu \\
      --out=runs/landscape
  python -m experiments.figures.fig02 runs/landscape --out=docs/figures/fig02
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures import curvature, factors
from experiments.figures.paper import PaperFigure, main
from experiments.figures.style import WIDTH, run_style
from experiments.runs import Run

START = {"color": "#bbbbbb", "linestyle": "-", "linewidth": 4}


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects Q-learning runs that kept both spectra and cosines."""
    return [
        run
        for run in runs
        if factors.is_q_learning(run)
        and run.array_times("hessian")
        and run.array_times("gradients")
    ]


def draw(runs: Sequence[Run]) -> Figure:
    """Draws a block a learning rate: densities above, matrices of cosines below."""
    blocks = {}
    for run in runs:
        blocks.setdefault(run.config["optimizer"]["learning_rate"], []).append(run)
    columns = 1 + max(len(arms(block)) for block in blocks.values())
    side = 0.92 * WIDTH / columns
    size = (WIDTH, len(blocks) * (3.4 + side))
    figure = Figure(figsize=size, layout="constrained")
    parts = figure.subfigures(len(blocks), 1, squeeze=False)[:, 0]
    for part, rate in zip(parts, sorted(blocks), strict=True):
        part.suptitle(f"Learning rate {rate:g}", x=0.01, ha="left", weight="bold")
        panels = part.subplot_mosaic(
            [["density"] * columns, list(range(columns))], height_ratios=[2.6, side]
        )
        draw_densities(panels["density"], blocks[rate])
        _draw_cosines(part, [panels[i] for i in range(columns)], blocks[rate])
    return figure


def arms(runs: Sequence[Run]) -> dict[str, tuple[Run, str, str]]:
    """Returns each arm's run and the probes with its spectra and its cosines.

    The twin matched in distance is a probe of the run that descends.
    """
    names = factors.names(runs, factors.arm)
    found = {
        name.replace("none", "descent"): (run, "hessian", "gradients")
        for run, name in zip(runs, names, strict=True)
    }
    for run in runs:
        if factors.arm(run) == "none" and run.array_times("displaced"):
            found["random, as far"] = run, "displaced", "displaced"
    return found


def draw_densities(axes: Axes, runs: Sequence[Run]) -> None:
    """Draws the spectrum at the start, once, and each arm's at the end."""
    start = runs[0].array_times("hessian")[0]
    spectra = {"at the start, all": pooled_spectrum(runs[0], "hessian", start)}
    for name, (run, probe, _) in arms(runs).items():
        time = run.array_times(probe)[-1]
        label = f"{name}, iteration {time / factors.period(run):g}"
        spectra[label] = pooled_spectrum(run, probe, time)
    scale = curvature.linear_width([nodes for nodes, _ in spectra.values()])
    points = curvature.common_points([spectra], scale)
    for index, (name, (nodes, weights)) in enumerate(spectra.items()):
        style = run_style(index - 1) | {"marker": ""}
        style |= START if not index else {}
        heights = curvature.smooth(nodes, weights, points, scale)
        axes.plot(scale * np.sinh(points), heights, label=name, **style)
    axes.set_yscale("log")
    axes.set_ylim(curvature.FLOOR, 2)
    curvature.stretch(axes, scale, points)
    axes.set_xlabel(curvature.EIGENVALUE)
    axes.set_ylabel("share of eigenvalues\nnearby")
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(spectra)}
    axes.legend(fontsize=9, borderaxespad=0.2, columnspacing=1.5, **above)


def pooled_spectrum(run: Run, probe: str, updates: int) -> tuple:
    """Returns Ritz values [R] and weights [R] of sum 1, seeds and draws pooled."""
    arrays = run.arrays(probe, updates)
    nodes, weights = arrays["nodes"], arrays["weights"]  # [S, K, M]
    finite = np.isfinite(nodes) & np.isfinite(weights) & (weights > 0)
    return nodes[finite], weights[finite] / weights[finite].sum()


def _draw_cosines(part, panels: Sequence[Axes], runs: Sequence[Run]) -> None:
    """Draws the first seed's cosines: at the start, then each arm's last."""
    start = runs[0].array_times("gradients")[0]
    shown = [(runs[0], "gradients", start, "at the start, all")]
    for name, (run, _, probe) in arms(runs).items():
        shown.append((run, probe, run.array_times(probe)[-1], name))
    for axes, (run, probe, updates, title) in zip(panels, shown, strict=False):
        matrix = cosines(run, probe, updates)
        # As they are in the SVG, not drawn larger: a tenth of the size.
        shown = dict(cmap="PuOr_r", vmin=-1, vmax=1, interpolation="none")
        image = axes.imshow(matrix, **shown)
        axes.set_title(f"{title}\niteration {updates / factors.period(run):g}")
    for axes in panels:
        axes.set_axis_off()
    bar = part.colorbar(image, ax=panels, shrink=0.85, aspect=25, pad=0.01)
    bar.set_label("cosine of two gradients")


def cosines(run: Run, probe: str, updates: int) -> np.ndarray:
    """Returns the first seed's matrix of cosines [N, N], ordered by cluster."""
    arrays = run.arrays(probe, updates)
    order = arrays["order"][0]
    return arrays["cosine"][0][order][:, order]


FIGURE = PaperFigure(
    title="Figure 2. Curvature and interference: descent against random walks",
    caption=(
        "Above: how the eigenvalues of the Hessian of a new task's loss are spread, at"
        " the start (grey) and at the end of each arm; curves that reach further right"
        " are sharper landscapes. The random walk takes steps as long as descent's;"
        " “random, as far” is a random point as far from the start as descent has"
        " come. Seeds and draws of the Lanczos method are pooled, one"
        " smoothing width throughout; spread over seeds is not drawn. Below: cosines"
        " of the gradients of the training loss at pairs of examples, ordered by"
        " cluster (each matrix anew): orange, a step for one helps the other; purple,"
        " it harms. One seed, the first that did not diverge."
    ),
    alt="Hessian densities above, matrices of gradient cosines below, an arm each.",
    config="configs/block_mdp/landscape.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
