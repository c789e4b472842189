"""Our networks as Dopamine calls them: one state at a time, parameters alone.

Pixels go in as they are: Dopamine divides by 255 inside its own networks, not in its
preprocessing, and ours do the same.
"""

import dataclasses
import functools
from typing import NamedTuple

import flax.linen as nn
import jax

from plasticity_jax.networks.noisy import NOISE


class Output(NamedTuple):
    """What Dopamine's agents expect of a network."""

    q_values: jax.Array  # [A]
    logits: jax.Array  # [A, atoms], or quantiles: what the head gives
    probabilities: jax.Array  # [A, atoms], of a categorical head


class Quantiles(NamedTuple):
    """What its IQN expects."""

    quantile_values: jax.Array  # [K, A]
    quantiles: jax.Array  # [K, 1], their levels


@dataclasses.dataclass(frozen=True)  # hashable: a static argument of Dopamine's jits
class Adapter:
    """Any network, with the names of arguments that Dopamine's agents use."""

    network: nn.Module

    def init(self, key, x):
        return _init_params(self.network, key, x[None])

    def apply(self, params, x, support=None, key=None, eval_mode=False):
        del support  # the head's own
        rngs = {} if key is None or eval_mode else {NOISE: key}
        outputs = self.network.apply({"params": params}, x[None], rngs=rngs)
        values = self.network.head_meaning.predict(outputs)
        return Output(values[0], outputs[0], jax.nn.softmax(outputs[0]))


@dataclasses.dataclass(frozen=True)
class ImplicitAdapter(Adapter):
    """A `networks.ImplicitQuantileCNN` at levels drawn uniformly."""

    def apply(self, params, x, num_quantiles, rng):
        levels = jax.random.uniform(rng, (num_quantiles, 1))
        values = self.network.apply({"params": params}, x[None], tau=levels.T)
        return Quantiles(values[0].T, levels)


@functools.partial(jax.jit, static_argnums=0)
def _init_params(network, key, x):
    return network.init(key, x)["params"]
