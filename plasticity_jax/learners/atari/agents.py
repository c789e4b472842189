"""Dopamine's agents, with our network, optimiser, interventions and settings.

Dopamine's `train` functions do the arithmetic; around them stands its `_train_step`,
of which the loss is a local variable, once for all agents. Prioritised replay works
here: in Dopamine 4.1.2 the constructor of its DQN, the base class, writes `uniform`
over the scheme asked for, so that priorities stay 1 and nothing is weighted.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.learners.atari.adapters import Adapter, ImplicitAdapter

STACK_SIZE = 4
SMALLEST = 1e-10  # under a root: Dopamine's, for priorities and weights


class _Hosted:
    """What all agents share. Comes before Dopamine's class among the bases."""

    def __init__(self, dopamine, settings, adapter, hosted, seed, num_actions, **flags):
        self._dopamine = dopamine
        self._settings = settings
        self._hosted = hosted
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
        self._replay_scheme = settings.sampler
        return dopamine.replay_buffer.ReplayBuffer(
            transition_accumulator=dopamine.accumulator.TransitionAccumulator(
                stack_size=STACK_SIZE,
                update_horizon=settings.update_horizon,
                gamma=settings.discount,
            ),
            sampling_distribution=self._build_sampler(),
            batch_size=settings.batch_size,
            max_capacity=settings.replay_capacity,
        )

    def _build_sampler(self):
        samplers = self._dopamine.samplers
        if self._replay_scheme == "uniform":
            # For all agents: the full Rainbow's uniform scheme is a sum tree of ones.
            return samplers.UniformSamplingDistribution(seed=self._seed)
        # It adds before it removes: a tree of a power of two would have no leaf left.
        return samplers.PrioritizedSamplingDistribution(
            seed=self._seed, max_capacity=self._settings.replay_capacity + 1
        )

    def _build_networks_and_optimizer(self):
        self._rng, key = jax.random.split(self._rng)
        self.initial_params = self.network_def.init(key, self.state)
        self.online_params = self.target_network_params = self.initial_params
        self.optimizer = self._hosted.tx
        self.optimizer_state = self.optimizer.init(self.initial_params)
        self.intervention_states = self._hosted.init(self)

    def _store_transition(
        self, last_observation, action, reward, is_terminal, *, episode_end=False
    ):
        # Dopamine's hands a priority to samplers that have none and warns of it.
        element = self._dopamine.elements.TransitionElement(
            last_observation, action, reward, is_terminal, episode_end
        )
        priority = {}
        if self._replay_scheme == "prioritized":
            tree = self._replay._sampling_distribution._sum_tree
            priority["priority"] = tree.max_recorded_priority
        self._replay.add(element, **priority)

    def _train_step(self):
        if self._replay.add_count > self.min_replay_history:
            params, updated = self.online_params, False
            if self.training_steps % self.update_period == 0:
                self._sample_from_replay_buffer()
                self._update(self.replay_elements)
                updated = True
            if self.training_steps % self.target_update_period == 0:
                self._sync_weights()
            if updated:
                self._hosted.fire(self, self.replay_elements["state"], params)
        self.training_steps += 1

    def _arguments(self, batch):
        """What Dopamine's `train` functions have in common."""
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

    def _loss_weights(self, batch):
        if self._replay_scheme == "uniform":
            return np.ones(len(batch["action"]), np.float32)
        weights = 1.0 / jnp.sqrt(batch["sampling_probabilities"] + SMALLEST)
        return weights / jnp.max(weights)

    def _prioritize(self, batch, losses):
        # The tree takes no NaN: a network that has diverged keeps its priorities, and
        # its loss dates the failure.
        if self._replay_scheme == "prioritized" and np.isfinite(losses).all():
            priorities = jnp.sqrt(losses + SMALLEST)
            self._replay.update(batch["indices"], priorities=priorities)


class _DQN:
    def _update(self, batch):
        self.optimizer_state, self.online_params, self.loss = (
            self._dopamine.dqn_agent.train(
                *self._arguments(batch),
                self.cumulative_gamma,
                self._loss_type,
            )
        )


