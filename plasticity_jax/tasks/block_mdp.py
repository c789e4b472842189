"""The paper's block MDP: each latent state is observed as a random image of its class.

Dynamics are data (tables) and an environment may be named by its place in `NAMES`, a
traced number, so environments can vary along one compiled axis.
Source: arXiv 2303.01486, section 5; continuing, no terminal state.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax import checks

UNIFORM = -1  # successor table entry: the next latent state is drawn uniformly


class BlockMDP(NamedTuple):
    """Tables over L latent states and A = L actions, and the images of each state."""

    rewards: jax.Array  # [L, A]
    successors: jax.Array  # [L, A] int32, a state or UNIFORM
    images: jax.Array  # [N] int32: image indices, grouped by state
    starts: jax.Array  # [L] int32: where each state's group starts
    counts: jax.Array  # [L] int32: how long it is


class EnvState(NamedTuple):
    """Where the environment is."""

    latent: jax.Array  # [] int32
    image: jax.Array  # [] int32: index of the image shown


NAMES = ("easy", "hard", "sparse")


def latents(name: str | jax.Array, key: jax.Array, labels: jax.Array, num_states: int):
    """Returns the latent state each image shows, [N]: its class, or in `hard` a fixed
    random label of its own."""
    drawn = jax.random.randint(key, labels.shape, 0, num_states, labels.dtype)
    return jnp.where(_is(name, "hard"), drawn, labels)


def make(name: str | jax.Array, states: jax.Array, num_states: int) -> BlockMDP:
    """Builds the tables.

    Args:
      name: `easy` and `hard` pay 1 for a = s and move uniformly; `sparse` pays only
        for a = s = L - 1, moves to s + 1 modulo L if a = s and uniformly otherwise. Or
        its place in `NAMES`, [].
      states: latent state of each image, [N], from `latents`.
      num_states: L.
    """
    match = jnp.eye(num_states)
    state = jnp.arange(num_states)
    sparse, following = _is(name, "sparse"), (state + 1) % num_states
    rewards = match * jnp.where(sparse, state == num_states - 1, True)
    successors = jnp.where(sparse & (match == 1), following[:, None], UNIFORM)
    # An empty state would divide by zero: it shows the image next in line instead.
    counts = jnp.maximum(jnp.bincount(states, length=num_states), 1)
    return BlockMDP(
        rewards,
        successors.astype(jnp.int32),
        jnp.argsort(states, stable=True).astype(jnp.int32),
        (jnp.cumsum(counts) - counts).astype(jnp.int32),
        counts.astype(jnp.int32),
    )


def reset(mdp: BlockMDP, key: jax.Array) -> EnvState:
    """Starts in a uniform latent state."""
    return _enter(mdp, jnp.asarray(UNIFORM), key)


def step(mdp: BlockMDP, state: EnvState, action: jax.Array, key: jax.Array):
    """Returns (reward [], next state) of one step."""
    reward = mdp.rewards[state.latent, action]
    return reward, _enter(mdp, mdp.successors[state.latent, action], key)


def average_reward(mdp: BlockMDP, policy: jax.Array) -> jax.Array:
    """Returns the reward a step that a policy earns in the long run, [].

    Args:
      mdp: L latent states.
      policy: probability of each action in each latent state, [L, A].
    """
    num_states = len(mdp.counts)
    uniform = jnp.full((num_states, num_states, num_states), 1 / num_states)
    following = jnp.where(
        (mdp.successors == UNIFORM)[..., None], uniform,
        jax.nn.one_hot(mdp.successors, num_states),
    )  # [L, A, L]  # fmt: skip
    transitions = jnp.einsum("sa,sat->st", policy, following)
    # The stationary distribution d: d = d P, one of whose equations is redundant, and
    # sum d = 1. It is unique, because every state leads to every other.
    equations = (transitions.T - jnp.eye(num_states)).at[-1].set(1.0)
    visits = jnp.linalg.solve(equations, jnp.eye(num_states)[-1])
    return visits @ jnp.sum(policy * mdp.rewards, axis=-1)


def _is(name: str | jax.Array, which: str):
    if isinstance(name, str):
        checks.one_of("environment", name, NAMES)
        return name == which
    return name == NAMES.index(which)


def _enter(mdp: BlockMDP, latent: jax.Array, key: jax.Array) -> EnvState:
    # One draw of two words: the next state, and which of its images is shown.
    bits = jax.random.bits(key, (2,), jnp.uint32)
    num_states = len(mdp.counts)
    drawn = _below(bits[0], num_states)
    latent = jnp.where(latent == UNIFORM, drawn, latent).astype(jnp.int32)
    image = mdp.images[mdp.starts[latent] + _below(bits[1], mdp.counts[latent])]
    return EnvState(latent, image)


def _below(bits: jax.Array, bound: jax.Array) -> jax.Array:
    # Bias below bound / 2^32: nothing at these sizes.
    return (bits % jnp.asarray(bound, jnp.uint32)).astype(jnp.int32)
