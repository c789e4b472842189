"""The functional agent: acting and learning, each one compiled function."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import trees
from plasticity_jax.agents.exploration import epsilon_greedy
from plasticity_jax.agents.q_learning import td_loss
from plasticity_jax.learners import window
from plasticity_jax.learners.atari.replay import Batch
from plasticity_jax.learners.training import Optimized, Parts
from plasticity_jax.types import Key, ProbeView, Transition

LOSSES = {"huber": optax.losses.huber_loss, "squared": jnp.square}


class AgentState(NamedTuple):
    """What learning changes, and the key of which every draw is a function."""

    optimized: Optimized
    window: window.Window
    key: Key


class Agent(NamedTuple):
    """The compiled functions of one agent."""

    init: Callable  # (key) -> state
    act: Callable  # (state, frames [E, 4, 84, 84], epsilon, env_steps) -> actions [E]
    learn: Callable  # (state, updates, batch, weights [B]) -> (state, losses [B])
    metrics: Callable  # (state) -> ({name: []}, state, its window emptied)
    view: Callable  # (state, batch) -> ProbeView
    template: AgentState  # shapes


def make(parts: Parts, probed: Parts) -> Agent:
    """Builds the functions.

    Args:
      parts: with the learner's settings (`agent`, `loss`) and the network.
      probed: the same, with the network as probes run it, inside compiled loops.
    """
    init = jax.jit(partial(_init, parts))
    act = jax.jit(partial(_act, parts))
    return Agent(
        init=init,
        act=lambda state, *args: act(_actor(state), state.key, *args),
        learn=jax.jit(partial(_learn, parts), donate_argnums=0),
        metrics=jax.jit(_metrics),
        view=partial(_view, probed),
        template=jax.eval_shape(init, jax.random.key(0)),
    )


def to_transition(batch: Batch) -> Transition:
    """Stacks frames as networks take them, [B, 84, 84, 4] uint8."""
    stack = lambda frames: jnp.moveaxis(frames, 1, -1)
    return Transition(
        stack(batch.frames_tm1), batch.a_tm1, batch.r_t, batch.discount_t,
        stack(batch.frames_t),
    )  # fmt: skip


def _init(parts: Parts, key: Key) -> AgentState:
    norms = ("update_norm",) if parts.settings.log_update_norm else ()
    empty = window.empty("loss", *norms, maxima=norms)
    return AgentState(parts.bind(()).init(key), empty, key)


def _actor(state: AgentState):
    """Leaves out what acting does not read: fewer arrays to hand over."""
    nothing = dict(target_params={}, opt_state=(), initial_params={})
    return state.optimized.train._replace(**nothing)


def _act(parts: Parts, train, key: Key, frames, epsilon, env_steps):
    q = parts.bind(()).values_fn(train)(train.params, jnp.moveaxis(frames, 1, -1))
    key = jax.random.fold_in(trees.named_key(key, "act"), env_steps)
    keys = jax.random.split(key, len(frames))
    return jax.vmap(epsilon_greedy, in_axes=(0, 0, None))(keys, q, epsilon)


def _learn(parts: Parts, state: AgentState, updates, batch: Batch, weights):
    bound, settings, train = parts.bind(()), parts.settings, state.optimized.train
    batch, model = to_transition(batch), bound.setup.model
    key = jax.random.fold_in(trees.named_key(state.key, "network"), updates)

    def losses_fn(params, model_state):
        forward = model.apply(params, model_state, batch.s_tm1, key)
        losses = td_loss(
            settings.agent, model.head, bound.apply_fn(train), forward.outputs,
            params, train.target_params, batch, LOSSES[settings.loss],
        )  # fmt: skip
        return weights * losses, forward

    optimized, figures, features = bound.update(
        state.optimized, losses_fn, updates, batch.s_tm1, state.key
    )
    optimized = bound.sync(optimized, updates + 1)
    optimized = bound.fire(optimized, updates + 1, batch.s_tm1, features, state.key)
    seen = window.observe(state.window, updates, **figures)
    return AgentState(optimized, seen, state.key), figures["losses"] / weights


def _metrics(state: AgentState):
    row, emptied = window.close(state.window)
    return row, state._replace(window=emptied)


def _view(parts: Parts, state: AgentState, batch: Batch) -> ProbeView:
    bound, settings, train = parts.bind(()), parts.settings, state.optimized.train
    batch, head = to_transition(batch), bound.setup.model.head
    apply_fn = bound.apply_fn(train)

    def loss_fn(params, batch, key):  # -> [N], unweighted
        del key
        return td_loss(
            settings.agent, head, apply_fn, apply_fn(params, batch.s_tm1), params,
            train.target_params, batch, LOSSES[settings.loss],
        )  # fmt: skip

    return bound.view(train, loss_fn, batch.s_tm1, batch)
