"""Gradient covariance: which examples' gradients agree, and which conflict."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.figures.plot import Plot
from experiments.figures.style import WIDTH, plain, short, spread
from experiments.runs import Run

MAX_TIMES = 4


def draw(runs: Sequence[Run]) -> Figure | None:
    """Draws a row a run, a column a time, of the run's first healthy seed."""
    runs = [run for run in runs if run.array_times("gradients") and run.seeds]
    if not runs:
        return None
    times = [spread(run.array_times("gradients"), MAX_TIMES) for run in runs]
    columns = max(map(len, times))
    side = 0.92 * WIDTH / MAX_TIMES
    size = (side * columns + 1.2, (side + 0.2) * len(runs) + 0.1)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(runs), columns, squeeze=False)
    for run, row, chosen in zip(runs, panels, times, strict=True):
        for axes, updates in zip(row, chosen, strict=False):
            image = _draw_matrix(axes, run, updates)
        row[0].set_ylabel(f"{plain(run.label, 24)}\nseed {run.seeds[0]}")
        for spare in row[len(chosen) :]:
            spare.remove()
    # Beside the first rows: of many rows' height, it would be as broad as a panel.
    place = {"shrink": min(0.9, 2.5 / len(runs)), "anchor": (0.0, 1.0)}
    bar = figure.colorbar(image, ax=panels, aspect=30, pad=0.02, **place)
    bar.set_label("cosine of two examples' gradients")
    return figure


def _draw_matrix(axes, run: Run, updates: int):
    arrays = run.arrays("gradients", updates)
    order = arrays["order"][0]  # [N]
    matrix = arrays["cosine"][0][order][:, order]  # [N, N]
    axes.set_title(f"{short(updates)} updates")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    # PuOr, as the red and green of others look alike to one reader in twenty.
    return axes.imshow(matrix, cmap="PuOr_r", vmin=-1, vmax=1)


PLOT = Plot(
    name="gradient_covariance",
    title="Interference: do examples' gradients agree?",
    draw=draw,
    caption=(
        "Each pixel compares the gradients of two examples: orange, a step for one"
        " helps the other; white, neither; purple, it harms. Examples are ordered by"
        " clusters of alike gradients, in every panel anew, so positions do not"
        " compare between panels, but block sizes and colours do. One seed of each"
        " run, the first that did not fail, named at the left: an example, not a mean."
    ),
    alt="Heat maps of gradient cosines, a row a run, a column a time.",
    missing="No run has kept gradient covariances (arrays/gradients_*.npz).",
)
