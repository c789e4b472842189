"""Figure 7: what layer norm adds to double DQN, game by game, beside the paper's 57.

Needs the runs of configs/atari/double_dqn.py, of as many games as there are:
  python -m experiments.sweep --config=configs/atari/double_dqn.py --out=runs/e10
  python -m experiments.figures.fig07 runs/e10 --out=docs/figures/fig07
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments import atari57
from experiments.figures import factors
from experiments.figures.paper import PaperFigure, main
from experiments.figures.style import COLOURS, WIDTH
from experiments.runs import Run
from plasticity_jax.learners.atari.emulator import game_id
from plasticity_jax.statistics import bootstrap_mean

PAPER = Path(__file__).with_name("fig07_paper.csv")
RETURNS = ("eval/return", "train/return")  # the first that a run has
LAST = 0.1  # of training, over which returns are averaged
ARMS = ("none", "layer norm")


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects Atari agents of one of the 57 games, with and without layer norm."""
    return [
        run
        for run in runs
        if run.config["learner"].get("kind") in ("atari", "dopamine")
        and game_of(run) in atari57.scores()
        and factors.arm(run) in ARMS
        and any(name in run.metrics for name in RETURNS)
    ]


def game_of(run: Run) -> str:
    """Returns ALE's name of a run's game."""
    return game_id(run.config["learner"]["game"])


def final_return(run: Run) -> float:
    """Returns the mean return over the last tenth of training, or the newest."""
    name = next(name for name in RETURNS if name in run.metrics)
    times, values = run.series(name)
    late = times >= (1 - LAST) * run.config["total_updates"]
    return float(np.nanmean(values[:, late] if late.any() else values[:, -1:]))


def improvements(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Returns {game: the paper's improvement of layer norm, in percent, one a pair of
    runs that differ in it alone}, of games that have one."""
    found = {}
    for run in runs:
        seed = (game_of(run), *run.all_seeds)
        found.setdefault(seed, {})[factors.arm(run)] = final_return(run)
    games = {}
    for (game, *_), arms in sorted(found.items()):
        if len(arms) == len(ARMS):
            plain, normed = (arms[arm] for arm in ARMS)
            gained = 100 * atari57.improvement(game, normed, plain)
            games.setdefault(game, []).append(gained)
    return {game: np.array(values) for game, values in games.items()}


def paper() -> dict[str, float]:
    """Returns the paper's improvements in percent, smallest first."""
    with open(PAPER, newline="") as file:
        return {row["game"]: float(row["percent"]) for row in csv.DictReader(file)}


def draw(runs: Sequence[Run]) -> Figure:
    """Draws the paper's as bars, ours as points with their interval."""
    theirs, ours = paper(), improvements(runs)
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    places = {game: place for place, game in enumerate(theirs)}
    axes.bar(range(len(theirs)), theirs.values(), color="#cccccc", label="the paper")
    for index, (game, values) in enumerate(ours.items()):
        mean, low, high = bootstrap_mean(values)[:3]
        label = "here" if index == 0 else None
        error = [[mean - low], [high - mean]]
        style = {"fmt": "o", "color": COLOURS[1], "zorder": 3}
        axes.errorbar([places[game]], [mean], error, label=label, **style)
    axes.axhline(0, color="#666666", linewidth=0.8)
    names = [game.replace("_", " ") for game in theirs]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_xlim(-0.7, len(names) - 0.3)
    axes.set_ylabel("improvement by layer norm\n(percent, human-normalised)")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left")
    return figure


FIGURE = PaperFigure(
    title="Figure 7. Layer norm added to double DQN, by game",
    caption=(
        "Final return with layer norm less that without, over the way from random play"
        " to a human's or the plain agent's, whichever is longer. Bars: the paper's 57"
        " games, 3 seeds of 200M frames. Points: the runs here, the mean over seeds"
        " with the 95 % bootstrap interval, at however many frames they have."
    ),
    alt="Improvement by layer norm, a bar a game of the paper's, points for ours.",
    config="configs/atari/double_dqn.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
