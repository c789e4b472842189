"""Normalisation layers by name: with a scale, all but RMS with an offset; layer norm
also plain, without either."""

import flax.linen as nn
import jax

NORMS = ("none", "layer", "layer_plain", "group", "rms", "batch")
MAX_GROUPS, MIN_GROUP_SIZE = 32, 8


def normalize(kind: str, x: jax.Array, name: str, train: bool) -> jax.Array:
    """Normalises [N, ..., U] inside a network's compact method.

    `layer`, `layer_plain` and `rms`: the U entries of one position of one example.
    `group`: groups of channels of one example over all its positions, `num_groups(U)`
    of them. `batch`: a channel over batch and positions in training, with running
    statistics (momentum .9, in the collection `batch_stats`) otherwise, so that rows
    stay separable there.

    Args:
      kind: one of `NORMS`.
      x: [N, ..., U].
      name: of the layer; its parameters, if any, are `scale` and `bias`, [U].
      train: whether this is a training pass.
    """
    if kind == "none":
        return x
    if kind == "batch":
        return nn.BatchNorm(not train, momentum=0.9, name=name)(x)
    if kind == "group":
        return nn.GroupNorm(num_groups(x.shape[-1]), name=name)(x)
    if kind == "layer_plain":
        return nn.LayerNorm(use_scale=False, use_bias=False, name=name)(x)
    return {"layer": nn.LayerNorm, "rms": nn.RMSNorm}[kind](name=name)(x)


def num_groups(channels: int) -> int:
    """Returns the largest divisor that is at most 32 and leaves groups of 8 or more.

    A dense layer in groups of one unit would be constant; so less than 16 channels, or
    a prime number of them, are one group.

    Source: arXiv 1803.08494 (32 groups, or groups of 8 to 64 channels).
    """
    most = min(MAX_GROUPS, max(1, channels // MIN_GROUP_SIZE))
    return max(count for count in range(1, most + 1) if channels % count == 0)
