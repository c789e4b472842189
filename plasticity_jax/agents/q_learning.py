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


def td_loss(
    agent: str,
    head,
    apply_fn,
    outputs_tm1,
    params,
    target_params,
    batch,
    error_fn=jnp.square,
):
    """Returns the head's losses against the bootstrapped target, [N]: squared TD errors
    of a linear head, no factor 1/2, as in the paper, or what `error_fn` makes of them.

    Args:
      agent: `dqn` or `double_dqn`.
      head: a `networks.heads.Head`.
      apply_fn: (params, observations [N, ...]) -> outputs [N, A] or [N, A, atoms].
      outputs_tm1: the online network's outputs before the step, differentiated.
      params: online parameters; they choose the next action of double DQN.
      target_params: held constant.
      batch: transitions, leaves [N, ...].
      error_fn: of TD errors [N].
    """  # fmt: skip
    checks.one_of("agent", agent, AGENTS)
    outputs_t = apply_fn(target_params, batch.s_t)
    chooser = outputs_t if agent == "dqn" else apply_fn(params, batch.s_t)
    a_t = jnp.argmax(head.predict(chooser), axis=-1)
    take = jax.vmap(lambda outputs, action: outputs[action])
    return head.td_losses(
        take(outputs_tm1, batch.a_tm1), batch.r_t, batch.discount_t,
        take(outputs_t, a_t), error_fn,
    )  # fmt: skip
