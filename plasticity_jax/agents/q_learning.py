"""Q-learning agents as data: which TD error, on which values."""

import jax
import jax.numpy as jnp

from plasticity_jax import checks
from plasticity_jax.losses import td
from plasticity_jax.types import Transition


def _dqn(q_tm1, a_tm1, r_t, discount_t, q_t, q_t_online):
    del q_t_online
    return td.q_learning(q_tm1, a_tm1, r_t, discount_t, q_t)


AGENTS = {"dqn": _dqn, "double_dqn": td.double_q_learning}


def td_errors(agent: str, apply_fn, params, target_params, batch: Transition):
    """Returns TD errors, [N], positive where the return was underestimated.

    Args:
      agent: `dqn` or `double_dqn`.
      apply_fn: (params, observations [N, ...]) -> action values [N, A].
      params: online parameters, differentiated.
      target_params: held constant.
      batch: transitions, leaves [N, ...].
    """
    checks.one_of("agent", agent, AGENTS)
    q_tm1 = apply_fn(params, batch.s_tm1)
    q_t = apply_fn(target_params, batch.s_t)
    # DQN never asks for the online values after the step: do not compute them.
    q_t_online = apply_fn(params, batch.s_t) if agent == "double_dqn" else q_t
    return jax.vmap(AGENTS[agent])(
        q_tm1, batch.a_tm1, batch.r_t, batch.discount_t, q_t, q_t_online
    )


def td_loss(agent: str, apply_fn, params, target_params, batch: Transition):
    """Returns squared TD errors, [N]; no factor 1/2, as in the paper. Arguments as
    `td_errors`."""
    return jnp.square(td_errors(agent, apply_fn, params, target_params, batch))
