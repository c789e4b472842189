"""Tables of streams of tasks: what tells of the next task, and what a change does."""

from collections.abc import Sequence

import numpy as np

from experiments.figures import factors, next_task
from experiments.findings.data import Kept, column, grouped, mean
from experiments.findings.markdown import Table, estimate
from experiments.findings.summaries import word
from experiments.runs import Run
from plasticity_jax.statistics import spearman

NEXT = "next accuracy"
SINES = "sines"
PREDICTORS = {
    "probe/final_loss": "probe loss",
    "eval/accuracy": "accuracy on the task that ends",
    "representation/dead_fraction": "dead units",
    "representation/feature_rank": "feature rank",
    "weights/norm": "weight norm",
    "hessian/lambda_max": "largest eigenvalue",
}
DEAD = "representation/dead_fraction"


def at_boundaries(runs: Sequence[Run]) -> list[dict]:
    """Returns a row a boundary and seed: what was measured there, and the accuracy at
    the end of the task that begins there."""
    return [row for run in next_task.select(runs) for row in _boundaries(run)]


def _boundaries(run: Run) -> list[dict]:
    period = factors.period(run)
    series = {name: _by_time(run, name) for name in PREDICTORS}
    names = {"arm": next_task.arm(run), "probe": next_task.family(run)}
    return [
        names
        | {"seed": seed, "boundary": time // period}
        | {name: found.get((time, seed)) for name, found in series.items()}
        | {NEXT: series["eval/accuracy"].get((time + period, seed))}
        for seed in run.seeds
        for time in range(0, run.updates, period)
    ]


def _by_time(run: Run, metric: str) -> dict[tuple[int, int], float]:
    """Returns a metric by update count and seed, where it is finite."""
    times, values = run.series(metric)
    return {
        (int(time), seed): float(value)
        for time, column in zip(times, values.T, strict=True)
        for seed, value in zip(run.seeds, column, strict=True)
        if np.isfinite(value)
    }


def predictors(kept: Kept) -> list[Table]:
    """Returns how well each reading at a boundary orders the accuracies to come."""
    arms = [arm for (arm,) in grouped(kept.series, "arm")]
    rows = []
    for (family,), found in grouped(kept.series, "probe").items():
        for metric, name in PREDICTORS.items():
            if family != SINES and metric != "probe/final_loss":
                continue  # training is the same, whatever the probe's targets
            told = f"{name} ({family})" if metric == "probe/final_loss" else name
            groups = grouped(found, "arm")
            cells = [_correlate(groups.get((arm,), []), metric) for arm in arms]
            rows.append([told, _correlate(found, metric), *cells])
    caption = (
        "Spearman's ρ between what is measured at a task boundary and the accuracy at"
        " the end of the task that begins there, 95 % interval, all boundaries of a"
        " seed resampled together. A probe that predicts has a ρ near -1."
    )
    return [Table("next task", caption, ["at a boundary", "all", *arms], rows)]


def _correlate(rows: Sequence, metric: str) -> str:
    x, y = column(rows, metric), column(rows, NEXT)
    if (np.isfinite(x) & np.isfinite(y)).sum() < 3:
        return "–"
    units = [f"{row['arm']} {row['seed']}" for row in rows]
    return estimate(spearman(x, y, np.array(units)))


def around_changes(runs: Sequence[Run]) -> list[dict]:
    """Returns a row a row of a run near a change of task, with its distance to it."""
    rows = []
    for run in runs:
        period, dead = factors.period(run), _by_time(run, DEAD)
        largest = _by_time(run, "train/update_norm_max")
        for time, seed in dead:
            change = round(time / period) * period
            rows.append(
                {"arm": next_task.arm(run), "seed": seed, "task": change // period + 1}
                | {"offset": time - change, DEAD: dead[time, seed]}
                | {"train/update_norm_max": largest.get((time, seed))}
            )
    return rows


def boundaries(kept: Kept) -> list[Table]:
    """Returns the largest update and the dead units by distance to a change."""
    arms = [arm for (arm,) in grouped(kept.series, "arm")]
    offsets = sorted({row["offset"] for row in kept.series})
    tables = []
    for name, metric in {
        "largest update": "train/update_norm_max",
        "dead units": DEAD,
    }.items():
        groups = grouped(kept.series, "offset", "arm")
        rows = [
            [
                word(offset),
                *(_mean(groups.get((offset, arm)), metric) for arm in arms),
            ]
            for offset in offsets
        ]
        caption = (
            f"{name.capitalize()} by distance to a change of labels (updates; negative:"
            " before it), means over changes and seeds, 95 % interval over seeds."
        )
        tables.append(Table(name, caption, ["updates", *arms], rows, folded=True))
    return tables


def _mean(rows: Sequence | None, metric: str) -> str:
    if not rows:
        return "–"
    one_a_seed = [
        {"value": np.nanmean(column(found, metric))}
        for found in grouped(rows, "seed").values()
        if np.isfinite(column(found, metric)).any()
    ]
    return estimate(mean(one_a_seed, "value")) if one_a_seed else "–"
