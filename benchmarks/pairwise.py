"""Rows on inner products of per-example gradients."""

from functools import partial

import jax
from jax.flatten_util import ravel_pytree

from benchmarks.comparison import (
    Comparison,
    Peers,
    compile_for,
    memory,
    of_peer,
    relative_gap,
    timed,
)
from benchmarks.workloads import KEY, Workload
from plasticity_jax import probes

NUM_KERNEL_EXAMPLES = 128  # jacrev's Jacobian: 3.4 GB on the MLP, 5.8 on the CNN


def gram(make, peer_gram, peers: Peers) -> Comparison:
    """Against vmap(grad) and a matrix product."""
    del peers
    work = make()
    ours, theirs = _gram(work), _compile(peer_gram, work)
    args = work.params, work.batch
    return Comparison(
        timed(ours, *args),
        timed(theirs, *args),
        gap=relative_gap(ours(*args), theirs(*args)),
        tolerance=1e-3,
    )


def gram_memory(make, peer_gram, peers: Peers) -> Comparison:
    """The same two programs' memory beside their arguments, as XLA plans it."""
    del peers
    work = make()
    ours, theirs = _gram(work), _compile(peer_gram, work)
    return Comparison(
        lambda: memory(ours),
        lambda: memory(theirs),
        gap=0.0,  # the rows on time compare what they compute
        tolerance=0.0,
        unit="B",
    )


def gram_tangents(make, convolutions, peers: Peers) -> Comparison:
    """Against neural-tangents: structured derivatives of the loss as an output."""
    work = make()
    answer = peers.tangents.build("gram", work.arrays(), convolutions=convolutions)
    ours = _gram(work)
    return Comparison(
        timed(ours, work.params, work.batch),
        of_peer(peers.tangents),
        gap=relative_gap(ours(work.params, work.batch), answer["gram"]),
        tolerance=1e-3,
    )


def kernel(make, peers: Peers) -> Comparison:
    """The empirical NTK's trace over ten logits, against jacrev and a product."""
    del peers
    work = make(NUM_KERNEL_EXAMPLES)

    def ours(params, inputs):
        result = probes.empirical_ntk(work.apply_fn, params, inputs, outputs="trace")
        return result.arrays["kernel"]

    def theirs(params, inputs):
        def jacobian(x):
            return jax.jacrev(lambda params: work.apply_fn(params, x[None])[0])(params)

        rows = jax.vmap(jacobian)(inputs)
        return _inner_products(rows, len(inputs))

    args = work.params, work.inputs
    ours, theirs = compile_for(ours, *args), compile_for(theirs, *args)
    return Comparison(
        timed(ours, *args),
        timed(theirs, *args),
        gap=relative_gap(ours(*args), theirs(*args)),
        tolerance=1e-4,
    )


def gram_by_rows(work: Workload, params, batch) -> jax.Array:
    """The way one writes it first: all gradients as rows [N, P], and one product."""
    rows = jax.vmap(lambda *example: ravel_pytree(_gradient(work, params, example))[0])(
        *batch
    )
    return rows @ rows.T


def gram_by_leaves(work: Workload, params, batch) -> jax.Array:
    """The careful way: a product a leaf, so that few leaves are held at a time."""
    rows = jax.vmap(lambda *example: _gradient(work, params, example))(*batch)
    return _inner_products(rows, len(work.labels))


def _gram(work: Workload):
    def gram(work, params, batch):
        result = probes.gradient_gram(work.loss_fn, params, batch, KEY)
        return result.arrays["gram"]

    return _compile(gram, work)


def _compile(gram, work: Workload):
    return compile_for(partial(gram, work), work.params, work.batch)


def _gradient(work: Workload, params, example):
    return jax.grad(work.mean_loss)(params, jax.tree.map(lambda x: x[None], example))


def _inner_products(rows, n: int) -> jax.Array:
    flat = [leaf.reshape(n, -1) for leaf in jax.tree.leaves(rows)]
    return sum(leaf @ leaf.T for leaf in flat)
