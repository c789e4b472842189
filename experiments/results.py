"""RESULTS.md, and what it is made of.

  python -m experiments.results                     writes RESULTS.md
  python -m experiments.results --check             says whether it is up to date
  python -m experiments.results collect runs/width runs/correlations

`collect` takes sweeps' folders, each called as its study, and writes
results/<study>.csv and .json, the study's figures into docs/figures/, and the verdicts
on its claims into results/verdicts.json; then RESULTS.md. Everything else stays as it
is. The prose is results/reading.md, its numbers looked up (experiments/findings/
prose.py says how).
"""

import difflib
import sys
import warnings
from pathlib import Path

from absl import app, flags

from experiments.findings import verdicts
from experiments.findings.collect import collect
from experiments.findings.page import page

PAGE = "RESULTS.md"

_ROOT = flags.DEFINE_string("root", ".", "The repository.")
_CHECK = flags.DEFINE_bool("check", False, "Write nothing; exit code 1 if it is stale.")


def main(argv: list[str]) -> int:
    """Collects, writes or checks; every expected failure is one clear line."""
    warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
    try:
        return _results(argv[1:], Path(_ROOT.value))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _results(arguments: list[str], root: Path) -> int:
    if arguments:
        _collect(arguments, root)
    text, path = page(root), root / PAGE
    if not _CHECK.value:
        path.write_text(text)
        print(path)
        return 0
    there = path.read_text() if path.is_file() else ""
    lines = difflib.unified_diff(
        there.splitlines(), text.splitlines(), str(path), "results/ says", lineterm=""
    )
    print("\n".join(lines), end="\n" if there != text else "")
    return 0 if there == text else 1


def _collect(arguments: list[str], root: Path) -> None:
    command, *named = arguments
    if command != "collect" or not named or _CHECK.value:
        raise ValueError(
            f"expected nothing, --check, or collect DIR ...; got {' '.join(arguments)}"
            f"{' --check' * _CHECK.value}."
        )
    folders = [Path(name).absolute() for name in named]
    for folder in folders:
        for note in collect(folder, root):
            print(f"{folder.name}: {note}", file=sys.stderr)
    for note in verdicts.update(folders, root):
        print(note, file=sys.stderr)


if __name__ == "__main__":
    app.run(main)
