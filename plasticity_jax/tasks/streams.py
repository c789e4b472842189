"""Streams of supervised tasks: what the labels are while task number `task` lasts."""

import jax


def random_labels(key: jax.Array, task: jax.Array, labels: jax.Array, num_classes: int):
    """Draws fresh uniform labels for each task: pure memorisation.

    Args:
      key: of the whole stream.
      task: number of the task, [] integer.
      labels: the true labels, [N]; only their shape is used.
      num_classes: C.

    Returns:
      Labels, [N] int32, a function of (key, task) alone.

    Source: arXiv 2303.01486, figure 1.
    """
    key = jax.random.fold_in(key, task)
    return jax.random.randint(key, labels.shape, 0, num_classes, labels.dtype)


def stationary(key: jax.Array, task: jax.Array, labels: jax.Array, num_classes: int):
    """Gives the true labels in every task: the control."""
    del key, task, num_classes
    return labels


STREAMS = {"random_labels": random_labels, "stationary": stationary}
