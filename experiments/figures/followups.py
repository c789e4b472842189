"""Beyond the paper: every method by probe loss, rho, accuracy and cost.

Needs the runs of configs/block_mdp/interventions.py, which at CPU scale has them all:
  python -m experiments.sweep --config=configs/block_mdp/interventions.py:cpu \\
      --out=runs/interventions
  python -m experiments.figures.followups runs/interventions \\
      --out=docs/figures/followups
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.figures import factors, lines
from experiments.figures.paper import PaperFigure, main
from experiments.figures.style import COLOURS, MARKERS, WIDTH
from experiments.json_files import read_json
from experiments.runs import Run
from experiments.sweeps import folder
from plasticity_jax.statistics import mean_interval

LOSS = "probe/final_loss"
TUNED = "none, tuned optimiser"
COLUMNS = {
    LOSS: "final probe loss\n(left is better)",
    "probe/rho": "share of plasticity\nlost (rho; left is better)",
    "eval/accuracy": "accuracy\n(right is better)",
    "cost": "seconds an update,\nover the plain network's",
}


def select(runs: Sequence[Run]) -> list[Run]:
    """Selects runs of the block MDP of which the probe was taken."""
    return lines.with_metric(runs, LOSS)


def arms(runs: Sequence[Run]) -> list[str]:
    """Names the runs; a plain one with another optimiser than most is the tuned one."""
    usual = {id(run) for run in factors.usual(runs)}
    names = map(factors.arm, runs)
    return [
        TUNED if name == "none" and id(run) not in usual else name
        for run, name in zip(runs, names, strict=True)
    ]


def column_of(run: Run) -> str:
    """Names where a run was measured."""
    return f"{factors.setting(run)}, {factors.environment(run)}"


def seconds(run: Run) -> float:
    """Returns seconds an update of one network, without compilation; NaN if unknown.
    Those measured apart, by `experiments.costs`, where there are any."""
    apart = run.workdir.parent / folder.COSTS
    if apart.is_file() and run.workdir.name in (found := read_json(apart, dict)):
        return found[run.workdir.name]
    rows = [
        row
        for row in run.timings
        if row["phase"] == "advance" and not row.get("first_call")
    ]
    updates = sum(row["num_updates"] for row in rows)
    members = run.num_points * len(run.all_seeds)
    return sum(row["seconds"] for row in rows) / (updates * members) if rows else np.nan


def draw(runs: Sequence[Run]) -> Figure:
    """Draws a row an arm, sorted by its final probe loss; a panel a reading."""
    names = arms(runs)
    cells = {}
    for run, name in zip(runs, names, strict=True):
        cells.setdefault(name, {})[column_of(run)] = run
    places = list(dict.fromkeys(map(column_of, runs)))
    rows = sorted(cells, key=lambda name: _mean_loss(cells[name].values()))
    size = (WIDTH, 0.27 * len(rows) + 1.7)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(COLUMNS), sharey=True)
    for axes, (reading, label) in zip(panels, COLUMNS.items(), strict=True):
        for index, place in enumerate(places):
            offset = 0.24 * (index - (len(places) - 1) / 2)
            _draw_column(axes, rows, cells, place, reading, offset, index)
        axes.set_xlabel(label)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_xlim(left=0)
    panels[2].set_xlim(0, 1.03)
    for tick, row in zip(panels[0].get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row in (TUNED, "none") else "normal")
    handles = [Line2D([], [], linestyle="", **_style(i)) for i in range(len(places))]
    handles.append(Line2D([], [], color="#555555", linestyle=":"))
    lines.add_legend(figure, handles, [*places, TUNED if TUNED in cells else "none"])
    return figure


def _mean_loss(runs) -> float:
    return float(np.mean([np.nanmean(factors.last(run, LOSS)) for run in runs]))


def _style(index: int) -> dict:
    return {"color": COLOURS[index % 7], "marker": MARKERS[index % 7]}


def _draw_column(
    axes: Axes,
    rows: Sequence[str],
    cells: Mapping[str, Mapping[str, Run]],
    place: str,
    reading: str,
    offset: float,
    index: int,
) -> None:
    """Draws one reading at one place, with a line through the baseline's."""
    plain = cells.get("none", {}).get(place)
    baseline = cells.get(TUNED, {}).get(place) or plain
    style = _style(index)
    for row, name in enumerate(rows):
        run = cells[name].get(place)
        if run is None:
            continue
        mean, low, high = read(run, reading, plain)
        axes.plot([mean], [row + offset], zorder=3, **style | factors.hollow(run))
        axes.plot([low, high], [row + offset] * 2, color=style["color"], linewidth=1.3)
    if baseline is not None:
        level = read(baseline, reading, plain)[0]
        axes.axvline(level, color=style["color"], linestyle=":", linewidth=1.2)


def read(run: Run, reading: str, plain: Run | None) -> tuple[float, float, float]:
    """Returns a reading's mean and interval, NaN where it says nothing; cost is over
    the plain network's."""
    if reading == "cost":
        cost = seconds(run) / seconds(plain) if plain is not None else np.nan
        return cost, np.nan, np.nan
    if reading == "probe/rho" and factors.hollow(run):
        return np.nan, np.nan, np.nan
    return tuple(map(float, mean_interval(factors.last(run, reading))))


FIGURE = PaperFigure(
    title="Every method by final probe loss, share lost, accuracy and cost",
    caption=(
        "A row a method, the best final probe loss (mean over the environments) on top;"
        " bars are 95 % bootstrap intervals over seeds. Bold: plain networks; dotted"
        " lines go through the tuned one, where there is none through the plain one."
        " Cost is CPU seconds an update without probes and compilation, over the"
        f" plain network's. {factors.HOLLOW}"
        " They had little to lose, and have no rho."
    ),
    alt="Four columns of dots, a row a method: probe loss, rho, accuracy, cost.",
    config="configs/block_mdp/interventions.py",
    select=select,
    draw=draw,
)

if __name__ == "__main__":
    main(FIGURE)