class _FullRainbow:
    def _update(self, batch):
        self.optimizer_state, self.online_params, losses, self.loss, self._rng = (
            self._dopamine.full_rainbow_agent.train(
                *self._arguments(batch),
                self._loss_weights(batch),
                self._support,
                self.cumulative_gamma,
                self._double_dqn,
                self._distributional,
                self._mse_loss,
                self._rng,
            )
        )
        self._prioritize(batch, losses)


class _Rainbow:
    def _update(self, batch):
        self.optimizer_state, self.online_params, losses, self.loss = (
            self._dopamine.rainbow_agent.train(
                *self._arguments(batch),
                self._loss_weights(batch),
                self._support,
                self.cumulative_gamma,
            )
        )
        self._prioritize(batch, losses)


class _Quantile:
    def _update(self, batch):
        # Prioritised or not, Dopamine weights only the loss that it writes down.
        self.optimizer_state, self.online_params, losses, self.loss = (
            self._dopamine.quantile_agent.train(
                *self._arguments(batch),
                self._kappa,
                self._num_atoms,
                self.cumulative_gamma,
            )
        )
        self._prioritize(batch, losses)


class _ImplicitQuantile:
    def _update(self, batch):
        self._rng, self.optimizer_state, self.online_params, self.loss = (
            self._dopamine.implicit_quantile_agent.train(
                *self._arguments(batch),
                self.num_tau_samples,
                self.num_tau_prime_samples,
                self.num_quantile_samples,
                self.cumulative_gamma,
                self.double_dqn,
                self.kappa,
                self._rng,
            )
        )


def make_agent(dopamine, settings, network, hosted, seed, num_actions):
    """Builds the agent that `settings.agent` names.

    Args:
      dopamine: what `compat.load` returns.
      settings: a `dopamine_settings.Settings`.
      network: module from pixels [N, 84, 84, 4] to outputs [N, A] or [N, A, atoms].
      hosted: optimiser and interventions, see `hosted.host`.
      seed: of the parameters, the exploration and the replay's sampler.
      num_actions: A.
    """
    ours, theirs, flags = _choose(dopamine, settings, network)
    is_implicit = settings.agent == "implicit_quantile"
    adapter = (ImplicitAdapter if is_implicit else Adapter)(network)
    agent_class = type(settings.agent, (ours, _Hosted, theirs), {})
    return agent_class(dopamine, settings, adapter, hosted, seed, num_actions, **flags)


def _choose(dopamine, settings, network) -> tuple[type, type, dict]:
    """Returns what updates, Dopamine's class, and what its constructor is to know."""
    low, high = network.support
    support = dict(num_atoms=network.num_atoms, vmin=low, vmax=high)
    full = dopamine.full_rainbow_agent.JaxFullRainbowAgent
    if settings.agent == "dqn":
        return _DQN, dopamine.dqn_agent.JaxDQNAgent, {}
    if settings.agent == "double_dqn":
        flags = dict.fromkeys(("noisy", "dueling", "distributional"), False)
        return _FullRainbow, full, flags | {"double_dqn": True}
    if settings.agent == "rainbow":
        return _Rainbow, dopamine.rainbow_agent.JaxRainbowAgent, support
    if settings.agent == "full_rainbow":
        flags = dict(noisy=network.noisy, dueling=network.dueling, double_dqn=True)
        return _FullRainbow, full, support | flags
    if settings.agent == "quantile":
        theirs = dopamine.quantile_agent.JaxQuantileAgent
        return _Quantile, theirs, dict(num_atoms=network.num_atoms)
    samples = dict.fromkeys(
        ("num_tau_samples", "num_tau_prime_samples"), network.num_atoms
    )
    samples |= dict(num_quantile_samples=settings.num_quantile_samples)
    theirs = dopamine.implicit_quantile_agent.JaxImplicitQuantileAgent
    return _ImplicitQuantile, theirs, samples | dict(double_dqn=settings.double_q)
