"""How an agent leaves its greedy action."""

import jax
import jax.numpy as jnp

from plasticity_jax.types import Key


def epsilon_greedy(key: Key, q: jax.Array, epsilon: jax.Array) -> jax.Array:
    """Returns argmax q [A], or with probability epsilon a uniform action; [] int32."""
    key_explore, key_action = jax.random.split(key)
    explore = jax.random.uniform(key_explore) < epsilon
    uniform = jax.random.randint(key_action, (), 0, len(q))
    return jnp.where(explore, uniform, jnp.argmax(q)).astype(jnp.int32)
