"""Colours, line styles and the drawing of a mean with its interval."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

from experiments.runs import Run
from plasticity_jax.statistics import mean_interval

WIDTH = 10.0  # inches: the width of the page's column
RC = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "axes.titlelocation": "left",
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}
# Okabe and Ito, without the yellow, which white swallows.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Not a divisor of the number of colours: 28 runs look different.
LINES = ("-", "--", "-.", ":")
MAX_POINTS = 200
MAX_MARKERS = 12


def run_style(index: int) -> dict:
    """Colour, marker and line style of the run at an index."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def plain(label: str, width: int = 40) -> str:
    """Makes a label safe to draw: no mathematics, not hidden, not endless."""
    text = " ".join(label.split()).replace("$", r"\$")
    text = text if len(text) <= width else f"{text[: width - 1]}…"
    # A legend leaves out labels that begin with an underscore.
    return f" {text}" if text.startswith("_") else text


def time_colours(count: int) -> list:
    """Colours from early (light) to late (dark), told apart in grey as well."""
    return list(colormaps["viridis_r"](np.linspace(0.2, 1.0, count)))


def spread(times: Sequence[int], count: int) -> list[int]:
    """Chooses at most `count` times: the first, the last, some between."""
    places = np.linspace(0, len(times) - 1, min(count, len(times)))
    return [times[i] for i in dict.fromkeys(places.round().astype(int).tolist())]


def grid(count: int, columns: int, height: float, **share) -> tuple[Figure, list[Axes]]:
    """Makes a figure of `count` panels, row by row, without empty axes."""
    columns = min(columns, count)
    rows = -(-count // columns)
    width = WIDTH if columns > 1 else 0.66 * WIDTH
    # One line more for the legend below.
    figure = Figure(figsize=(width, height * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **share).ravel()
    for spare in axes[count:]:
        spare.remove()
    return figure, list(axes[:count])


def draw_metric(axes: Axes, runs: Sequence[Run], name: str) -> None:
    """Draws a metric of every run: the mean over seeds, its 95 % interval shaded."""
    end = max(run.updates for run in runs) or 1
    axes.set_xlim(-0.02 * end, 1.02 * end)
    for index, run in enumerate(runs):
        updates, values = run.series(name)
        if not len(updates):
            continue
        keep = spread(range(len(updates)), MAX_POINTS)
        updates = updates[keep]
        mean, low, high = mean_interval(values[:, keep])
        every = -(-len(updates) // MAX_MARKERS)
        axes.plot(updates, mean, markevery=every, **run_style(index))
        colour = run_style(index)["color"]
        axes.fill_between(updates, low, high, color=colour, alpha=0.18, linewidth=0)
    label_updates(axes)


def logarithmic(axes: Axes) -> None:
    """Makes the vertical axis logarithmic, its ticks plain where it is short."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def label_updates(axes: Axes) -> None:
    """Labels the horizontal axis `updates`, in thousands as `5k`."""
    axes.set_xlabel("updates")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))


def short(updates: float) -> str:
    """Writes an update count in few characters: 1500 as 1.5k."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(updates) >= size:
            return f"{updates / size:g}{unit}"
    return f"{updates:g}"


def name_edges(panels: Sequence[Axes], horizontal: str, vertical: str) -> None:
    """Labels shared axes at the left and below the lowest panel of each column."""
    columns = panels[0].get_gridspec().ncols
    for index, axes in enumerate(panels):
        if index % columns == 0:
            axes.set_ylabel(vertical)
        if index + columns >= len(panels):
            axes.set_xlabel(horizontal)
            axes.tick_params(labelbottom=True)


def legend_of_times(axes: Axes) -> None:
    """Names a panel's curves, which are labelled with their update counts."""
    frame = {"frameon": True, "framealpha": 0.85, "edgecolor": "none"}
    axes.legend(title="updates", fontsize=8.5, title_fontsize=8.5, **frame)


def legend_of_runs(figure: Figure, runs: Sequence[Run], used: Sequence[str]) -> None:
    """Puts one legend under the panels, of the runs that have a metric in `used`."""
    present = [i for i, run in enumerate(runs) if set(used) & set(run.metrics)]
    handles = [Line2D([], [], **run_style(i)) for i in present]
    labels = [plain(runs[i].label) for i in present]
    # A letter takes about a fifteenth of an inch, the line before it one.
    fitting = int(figure.get_figwidth() / (max(map(len, labels)) / 15 + 1.1))
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=max(1, min(len(labels), fitting)),
        handlelength=3.5,
    )
