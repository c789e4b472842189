"""Builds the page: draws the figures, saves them, and fills the template."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from experiments.figures import PLOTS, tables
from experiments.figures.plot import DOTS_PER_INCH, png
from experiments.runs import Run
from experiments.summary import conclusion, summary_rows

TEMPLATE = Path(__file__).resolve().parent.parent / "report.html"


class Image(NamedTuple):
    """A figure as the page embeds it."""

    width: int  # CSS pixels
    base64: str


def write_page(runs: Sequence[Run], page: Path, figures: Path) -> None:
    """Writes the page, and its figures as PNG files.

    Args:
        runs: from `find_runs`.
        page: path of the HTML file; its folder is made if missing.
        figures: folder of the PNG files. Those of an earlier report are replaced,
            and removed where their data is no longer there.
    """
    figures.mkdir(parents=True, exist_ok=True)
    page.parent.mkdir(parents=True, exist_ok=True)
    images = {}
    for plot in PLOTS:
        path = figures / f"{plot.name}.png"
        image = png(plot, runs)
        if image is None:
            path.unlink(missing_ok=True)
            continue
        path.write_bytes(image)
        text = base64.b64encode(image).decode("ascii")
        images[plot.name] = Image(_width(image), text)
    page.write_text(render(runs, images), encoding="utf-8")


def _width(image: bytes) -> int:
    """Width of a PNG on the page: its inches, whatever its resolution."""
    pixels = int.from_bytes(image[16:20], "big")
    return round(96 * pixels / DOTS_PER_INCH)


def render(runs: Sequence[Run], images: dict[str, Image]) -> str:
    """Fills the template. `images` is {figure's name: image}."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(
        title=_title(runs),
        conclusion=conclusion(runs),
        summary=tables.Table(*summary_rows(runs)),
        notes=tables.notes(runs),
        plots=[plot for plot in PLOTS if plot.name in images or plot.missing],
        images=images,
        phases=tables.phase_table(runs),
        differences=tables.config_differences(runs),
        configs=[(run.label, json.dumps(run.config, indent=2)) for run in runs],
        launches=tables.launches(runs),
        versions=tables.versions(runs),
    )


def _title(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return f"Plasticity of {runs[0].label}"
    return f"Plasticity of {len(runs)} runs"
