"""Do other probes put interventions in the order of the config's own? Reads the table
that experiments.sensitivity writes."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plasticity_jax.statistics import rank_agreement

REFERENCE = "reference"
METRICS = ("final_loss", "rho")
COLUMNS = (
    "arm", "environment", "seed", "probe", "updates", "failed_at", "unsolved_at_init",
)  # fmt: skip


class Readings(NamedTuple):
    """What every probe found of every arm, in one environment."""

    probes: tuple[str, ...]  # the config's own first
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    values: dict[
        str, np.ndarray
    ]  # {column: [probes, S, arms]}, NaN where there is none

    def of(self, probe: str, column: str) -> np.ndarray:
        """Returns one probe's figures, [S, arms]."""
        return self.values[column][self.probes.index(probe)]

    def unsolved(self, probe: str) -> np.ndarray:
        """Says of each arm, [arms], whether theta_0 left more than half of the baseline
        b in most seeds: such a network had little to lose, and its rho says nothing."""
        return np.nanmean(self.of(probe, "unsolved_at_init"), axis=0) > 0.5


class Agreement(NamedTuple):
    """Kendall's tau-b between a probe's order of arms and the reference's."""

    value: float
    low: float
    high: float
    num_arms: int
    num_seeds: int


def read_rows(path: Path) -> list[dict[str, str]]:
    """Reads the table's rows.

    Raises:
      ValueError: no such file, or another one.
    """
    if not path.is_file():
        raise ValueError(
            f"{path}: expected the table of experiments.sensitivity; there is none."
        )
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {*COLUMNS, *METRICS} <= rows[0].keys():
        raise ValueError(
            f"{path}: expected columns {', '.join((*COLUMNS, *METRICS))}, as "
            "experiments.sensitivity writes them."
        )
    return rows


def by_environment(rows: Sequence[Mapping[str, str]]) -> dict[str, Readings]:
    """Arranges the table's rows, {environment: readings}.

    Raises:
      ValueError: no row of the reference probe.
    """
    names = dict.fromkeys(row["environment"] for row in rows)
    return {
        name: _arrange([row for row in rows if row["environment"] == name])
        for name in names
    }


def _arrange(rows: Sequence[Mapping[str, str]]) -> Readings:
    probes = sorted(
        dict.fromkeys(row["probe"] for row in rows), key=lambda p: p != REFERENCE
    )
    if probes[0] != REFERENCE:
        raise ValueError(f"expected rows of the probe {REFERENCE!r}; there are none.")
    arms = tuple(dict.fromkeys(row["arm"] for row in rows))
    seeds = tuple(sorted({int(row["seed"]) for row in rows}))
    shape = (len(probes), len(seeds), len(arms))
    values = {name: np.full(shape, np.nan) for name in (*METRICS, "unsolved_at_init")}
    for row in rows:
        if row["failed_at"]:  # the network diverged
            continue
        place = (
            probes.index(row["probe"]), seeds.index(int(row["seed"])),
            arms.index(row["arm"]),
        )  # fmt: skip
        for name, array in values.items():
            array[place] = float(row[name] or np.nan)
    return Readings(tuple(probes), arms, seeds, values)


def agreement(readings: Readings, probe: str, metric: str) -> Agreement:
    """Compares a probe's order of the arms' means over seeds with the reference's.

    A seed counts where every arm has both figures. Of rho those arms are left out that
    either probe finds `unsolved`.

    Args:
      readings: of one environment.
      probe: one of its probes.
      metric: one of `METRICS`.

    Returns:
      tau-b in [-1, 1] with its 95 % bootstrap interval over seeds; NaN where fewer than
      two arms, or no seed, are left.
    """
    pair = np.stack([readings.of(name, metric) for name in (probe, REFERENCE)])
    if metric == "rho":
        unsolved = [readings.unsolved(name) for name in (probe, REFERENCE)]
        pair = pair[..., ~np.any(unsolved, axis=0)]
    pair = pair[..., ~np.isnan(pair).all(axis=(0, 1))]  # an arm whose seeds all failed
    pair = pair[:, ~np.isnan(pair).any(axis=(0, 2))]
    _, num_seeds, num_arms = pair.shape
    if num_seeds == 0 or num_arms < 2:
        return Agreement(np.nan, np.nan, np.nan, num_arms, num_seeds)
    value, low, high, _ = rank_agreement(*pair)
    return Agreement(float(value), float(low), float(high), num_arms, num_seeds)


def ranks(readings: Readings, probe: str, metric: str) -> np.ndarray:
    """Returns each arm's place by its mean over seeds, [arms], 1 the lowest; NaN where
    it has none, and of rho where the probe finds it `unsolved`."""
    values = readings.of(probe, metric)
    has = ~np.isnan(values).all(axis=0)
    if metric == "rho":
        has &= ~readings.unsolved(probe)
    places = np.full(len(readings.arms), np.nan)
    means = np.nanmean(values[:, has], axis=0)
    places[has] = 1 + np.argsort(np.argsort(means))
    return places


def table(readings: Mapping[str, Readings]) -> str:
    """Writes every probe's agreement with the reference, a line each."""
    lines = ["environment, probe".ljust(32) + "".join(f"{m:>30}" for m in METRICS)]
    for environment, found in readings.items():
        for probe in found.probes[1:]:
            cells = (describe(agreement(found, probe, m)) for m in METRICS)
            line = f"{environment}, {probe}".ljust(32)
            lines.append(line + "".join(f"{cell:>30}" for cell in cells))
    return "\n".join(lines)


def describe(found: Agreement) -> str:
    """Writes `0.73 [0.47, 1.00], 6 arms`."""
    if np.isnan(found.value):
        return f"not defined, {found.num_arms} arms"
    text = f"{found.value:z.2f}"
    if not np.isnan(found.low):
        text += f" [{found.low:z.2f}, {found.high:z.2f}]"
    return f"{text}, {found.num_arms} arms"
