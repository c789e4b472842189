"""A figure of the paper as a command: its runs, its words, its two files."""

import functools
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from absl import app, flags
from matplotlib.figure import Figure

from experiments.figures.style import RC
from experiments.runs import Run, find_runs

DOTS_PER_INCH = 200
# Equal runs give equal files, to the byte.
SVG = {"svg.hashsalt": "plasticity_jax"}
MARGIN = 0.15  # inches
LETTERS_PER_INCH = 14.5  # of the caption
MEAN = "Lines are means over seeds, shading the 95 % bootstrap interval."


class PaperFigure(NamedTuple):
    """A figure that stands on its own, and what it is drawn from."""

    title: str
    caption: str  # what is seen; the seeds are added
    alt: str
    config: str  # whose runs it shows
    select: Callable[[Sequence[Run]], list[Run]]  # those it shows, of those given
    draw: Callable[[Sequence[Run]], Figure]

    @property
    def command(self) -> str:
        """The command that makes its runs at CPU scale."""
        out = f"runs/{Path(self.config).stem}"
        return f"python -m experiments.sweep --config={self.config}:cpu --out={out}"


def write(figure: PaperFigure, runs: Sequence[Run], out: Path) -> list[Path]:
    """Draws a figure into OUT.png and OUT.svg.

    Args:
        figure: what to draw.
        runs: may hold others than it needs.
        out: path without a suffix; its folder is made.

    Returns:
        The files written.

    Raises:
        ValueError: none of the runs is one that the figure shows.
    """
    chosen = [run for run in figure.select(runs) if run.seeds]
    if not chosen:
        labels = ", ".join(repr(run.label) for run in runs[:5])
        more = f" and {len(runs) - 5} more" if len(runs) > 5 else ""
        raise ValueError(
            f"{out.name}: expected runs of {figure.config}; got {labels}{more}. Make"
            f" them with `{figure.command}` and give their folder."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(RC | SVG):
        drawing = figure.draw(chosen)
        _add_words(drawing, figure, chosen)
        paths = [out.with_name(f"{out.name}.{suffix}") for suffix in ("png", "svg")]
        options = {"dpi": DOTS_PER_INCH, "bbox_inches": "tight", "pad_inches": MARGIN}
        drawing.savefig(paths[0], **options)
        drawing.savefig(paths[1], metadata={"Date": None}, **options)
    return paths


def _add_words(drawing: Figure, figure: PaperFigure, runs: Sequence[Run]) -> None:
    """Sets the title above a drawing and the caption below it, outside its layout."""
    # The layout is settled first: the page grows by the words, and legends that stand
    # outside the panels would move with its edge.
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    for legend in drawing.legends:
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=drawing.transFigure)
    inches = drawing.get_figwidth()
    height = drawing.get_figheight()
    place = {"ha": "left"}
    title = textwrap.fill(figure.title, int(inches * 9))
    top = {"va": "bottom", "fontsize": 13, "fontweight": "bold"}
    drawing.text(0.01, 1 + 0.08 / height, title, **place, **top)
    text = textwrap.fill(
        f"{figure.caption} {describe_seeds(runs)}", int(inches * LETTERS_PER_INCH)
    )
    below = {"va": "top", "fontsize": 9, "color": "#333333"}
    drawing.text(0.01, -0.1 / height, text, **place, **below)


def describe_seeds(runs: Sequence[Run]) -> str:
    """Says how many seeds a run has, which they are, and how many diverged."""
    counts = sorted({len(run.all_seeds) for run in runs})
    seeds = sorted({seed for run in runs for seed in run.all_seeds})
    whole = seeds == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 2
    listed = f"{seeds[0]}–{seeds[-1]}" if whole else ", ".join(map(str, seeds))
    noun = "seed" if counts == [1] else "seeds"
    failed = sum(len(run.failed) for run in runs)
    text = f"{' or '.join(map(str, counts))} {noun} a run ({listed})"
    left_out = f"; {failed} that diverged left out" if failed else ""
    return f"{text[0].upper()}{text[1:]}{left_out}."


def main(figure: PaperFigure) -> None:
    """Is the command line of a figure's module: DIR ... --out=PATH."""
    out = flags.DEFINE_string("out", None, "path of both files, without a suffix")
    flags.mark_flag_as_required("out")
    app.run(functools.partial(_command, figure, out))


def _command(figure: PaperFigure, out: flags.FlagHolder, argv: list[str]) -> int:
    """Draws, and turns every expected failure into one clear line."""
    warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
    try:
        if len(argv) < 2:
            raise ValueError(f"expected folders of {figure.config}; got none")
        for path in write(figure, find_runs(argv[1:]), Path(out.value)):
            print(path)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
