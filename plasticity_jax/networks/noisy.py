"""A linear layer whose weights are drawn anew: exploration that is learned."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from plasticity_jax.networks.layers import Dense

NOISE = "noise"  # the random stream; a pass that is not given it has no noise


class NoisyDense(Dense):
    """`Dense` plus (sigma * epsilon) x + sigma_b * epsilon_b; factorised noise, one
    draw for all rows: epsilon_ij = f(p_i) f(q_j), epsilon_b = f(q), f(x) =
    sign(x) sqrt(|x|), p and q normal.

    Without the stream `noise` it is its mean, `Dense`, as Dopamine evaluates. The mean
    starts as every layer here does (paper: uniform, a third of the variance, biases
    too); sigma starts at `initial_sigma` / sqrt(fan-in), Dopamine's .1 (paper: .5).

    Source: arXiv 1706.10295, equations 9 to 11.
    """

    initial_sigma: float = 0.1

    @nn.compact
    def __call__(self, x, train=False):  # [N, ..., D] -> [N, ..., F]
        fan_in = x.shape[-1]
        start = nn.initializers.constant(self.initial_sigma / fan_in**0.5)
        kernel = self.param("kernel_sigma", start, (fan_in, self.features))
        bias = self.param("bias_sigma", start, (self.features,))
        mean = super().__call__(x, train)
        if not self.has_rng(NOISE):
            return mean
        p, q = jax.random.split(self.make_rng(NOISE))
        p = _signed_root(jax.random.normal(p, (fan_in,), x.dtype))
        q = _signed_root(jax.random.normal(q, (self.features,), x.dtype))
        return mean + ((x * p) @ kernel + bias) * q


def _signed_root(x: jax.Array) -> jax.Array:
    return jnp.sign(x) * jnp.sqrt(jnp.abs(x))
