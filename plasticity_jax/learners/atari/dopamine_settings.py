"""What a Dopamine agent can be set to, and what is refused; needs no Dopamine."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from plasticity_jax import checks
from plasticity_jax.learners.atari.agents import STACK_SIZE
from plasticity_jax.learners.atari.emulator import game_id
from plasticity_jax.learners.atari.memory import check_frames
from plasticity_jax.networks import ImplicitQuantileCNN
from plasticity_jax.networks.blocks import FEATURES
from plasticity_jax.networks.heads import LINEAR

INPUT_SHAPE = (84, 84, STACK_SIZE)
SAMPLERS = ("uniform", "prioritized")


class Settings(NamedTuple):
    """What `dopamine.make` builds. Learner: the paper's (E10, figure 7), where it says;
    environment: Dopamine's. For the paper's environment set `sticky_actions=False,
    max_noops=30, terminal_on_life_loss=True`. Dopamine's other agents are published
    with `update_horizon=3, target_update_period=8_000, epsilon_train=0.01` and Adam."""

    game: str = "Pong"  # ALE's name, in CamelCase or snake_case
    agent: str = "dqn"  # one of `AGENTS`; double_dqn: the paper's E10
    replay_capacity: int = 100_000  # paper; Dopamine: 1,000,000
    sampler: str = "uniform"  # Dopamine: prioritized for Rainbows and QR-DQN
    batch_size: int = 32  # both
    min_replay_history: int = 20_000  # transitions; Dopamine, the paper is silent
    update_period: int = 4  # agent steps per update; both
    target_update_period: int = 30_000  # agent steps; paper; Dopamine: 8,000
    discount: float = 0.99  # both
    update_horizon: int = 1  # both; Dopamine's distributional agents: 3
    epsilon_train: float = 0.1  # paper; Dopamine: 0.01; unused with a noisy network
    epsilon_decay_period: int = 250_000  # agent steps from 1 to epsilon_train; both
    num_quantile_samples: int = 32  # IQN: levels for choosing an action; Dopamine
    double_q: bool = False  # IQN: online network chooses the next action; Dopamine
    sticky_actions: bool = True  # with probability 0.25; Dopamine
    max_noops: int = 0  # no-op frames that open an episode; Dopamine; paper: 30
    terminal_on_life_loss: bool = False  # Dopamine; paper: discount 0 on life loss
    max_episode_steps: int = 27_000  # agent steps, 108,000 frames; both
    probe_pool: int = 256  # transitions in a snapshot


class Kind(NamedTuple):
    """What sets an agent apart from the others."""

    heads: tuple[str, ...]  # that its network may have
    chooses: str  # whose choice of the next action: `agents.q_learning`'s names
    prioritized: bool  # whether its loss comes by example


AGENTS = {
    "dqn": Kind(LINEAR, "dqn", False),
    "double_dqn": Kind(LINEAR, "double_dqn", True),
    "rainbow": Kind(("c51",), "dqn", True),
    "full_rainbow": Kind(("c51",), "double_dqn", True),
    "quantile": Kind(("quantile",), "dqn", True),
    "implicit_quantile": Kind(("quantile",), "dqn", False),
}


def chooses(settings: Settings) -> str:
    """Returns whose choice of the next action a target takes, dqn's or double_dqn's."""
    return "double_dqn" if settings.double_q else AGENTS[settings.agent].chooses


def period(settings: Settings) -> int:
    """Returns the updates between copies to the target network, at least 1."""
    return max(1, settings.target_update_period // settings.update_period)


def check(settings: Settings) -> None:
    """Refuses, by a ValueError, settings that cannot work; needs no Dopamine."""
    game_id(settings.game)
    checks.one_of("agent", settings.agent, AGENTS)
    checks.one_of("sampler", settings.sampler, SAMPLERS)
    if settings.sampler == "prioritized" and not AGENTS[settings.agent].prioritized:
        able = ", ".join(name for name, kind in AGENTS.items() if kind.prioritized)
        raise ValueError(
            f"sampler: expected uniform for {settings.agent}, of which Dopamine keeps "
            f"no loss by example; got 'prioritized'. It works with {able}."
        )
    if settings.double_q and settings.agent != "implicit_quantile":
        raise ValueError(
            "double_q: expected False but for implicit_quantile; got True for "
            f"{settings.agent}. Others choose so by name: double_dqn, full_rainbow."
        )
    _check_ranges(settings)
    _check_replay(settings)


def check_network(settings: Settings, network: nn.Module) -> None:
    """Refuses what an agent cannot train: it owns parameters alone."""
    agent, heads = settings.agent, AGENTS[settings.agent].heads
    if network.head not in heads:
        raise ValueError(
            f"network.head: expected {' or '.join(heads)} for Dopamine's {agent}; got "
            f"{network.head!r}."
        )
    if agent == "implicit_quantile" and not isinstance(network, ImplicitQuantileCNN):
        raise ValueError(
            "network: expected an implicit quantile network for Dopamine's "
            f"implicit_quantile; got {type(network).__name__}."
        )
    if getattr(network, "noisy", False) and agent != "full_rainbow":
        raise ValueError(
            "network.noisy: expected False for an agent that draws no noise; got True "
            f"for {agent}. full_rainbow does."
        )
    inputs = jnp.zeros((1, *INPUT_SHAPE))
    drawn = jax.eval_shape(network.init, jax.random.key(0), inputs)
    if running := sorted(set(drawn) - {"params", FEATURES}):
        raise ValueError(
            "network: expected one without running state for Dopamine's agents, which "
            f"keep parameters alone; got {', '.join(running)}. Use another norm than "
            "batch, and no spectral norm."
        )


def _check_ranges(settings: Settings) -> None:
    smallest = {"max_noops": 0, "batch_size": 2, "max_episode_steps": 2}
    for name, value in settings._asdict().items():
        kind = type(Settings._field_defaults[name])
        if kind is int:
            checks.at_least(smallest.get(name, 1), **{name: value})
        if kind is float:
            checks.within(0, 1, **{name: value})


def _check_replay(settings: Settings) -> None:
    # The fill may stop this much early, see `AtariState.fill_replay`.
    spare = settings.update_horizon + STACK_SIZE
    needed = max(settings.batch_size, settings.probe_pool) + spare
    for name in ("min_replay_history", "replay_capacity"):
        if getattr(settings, name) < needed:
            raise ValueError(
                f"{name}: expected {needed} or more for batches of "
                f"{settings.batch_size} and a probe pool of {settings.probe_pool}; "
                f"got {getattr(settings, name)}."
            )
    # What the frames take uncompressed, each once; Dopamine compresses stacks.
    check_frames(settings.replay_capacity, INPUT_SHAPE[:2])
