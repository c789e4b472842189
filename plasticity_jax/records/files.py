"""Small files, written whole or not at all; JSON lines, read up to a torn end."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


class RecordsError(Exception):
    """The run's folder cannot be used or written; the message says what to do."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path whose file takes `path`'s place at the end, at once."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    yield temporary
    os.replace(temporary, path)


def to_lines(rows: list[dict]) -> str:
    """Returns one JSON object a line; NaN has no place in JSON and is refused."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def read_rows(path: Path) -> list[dict]:
    """Reads a JSONL file of rows; a torn last line, left by a kill, is passed over.

    Raises:
      RecordsError: another line is no row.
    """
    rows = []
    if not path.exists():
        return rows
    lines = path.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("updates"), int):
            rows.append(row)
        elif number < len(lines):
            raise RecordsError(
                f"{path}: line {number} is not a row of this record. Restore the file "
                "from a copy, or choose another --workdir."
            )
    return rows


def read_json(path: Path, kind: type):
    """Reads a JSON file that holds a `kind`, dict or list.

    Raises:
      RecordsError: it holds something else.
    """
    try:
        value = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        value = None
    if not isinstance(value, kind):
        raise RecordsError(
            f"{path}: expected a JSON {kind.__name__}, as a run writes it. Restore it "
            "from a copy, or choose another --workdir."
        )
    return value


def write_json(path: Path, value) -> None:
    """Writes a JSON file, indented."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def first_line(error: Exception) -> str:
    """An error's kind and the start of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
