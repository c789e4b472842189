"""Beyond the paper: does the ranking of interventions survive another probe?

Needs the table that experiments.sensitivity makes of a finished sweep of
configs/block_mdp/interventions.py:
  python -m experiments.sensitivity runs/interventions --out=runs/sensitivity
  python -m experiments.figures.sensitivity runs/sensitivity \\
      --out=docs/figures/sensitivity
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import rankings
from experiments.figures import factors
from experiments.figures.paper import PaperFigure, write
from experiments.figures.style import WIDTH
from experiments.rankings import METRICS, REFERENCE, Readings
from experiments.runs import Run

TABLE = "sensitivity.csv"
WORDS = {
    REFERENCE: "the config's\nown probe",
    "other_targets": "drawn\nanew",
    "half_pool": "half the\nimages",
    "whole_pool": "all the\nimages",
    "half_steps": "half the\nsteps",
    "double_steps": "twice the\nsteps",
    "third_rate": "a third of\nthe rate",
    "triple_rate": "thrice\nthe rate",
    "carry": "optimiser\nstate kept",
    "random_teacher": "random\nteacher",
    "offset": "targets\n10 away",
}
TITLES = {
    "final_loss": "final probe loss: rank, and mean",
    "rho": "share of plasticity lost (rho): rank, and mean",
}
ROW, HEAD = 0.36, 1.35  # inches


def draw(readings: Mapping[str, Readings]) -> Figure:
    """Draws a panel an environment and metric: arms x probes, cells coloured by rank,
    below each probe the agreement of its order with the first's."""
    panels = [(name, metric) for name in readings for metric in METRICS]
    heights = [ROW * len(readings[name].arms) + HEAD for name, _ in panels]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    rows = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, metric) in zip(rows, panels, strict=True):
        _draw_panel(axes, readings[name], metric)
        axes.set_title(", ".join(filter(None, (name, TITLES[metric]))))
    return figure


def _draw_panel(axes: Axes, readings: Readings, metric: str) -> None:
    ranks = [rankings.ranks(readings, probe, metric) for probe in readings.probes]
    order = np.argsort(rankings.ranks(readings, REFERENCE, "final_loss"))
    grid = np.array(ranks).T[order]  # [arms, probes]
    axes.imshow(grid, cmap="Blues", vmin=-1, vmax=len(order) + 1, aspect="auto")
    for column, probe in enumerate(readings.probes):
        means = np.nanmean(readings.of(probe, metric), axis=0)[order]
        for row, (rank, mean) in enumerate(zip(grid[:, column], means, strict=True)):
            dark = {"color": "white" if rank > 0.6 * len(order) else "black"}
            text = "–" if np.isnan(rank) else f"{rank:.0f}  ({_short(mean)})"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, **dark)
    labels = [_label(readings, probe, metric) for probe in readings.probes]
    axes.set_xticks(range(len(labels)), labels, fontsize=7)
    names = [readings.arms[index] for index in order]
    axes.set_yticks(range(len(names)), [_spelt(name) for name in names])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _label(readings: Readings, probe: str, metric: str) -> str:
    """Names a probe, and writes its agreement with the reference below."""
    name = WORDS.get(probe, probe)
    if probe == REFERENCE:
        return f"{name}\n\nagreement:"
    found = rankings.agreement(readings, probe, metric)
    if np.isnan(found.value):
        return f"{name}\n\nτ not\ndefined"
    text = f"{name}\n\nτ {found.value:z.2f}"
    if not np.isnan(found.low):
        text += f"\n[{found.low:z.2f}, {found.high:z.2f}]"
    return text


def _short(mean: float) -> str:
    return f"{mean:z.2f}" if abs(mean) < 10 else f"{mean:.3g}"


def _spelt(arm: str) -> str:
    words = (factors.SPELLING.get(w, w.replace("_", " ")) for w in arm.split(","))
    return " + ".join(words)


def runs_of(rows: Sequence[Mapping[str, str]], folder: Path) -> list[Run]:
    """Returns a run for each arm and environment, of which the seeds are known."""
    found = {}
    for row in rows:
        seed = {"seed": int(row["seed"]), "updates": int(row["updates"])}
        seed["failed_at"] = int(row["failed_at"]) if row["failed_at"] else None
        found.setdefault((row["arm"], row["environment"]), []).append(seed)
    return [
        Run(", ".join(name), folder, {}, [], seeds, []) for name, seeds in found.items()
    ]


def figure(readings: Mapping[str, Readings]) -> PaperFigure:
    """Describes the figure of a table's readings."""
    return PaperFigure(
        title="Does the ranking of interventions survive another probe?",
        caption=(
            "The final networks of one sweep, measured with the probe of their config"
            " (first column) and with others, each different in one thing; the one"
            " drawn anew only in its random targets and batches, so no agreement can be"
            " expected to exceed its τ. A cell: the arm's rank by its mean over seeds"
            " (1, light: least loss) and that mean. τ: Kendall's rank agreement with"
            " the first column, and its 95 % bootstrap interval over seeds. –: theta_0"
            " left more than half of the baseline, so that there was little to lose;"
            " such arms are left out of the τ of rho."
        ),
        alt="Tables of ranks, a row an arm, a column a probe, with rank agreements.",
        config="configs/block_mdp/interventions.py",
        select=list,
        draw=lambda runs: draw(readings),
    )


def main(argv: list[str]) -> int:
    """Draws, and turns every expected failure into one clear line."""
    try:
        if len(argv) != 2:
            raise ValueError(f"expected the folder of one {TABLE}; got {argv[1:]}.")
        path = Path(argv[1])
        path = path / TABLE if path.is_dir() else path
        rows = rankings.read_rows(path)
        readings = rankings.by_environment(rows)
        for file in write(figure(readings), runs_of(rows, path.parent), _out()):
            print(file)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _out() -> Path:
    return Path(flags.FLAGS.out)


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "path of both files, without a suffix")
    flags.mark_flag_as_required("out")
    app.run(main)
