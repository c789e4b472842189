"""Episodes played without learning: what a policy is worth."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from plasticity_jax.learners.atari.environments import Environments
from plasticity_jax.learners.atari.replay import FRAME_SHAPE, STACK_SIZE


class Episodes(NamedTuple):
    """One episode of each of E games, as the game pays."""

    returns: np.ndarray  # [E]
    steps: np.ndarray  # [E] agent steps
    frames: list[np.ndarray]  # of the first game, each [84, 84] uint8


def play(
    act: Callable, games: Environments, *, epsilon: float, max_steps: int = 27_000
) -> Episodes:
    """Plays each game from its start to its end.

    All games begin together and each counts once: of the first so many to end, too
    many would be short.

    Args:
      act: (frames [E, 4, 84, 84], epsilon, number of the step) -> actions [E].
      games: not started, or anywhere; they are started anew.
      epsilon: probability of a uniform action.
      max_steps: agent steps after which an episode is cut off.
    """
    games.reset()
    num_envs = len(games.frame)
    stack = np.zeros((num_envs, STACK_SIZE, *FRAME_SHAPE), np.uint8)
    stack[:, -1] = games.frame
    returns, steps = np.zeros(num_envs), np.zeros(num_envs, np.int64)
    going_on, frames = np.ones(num_envs, bool), [games.frame[0].copy()]
    for number in range(max_steps):
        action = np.asarray(act(stack, np.float32(epsilon), np.uint32(number)))
        step = games.step(action)
        returns += np.where(going_on, step.reward, 0)
        steps += going_on
        going_on &= ~step.last
        if not going_on.any():
            break
        stack[:, :-1] = stack[:, 1:]
        stack[:, -1] = games.frame
        if going_on[0]:
            frames.append(games.frame[0].copy())
    return Episodes(returns, steps, frames)
