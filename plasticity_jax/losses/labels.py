"""Losses on class labels and regression targets, one value per example."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns -log softmax(logits)[label], [N], in nats. Logits [N, C], labels [N]."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Returns the squared error averaged over outputs, [N]. Both [N, O]."""
    return jnp.mean(jnp.square(outputs - targets), axis=-1)
