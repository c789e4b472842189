"""Compares runs on one HTML page: who lost plasticity, at what performance.

    python -m experiments.report DIR [DIR ...] --out=report.html

DIR is the workdir of a run (with config.json and metrics.jsonl in it), or a folder
whose children are such workdirs. The page holds its images and needs no network; the
same figures are written as PNG files beside it. Runs may still be going on.
With --csv=FILE, also a tidy table: one row a run and seed, as last measured.
"""

import sys
import warnings
from pathlib import Path

from absl import app, flags

from experiments.runs import find_runs
from experiments.summary import summary_table
from experiments.tidy import write_tidy

_OUT = flags.DEFINE_string("out", "report.html", "path of the page to write")
_FIGURES = flags.DEFINE_string(
    "figures", None, "folder for the figures as PNG; default: <out>_figures"
)
_CSV = flags.DEFINE_string("csv", None, "path of a tidy table to write as well")
_TABLE = flags.DEFINE_bool("table", False, "print the summary table as well")


def write_report(workdirs: list[str], out: Path, figures: Path | None = None) -> str:
    """Writes the page and its figures.

    Args:
        workdirs: of runs, or folders of them.
        out: path of the page.
        figures: folder of the PNG files; None: `<stem of out>_figures` beside it.

    Returns:
        The summary as plain text.

    Raises:
        ValueError: a folder is no run, or a record cannot be read.
        ImportError: matplotlib or Jinja2 is missing.
    """
    runs = find_runs(workdirs)
    try:
        from experiments.figures.page import write_page
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the report needs {error.name}, which is not installed; run"
            " pip install 'plasticity-jax[plots]'"
        ) from error
    write_page(runs, out, figures or out.with_name(f"{out.stem}_figures"))
    return summary_table(runs)


def main(argv: list[str]) -> None:
    """Reads the command line."""
    if len(argv) < 2:
        raise app.UsageError("expected at least one DIR, a workdir; got none")
    out = Path(_OUT.value)
    figures = Path(_FIGURES.value) if _FIGURES.value else None
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(
            f"warning: {message}", file=sys.stderr
        )
        try:
            table = write_report(argv[1:], out, figures)
        except (ValueError, ImportError) as error:
            sys.exit(f"error: {error}")
    if _CSV.value:
        write_tidy(find_runs(argv[1:]), Path(_CSV.value))
    if _TABLE.value:
        print(table)
    print(out)


if __name__ == "__main__":
    app.run(main)
