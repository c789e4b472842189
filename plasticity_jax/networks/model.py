"""A Linen network as pure functions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze

from plasticity_jax.networks import topology
from plasticity_jax.networks.blocks import FEATURES, by_depth
from plasticity_jax.types import Forward, Model


def as_model(
    network: nn.Module, input_shape: tuple[int, ...], *, noisy: bool = False
) -> Model:
    """Returns the network's functions.

    A pass with a key is a training pass: dropout draws from the key, batch norm uses
    the batch's statistics, and `model_state` (running statistics, power iterations)
    goes on. Without a key it is deterministic, treats rows one by one and changes
    nothing.

    Args:
      network: one of `networks`.
      input_shape: of one observation, without the batch axis.
      noisy: whether a noisy network, which is its mean here, is welcome.

    Raises:
      ValueError: inputs of this shape do not fit the network; noise that nobody draws.
    """
    if getattr(network, "noisy", False) and not noisy:
        raise ValueError(
            "network.noisy: expected false, for this learner draws no noise and the "
            "network would be its mean; got true. Dopamine's full_rainbow draws it."
        )
    example = jnp.zeros((1, *input_shape))

    def init(key):
        variables = dict(unfreeze(network.init(key, example)))
        params = variables.pop("params")
        variables.pop(FEATURES, None)
        return params, variables

    def apply(params, model_state, inputs, key=None):
        variables = {"params": params, **model_state}
        if key is None:
            outputs, found = network.apply(variables, inputs, mutable=[FEATURES])
        else:
            outputs, found = network.apply(
                variables, inputs, train=True, rngs={"dropout": key},
                mutable=[FEATURES, *model_state],
            )  # fmt: skip
        found = dict(unfreeze(found))
        features = by_depth(found.pop(FEATURES))
        return Forward(outputs, features, {**model_state, **found})

    params, _ = jax.eval_shape(init, jax.random.key(0))
    units = topology.trace(network.readings, params, network.kernel_init)
    return Model(init, apply, network.head_meaning, units)
