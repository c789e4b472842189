"""Where the time went: training, each probe, saving, compilation."""

import statistics
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from experiments.figures.plot import Plot
from experiments.figures.style import COLOURS, WIDTH, plain
from experiments.runs import Run

FIRST = "compilation"
KNOWN = ("advance", "metrics", "save")


def phase_seconds(run: Run) -> dict[str, float]:
    """Sums seconds by phase; compilation is a phase of its own: what a first call took
    beyond the median of the later ones. What a probe prepares counts as the probe's."""
    later = {}
    for row in run.timings:
        if not row.get("first_call"):
            later.setdefault(row["phase"], []).append(row["seconds"])
    usual = {phase: statistics.median(seconds) for phase, seconds in later.items()}
    usual |= {"advance": 0.0, "init": 0.0}  # one update; drawing parameters: nothing
    totals = {}
    for row in run.timings:
        phase, seconds = row["phase"].replace("prepare/", "probe/"), row["seconds"]
        if row.get("first_call") and row["phase"] in usual:
            compilation = max(0.0, seconds - usual[row["phase"]])
            totals[FIRST] = totals.get(FIRST, 0.0) + compilation
            seconds -= compilation
        if seconds:
            totals[phase] = totals.get(phase, 0.0) + seconds
    return totals


def in_order(phases: Iterable[str]) -> list[str]:
    """Orders phases: training, probes by name, the rest, compilation last."""
    found = set(phases)
    probes = sorted(found - {*KNOWN, FIRST})
    ordered = ["advance", *probes, "metrics", "save", FIRST]
    return [phase for phase in ordered if phase in found]


def draw(runs: Sequence[Run]) -> Figure | None:
    """Draws one stacked bar a run, of shares of its time."""
    runs = [run for run in runs if sum(phase_seconds(run).values())]
    if not runs:
        return None
    size = (WIDTH, 0.45 * len(runs) + 1.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    phases = in_order(phase for run in runs for phase in phase_seconds(run))
    fills = [_fill(phase, i) for i, phase in enumerate(phases)]
    for place, run in enumerate(runs):
        seconds = phase_seconds(run)
        total = sum(seconds.values())
        left = 0.0
        for phase, fill in zip(phases, fills, strict=True):
            share = 100 * seconds.get(phase, 0.0) / total
            axes.barh(place, share, left=left, height=0.62, linewidth=0.6, **fill)
            left += share
        axes.text(101, place, f"{total:,.0f} s", va="center", fontsize=9)
    axes.set_yticks(range(len(runs)), [plain(run.label, 28) for run in runs])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("share of measured time (%), total seconds at the right")
    handles = [Patch(linewidth=0.6, **fill) for fill in fills]
    columns = min(len(phases), 4)
    figure.legend(handles, phases, loc="outside lower center", ncols=columns)
    return figure


def _fill(phase: str, index: int) -> dict:
    """A colour a phase; compilation is grey and hatched, as it is paid once."""
    if phase == FIRST:
        return {"facecolor": "#dddddd", "edgecolor": "#777777", "hatch": "////"}
    hatch = "" if index < len(COLOURS) else "...."
    colour = COLOURS[index % len(COLOURS)]
    return {"facecolor": colour, "edgecolor": "white", "hatch": hatch}


PLOT = Plot(
    name="time",
    title="Where the time went",
    draw=draw,
    caption=(
        "Each bar is one run's measured time. “advance” is training itself, the"
        " “probe/…” phases are what measuring cost, with what a probe prepares at the"
        " start. Compilation (hatched), paid once a launch, is what a first call took"
        " beyond the usual one; of what runs only once it cannot be told apart."
    ),
    alt="A stacked bar a run: share of time in training, each probe, saving.",
    missing="No run has recorded timings (timing.jsonl).",
)
