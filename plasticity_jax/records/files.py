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
    """Reads a JSONL file; what follows a torn line, left by a kill, is passed over."""
    rows = []
    if not path.exists():
        return rows
    for line in path.read_text(errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def read_json(path: Path):
    """Reads a JSON file.

    Raises:
      RecordsError: it is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordsError(
            f"{path} is not readable JSON ({error}). Restore it from a copy, or choose "
            "another --workdir."
        ) from error


def write_json(path: Path, value) -> None:
    """Writes a JSON file, indented."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def first_line(error: Exception) -> str:
    """An error's kind and the start of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
