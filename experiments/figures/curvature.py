"""The Hessian's spectrum, at several times of training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.plot import Plot
from experiments.figures.style import (
    draw_metric,
    grid,
    legend_of_runs,
    legend_of_times,
    logarithmic,
    name_edges,
    plain,
    short,
    spread,
    time_colours,
)
from experiments.runs import Run

MAX_TIMES = 4
KERNEL_WIDTH = 0.12  # standard deviation, on the stretched axis
NUM_POINTS = 800
FLOOR = 1e-6
EIGENVALUE = "eigenvalue (linear near 0, then logarithmic)"
SHARPNESS = "hessian/lambda_max"


def draw_density(runs: Sequence[Run]) -> Figure | None:
    """Draws a panel a run, a density a time, all on one stretched axis."""
    runs = [run for run in runs if run.array_times("hessian") and run.seeds]
    spectra = [_spectra(run) for run in runs]
    spectra = [{t: s for t, s in times.items() if len(s[0])} for times in spectra]
    if not any(spectra):
        return None
    scale = linear_width([nodes for times in spectra for nodes, _ in times.values()])
    points = common_points(spectra, scale)
    figure, panels = grid(len(runs), 2, 3.1, sharex=True, sharey=True)
    for axes, run, times in zip(panels, runs, spectra, strict=True):
        colours = time_colours(len(times))
        for (updates, (nodes, weights)), colour in zip(
            times.items(), colours, strict=True
        ):
            heights = smooth(nodes, weights, points, scale)
            eigenvalues = scale * np.sinh(points)
            axes.plot(eigenvalues, heights, color=colour, label=short(updates))
        axes.set_title(plain(run.label))
        axes.set_yscale("log")
        stretch(axes, scale, points)
        legend_of_times(axes)
    # Every spectrum's weights sum to 1, so no height is above it.
    panels[0].set_ylim(FLOOR, 2)
    name_edges(panels, EIGENVALUE, "share of eigenvalues nearby")
    return figure


def _spectra(run: Run) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Ritz values and weights (of sum 1) by time, seeds and draws pooled."""
    spectra = {}
    for updates in spread(run.array_times("hessian"), MAX_TIMES):
        arrays = run.arrays("hessian", updates)
        nodes, weights = arrays["nodes"], arrays["weights"]  # [S, K, M]
        finite = np.isfinite(nodes) & np.isfinite(weights) & (weights > 0)
        total = weights[finite].sum()
        spectra[updates] = nodes[finite], weights[finite] / (total or 1.0)
    return spectra


def linear_width(spectra: Sequence[np.ndarray]) -> float:
    """Chooses where the axis turns from linear to logarithmic.

    It is a hundredth of the flattest spectrum's largest eigenvalue, so that its bulk is
    seen, but no less than five decades below the sharpest's.
    """
    sizes = [np.abs(nodes).max() for nodes in spectra]
    return max(min(sizes) / 100, max(sizes) / 1e5, 1e-12)


def common_points(spectra: Sequence[dict], scale: float) -> np.ndarray:
    """Points [G] on the stretched axis that cover every spectrum with a margin."""
    nodes = [nodes for times in spectra for nodes, _ in times.values()]
    stretched = np.arcsinh(np.concatenate(nodes) / scale)
    margin = 4 * KERNEL_WIDTH
    low, high = stretched.min() - margin, stretched.max() + margin
    return np.linspace(low, high, NUM_POINTS)


def smooth(
    nodes: np.ndarray, weights: np.ndarray, points: np.ndarray, scale: float
) -> np.ndarray:
    """Smooths a spectrum with a Gaussian of fixed width on the stretched axis.

    A width fixed in eigenvalues would either blur the bulk or draw the outliers as
    invisible needles.

    Args:
        nodes: eigenvalues [R].
        weights: their shares [R].
        points: arcsinh(eigenvalue / scale) [G].
        scale: where the axis turns from linear to logarithmic.

    Returns:
        Heights [G]: eigenvalues that lie apart from others peak at their share. The
        integral is the weights' sum times KERNEL_WIDTH * sqrt(2 pi).
    """
    distance = (points[:, None] - np.arcsinh(nodes / scale)) / KERNEL_WIDTH
    return np.exp(-0.5 * distance**2) @ weights


def stretch(axes: Axes, scale: float, points: np.ndarray) -> None:
    """Sets an axis that is linear near 0 and logarithmic far from it."""
    axes.set_xscale("asinh", linear_width=scale)
    low, high = scale * np.sinh(points[[0, -1]])
    axes.set_xlim(low, high)
    last = np.log10(max(abs(low), abs(high)))
    powers = 10.0 ** np.arange(np.ceil(np.log10(2 * scale)), last)
    ticks = [tick for tick in (0, *powers, *-powers) if low < tick < high]
    if len(ticks) > 9:  # they would touch
        ticks = [tick for tick in ticks if abs(tick) not in powers[::2]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def draw_sharpness(runs: Sequence[Run]) -> Figure | None:
    """Draws the largest eigenvalue against updates, logarithmic."""
    if not any(SHARPNESS in run.metrics for run in runs):
        return None
    figure, (axes,) = grid(1, 1, 3.2)
    draw_metric(axes, runs, SHARPNESS)
    values = np.concatenate([run.series(SHARPNESS)[1].ravel() for run in runs])
    if np.nanmin(values) > 0:
        logarithmic(axes)
    axes.set_ylabel("largest eigenvalue of the Hessian")
    legend_of_runs(figure, runs, [SHARPNESS])
    return figure


DENSITY = Plot(
    name="hessian_density",
    title="Curvature: the spectrum of the Hessian",
    draw=draw_density,
    caption=(
        "How the eigenvalues of the Hessian are spread: by default of the loss of a"
        " new task, random targets at the network's present output, not of the"
        " training loss (probes.hessian.loss in the configuration says). Light curves:"
        " early in training, dark ones: late. Near 0 are the directions in which the"
        " loss is flat; far to the right are the steep ones, which bound the step size"
        " that training bears; at the left it curves down. Curves that reach further"
        " right over time mean a sharper landscape. Both axes are stretched: one step"
        " right is a factor; a bump that stands alone is as high as the share of"
        " eigenvalues in it. All panels and times share one grid and one smoothing"
        " width, so heights compare. Seeds and draws of the Lanczos method are pooled;"
        " gaps and ripples beside the bulk come of its few nodes."
    ),
    alt="A panel a run: density of the Hessian's eigenvalues, a curve for each time.",
    missing="No run has kept Hessian spectra (arrays/hessian_*.npz).",
)
SHARPEST = Plot(
    name="sharpness",
    title="Curvature: the largest eigenvalue",
    draw=draw_sharpness,
    caption=(
        "The steepest curvature of the loss over training, on a logarithmic scale if"
        " all values are positive: a level line is a landscape that does not sharpen."
        " Means over seeds with the 95 % bootstrap interval."
    ),
    alt="Largest Hessian eigenvalue against updates, a line a run, logarithmic.",
    missing="No run has measured the largest Hessian eigenvalue (hessian/lambda_max).",
)
