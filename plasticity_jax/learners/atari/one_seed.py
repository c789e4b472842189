"""Probes of a learner that has one seed, and its host's state."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def measure(view: Callable, fn: Callable) -> Callable:
    """Compiles fn(view(snapshot), *args) for one seed under a leading axis of 1.

    Args:
      view: (snapshot of the seed) -> ProbeView.
      fn: (ProbeView, *args) -> arrays.
    """

    @jax.jit
    def run(snapshot, *args):
        snapshot, args = jax.tree.map(lambda x: x[0], (snapshot, args))
        return jax.tree.map(lambda x: jnp.asarray(x)[None], fn(view(snapshot), *args))

    return run
