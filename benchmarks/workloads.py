"""The three networks that the figures are about, with data to probe them on."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax import networks, trees
from plasticity_jax.losses import cross_entropy
from plasticity_jax.networks.blocks import Conv, Network
from plasticity_jax.types import PyTree

KEY = jax.random.key(0)
# Stride of each, and the padding that SAME means on 32x32 pixels: for the peers.
CONVOLUTIONS = ((4, 2), (2, 1), (1, 1))


class Workload(NamedTuple):
    """A network at its initial parameters and N examples for it."""

    network: nn.Module
    params: PyTree
    inputs: jax.Array  # [N, ...]
    labels: jax.Array  # [N]

    @property
    def batch(self):
        return self.inputs, self.labels

    def apply_fn(self, params, inputs):
        return self.network.apply({"params": params}, inputs)

    def loss_fn(self, params, batch, key):
        del key
        inputs, labels = batch
        return cross_entropy(self.apply_fn(params, inputs), labels)

    def mean_loss(self, params, batch):
        return jnp.mean(self.loss_fn(params, batch, KEY))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything a peer needs to build the same, by name."""
        leaves = jax.tree_util.tree_leaves_with_path(self.params)
        named = {trees.path_name(path): np.asarray(leaf) for path, leaf in leaves}
        inputs, labels = np.asarray(self.inputs), np.asarray(self.labels, np.int64)
        return named | {"inputs": inputs, "labels": labels}


class Torso(Network):
    """Nature's three convolutions, then 1,024 units and a linear head."""

    conv_impl: str = "auto"

    @nn.compact
    def __call__(self, x):  # [N, 32, 32, 3] -> [N, O]
        for index, (features, kernel, stride) in enumerate(
            [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
        ):
            name = f"conv_{index}"
            x = Conv(features, kernel, stride, impl=self.conv_impl, name=name)(x)
            x = self.activate(x, index)
        x = self.activate(nn.Dense(1_024, name="dense_3")(x.reshape(len(x), -1)), 3)
        return nn.Dense(self.num_outputs, name="head")(x)


def mlp(num_examples: int = 1_024, norm: str = "none") -> Workload:
    """784-512-512-10."""
    return _draw(networks.MLP(10, norm, hidden=(512, 512)), (num_examples, 784))


def small(num_examples: int = 128) -> Workload:
    """64-64-64-10."""
    return _draw(networks.MLP(10, hidden=(64, 64)), (num_examples, 64))


def cnn(num_examples: int = 512, conv_impl: str = "auto") -> Workload:
    """Nature's torso on 32x32x3."""
    return _draw(Torso(10, conv_impl=conv_impl), (num_examples, 32, 32, 3))


def _draw(network, shape) -> Workload:
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.standard_normal(shape, np.float32))
    labels = jnp.asarray(rng.integers(0, 10, shape[0], np.int32))
    params = network.init(KEY, inputs[:1])["params"]
    return Workload(network, params, inputs, labels)
