"""Dopamine's DQN and double DQN agents, with our network, optimiser and settings."""

import dataclasses
import functools
import math
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np

STACK_SIZE = 4


class Output(NamedTuple):
    """What Dopamine expects of a network."""

    q_values: jax.Array  # [A]


@dataclasses.dataclass(frozen=True)  # hashable: a static argument of Dopamine's jits
class Adapter:
    """Our batched module, called as Dopamine calls: one state, parameters alone.

    Pixels go in as they are: Dopamine divides by 255 inside its own networks, not in
    its preprocessing, and ours do the same.
    """

    network: nn.Module

    def init(self, key, x, **unused):
        return _init_params(self.network, key, x[None])

    def apply(self, params, x, **unused):
        return Output(self.network.apply({"params": params}, x[None])[0])


@functools.partial(jax.jit, static_argnums=0)
def _init_params(network, key, x):
    return network.init(key, x)["params"]


class _Hosted:
    """What both agents share. Comes before Dopamine's class among the bases."""

    def __init__(self, dopamine, settings, adapter, tx, seed, num_actions, **flags):
        self._dopamine = dopamine
        self._settings = settings
        self._tx = tx
        self.loss = None  # of the latest update, until someone takes it
        super().__init__(num_actions, network=lambda **_: adapter, seed=seed, **flags)

    def _build_replay_buffer(self):
        # The full Rainbow agent's constructor takes none of these: they are set in the
        # first method that Dopamine's constructor calls.
        settings, dopamine = self._settings, self._dopamine
        self.gamma = settings.discount
        self.update_horizon = settings.update_horizon
        self.cumulative_gamma = math.pow(settings.discount, settings.update_horizon)
        self.min_replay_history = settings.min_replay_history
        self.update_period = settings.update_period
        self.target_update_period = settings.target_update_period
        self.epsilon_train = settings.epsilon_train
        self.epsilon_decay_period = settings.epsilon_decay_period
        self._loss_type = "huber"
        return dopamine.replay_buffer.ReplayBuffer(
            transition_accumulator=dopamine.accumulator.TransitionAccumulator(
                stack_size=STACK_SIZE,
                update_horizon=settings.update_horizon,
                gamma=settings.discount,
            ),
            # For both agents: the full Rainbow's uniform scheme is a sum tree of ones.
            sampling_distribution=dopamine.samplers.UniformSamplingDistribution(
                seed=self._seed
            ),
            batch_size=settings.batch_size,
            max_capacity=settings.replay_capacity,
        )

    def _build_networks_and_optimizer(self):
        self._rng, key = jax.random.split(self._rng)
        self.initial_params = self.network_def.init(key, self.state)
        self.online_params = self.target_network_params = self.initial_params
        self.optimizer = self._tx
        self.optimizer_state = self._tx.init(self.initial_params)

    def _store_transition(
        self, last_observation, action, reward, is_terminal, *, episode_end=False
    ):
        # Dopamine's hands a priority to samplers that have none and warns of it.
        element = self._dopamine.elements.TransitionElement(
            last_observation, action, reward, is_terminal, episode_end
        )
        self._replay.add(element)

    def _train_step(self):
        # Dopamine's own, of which the loss is a local variable.
        if self._replay.add_count > self.min_replay_history:
            if self.training_steps % self.update_period == 0:
                self._sample_from_replay_buffer()
                self._update(self.replay_elements)
            if self.training_steps % self.target_update_period == 0:
                self._sync_weights()
        self.training_steps += 1

    def _arguments(self, batch):
        """What Dopamine's two `train` functions have in common."""
        return (
            self.network_def,
            self.online_params,
            self.target_network_params,
            self.optimizer,
            self.optimizer_state,
            batch["state"],
            batch["action"],
            batch["next_state"],
            batch["reward"],
            batch["terminal"],
        )


class _DQN:
    def _update(self, batch):
        self.optimizer_state, self.online_params, self.loss = (
            self._dopamine.dqn_agent.train(
                *self._arguments(batch),
                self.cumulative_gamma,
                self._loss_type,
            )
        )


class _DoubleDQN:
    def _update(self, batch):
        self.optimizer_state, self.online_params, _, self.loss, self._rng = (
            self._dopamine.full_rainbow_agent.train(
                *self._arguments(batch),
                np.ones(len(batch["action"]), np.float32),  # loss weights
                self._support,
                self.cumulative_gamma,
                self._double_dqn,
                self._distributional,
                self._mse_loss,
                self._rng,
            )
        )


def make_agent(dopamine, settings, network, tx, seed, num_actions):
    """Builds the agent that `settings.agent` names.

    Args:
      dopamine: what `compat.load` returns.
      settings: a `dopamine_dqn.Settings`.
      network: module from pixels [N, 84, 84, 4] to action values [N, A].
      tx: any Optax chain.
      seed: of the parameters, the exploration and the replay's sampler.
      num_actions: A.
    """
    if settings.agent == "dqn":
        bases = (_DQN, _Hosted, dopamine.dqn_agent.JaxDQNAgent)
        flags = {}
    else:
        bases = (_DoubleDQN, _Hosted, dopamine.full_rainbow_agent.JaxFullRainbowAgent)
        flags = dict.fromkeys(("noisy", "dueling", "distributional"), False)
        flags |= {"double_dqn": True, "replay_scheme": "uniform"}
    agent_class = type(settings.agent, bases, {})
    return agent_class(
        dopamine, settings, Adapter(network), tx, seed, num_actions, **flags
    )
