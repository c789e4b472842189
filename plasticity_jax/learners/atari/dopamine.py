"""Dopamine's agents on Atari as a `types.Learner`: DQN, double DQN, Rainbow, full
Rainbow, QR-DQN and IQN.

Known deviations from the paper's DQN Zoo, Dopamine 4.1.2's and left as they are: its
replay marks the step *before* an episode's last as terminal, drops the last reward,
and keeps that step up to four times, with ever shorter stacks. DQN and double DQN use
the Huber loss here, as in the paper; the default of Dopamine's DQN is the squared
error.

Deviations from Dopamine: layers are drawn as all our networks' are (LeCun's normal; its
own are uniform); prioritised replay is mended, see `agents`; full Rainbow has noise and
two streams where its network has them (`noisy`, `dueling`; Dopamine's default is both),
and its noise is another draw in each layer.
"""

import functools

import numpy as np

from plasticity_jax import checks
from plasticity_jax.learners.atari import compat, dopamine_view, hosted
from plasticity_jax.learners.atari.agents import make_agent
from plasticity_jax.learners.atari.dopamine_settings import INPUT_SHAPE, check_network
from plasticity_jax.learners.atari.dopamine_settings import Settings as Settings
from plasticity_jax.learners.atari.dopamine_settings import check as check
from plasticity_jax.learners.atari.dopamine_settings import period as period
from plasticity_jax.learners.atari.emulator import Emulator
from plasticity_jax.learners.atari.export import export, load
from plasticity_jax.learners.atari.one_seed import measure
from plasticity_jax.learners.atari.state import AtariState
from plasticity_jax.types import Learner, Method

STICKY_PROBABILITY = 0.25


def make(network_fn, method, seed: int, settings: Settings) -> Learner:
    """Builds the learner. An update is `update_period` agent steps and a gradient step.

    The state is a host object, see `state.AtariState`. `init` plays the first
    `min_replay_history` transitions, at random (a noisy network by its noise); all of
    it may run for a minute.

    Args:
      network_fn: (num_actions, conv_impl) -> module from pixels [N, 84, 84, 4] to
        outputs [N, A], or [N, A, atoms] where the agent's head has them; `conv_impl` as
        in `networks.NatureCNN`.
      method: any Optax chain, or a `Method`: optimiser and interventions, see `hosted`.
      seed: of everything: parameters, exploration, replay, emulator, interventions.
      settings: the environment's, the agent's and the replay's.

    Raises:
      ValueError: for settings, a network or interventions that cannot work.
      ImportError: without the `dopamine` extra.
    """
    check(settings)
    checks.at_least(0, seed=seed)
    method = method if isinstance(method, Method) else Method(method)
    hosted.check(method, settings)
    dopamine = compat.load()
    num_actions = int(_emulator(settings, seed).action_space.n)
    probed = network_fn(num_actions, "auto")
    check_network(settings, probed)
    # One batch at a time and no loop around it: XLA's own convolution is the fast one.
    network = network_fn(num_actions, "lax")
    acting = hosted.host(network, INPUT_SHAPE, method, seed, settings)
    build = functools.partial(_build, dopamine, settings, network, acting, seed)

    def init():
        state = build()
        state.begin()
        state.fill_replay()
        return state

    def restore(tree):
        state = build()
        load(state, tree, dopamine)
        return state

    view = functools.partial(dopamine_view.view, settings, probed, method)
    return Learner(
        seeds=(seed,),
        init=init,
        advance=_advance,
        updates=lambda state: state.counts.updates,
        failed_at=lambda state: np.array([state.counts.failed_at]),
        metrics=lambda state: (state.metrics(), state),
        snapshot=functools.partial(dopamine_view.snapshot, settings, seed),
        measure=functools.partial(measure, view),
        export=export,
        restore=restore,
    )


def _emulator(settings: Settings, seed: int) -> Emulator:
    return Emulator(
        settings.game,
        sticky_probability=STICKY_PROBABILITY if settings.sticky_actions else 0.0,
        max_noops=settings.max_noops,
        seed=seed,
    )


def _build(dopamine, settings, network, acting, seed) -> AtariState:
    emulator = _emulator(settings, seed)
    environment = dopamine.atari_lib.AtariPreprocessing(
        emulator, terminal_on_life_loss=settings.terminal_on_life_loss
    )
    num_actions = int(emulator.action_space.n)
    agent = make_agent(dopamine, settings, network, acting, seed, num_actions)
    return AtariState(agent, environment, settings.max_episode_steps)


def _advance(state: AtariState, num_updates: int) -> AtariState:
    goal = state.counts.updates + int(num_updates)
    while state.counts.updates < goal:
        state.play_step()
    return state
