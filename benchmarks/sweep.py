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
from collections.abc import Iterator
from functools import partial

from benchmarks import timing

if __name__ == "__main__":
    timing.pin()  # before JAX counts the cores

from absl import app

from benchmarks.agents import Case, launch, points, scan, torch
from benchmarks.peers.process import Peer
from benchmarks.table import Row, run

# Of the axis that is the faster one at these widths. Against a scan written for the one
# purpose no more can be asked than not to be slower; PyTorch's time is mostly
# interpreter, so that a wider network leaves less to win.
TARGETS = {
    ("torch", 64): 10.0,
    ("torch", 128): 5.0,
    ("scan", 64): 1.0,
    ("scan", 128): 1.0,
}


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
                    at_least=TARGETS[peer, width] if axis == "map" else None,
                    quick=agents == 4 and axis == "map" and width == 64,
                )


tiny = Case(8, (32, 32), 32, 64, "vmap")
narrow, wide = (Case(28, (size, size), 32, 1, "map") for size in (64, 512))
sixteen = {size: Case(8, (size, size), 64, 16, "map") for size in (64, 128)}
# fmt: off
ROWS = (
    Row("torch-tiny", "64-32-32, b=32, 64 agents by vmap, torch",
        partial(torch, tiny), at_least=25.0, quick=True),
    Row("scan-tiny", "the same, scan", partial(scan, tiny), at_least=1.0, quick=True),
    Row("torch-narrow", "784-64-64, b=32, 1 agent, torch",
        partial(torch, narrow), at_least=4.0, quick=True),
    Row("torch-wide", "784-512-512, b=32, 1 agent, torch",
        partial(torch, wide), at_least=1.4, quick=True),
    *_grid(),
    Row("launch-64", "16 agents, 5,000 updates, a process a seed",
        partial(launch, sixteen[64]), at_least=4.0, rounds=3),
    Row("launch-128", "the same, 128 wide",
        partial(launch, sixteen[128]), at_least=2.0, rounds=3),
    Row("points-64", "12 settings x 2 seeds, a program a setting",
        partial(points, (64, 64), "map"), at_least=4.0, rounds=3),
)
# fmt: on


def main(argv: list[str]) -> int:
    """Prints one line a row."""
    del argv
    peer = Peer("torch", "torch_dqn_worker")
    try:
        return run(ROWS, peer)
    finally:
        peer.close()


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
