"""The 57 games: random and human scores, and how agents are compared over them."""

import csv
import functools
from pathlib import Path
from typing import NamedTuple

from plasticity_jax import checks

TABLE = Path(__file__).with_name("atari57.csv")


class Score(NamedTuple):
    """What a game is measured by: returns under no-op starts, as in DQN Zoo."""

    random: float
    human: float


@functools.cache
def scores() -> dict[str, Score]:
    """Returns {ALE's name of a game: its scores}, in alphabetical order."""
    with open(TABLE, newline="") as file:
        return {
            row["game"]: Score(float(row["random"]), float(row["human"]))
            for row in csv.DictReader(file)
        }


def human_normalized(game: str, score: float) -> float:
    """Returns a return as a share of the way from random play, 0, to a human's, 1.

    Raises:
      ValueError: a game that is none of the 57.
    """
    found = _scores_of(game)
    return (score - found.random) / (found.human - found.random)


def improvement(game: str, agent: float, baseline: float) -> float:
    """Returns (agent - baseline) / (max(human, baseline) - random), the paper's figure
    7: 0 where both score alike.

    Raises:
      ValueError: a game that is none of the 57.
    """
    found = _scores_of(game)
    return (agent - baseline) / (max(found.human, baseline) - found.random)


def _scores_of(game: str) -> Score:
    checks.one_of("game", game, scores())
    return scores()[game]
