"""DQN agents' updates a CPU second, against what people sweep with: one line each.

  .ci/bench-setup               the peers' environments, once
  python -m benchmarks.sweep    [--quick] [--only=ROW,...] [--rounds=5]

The learner is the vectorised DQN on the block MDP: one environment step an update,
Adam, a replay of 50,000 transitions. Its peers:
  torch    a PyTorch DQN as people write it; agents in turn, one agent is timed
  scan     an agent's life as a scan, vmapped over seeds as PureJaxRL does
  launch   that scan in a process of its own for each seed
  points   a compiled program a setting (in one process), against one for all

Pinned to one core, one thread, CPU seconds, interleaved with the peer, the median of
the rounds' ratios; warm-up and compilation apart, but for `launch` and `points`, where
the whole process counts. Before it is timed, a row checks that both sides compute the
same losses from the same batches; `difference` is what it found. Exit code 1 where a
target is missed, a peer is not there or the two sides differ.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from benchmarks import timing

if __name__ == "__main__":
    timing.pin()  # before JAX counts the cores

from absl import app, flags, logging
from tqdm import tqdm

from benchmarks.agents import Case, launch, points, scan, torch
from benchmarks.comparison import Comparison
from benchmarks.peers.process import Missing, Peer
from plasticity_jax import checks

_QUICK = flags.DEFINE_bool("quick", False, "Only the rows that take seconds.")
_ONLY = flags.DEFINE_list("only", [], "Rows by name; empty: all.")
_ROUNDS = flags.DEFINE_integer(
    "rounds", None, "Interleaved rounds of each row; by default 5, quick 2.", 1
)
_ALLOW_MISSING = flags.DEFINE_bool(
    "allow_missing_peers", False, "A peer that is not there is no failure."
)

# Of the axis that is the faster one at these widths. Against a scan written for the one
# purpose no more can be asked than not to be slower; PyTorch's time is mostly
# interpreter, so that a wider network leaves less to win.
TARGETS = {
    ("torch", 64): 10.0,
    ("torch", 128): 5.0,
    ("scan", 64): 1.0,
    ("scan", 128): 1.0,
}


class Row(NamedTuple):
    """One line; `target` is the least of peer / ours, None judges nothing."""

    name: str
    what: str
    build: Callable[[Peer], Comparison]
    target: float | None = None
    quick: bool = False
    rounds: int = 5


def _grid() -> Iterator[Row]:
    """Digits, batch 64: every width, number of agents and axis."""
    for width, agents in itertools.product((64, 128), (1, 4, 16, 64)):
        for axis in ("map", "vmap") if agents > 1 else ("map",):
            case = Case(8, (width, width), 64, agents, axis)
            what = f"64-{width}-{width}, {agents} agent{'s' * (agents > 1)} by {axis}"
            for peer, build in {"torch": torch, "scan": scan}.items():
                yield Row(
                    f"{peer}-{width}-{agents}-{axis}",
                    f"{what}, {peer}",
                    partial(build, case),
                    TARGETS[peer, width] if axis == "map" else None,
                    quick=agents == 4 and axis == "map" and width == 64,
                )


tiny = Case(8, (32, 32), 32, 64, "vmap")
narrow, wide = (Case(28, (size, size), 32, 1, "map") for size in (64, 512))
sixteen = {size: Case(8, (size, size), 64, 16, "map") for size in (64, 128)}
# fmt: off
ROWS = (
    Row("torch-tiny", "64-32-32, b=32, 64 agents by vmap, torch",
        partial(torch, tiny), 25.0, quick=True),
    Row("scan-tiny", "the same, scan", partial(scan, tiny), 1.0, quick=True),
    Row("torch-narrow", "784-64-64, b=32, 1 agent, torch",
        partial(torch, narrow), 4.0, quick=True),
    Row("torch-wide", "784-512-512, b=32, 1 agent, torch",
        partial(torch, wide), 1.4, quick=True),
    *_grid(),
    Row("launch-64", "16 agents, 5,000 updates, a process a seed",
        partial(launch, sixteen[64]), 4.0, rounds=3),
    Row("launch-128", "the same, 128 wide",
        partial(launch, sixteen[128]), 2.0, rounds=3),
    Row("points-64", "12 settings x 2 seeds, a program a setting",
        partial(points, (64, 64), "map"), 4.0, rounds=3),
)
# fmt: on


def main(argv: list[str]) -> int:
    """Prints one line a row."""
    del argv
    logging.set_verbosity(logging.WARNING)
    rows, peer, failures = _chosen(), Peer("torch", "torch_dqn_worker"), 0
    columns = f"{'ours':>10} {'peer':>10} {'ratio':>7} {'target':>7}  difference"
    print(f"{'row':19} {'what':43} {columns}")
    try:
        for row in tqdm(rows, unit="row", disable=None):
            line, failed = _run(row, peer)
            tqdm.write(line, file=sys.stdout)
            failures += failed
    finally:
        peer.close()
    return int(failures > 0)


def _chosen() -> list[Row]:
    for name in _ONLY.value:
        checks.one_of("--only", name, [row.name for row in ROWS])
    if _ONLY.value:
        return [row for row in ROWS if row.name in _ONLY.value]
    if _QUICK.value:
        print("left out:", *(row.name for row in ROWS if not row.quick))
        return [row for row in ROWS if row.quick]
    return list(ROWS)


def _run(row: Row, peer: Peer) -> tuple[str, bool]:
    """Returns the row's line, and whether it counts as a failure."""
    title = f"{row.name:19} {row.what:43} "
    try:
        ours, theirs, gap, tolerance, _ = row.build(peer)
    except Missing as error:
        return f"{title}peer not available: {error}", not _ALLOW_MISSING.value
    if not gap <= tolerance:
        return f"{title}NOT COMPARED: differ by {gap:.1e} > {tolerance:.0e}", True
    rounds = _ROUNDS.value or (2 if _QUICK.value else row.rounds)
    ratio, theirs, ours = timing.interleave(theirs, ours, rounds)
    missed = ratio < (row.target or 0)
    target = f">= {row.target:g}" if row.target else "-"
    cells = f"{_show(ours)} {_show(theirs)} {ratio:7.2f} {target:>7}  {gap:.0e}"
    return f"{title}{cells}{'  MISSED' if missed else ''}", missed


def _show(seconds: float) -> str:
    return f"{1e6 * seconds:7.1f} us"


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
