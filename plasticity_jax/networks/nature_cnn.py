"""The Nature network for Atari (Mnih et al. 2015)."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from plasticity_jax import checks
from plasticity_jax.networks import dueling
from plasticity_jax.networks.blocks import ConvNetwork
from plasticity_jax.networks.layers import Dense
from plasticity_jax.networks.noisy import NoisyDense


class NatureCNN(ConvNetwork):
    """32@8x8/4, 64@4x4/2, 64@3x3/1, FC 512, head.

    `padding`: SAME is Dopamine's (4.0 M parameters), VALID is DQN Zoo's and the
    paper's (1.7 M). Inputs are pixels from 0 to 255, any dtype. Units: the channels of
    every convolution, one outgoing row a position where they are flattened, and the
    entries of the dense layer.

    dueling: whether the head has two streams, see `dueling`.
    noisy: whether both dense layers are noisy, see `noisy`. What they read or write is
      no unit then, for the noise's scales belong to none of a unit's wires.
    """

    padding: str = "SAME"
    _: dataclasses.KW_ONLY
    dueling: bool = False
    noisy: bool = False
    layers = ("conv_0", "conv_1", "conv_2", "dense_3", "head")

    def __post_init__(self):
        checks.one_of("padding", self.padding, ("SAME", "VALID"))
        super().__post_init__()

    @nn.compact
    def __call__(self, x, train=False):  # [N, 84, 84, 4] -> [N, O]
        x, size = self.convolve(x, train), self.sizes(x)
        x = self.dense(size(512), "dense_3")(x, train)
        return self.outputs(self.activate(x, 3, train), train)

    def convolve(self, x: jax.Array, train: bool) -> jax.Array:
        """Applies the convolutions to pixels and flattens: [N, D]."""
        x = x.astype("float32") / 255.0
        size = self.sizes(x)
        for index, (channels, kernel, stride) in enumerate(
            [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
        ):
            name = f"conv_{index}"
            conv = self.conv(size(channels), kernel, stride, name, padding=self.padding)
            x = self.activate(conv(x, train), index, train)
        return x.reshape(len(x), -1)

    def dense(self, size: int, name: str, **settings) -> Dense:
        """Returns the dense layer of that name, noisy if asked."""
        if not self.noisy:
            return super().dense(size, name, **settings)
        return NoisyDense(size, self._is_spectral(name), name=name, **settings)

    def outputs(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Applies the head, of two streams if asked: [N, O], or [N, O, atoms]."""
        if not self.dueling:
            return super().outputs(x, train)
        head = self.head_meaning
        bias = jnp.asarray(dueling.initial_bias(head, self.num_outputs))
        x = self.dense(
            len(bias), "head", bias_init=lambda key, shape: bias,
        )(x, train)  # fmt: skip
        x = dueling.combine(x.reshape(len(x), 1 + self.num_outputs, -1))
        return x[..., 0] if head.is_linear else x

    @property
    def readings(self):
        """The hidden layers with units; see `noisy`."""
        return super().readings[:2] if self.noisy else super().readings
