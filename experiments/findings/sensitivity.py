"""Does the ranking of methods survive another probe? Of results/sensitivity.csv."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.findings.data import RESULTS, Row, by_seed, grouped, read_rows
from experiments.findings.markdown import Table, estimate
from experiments.findings.summaries import word
from experiments.summary import number
from plasticity_jax.statistics import rank_agreement

STUDY = "sensitivity"
REFERENCE = "reference"  # the study's own probe
PROBE = "probe"  # the column with the probe's name


def tables(root: Path) -> list[Table]:
    """Returns how far each probe puts the methods in the order of the study's own; no
    table where the data is not there."""
    rows = read_rows(root / RESULTS / f"{STUDY}.csv")
    rows = [row for row in rows if row.get("failed_at") is None]
    return [_agreement(rows)] if rows else []


def _agreement(rows: Sequence[Row]) -> Table:
    environments = [name for (name,) in grouped(rows, "environment")]
    header = ["probe", *environments, "probe loss of an untrained network"]
    lines = []
    for (probe,), found in grouped(rows, PROBE).items():
        cells = [_kendall(rows, probe, environment) for environment in environments]
        start = np.nanmean([row["initial_loss"] for row in found])
        lines.append([word(probe), *cells, number(float(start))])
    caption = (
        "Kendall's τ between the order of the methods by final probe loss under each"
        " probe and under the study's own (*reference*), means over seeds, 95 %"
        " interval over seeds: 1 is the same order. *other_targets* is the same probe"
        " drawn anew, which none can be expected to beat."
    )
    return Table("sensitivity", caption, header, lines)


def _kendall(rows: Sequence[Row], probe: str, environment: str) -> str:
    """Compares the orders of the methods that both probes have, on seeds of both."""
    pair = []
    for name in (probe, REFERENCE):
        here = [r for r in rows if r[PROBE] == name and r["environment"] == environment]
        pair.append(grouped(here, "arm"))
    arms = [arm for arm in pair[0] if arm in pair[1]]
    if len(arms) < 2:
        return "–"
    seeds = set.intersection(
        *({row["seed"] for row in found[arm]} for found in pair for arm in arms)
    )
    values, reference = (
        by_seed(
            {arm: [r for r in found[arm] if r["seed"] in seeds] for arm in arms},
            "final_loss",
        )
        for found in pair
    )
    whole = np.isfinite(values).all(axis=1) & np.isfinite(reference).all(axis=1)
    if not whole.any():
        return "–"
    return estimate(rank_agreement(values[whole], reference[whole]))
