"""E3's tables: what each metric says of plasticity loss, and whether always the same.

Settings are resampled, not agents: the seeds of a setting are near-copies.
Agents whose probe could not be learned at the start are left out, as in the figures.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.findings.data import Kept, Row, column, grouped, solved
from experiments.findings.markdown import Table, estimate
from plasticity_jax.statistics import Estimate, sign_consistency, spearman

LOSS = "probe/plasticity_loss"
FACTORS = ("observations", "architecture", "environment", "optimizer")
FAMILIES = {
    "weights/": "weights",
    "representation/": "units and features",
    "updates/": "the next update",
    "hessian/": "curvature",
    "gradients/": "interference",
    "eval/": "task and values",
}
SHOWN = {
    "weights/norm": "weight norm",
    "weights/rank_0.01": "weight rank",
    "representation/dead_fraction": "dead units",
    "representation/feature_rank": "feature rank",
    "hessian/lambda_max": "largest eigenvalue",
    "hessian/trace": "trace of the Hessian",
    "gradients/interference_share": "share of cosines below -.1",
    "gradients/mean_abs_cosine": "mean size of cosines",
    "eval/mean_abs_q": "mean size of values",
}
BOTH, NOWHERE = "both signs", "nowhere sure"
SOMEWHERE, EVERYWHERE = "in some groups", "in all groups"
KINDS = (
    *(f"{sign} {where}" for where in (EVERYWHERE, SOMEWHERE) for sign in "+−"),
    BOTH,
    NOWHERE,
)
FEWEST = 3  # agents, or there is no table
FEWEST_SETTINGS = 6  # in a group: resampling fewer makes anything look sure
# Of some 90 metrics in 10 groups; the claim itself is judged on 10,000.
NUM_RESAMPLES = 2_000


class Correlations(NamedTuple):
    """Of every metric with plasticity loss, in every group."""

    metrics: list[str]
    groups: list[str]
    estimates: list[Estimate]  # a group each, [metrics]
    signs: np.ndarray  # [groups, metrics]: 1, -1, or 0 where not sure

    def verdict(self, place: int) -> str:
        """Says which signs of a metric are sure somewhere, or everywhere."""
        signs = set(self.signs[:, place].tolist())
        if {1, -1} <= signs:
            return BOTH
        if signs == {0}:
            return NOWHERE
        sign = "+" if 1 in signs else "−"
        return f"{sign} {SOMEWHERE if 0 in signs else EVERYWHERE}"


def correlate(rows: Sequence[Row]) -> Correlations:
    """Correlates every metric with plasticity loss, by every factor's levels."""
    metrics = [
        name
        for name in rows[0]
        if name.startswith(tuple(FAMILIES)) and "@" not in name
        if np.nanstd(column(rows, name)) > 0
    ]
    groups = {"all": rows}
    for factor in FACTORS:
        levels = grouped(rows, factor)
        for (level,), found in levels.items() if len(levels) > 1 else ():
            enough = len(set(_settings(found))) >= FEWEST_SETTINGS
            groups |= {level: found} if enough else {}
    estimates = [_correlate(found, metrics) for found in groups.values()]
    judged = estimates[1:] or estimates  # all agents together are no setting
    return Correlations(
        metrics,
        [f"{name} ({len(found)})" for name, found in groups.items()],
        estimates,
        sign_consistency(judged).signs,
    )


def _correlate(rows: Sequence[Row], metrics: Sequence[str]) -> Estimate:
    x = np.stack([column(rows, name) for name in metrics], axis=1)
    settings = np.array(_settings(rows))
    return spearman(x, column(rows, LOSS), settings, num_resamples=NUM_RESAMPLES)


def _settings(rows: Sequence[Row]) -> list[str]:
    return ["|".join(row[factor] for factor in FACTORS) for row in rows]


def tables(kept: Kept) -> list[Table]:
    """Returns the families in short, the paper's metrics and its explanation, all."""
    rows = solved([row for row in kept.rows if row["arm"] == "none"])
    if len(rows) < FEWEST:
        return []
    found = correlate(rows)
    left_out = len(kept.rows) - len(rows)
    return [_families(found, left_out), _shown(found), _everything(found)]


def _families(found: Correlations, left_out: int) -> Table:
    rows = []
    for prefix, family in FAMILIES.items():
        said = [
            found.verdict(place)
            for place, name in enumerate(found.metrics)
            if name.startswith(prefix)
        ]
        if said:
            counts = [str(said.count(kind)) for kind in KINDS]
            rows.append([family, str(len(said)), *counts])
    caption = (
        "Does any kind of metric keep its sign? Metrics by the surely signed rank"
        " correlations with plasticity loss that they have in the groups below"
        " (two-sided at 5 %, over settings, Holm over a metric's groups): a metric"
        " that explains plasticity loss has one sign in all. Such are:"
        f" {_consistent(found)}. {left_out} agents that could not learn the probe at"
        " the start are left out."
    )
    return Table("families", caption, ["of", "metrics", *KINDS], rows)


def _consistent(found: Correlations) -> str:
    """Names the metrics whose sign is sure in every group."""
    named = [
        f"`{name}`"
        for place, name in enumerate(found.metrics)
        if EVERYWHERE in found.verdict(place)
    ]
    return ", ".join(named) or "none"


def _shown(found: Correlations) -> Table:
    places = [found.metrics.index(name) for name in SHOWN if name in found.metrics]
    rows = [
        [SHOWN[found.metrics[place]], found.verdict(place), *_cells(found, place, True)]
        for place in places
    ]
    caption = (
        "The paper's four statistics, its own explanation (curvature, interference),"
        " and the size of the values: Spearman's ρ with plasticity loss, of as many"
        " agents as the header says; 95 % interval over settings, of which the seeds"
        " are near-copies (the claim's own interval is over agents, as its rule"
        " says); bold where the sign is sure."
    )
    return Table("spearman", caption, ["metric", "sign", *found.groups], rows)


def _everything(found: Correlations) -> Table:
    sizes = np.nanmedian([np.abs(one.value) for one in found.estimates], axis=0)
    order = sorted(
        range(len(sizes)), key=lambda p: (KINDS.index(found.verdict(p)), -sizes[p])
    )
    rows = [
        [f"`{found.metrics[p]}`", found.verdict(p), *_cells(found, p, False)]
        for p in order
    ]
    caption = f"All {len(rows)} metrics, the most consistent first"
    header = ["metric", "sign", *found.groups]
    return Table("every metric", caption, header, rows, folded=True)


def _cells(found: Correlations, place: int, with_interval: bool) -> list[str]:
    """Writes a metric's correlations, bold where their sign is sure."""
    signs = found.signs[:, place]
    if len(signs) < len(found.groups):
        signs = np.append(0, signs)  # all agents together
    cells = []
    for group, sign in zip(found.estimates, signs, strict=True):
        one = Estimate(*(numbers[..., place] for numbers in group))
        text = estimate(one) if with_interval else f"{one.value:+.2f}"
        cells.append(f"**{text}**" if sign else text.replace("+nan", "–"))
    return cells
