"""Q-learning on Atari: pure functions for the agent, ALE's threads for the games.

The agent's functions are those of the block MDP's learner, so every head, norm and
intervention works here. An update is one gradient step, due every `update_period` agent
steps of all environments together; with many environments several fall due at once and
are made one after the other. Every draw is a function of (seed, purpose, count).
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from plasticity_jax import checks
from plasticity_jax.agents.q_learning import AGENTS
from plasticity_jax.learners import training
from plasticity_jax.learners.atari import agent as functions
from plasticity_jax.learners.atari.environments import (
    Environments,
    Preprocessing,
)
from plasticity_jax.learners.atari.environments import check as check_preprocessing
from plasticity_jax.learners.atari.memory import check_frames
from plasticity_jax.learners.atari.one_seed import measure
from plasticity_jax.learners.atari.replay import FRAME_SHAPE, STACK_SIZE
from plasticity_jax.learners.atari.sampling import SAMPLERS
from plasticity_jax.learners.atari.session import Session
from plasticity_jax.networks.model import as_model
from plasticity_jax.types import Learner, PyTree


class Settings(NamedTuple):
    """What `make` builds: the paper's double DQN (E10), which is DQN Zoo's with a
    smaller replay and a larger final epsilon. C51: a `c51` head; Rainbow as Dopamine's:
    that, `update_horizon=3` and `sampler="prioritized"`."""

    game: str = "Pong"  # ALE's name, in CamelCase or snake_case
    num_envs: int = 1  # the literature's; more for throughput
    sticky_probability: float = 0.0  # of the action before, each frame
    max_noops: int = 30  # that open an episode
    life_loss: str = "discount"  # 0 when a life is lost; or ignored
    max_episode_steps: int = 27_000  # agent steps, 108,000 frames
    full_action_space: bool = False  # 18 actions whatever the game
    agent: str = "double_dqn"  # or dqn
    loss: str = "huber"  # of a linear head's TD errors; or squared
    replay_capacity: int = 100_000  # transitions; DQN Zoo: 1,000,000
    sampler: str = "uniform"  # or prioritized
    batch_size: int = 32
    min_replay_history: int = 50_000  # agent steps by uniform actions; DQN Zoo
    update_period: int = 4  # agent steps per update
    target_update_period: int = 30_000  # agent steps; a multiple of the one above
    discount: float = 0.99
    update_horizon: int = 1  # rewards in a return
    epsilon_train: float = 0.1  # after the decay
    epsilon_decay_period: int = 250_000  # agent steps from 1 to epsilon_train
    probe_pool: int = 256  # transitions in a snapshot
    eval_episodes: int = 0  # played without learning at each row
    eval_epsilon: float = 0.01  # DQN Zoo; Dopamine: .001
    log_update_norm: bool = False


SMALLEST = {"max_noops": 0, "eval_episodes": 0}  # other counts: 1


def make(network_fn, method, seed: int, settings: Settings) -> Learner:
    """Builds the learner.

    `init` plays the first `min_replay_history` agent steps, at random.

    Args:
      network_fn: (num_actions, conv_impl) -> module from pixels [N, 84, 84, 4] to
        outputs of any head; `conv_impl` as in `networks.NatureCNN`.
      method: an Optax transformation or a `Method`.
      seed: of everything: parameters, exploration, batches, games.
      settings: the games', the agent's and the replay's.

    Raises:
      ValueError: for settings that cannot work; before anything is played.
    """
    check(settings)
    checks.within(0, 2**31 - 1, seed=seed)

    def open_games(num_envs, seed):
        return Environments(settings.game, num_envs, seed, preprocessing(settings))

    num_actions = open_games(1, seed).num_actions
    # Outside any loop XLA's own convolution is the fast one; probes are loops.
    parts, probed = (
        _parts(network_fn(num_actions, impl), method, settings, num_actions)
        for impl in ("lax", "auto")
    )
    agent = functions.make(parts, probed)
    session = partial(Session, settings, agent, open_games, seed)

    def restore(tree: PyTree) -> Session:
        state = session()
        state.load(tree)
        return state

    def init() -> Session:
        state = session()
        state.begin()
        return state

    return Learner(
        seeds=(seed,),
        init=init,
        advance=lambda state, num_updates: state.advance(int(num_updates)),
        updates=lambda state: state.updates,
        failed_at=lambda state: np.asarray([state.agent_state.window.failed_at]),
        metrics=lambda state: (state.metrics(), state),
        snapshot=lambda state: jax.tree.map(lambda x: x[None], state.snapshot()),
        measure=partial(measure, lambda snapshot: agent.view(*snapshot)),
        export=lambda state: state.save(),
        restore=restore,
    )


def preprocessing(settings: Settings) -> Preprocessing:
    """Returns how the games are shown."""
    values = settings._asdict()
    return Preprocessing(**{name: values[name] for name in Preprocessing._fields})


def check(settings: Settings) -> None:
    """Refuses, by a ValueError, settings that cannot work; opens no game."""
    checks.one_of("agent", settings.agent, AGENTS)
    checks.one_of("loss", settings.loss, functions.LOSSES)
    checks.one_of("sampler", settings.sampler, SAMPLERS)
    check_preprocessing(preprocessing(settings))
    training.check_counts(settings, **SMALLEST)
    names = ("discount", "epsilon_train", "eval_epsilon")
    checks.within(0, 1, **{name: getattr(settings, name) for name in names})
    if settings.target_update_period % settings.update_period:
        raise ValueError(
            "target_update_period: expected a multiple of update_period = "
            f"{settings.update_period}; got {settings.target_update_period}."
        )
    _check_replay(settings)


def period(settings: Settings) -> int:
    """Returns the updates between target updates."""
    return settings.target_update_period // settings.update_period


def _check_replay(settings: Settings) -> None:
    spare = settings.num_envs * (settings.update_horizon + STACK_SIZE)
    needed = max(settings.batch_size, 2 * settings.probe_pool) + spare
    for name in ("min_replay_history", "replay_capacity"):
        if getattr(settings, name) < needed:
            raise ValueError(
                f"{name}: expected {needed} or more for batches of "
                f"{settings.batch_size} and a probe pool of {settings.probe_pool} with "
                f"{settings.num_envs} environments; got {getattr(settings, name)}."
            )
    check_frames(settings.replay_capacity, FRAME_SHAPE)


def _parts(network, method, settings: Settings, num_actions: int):
    model = as_model(network, (*FRAME_SHAPE, STACK_SIZE))
    return training.make_parts(
        settings, model, method, num_actions, period=period(settings),
        has_target=True, least=SMALLEST,
    )  # fmt: skip
