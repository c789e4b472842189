"""Figures 6 and 8 to 11: interventions, our probe losses beside the paper's."""

import csv
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.figures import factors, lines
from experiments.figures.paper import PaperFigure
from experiments.figures.style import COLOURS, MARKERS, WIDTH
from experiments.runs import Run
from plasticity_jax.statistics import mean_interval

TABLE = Path(__file__).with_name("paper_tables.csv")
# Column of the paper's table, and ours: {column: (metric, in words)}.
READINGS = {
    "probe_loss_change": ("probe/plasticity_loss", "change in final probe loss"),
    "probe_loss_initial": ("probe/initial_loss", "final probe loss at iteration 0"),
    "probe_loss_final": ("probe/final_loss", "final probe loss at the last iteration"),
}
ENVIRONMENTS = ("easy", "hard", "sparse")
GREY = "#777777"
ROW = 0.27  # inches


@functools.cache
def printed() -> dict[tuple[str, str, str, str], dict[str, float]]:
    """Reads the paper's table, by observations, architecture, head and method."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = ("observations", "architecture", "head", "intervention")
    numbers = (*READINGS, "std")
    return {
        tuple(row[key] for key in keys): {name: float(row[name]) for name in numbers}
        for row in rows
    }


def of_paper(run: Run) -> dict[str, float] | None:
    """Returns what the paper prints for such a method and network, None for others."""
    method = factors.method(run).replace(" ", "_")
    if factors.method(run) in factors.PERTURBERS:
        method = "shrink_and_perturb"
    heads = {"regression": "regression", "two-hot": "two_hot"}
    architecture = factors.architecture(run).lower()
    key = (factors.twin(run), architecture, heads.get(factors.head(run)), method)
    return printed().get(key)


def select(runs: Sequence[Run], twin: str | None) -> list[Run]:
    """Selects runs with one of the paper's methods; `twin`: mnist, cifar10 or any."""
    return [
        run
        for run in factors.of_paper(lines.with_metric(runs, "probe/plasticity_loss"))
        if twin in (None, factors.twin(run))
    ]


def draw(runs: Sequence[Run], column: str) -> Figure:
    """Draws a panel a network, a row a method and head, a marker an environment."""
    settings = sorted({factors.setting(run) for run in runs})
    blocks = [[r for r in runs if factors.setting(r) == name] for name in settings]
    counts = [len(set(map(factors.place, block))) + 1.5 for block in blocks]
    size = (WIDTH, ROW * sum(counts) + 0.7 * len(blocks) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(
        len(blocks), 1, squeeze=False, sharex=True, height_ratios=counts
    )[:, 0]
    for axes, block, name in zip(panels, blocks, settings, strict=True):
        _draw_panel(axes, block, column)
        axes.set_title(name)
    panels[-1].set_xlabel(f"{READINGS[column][1]} (squared error; left is better)")
    present = [e for e in ENVIRONMENTS if e in set(map(factors.environment, runs))]
    handles = [Line2D([], [], **marker(e)) for e in present]
    labels = [f"ours, {name}, with 95 % interval" for name in present]
    handles.append(Line2D([], [], color=GREY, marker="|", markersize=9))
    labels.append("paper, mean ± std" if "change" in column else "paper")
    lines.add_legend(figure, handles, labels)
    return figure


def marker(environment: str) -> dict:
    """Returns the style of an environment's points."""
    place = ENVIRONMENTS.index(environment)
    return {"color": COLOURS[place], "marker": MARKERS[place], "linestyle": ""}


def _draw_panel(axes: Axes, runs: Sequence[Run], column: str) -> None:
    rows = sorted(set(map(factors.place, runs)))
    here = [e for e in ENVIRONMENTS if e in set(map(factors.environment, runs))]
    for place, row in enumerate(rows):
        alike = [run for run in runs if factors.place(run) == row]
        _draw_paper(axes, alike[0], place, column, len(here))
        for run in alike:
            name = factors.environment(run)
            column_of = here.index(name)
            offset = 0.22 * (column_of - (len(here) - 1) / 2)
            text = _draw_ours(axes, run, place + offset, READINGS[column][0])
            _write(axes, column_of, place, text, COLOURS[ENVIRONMENTS.index(name)])
    for index, name in enumerate(here):
        colour = COLOURS[ENVIRONMENTS.index(name)]
        _write(axes, index, -0.9, f"ours, {name}", colour)
    _write(axes, len(here), -0.9, "paper", GREY)
    names = [f"{factors.METHODS[i]} ({factors.PAPER_HEADS[h]})" for h, i in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(0, color=GREY, linewidth=0.8)


def _draw_ours(axes: Axes, run: Run, height: float, metric: str) -> str:
    """Draws a run's mean with its interval, and returns both as text."""
    mean, low, high = map(float, mean_interval(factors.last(run, metric)))
    style = marker(factors.environment(run))
    axes.plot([mean], [height], zorder=3, **style | factors.hollow(run))
    if np.isnan(low):
        return f"{mean:z.2f}"
    axes.plot([low, high], [height] * 2, color=style["color"], linewidth=1.4)
    return f"{mean:z.2f} [{low:z.2f}, {high:z.2f}]"


def _draw_paper(axes: Axes, run: Run, place: int, column: str, slot: int) -> None:
    numbers = of_paper(run)
    if numbers is None:
        _write(axes, slot, place, "–", GREY)
        return
    value, text = numbers[column], f"{numbers[column]:.2f}"
    axes.plot([value], [place], color=GREY, marker="|", markersize=11)
    if "change" in column:
        reach = [value - numbers["std"], value + numbers["std"]]
        axes.plot(reach, [place] * 2, color=GREY, linewidth=5, alpha=0.25)
        text = f"{text} ± {numbers['std']:.2f}"
    _write(axes, slot, place, text, GREY)


def _write(axes: Axes, slot: int, row: float, text: str, colour: str) -> None:
    """Writes a cell to the right of a panel."""
    axes.annotate(
        text,
        (1.0, row),
        xycoords=axes.get_yaxis_transform(),
        xytext=(10 + 108 * slot, 0),
        textcoords="offset points",
        color=colour,
        va="center",
        fontsize=9,
    )


def figure(
    number: int, column: str, twin: str | None, config: str = "interventions"
) -> PaperFigure:
    """Describes the figure of one reading of the probe, on one kind of observations."""
    reading = READINGS[column][1]
    where = {"mnist": "MNIST and digits", "cifar10": "CIFAR-10 and textures"}
    beside = where.get(twin, "all observations")
    return PaperFigure(
        title=f"Figure {number}. Interventions: {reading} ({beside})",
        caption=(
            f"The {reading}, a row a method and head (in brackets), ours with the 95 %"
            " bootstrap interval over seeds; grey, what the paper prints for the same"
            " method and network, on MNIST where ours are digits, on CIFAR-10 where"
            " ours are textures: other data, width and length, so ranks and signs"
            " compare, sizes do not. –: the paper prints none."
            f" {factors.HOLLOW}"
        ),
        alt=f"A row an intervention: {reading}, ours and the paper's, with numbers.",
        config=f"configs/block_mdp/{config}.py",
        select=lambda runs: select(runs, twin),
        draw=lambda runs: draw(runs, column),
    )
