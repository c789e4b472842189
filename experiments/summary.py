"""The numbers that sum up a run."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.runs import Run
from plasticity_jax.statistics import mean_interval

# The first that the runs share is "performance".
PERFORMANCE = ("eval/accuracy", "train/return", "train/reward", "train/loss")
DEAD = "representation/dead_fraction"


def performance_metric(runs: Sequence[Run]) -> str | None:
    """Chooses the metric of performance: one that all runs have, or else any has."""
    for quantifier in (all, any):
        for name in PERFORMANCE:
            if quantifier(name in run.metrics for run in runs):
                return name
    return None


@dataclasses.dataclass(frozen=True)
class Summary:
    """What one run comes to: means over the healthy seeds, None where not measured."""

    label: str
    num_seeds: int
    updates: int
    performance: float | None
    initial_loss: float | None
    final_loss: float | None
    plasticity_loss: tuple[float, float, float] | None  # mean, low, high
    rho: float | None
    sharpness: tuple[float, float] | None  # first, last
    dead: float | None
    failed: dict[int, int]
    unsolved_seeds: int


def summarise(run: Run, performance: str | None) -> Summary:
    """Reduces a run to a row of the summary table, at the last time of each metric."""
    initial = _mean_at(run, "probe/initial_loss", 0)
    if initial is None:
        initial = _mean_at(run, "probe/final_loss", 0)
    _, losses = run.series("probe/plasticity_loss")
    _, unsolved = run.series("probe/unsolved_at_init")
    first = _mean_at(run, "hessian/lambda_max", 0)
    last = _mean_at(run, "hessian/lambda_max", -1)
    return Summary(
        label=run.label,
        num_seeds=len(run.seeds),
        updates=run.updates,
        performance=_mean_at(run, performance, -1) if performance else None,
        initial_loss=initial,
        final_loss=_mean_at(run, "probe/final_loss", -1),
        plasticity_loss=_interval_at_end(losses),
        rho=_mean_at(run, "probe/rho", -1),
        sharpness=None if first is None or last is None else (first, last),
        dead=_mean_at(run, DEAD, -1),
        failed=run.failed,
        unsolved_seeds=int(np.nansum(unsolved[:, -1:] > 0)),
    )


def _mean_at(run: Run, name: str, index: int) -> float | None:
    _, values = run.series(name)
    return float(np.nanmean(values[:, index])) if values.shape[1] else None


def _interval_at_end(values: np.ndarray) -> tuple[float, float, float] | None:
    if not values.shape[1]:
        return None
    mean, low, high = mean_interval(values[:, -1])
    return float(mean), float(low), float(high)


def number(value: float | None) -> str:
    """Formats a number for people: three digits or so, "–" for None."""
    if value is None or np.isnan(value):
        return "–"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e6 or size < 5e-4:
        return f"{value:.1g}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def interval(triple: tuple[float, float, float] | None) -> str:
    """Formats a mean and its bounds as `0.18 [0.17, 0.19]`."""
    if triple is None:
        return "–"
    mean, low, high = triple
    bounds = "one seed" if np.isnan(low) else f"{number(low)}, {number(high)}"
    return f"{number(mean)} [{bounds}]"


def summary_rows(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Lays the summary table out as text cells: its header, and one row a run."""
    metric = performance_metric(runs)
    header = [
        "run",
        "probe loss",
        "plasticity loss [95\u00a0%]",
        "flag",
        f"final {(metric or 'performance').split('/')[-1]}",
        "rho",
        "largest eigenvalue",
        "dead units",
        "updates",
        "seeds",
        "failed seeds",
    ]
    rows = [_cells(summarise(run, metric)) for run in runs]
    # A column in which nothing is to be said only widens the table.
    said = [i for i in range(len(header)) if {row[i] for row in rows} - {"", "none"}]
    return [header[i] for i in said], [[row[i] for i in said] for row in rows]


def _cells(row: Summary) -> list[str]:
    total = row.num_seeds + len(row.failed)
    return [
        row.label,
        f"{number(row.initial_loss)} → {number(row.final_loss)}",
        interval(row.plasticity_loss),
        "unsolved at start" if row.unsolved_seeds else "",
        number(row.performance),
        number(row.rho),
        " → ".join(map(number, row.sharpness)) if row.sharpness else "–",
        number(row.dead),
        f"{row.updates:,}",
        f"{row.num_seeds} of {total}" if row.failed else str(total),
        ", ".join(map(str, row.failed)) or "none",
    ]


def summary_table(runs: Sequence[Run]) -> str:
    """Writes the summary as aligned plain text, one line a run under a header."""
    header, rows = summary_rows(runs)
    # A label is the user's: it must not break the lines of a terminal.
    lines = [header, *[[" ".join(cell.split()) for cell in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in aligned)


def conclusion(runs: Sequence[Run]) -> str:
    """Says in a sentence how the probe loss went in each run."""
    metric = performance_metric(runs)
    rows = [summarise(run, metric) for run in runs]
    rows = [row for row in rows if row.final_loss is not None]
    if not rows:
        return "No run has measured the probe yet, so nothing is known of plasticity."
    named = [(row, f"{row.label}: {_change(row, metric)}") for row in rows]
    if len(rows) > 4:
        named.sort(key=lambda pair: pair[0].final_loss, reverse=True)
        named = [(row, f"{end} {text}") for end, (row, text) in _ends(named)]
    counts = sorted({row.num_seeds for row, _ in named})
    noun = "one seed" if counts == [1] else f"{' or '.join(map(str, counts))} seeds"
    sentence = "; ".join(text for _, text in named)
    return f"{sentence} (means over {noun}; a higher probe loss is worse)."


def _ends(ordered: list) -> list[tuple[str, tuple]]:
    return [("highest probe loss,", ordered[0]), ("lowest,", ordered[-1])]


def _change(row: Summary, metric: str | None) -> str:
    text = f"probe loss {number(row.initial_loss)} → {number(row.final_loss)}"
    if row.performance is not None:
        text = f"{text} at {metric.split('/')[-1]} {number(row.performance)}"
    return f"{text}, unsolved at its start" if row.unsolved_seeds else text
