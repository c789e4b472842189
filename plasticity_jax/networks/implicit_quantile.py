"""The Nature network as a function of the quantile's level, too (IQN)."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from plasticity_jax import checks
from plasticity_jax.losses.quantile import midpoints
from plasticity_jax.networks import dueling
from plasticity_jax.networks.nature_cnn import NatureCNN


class ImplicitQuantileCNN(NatureCNN):
    """Quantiles of the return at any levels tau, [N, K] -> [N, O, K].

    The flattened convolutions are multiplied by psi(tau) = relu(W cos(pi i tau) + b),
    i = 1 to `num_cosines` (Dopamine's, as in its published code; the paper starts at
    0), before the dense layer, which so has an activation for each level: its features
    are [N, K, 512]. Without levels they are the `num_atoms` midpoints of equal parts,
    at which the outputs are those of a `quantile` head: what a probe sees.

    Units: as `NatureCNN`; what reads the last convolution reads it times psi. psi's own
    layer, `embed_tau`, has no norm and no units.

    Source: arXiv 1806.06923, equation 4.
    """

    _: dataclasses.KW_ONLY
    head: str = "quantile"
    num_atoms: int = 64  # Dopamine's num_tau_samples
    num_cosines: int = 64
    layers = ("conv_0", "conv_1", "conv_2", "embed_tau", "dense_3", "head")

    def __post_init__(self):
        checks.at_least(1, num_cosines=self.num_cosines)
        if self.head != "quantile" or self.noisy:
            raise ValueError(
                "an implicit quantile network: expected head 'quantile' and no noise; "
                f"got head {self.head!r}, noisy {self.noisy}."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, x, train=False, tau=None):  # [N, 84, 84, 4] -> [N, O, K]
        size = self.sizes(x)
        if tau is None:
            tau = jnp.broadcast_to(midpoints(self.num_atoms), (len(x), self.num_atoms))
        x = self.convolve(x, train)
        waves = jnp.cos(jnp.pi * jnp.arange(1, self.num_cosines + 1) * tau[..., None])
        psi = nn.relu(self.dense(x.shape[-1], "embed_tau")(waves, train))
        x = self.dense(size(512), "dense_3")(x[:, None] * psi, train)  # [N, K, 512]
        return self.outputs(self.activate(x, 3, train), train)

    def outputs(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Applies the head, of two streams if asked, to [N, K, D]: [N, O, K]."""
        x = self.dense(self.num_outputs + self.dueling, "head")(x, train)
        x = jnp.swapaxes(x, 1, 2)
        return dueling.combine(x) if self.dueling else x

    @property
    def readings(self):
        """The hidden layers with units, in order."""
        first, second = (self.reading(i, f"conv_{i}", f"conv_{i + 1}") for i in (0, 1))
        third = self.reading(2, "conv_2", "dense_3")._replace(read_as_is=False)
        return (first, second, third, self.reading(3, "dense_3", "head"))
