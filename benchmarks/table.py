"""A table of comparisons with peers: one line a row, chosen and timed by flags."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags, logging
from tqdm import tqdm

from benchmarks import timing
from benchmarks.comparison import Comparison
from benchmarks.peers.process import Missing
from plasticity_jax import checks

_QUICK = flags.DEFINE_bool("quick", False, "Only the rows that take seconds.")
_ONLY = flags.DEFINE_list("only", [], "Rows by name; empty: all.")
_ROUNDS = flags.DEFINE_integer(
    "rounds", None, "Interleaved rounds of each row; by default the row's, quick 2.", 1
)
_ALLOW_MISSING = flags.DEFINE_bool(
    "allow_missing_peers", False, "A peer that is not there is no failure."
)


class Row(NamedTuple):
    """One line. Its ratio: ours / peer where `at_most` is given, else peer / ours.
    Without a target it is printed and judges nothing."""

    name: str
    what: str
    build: Callable[[Any], Comparison]  # (peers)
    at_most: float | None = None
    at_least: float | None = None
    quick: bool = False
    rounds: int = 5


def run(rows: Sequence[Row], peers) -> int:
    """Prints the rows chosen; returns 1 where a target is missed, a peer is not there
    or two sides differ, else 0."""
    logging.set_verbosity(logging.WARNING)
    chosen, failures = _chosen(rows), 0
    titles = [(row.name, row.what) for row in rows]
    widths = [max(map(len, column)) for column in zip(*titles, strict=True)]
    columns = f"{'ours':>10} {'peer':>10} {'ratio':>7} {'target':>7}  difference"
    print(f"{_title(('row', 'what'), widths)} {columns}")
    for row in tqdm(chosen, unit="row", disable=None):
        line, failed = _run(row, peers)
        tqdm.write(f"{_title((row.name, row.what), widths)} {line}", file=sys.stdout)
        failures += failed
    return int(failures > 0)


def _title(cells: tuple[str, str], widths: list[int]) -> str:
    return " ".join(map(str.ljust, cells, widths))


def _chosen(rows: Sequence[Row]) -> list[Row]:
    for name in _ONLY.value:
        checks.one_of("--only", name, [row.name for row in rows])
    if _ONLY.value:
        return [row for row in rows if row.name in _ONLY.value]
    if _QUICK.value:
        print("left out:", *(row.name for row in rows if not row.quick))
        return [row for row in rows if row.quick]
    return list(rows)


def _run(row: Row, peers) -> tuple[str, bool]:
    """Returns the row's figures, and whether it counts as a failure."""
    try:
        ours, peer, gap, tolerance, unit = row.build(peers)
    except Missing as error:
        return f"peer not available: {error}", not _ALLOW_MISSING.value
    if not gap <= tolerance:
        return f"NOT COMPARED: differ by {gap:.1e} > {tolerance:.0e}", True
    rounds = _ROUNDS.value or (2 if _QUICK.value else row.rounds)
    ratio, ours, peer = timing.interleave(ours, peer, rounds)
    if row.at_most:
        missed, target = ratio > row.at_most, f"<= {row.at_most:g}"
    else:
        ratio, target = 1 / ratio, f">= {row.at_least:g}" if row.at_least else "-"
        missed = ratio < (row.at_least or 0)
    cells = f"{_show(ours, unit):>10} {_show(peer, unit):>10} {ratio:7.2f} {target:>7}"
    return f"{cells}  {gap:.0e}{'  MISSED' if missed else ''}", missed


def _show(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value / 2**20:.1f} MiB"
    return f"{1e6 * value:.1f} us" if value < 1e-3 else f"{1e3 * value:.1f} ms"
