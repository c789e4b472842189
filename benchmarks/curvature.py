"""Rows on Hessian products and spectra."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from benchmarks.comparison import (
    Comparison,
    Peers,
    compile_for,
    of_peer,
    relative_gap,
    timed,
)
from benchmarks.peers.process import Missing
from benchmarks.workloads import KEY, Workload
from plasticity_jax import probes

NUM_STEPS = 64
NUM_PRODUCTS = 32


def product(make, peers: Peers) -> Comparison:
    """One Hessian-vector product, against one gradient."""
    del peers
    work = make()
    vector = _direction(work)

    def ours(params, batch, vector):
        return probes.hvp(work.loss_fn, params, batch, KEY)(vector)

    def reverse_over_reverse(params, batch):
        def slope(params):
            gradient = jax.grad(work.mean_loss)(params, batch)
            return jnp.vdot(ravel_pytree(gradient)[0], ravel_pytree(vector)[0])

        return jax.grad(slope)(params)

    ours = compile_for(ours, work.params, work.batch, vector)
    exact = jax.jit(reverse_over_reverse)(work.params, work.batch)
    found = ours(work.params, work.batch, vector)
    return Comparison(
        timed(ours, work.params, work.batch, vector),
        _gradient(work),
        gap=relative_gap(ravel_pytree(found)[0], ravel_pytree(exact)[0]),
        tolerance=1e-4,
    )


def product_in_loop(make, peers: Peers) -> Comparison:
    """A product of many with the same operator in one loop, against one gradient."""
    del peers
    work = make()
    start, unravel = ravel_pytree(_direction(work))

    def repeat(params, batch, start):
        matvec = probes.hvp(work.loss_fn, params, batch, KEY)

        def step(vector, _):
            flat = ravel_pytree(matvec(unravel(vector)))[0]
            return flat / jnp.linalg.norm(flat), jnp.vdot(flat, vector)

        return jax.lax.scan(step, start, None, length=NUM_PRODUCTS)

    args = work.params, work.batch, start
    ours = compile_for(repeat, *args)
    _, found = ours(*args)
    power = jax.jit(probes.hvp(work.loss_fn, work.params, work.batch, KEY))
    vector, curvature = start, []
    for _ in range(4):
        flat = ravel_pytree(power(unravel(vector)))[0]
        curvature.append(float(flat @ vector))
        vector = flat / jnp.linalg.norm(flat)
    measure = timed(ours, *args)
    return Comparison(
        lambda: measure() / NUM_PRODUCTS,
        _gradient(work),
        gap=relative_gap(found[:4], curvature),
        tolerance=1e-4,
    )


def spectrum_pyhessian(make, convolutions, peers: Peers) -> Comparison:
    """One draw of 64 steps, against PyHessian's."""
    work = make()
    ours = _spectrum(work, passes=1)
    answer = peers.torch.build(
        "spectrum",
        work.arrays(),
        num_steps=NUM_STEPS,
        convolutions=convolutions,
    )
    found = ours(work.params, work.batch).arrays["nodes"]
    return Comparison(
        timed(ours, work.params, work.batch),
        of_peer(peers.torch),
        gap=_extreme_gap(found, answer["nodes"]),
        tolerance=1e-3,
    )


def spectrum_matfree(make, peers: Peers) -> Comparison:
    """The same with two passes, against matfree's Lanczos (Arnoldi, two passes)."""
    del peers
    try:
        from matfree import decomp
    except ImportError as error:
        raise Missing(f"{error}: pip install 'plasticity-jax[dev]'") from error
    work = make()
    ours = _spectrum(work, passes=2)
    start = ravel_pytree(_direction(work))[0]
    tridiagonalise = decomp.tridiag_sym(NUM_STEPS, reortho="full")

    def theirs(params, batch):
        flat, unravel = ravel_pytree(params)
        gradient = jax.grad(lambda flat: work.mean_loss(unravel(flat), batch))

        def matvec(vector):
            return jax.jvp(gradient, (flat,), (vector,))[1]

        matrix = tridiagonalise(matvec, start).J_small
        nodes, vectors = jnp.linalg.eigh(matrix)
        return nodes, vectors[0] ** 2

    theirs = compile_for(theirs, work.params, work.batch)
    found = ours(work.params, work.batch).arrays["nodes"]
    return Comparison(
        timed(ours, work.params, work.batch),
        timed(theirs, work.params, work.batch),
        gap=_extreme_gap(found, theirs(work.params, work.batch)[0]),
        tolerance=1e-3,
    )


def _spectrum(work: Workload, passes: int):
    def spectrum(params, batch):
        return probes.hessian_spectrum(
            work.loss_fn, params, batch, KEY,
            num_steps=NUM_STEPS, num_draws=1, passes=passes,
        )  # fmt: skip

    return compile_for(spectrum, work.params, work.batch)


def _extreme_gap(ours, peer) -> float:
    """Start vectors differ, so only converged eigenvalues agree: the top five."""
    top = np.sort(np.ravel(ours))[-5:], np.sort(np.ravel(peer))[-5:]
    return relative_gap(*top)


def _gradient(work: Workload):
    gradient = compile_for(jax.grad(work.mean_loss), work.params, work.batch)
    return timed(gradient, work.params, work.batch)


def _direction(work: Workload):
    flat, unravel = ravel_pytree(work.params)
    return unravel(jax.random.normal(jax.random.key(1), flat.shape))
