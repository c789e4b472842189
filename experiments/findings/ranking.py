"""The interventions' tables: ours beside the paper's, and every method ranked."""

from collections.abc import Sequence

import numpy as np

from experiments.figures.factors import PERTURBERS
from experiments.figures.followups import TUNED
from experiments.figures.intervention_table import printed
from experiments.findings import summaries
from experiments.findings.data import (
    Kept,
    Row,
    by_seed,
    column,
    grouped,
    mean,
    solved,
)
from experiments.findings.markdown import Table, average, estimate
from experiments.summary import number
from plasticity_jax.statistics import (
    bootstrap,
    interquartile_mean,
    probability_of_improvement,
)

LOSS = "probe/final_loss"
PLAIN = "none"
IMAGES = {"digits": "mnist", "mnist": "mnist", "textures": "cifar10"}
IMAGES |= {"cifar10": "cifar10", "cifar100": "cifar10"}


def beside_the_paper(kept: Kept) -> list[Table]:
    """Returns the change in final probe loss, ours and the paper's, a row a method."""
    environments = [e for (e,) in grouped(kept.rows, "environment")]
    kinds = ("architecture", "observations", "head", "method", "arm")
    rows = []
    for (network, images, head, method, arm), found in grouped(
        kept.rows, *kinds
    ).items():
        there = _of_paper(network, images, head, method)
        if there is None or arm == TUNED:
            continue
        ours = grouped(found, "environment")
        cells = [
            estimate(mean(ours[name,], "probe/plasticity_loss"))
            if (name,) in ours
            else "–"
            for name in environments
        ]
        told = f"{there['probe_loss_change']:.2f} ± {there['std']:.2f}"
        rows.append([f"{network}, {images}", arm, *cells, told])
    caption = (
        "Change in final probe loss (lower is better): ours with 95 % intervals over"
        " seeds, and what the paper prints for the same network and method on MNIST"
        " (beside digits) or CIFAR-10 (beside textures), mean ± std. Other images,"
        " widths and lengths: signs and ranks compare, sizes do not."
    )
    header = ["network, images", "method", *environments, "paper"]
    return [Table("paper", caption, header, rows, keys=2)] if rows else []


def _of_paper(network: str, images: str, head: str, method: str) -> dict | None:
    named = "shrink_and_perturb" if method in PERTURBERS else method.replace(" ", "_")
    key = (network.lower(), head.replace("-", "_"), named)
    return printed().get((IMAGES.get(images.split()[0]), *key))


def rankings(kept: Kept) -> list[Table]:
    """Returns a table for each network and its images: every method by its loss."""
    setting = ("architecture", "observations")
    measured = [row for row in kept.rows if row.get(LOSS) is not None]
    lost = [row for row in kept.rows if row.get(LOSS) is None]  # the probe diverged
    diverged = grouped([*kept.diverged, *lost], *setting)
    return [
        _ranking(", ".join(key), rows, diverged.get(key, []))
        for key, rows in grouped(measured, *setting).items()
    ]


def _ranking(setting: str, rows: Sequence[Row], diverged: Sequence[Row]) -> Table:
    arms = {arm: found for (arm,), found in grouped(rows, "arm").items()}
    baseline = TUNED if TUNED in arms else PLAIN
    environments = [name for (name,) in grouped(rows, "environment")]
    header = ["method", "final probe loss (IQM)", "P(better)"]
    for name in environments:
        header += [f"{name}: {what}" for what in ("probe loss", "rho", "accuracy")]
    scored = []
    for arm, found in arms.items():
        middle = bootstrap(interquartile_mean, _losses(found, environments))
        better = "–" if arm == baseline else _better(found, arms.get(baseline, ()))
        cells = [estimate(middle), better]
        cells += [text for name in environments for text in _in(found, name)]
        lost = sum(row["arm"] == arm for row in diverged)
        cells += [_cost(found, arms.get(PLAIN, ())), str(lost)]
        scored.append((float(middle.value), [arm, *cells]))
    caption = (
        f"{setting}: every method by its final probe loss, the best first:"
        " interquartile mean over environments and seeds, and the probability that a"
        f" run of it ends below a run of *{baseline}*, both with 95 % stratified"
        " bootstrap intervals. Probe loss: from the network's start → from its end; rho"
        " is left out where the start did not solve the probe (above .2 b). Cost:"
        " CPU seconds an update over the plain network's, without probes. Diverged:"
        " seeds left out of the means."
    )
    lines = [cells for _, cells in sorted(scored)]
    lines += [
        [arm, *["–"] * (len(header) - 1), "–", str(len(found))]
        for (arm,), found in grouped(diverged, "arm").items()
        if arm not in arms
    ]
    return Table(f"ranking, {setting}", caption, [*header, "cost", "diverged"], lines)


def _losses(rows: Sequence[Row], environments: Sequence[str]) -> np.ndarray:
    """Returns final probe losses [S, those of the environments that rows are of]."""
    groups = grouped(rows, "environment")
    return by_seed({(e,): groups[e,] for e in environments if (e,) in groups}, LOSS)


def _better(rows: Sequence[Row], baseline: Sequence[Row]) -> str:
    """Shows how surely a run ends below one of the baseline, where both were run."""
    theirs = grouped(baseline, "environment")
    shared = [key[0] for key in grouped(rows, "environment") if key in theirs]
    if not shared:
        return "–"
    losses = (_losses(found, shared) for found in (rows, baseline))
    return estimate(probability_of_improvement(*(-loss for loss in losses)))


def _in(rows: Sequence[Row], environment: str) -> list[str]:
    """Shows probe loss, rho and accuracy of a method in an environment."""
    here = [row for row in rows if row["environment"] == environment]
    if not here:
        return ["–"] * 3
    most = len(solved(here)) > len(here) / 2
    rho = estimate(mean(here, "probe/rho")) if most else "–"
    return [summaries.probe(here), rho, number(average(column(here, "eval/accuracy")))]


def _cost(rows: Sequence[Row], plain: Sequence[Row]) -> str:
    """Shows seconds an update over the plain network's in the same environment."""
    usual = grouped(plain, "environment")
    ratios = [
        average(column(found, "seconds_an_update"))
        / average(column(usual[key], "seconds_an_update"))
        for key, found in grouped(rows, "environment").items()
        if key in usual
    ]
    return number(average(np.array(ratios)))
