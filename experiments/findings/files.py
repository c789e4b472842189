"""Files that are fit to be committed: small, short numbers, no places of a machine."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

DIGITS = 6  # significant
MOST = 15  # digits of a whole number, which is not cut
LARGEST_PNG, LARGEST_SVG = 250_000, 500_000  # bytes
WIDEST = 1_600  # pixels
# Folders of the machine where the runs were made, in flags and arguments: those called
# as the study, whatever they are in, and all others that are absolute.
STUDY = r"(?<=[= ])(?:[^\s=]*/)?(?={study}(?:/|\s|$))"
ABSOLUTE = r"(?<=[= ])/[^\s=]*/(?=[^\s=/])"


def without_places(command: str, study: str) -> str:
    """Puts `runs/` where a command names a folder of the study, or any by its root."""
    command = re.sub(STUDY.format(study=re.escape(study)), "runs/", command)
    return re.sub(ABSOLUTE, "runs/", command)


def write_rows(path: Path, rows: Sequence[Mapping]) -> None:
    """Writes CSV, numbers to six digits."""
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({name: _short(value) for name, value in row.items()})


def _short(value: object) -> object:
    """Cuts a number, or its text; leaves other texts."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    is_count = number.is_integer() and abs(number) < 10**MOST
    return f"{number:.0f}" if is_count else f"{number:.{DIGITS}g}"


def shrink(image: Path, drawing: Path) -> list[str]:
    """Makes a figure's files small: a PNG by fewer colours, then fewer pixels; a large
    SVG is removed.

    Returns:
      What is worth saying.
    """
    with Image.open(image) as opened:
        picture = opened.convert("RGB")
    width = min(WIDEST, picture.width)
    while True:
        size = (width, round(picture.height * width / picture.width))
        small = picture.resize(size, Image.Resampling.LANCZOS).quantize(256)
        small.save(image, optimize=True)
        if image.stat().st_size <= LARGEST_PNG:
            break
        width = int(0.85 * width)
    if drawing.stat().st_size <= LARGEST_SVG:
        return []
    drawing.unlink()
    return [f"{drawing.name}: larger than {LARGEST_SVG:,} bytes, left out"]
