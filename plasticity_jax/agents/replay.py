"""A ring of experience on the device, pure: the caller's clock says where to write."""

import jax
import jax.numpy as jnp

from plasticity_jax.types import Key, PyTree


def empty(example: PyTree, capacity: int) -> PyTree:
    """Returns storage of zeros, [capacity, ...] a leaf, for items like `example`."""
    return jax.tree.map(
        lambda x: jnp.zeros((capacity, *jnp.shape(x)), jnp.result_type(x)), example
    )


def add(storage: PyTree, item: PyTree, count: jax.Array) -> PyTree:
    """Writes item number `count`, over the oldest when full."""
    capacity = len(jax.tree.leaves(storage)[0])
    storage = jax.tree.map(lambda s, x: s.at[count % capacity].set(x), storage, item)
    # XLA:CPU would fuse the write into every read that follows: a copy of the storage
    # for each of its arrays, at every update.
    return jax.lax.optimization_barrier(storage)


def sample(storage: PyTree, key: Key, count: jax.Array, batch_size: int) -> PyTree:
    """Draws uniformly, with replacement, from the items written so far.

    Args:
      count: how many items were ever added, [] integer, at least 1.

    Returns:
      Items, [B, ...] a leaf.
    """
    capacity = len(jax.tree.leaves(storage)[0])
    rows = jax.random.randint(key, (batch_size,), 0, jnp.minimum(count, capacity))
    return jax.tree.map(lambda s: s[rows], storage)
