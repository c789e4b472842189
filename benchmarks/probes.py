"""The probes and learners against their peers: one line a comparison.

  .ci/bench-setup                    the peers' environments, once
  python -m benchmarks.probes        [--quick] [--only=ROW,...] [--rounds=5]

Pinned to one core, one thread, CPU seconds, interleaved with the peer, compilation
apart, the median of the rounds' ratios. Before it is timed, a row checks that both
sides compute the same; `difference` is what it found. Exit code 1 where a target is
missed, a peer is not there or the two sides differ.
"""

import sys
from functools import partial

from benchmarks import timing

if __name__ == "__main__":
    timing.pin()  # before JAX counts the cores

from absl import app

from benchmarks import curvature, pairwise, training
from benchmarks.comparison import Peers
from benchmarks.peers.process import Peer
from benchmarks.table import Row, run
from benchmarks.workloads import CONVOLUTIONS, cnn, mlp, small
from plasticity_jax import trees

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
    sizes = {make.__name__: trees.size(make(2).params) for make in (mlp, small, cnn)}
    print("parameters:", *(f"{name} {size:,}" for name, size in sizes.items()))
    peers = Peers(Peer("torch", "torch_worker"), Peer("tangents", "tangents_worker"))
    try:
        return run(ROWS, peers)
    finally:
        for peer in peers:
            peer.close()


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
