"""A head of two streams: a state's value, and what each action adds to it.

One linear layer makes both, so that it stays the one reader of the penultimate layer.
"""

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.networks.heads import Head


def initial_bias(head: Head, num_outputs: int) -> np.ndarray:
    """Returns the layer's bias, [(1 + O) * atoms], with which values start at 0: that
    of the head in the value's stream, zeros in the others."""
    value = head.initial_bias()
    return np.concatenate([value, np.zeros(num_outputs * len(value), np.float32)])


def combine(streams: jax.Array) -> jax.Array:
    """Returns value + advantage - mean advantage over outputs, [N, O, atoms], atom by
    atom.

    Args:
      streams: [N, 1 + O, atoms], the value first.

    Source: arXiv 1511.06581, equation 9; of logits: arXiv 1710.02298.
    """
    value, advantages = streams[:, :1], streams[:, 1:]
    return value + advantages - jnp.mean(advantages, axis=1, keepdims=True)
