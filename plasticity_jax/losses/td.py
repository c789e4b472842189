"""Temporal-difference errors of one transition; vmap them over a batch."""

import chex
import jax
import jax.numpy as jnp


def q_learning(q_tm1, a_tm1, r_t, discount_t, q_t) -> jax.Array:
    """Returns r_t + discount_t max_a q_t[a] - q_tm1[a_tm1], [].

    Args:
      q_tm1: action values before the step, [A].
      a_tm1: action taken, [] integer.
      r_t: reward, [].
      discount_t: discount, [], 0 at a terminal step.
      q_t: *target* network's action values after the step, [A]; gradient stopped.
    """
    chex.assert_rank([q_tm1, a_tm1, r_t, discount_t, q_t], [1, 0, 0, 0, 1])
    target_tm1 = r_t + discount_t * jnp.max(q_t)
    return jax.lax.stop_gradient(target_tm1) - q_tm1[a_tm1]


def double_q_learning(q_tm1, a_tm1, r_t, discount_t, q_t_value, q_t_selector):
    """As `q_learning`, the action chosen by `q_t_selector` and valued by `q_t_value`.

    Source: van Hasselt et al. 2016, arXiv 1509.06461.
    """
    chex.assert_rank([q_tm1, a_tm1, r_t, discount_t], [1, 0, 0, 0])
    chex.assert_equal_shape([q_tm1, q_t_value, q_t_selector])
    target_tm1 = r_t + discount_t * q_t_value[jnp.argmax(q_t_selector)]
    return jax.lax.stop_gradient(target_tm1) - q_tm1[a_tm1]
