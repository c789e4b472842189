"""Every other metric against updates, one small panel each."""

import functools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.figures.plot import Plot
from experiments.figures.style import (
    MAX_POINTS,
    draw_metric,
    grid,
    legend_of_runs,
    logarithmic,
    plain,
)
from experiments.runs import Run
from experiments.summary import performance_metric

# Known names come first, in this order; others follow by name.
CURATED = {
    "representation/": (
        "representation/dead_fraction",
        "representation/dormant_fraction_0.025",
        "representation/feature_rank",
        "representation/effective_rank",
    ),
    "weights/": ("weights/norm", "weights/distance_from_init"),
    "updates/": ("updates/effective_learning_rate", "updates/output_churn"),
    "hessian/": (
        "hessian/lambda_min",
        "hessian/negative_mass",
        "hessian/effective_rank",
    ),
    "gradients/": (
        "gradients/mean_cosine",
        "gradients/mean_abs_cosine",
        "gradients/negative_share",
        "gradients/interference_share",
        "gradients/effective_rank",
    ),
    "probe/": (
        "probe/final_loss",
        "probe/fresh_loss",
        "probe/rho",
        "probe/auc",
    ),
}
# Drawn elsewhere, or constant over a run.
ELSEWHERE = {
    "hessian/lambda_max",
    "probe/plasticity_loss",
    "probe/initial_loss",
    "probe/baseline",
    "probe/unsolved_at_init",
    "probe/num_inputs",
    "representation/num_examples",
    "representation/rank_limited",
    "weights/numerical_rank",  # full, in practice
    "gradients/structured_fraction",
    "ntk/structured_fraction",
    "hessian_trace/num_draws",
}
LOG_RATIO = 100  # a positive metric that spans more is drawn on a log axis


def names_of(runs: Sequence[Run], prefixes: Sequence[str]) -> list[str]:
    """Orders the metrics that any run has under some prefixes: known names first."""
    found = {name for run in runs for name in run.metrics} - ELSEWHERE
    # Twins of fractions pooled over units, the same where layers are equally wide.
    found = {name for name in found if not name.endswith("_by_layer")}
    found = {name for name in found if not _is_fine(name, runs)}
    found.discard(performance_metric(runs))
    ordered = []
    for prefix in prefixes:
        here = {name for name in found if name.startswith(prefix)}
        known = [name for name in CURATED.get(prefix, ()) if name in here]
        ordered += known + sorted(here - set(known))
    return ordered


def _is_fine(name: str, runs: Sequence[Run]) -> bool:
    """Whether a metric says that all is finite, everywhere: no news."""
    if not name.endswith("/finite"):
        return False
    return all(np.nanmin(run.series(name)[1], initial=1) == 1 for run in runs)


def draw(runs: Sequence[Run], prefixes: Sequence[str]) -> Figure | None:
    """Draws a panel a metric, all runs on the same axes."""
    names = names_of(runs, prefixes)
    if not names:
        return None
    figure, panels = grid(len(names), 3, 2.3)
    for axes, name in zip(panels, names, strict=True):
        draw_metric(axes, runs, name)
        values = np.concatenate([run.series(name)[1].ravel() for run in runs])
        low, high = np.nanmin(values), np.nanmax(values)
        title = plain(name, 46)
        if low > 0 and high > LOG_RATIO * low:
            logarithmic(axes)
            title = f"{title} (log)"
        axes.set_title(title, fontsize=8.5)
    legend_of_runs(figure, runs, names)
    return figure


def _plot(name: str, title: str, prefixes: Sequence[str], caption: str) -> Plot:
    missing = f"No run has metrics named {' or '.join(f'{p}…' for p in prefixes)}."
    return Plot(
        name=name,
        title=title,
        draw=functools.partial(draw, prefixes=prefixes),
        caption=(
            f"{caption} Lines are means over seeds, shading the 95 % bootstrap"
            " interval. Each panel has its own scale; (log) marks a logarithmic one. Of"
            f" longer records, {MAX_POINTS} evenly spread times are drawn."
        ),
        alt=f"Small panels of metrics against updates, a line a run: {title}.",
        missing=missing,
    )


INTERNALS = _plot(
    "representation_and_weights",
    "Inside the network: representation and weights",
    ("representation/", "weights/", "updates/"),
    "What hidden units and weights do over training: units that"
    " never fire (dead) or hardly do (dormant), how many directions the features use"
    " (ranks), how large the weights are, how far they have moved, and what one more"
    " update would do. Fractions are pooled over units; metrics.jsonl has their means"
    " over layers too.",
)
CURVATURE = _plot(
    "curvature_and_interference",
    "Curvature and interference in numbers",
    ("hessian/", "eigenpairs/", "hessian_trace/", "gradients/", "ntk/"),
    "The spectra and heat maps above, reduced to a number a time and averaged over"
    " seeds.",
)
OTHERS = _plot(
    "other_metrics",
    "Everything else that was recorded",
    ("probe/", "eval/", "train/"),
    "The probe's other readings (rho: the loss of plasticity as a share of all there"
    " was to lose; auc: the area under the probe's learning curve) and the task's own.",
)
