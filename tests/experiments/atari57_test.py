"""Scores of the 57 games, and how agents are compared."""

from pathlib import Path

import numpy as np
import pytest
from ale_py import roms

from experiments import atari57
from experiments.figures import fig07
from experiments.figures.paper import write
from experiments.runs import Run


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


def run(game, norm, seed, returns, name="train/return"):
    """An agent whose returns stand in rows at 10, 20, ..., 100 updates."""
    config = {
        "label": norm,
        "learner": {"kind": "atari", "game": game},
        "network": {"kind": "nature_cnn", "norm": norm, "head": "shared_bias"},
        "total_updates": 100,
    }
    rows = [
        {"updates": 10 * (index + 1), "seed": seed, "failed_at": None, name: value}
        for index, value in enumerate(returns)
    ]
    return Run(norm, Path("runs/e10"), config, [], rows, [])


def test_figure_seven_pairs_runs_by_game_and_seed(tmp_path):
    """Alien: 10 % and 20 % of a human's way; Pong has one arm; a game of no human."""
    way, start = 7127.7 - 227.8, 227.8
    alien = [
        run("Alien", norm, seed, [0.0] * 8 + [start, start + gain * way])
        for seed, gains in ((0, (0.0, 0.1)), (1, (0.0, 0.2)))
        for norm, gain in zip(("none", "layer"), gains, strict=True)
    ]
    others = [run("Pong", "layer", 0, [1.0] * 10), run("Adventure", "none", 0, [1.0])]
    runs = fig07.select([*alien, *others])
    assert len(runs) == 5
    found = fig07.improvements(runs)
    assert list(found) == ["alien"]
    assert found["alien"] == pytest.approx([10 / 2, 20 / 2])  # of two late rows
    paths = write(fig07.FIGURE, runs, tmp_path / "fig07")
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_the_papers_figures_add_up():
    """Its text: 45 games up, 2 level, 10 down, mean 34.7, median 22.2 percent."""
    theirs = np.array(list(fig07.paper().values()))
    assert [(theirs > 0).sum(), (theirs == 0).sum(), (theirs < 0).sum()] == [45, 2, 10]
    assert theirs.mean() == pytest.approx(34.7, abs=0.05)
    assert np.median(theirs) == 22.2
    assert set(fig07.paper()) == set(atari57.scores())
