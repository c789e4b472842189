"""Scores of the 57 games, and how agents are compared."""

import pytest
from ale_py import roms

from experiments import atari57


def test_the_57_games_are_ales():
    assert len(atari57.scores()) == 57
    assert set(atari57.scores()) <= set(roms.get_all_rom_ids())


def test_human_normalized_scores():
    assert atari57.human_normalized("alien", 227.8) == 0
    assert atari57.human_normalized("alien", 7127.7) == pytest.approx(1)
    halfway = (227.8 + 7127.7) / 2
    assert atari57.human_normalized("alien", halfway) == pytest.approx(0.5)


def test_improvement_is_the_papers():
    """Over a human's way from random; over the baseline's where that is longer."""
    assert atari57.improvement("alien", 1000.0, 1000.0) == 0
    below = atari57.improvement("alien", 917.79, 227.8)
    assert below == pytest.approx(0.1)
    above = atari57.improvement("alien", 20_000.0, 10_227.8)
    assert above == pytest.approx((20_000 - 10_227.8) / 10_000)


def test_an_unknown_game_is_named():
    with pytest.raises(ValueError, match="Did you mean 'alien'"):
        atari57.human_normalized("alein", 0.0)
