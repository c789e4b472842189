"""The probes and learners against their peers: one line a comparison.

  .ci/bench-setup                    the peers' environments, once
  python -m benchmarks.probes        [--quick] [--only=ROW,...] [--rounds=5]

Pinned to one core, one thread, CPU seconds, interleaved with the peer, compilation
apart, the median of the rounds' ratios. Before it is timed, a row checks that both
sides compute the same; `difference` is what it found. Exit code 1 where a target is
missed, a peer is not there or the two sides differ.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from benchmarks import timing

if __name__ == "__main__":
    timing.pin()  # before JAX counts the cores

from absl import app, flags, logging
from tqdm import tqdm

from benchmarks import curvature, pairwise, training
from benchmarks.comparison import Comparison, Peers
from benchmarks.peers.process import Missing, Peer
from benchmarks.workloads import CONVOLUTIONS, cnn, mlp, small
from plasticity_jax import checks, trees

_QUICK = flags.DEFINE_bool("quick", False, "Only the rows that take seconds.")
_ONLY = flags.DEFINE_list("only", [], "Rows by name; empty: all.")
_ROUNDS = flags.DEFINE_integer(
    "rounds", None, "Interleaved rounds of each row; by default 5, quick 2.", 1
)
_ALLOW_MISSING = flags.DEFINE_bool(
    "allow_missing_peers", False, "A peer that is not there is no failure."
)


class Row(NamedTuple):
    """One line. Its ratio: ours / peer where `at_most` is given, else peer / ours.
    Without a target it is printed and judges nothing."""

    name: str
    what: str
    build: Callable[[Peers], Comparison]
    at_most: float | None = None
    at_least: float | None = None
    quick: bool = False


mlp_norm = partial(mlp, norm="layer")
product, product_in_loop = curvature.product, curvature.product_in_loop
pyhessian, matfree = curvature.spectrum_pyhessian, curvature.spectrum_matfree
gram, gram_memory = pairwise.gram, pairwise.gram_memory
flat, leaves = pairwise.gram_by_rows, pairwise.gram_by_leaves
tangents, kernel, learner = pairwise.gram_tangents, pairwise.kernel, training.learner

# fmt: off
ROWS = (
    Row("hvp-mlp", "HVP / gradient, MLP",
        partial(product, mlp), at_most=2.0, quick=True),
    Row("hvp-cnn", "HVP / gradient, CNN",
        partial(product, cnn), at_most=2.2),
    Row("loop-mlp", "HVP in a loop / gradient, MLP",
        partial(product_in_loop, mlp), at_most=1.6),
    Row("loop-cnn", "HVP in a loop / gradient, CNN",
        partial(product_in_loop, cnn), at_most=1.8),
    Row("pyhessian-small", "spectrum m=64, PyHessian, small",
        partial(pyhessian, small, ()), at_least=10.0, quick=True),
    Row("pyhessian-mlp", "spectrum m=64, PyHessian, MLP",
        partial(pyhessian, mlp, ()), at_least=1.25),
    Row("pyhessian-cnn", "spectrum m=64, PyHessian, CNN",
        partial(pyhessian, cnn, CONVOLUTIONS), at_least=1.0),
    Row("matfree-small", "spectrum m=64, two passes, matfree, small",
        partial(matfree, small), at_least=3.0, quick=True),
    Row("matfree-mlp", "spectrum m=64, two passes, matfree, MLP",
        partial(matfree, mlp), at_least=2.0),
    Row("gram-mlp", "Gram n=1024, vmap(grad), MLP",
        partial(gram, mlp, flat), at_least=200.0),
    Row("gram-norm", "the same, layer norm",
        partial(gram, mlp_norm, flat), at_least=100.0),
    Row("gram-cnn", "Gram n=512, vmap(grad), CNN",
        partial(gram, cnn, flat), at_least=15.0),
    Row("leaves-mlp", "Gram, vmap(grad) leaf by leaf, MLP",
        partial(gram, mlp, leaves)),
    Row("leaves-cnn", "Gram, vmap(grad) leaf by leaf, CNN",
        partial(gram, cnn, leaves)),
    Row("memory-mlp", "Gram's memory, vmap(grad), MLP",
        partial(gram_memory, mlp, flat), at_least=100.0, quick=True),
    Row("memory-norm", "the same, layer norm",
        partial(gram_memory, mlp_norm, flat), at_least=40.0, quick=True),
    Row("memory-leaves", "Gram's memory, leaf by leaf, MLP",
        partial(gram_memory, mlp, leaves), quick=True),
    Row("tangents-mlp", "Gram n=1024, neural-tangents, MLP",
        partial(tangents, mlp, ()), at_least=1.5),
    Row("tangents-cnn", "Gram n=512, neural-tangents, CNN",
        partial(tangents, cnn, CONVOLUTIONS), at_least=2.5),
    Row("ntk-small", "NTK n=128, 10 logits, jacrev, small",
        partial(kernel, small), at_least=40.0, quick=True),
    Row("ntk-mlp", "NTK n=128, 10 logits, jacrev, MLP",
        partial(kernel, mlp), at_least=40.0),
    Row("ntk-cnn", "NTK n=128, 10 logits, jacrev, CNN",
        partial(kernel, cnn)),
    Row("learner-tiny", "update 64-32-32, b=32, 64 seeds, torch",
        partial(learner, 8, (32, 32), 64, 500), at_least=25.0, quick=True),
    Row("learner-narrow", "update 784-64-64, b=32, torch",
        partial(learner, 28, (64, 64), 1, 1_000), at_least=4.0, quick=True),
    Row("learner-wide", "update 784-512-512, b=32, torch",
        partial(learner, 28, (512, 512), 1, 250), at_least=1.4, quick=True),
    Row("conv", "convolutions in scan / lax.conv outside",
        training.convolution, at_most=1.5, quick=True),
    Row("import", "import probes / import jax, flax, optax",
        training.importing, at_most=1.3, quick=True),
)
# fmt: on


def main(argv: list[str]) -> int:
    """Prints one line a row."""
    del argv
    logging.set_verbosity(logging.WARNING)
    sizes = {make.__name__: trees.size(make(2).params) for make in (mlp, small, cnn)}
    print("parameters:", *(f"{name} {size:,}" for name, size in sizes.items()))
    rows = _chosen()
    peers = Peers(Peer("torch", "torch_worker"), Peer("tangents", "tangents_worker"))
    columns = f"{'ours':>10} {'peer':>10} {'ratio':>7} {'target':>7}  difference"
    print(f"{'row':16} {'what':41} {columns}")
    failures = 0
    try:
        for row in tqdm(rows, unit="row", disable=None):
            line, failed = _run(row, peers)
            tqdm.write(line, file=sys.stdout)
            failures += failed
    finally:
        for peer in peers:
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


def _run(row: Row, peers: Peers) -> tuple[str, bool]:
    """Returns the row's line, and whether it counts as a failure."""
    title = f"{row.name:16} {row.what:41} "
    try:
        ours, peer, gap, tolerance, unit = row.build(peers)
    except Missing as error:
        return f"{title}peer not available: {error}", not _ALLOW_MISSING.value
    if not gap <= tolerance:
        return f"{title}NOT COMPARED: differ by {gap:.1e} > {tolerance:.0e}", True
    rounds = _ROUNDS.value or (2 if _QUICK.value else 5)
    ratio, ours, peer = timing.interleave(ours, peer, rounds)
    if row.at_most:
        missed, target = ratio > row.at_most, f"<= {row.at_most:g}"
    else:
        ratio, target = 1 / ratio, f">= {row.at_least:g}" if row.at_least else "-"
        missed = ratio < (row.at_least or 0)
    cells = f"{_show(ours, unit):>10} {_show(peer, unit):>10} {ratio:7.2f} {target:>7}"
    return f"{title}{cells}  {gap:.0e}{'  MISSED' if missed else ''}", missed


def _show(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value / 2**20:.1f} MiB"
    return f"{1e6 * value:.1f} us" if value < 1e-3 else f"{1e3 * value:.1f} ms"


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
