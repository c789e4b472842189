"""Reads JSON that a run wrote, or is still writing; needs the standard library."""

import json
import warnings
from pathlib import Path


def read_json(path: Path, kind: type) -> dict | list:
    """Reads a file that holds one object of a kind, dict or list.

    Raises:
        ValueError: no JSON, or another kind.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from error
    if not isinstance(found, kind):
        raise ValueError(f"{path}: expected a JSON {kind.__name__}, got {found!r:.80}")
    return found


def read_lines(path: Path, required: tuple[str, ...]) -> list[dict]:
    """Reads JSON objects line by line; a torn last line is skipped with a warning.

    Raises:
        ValueError: another line is torn, or without one of the names `required`.
    """
    if not path.is_file():
        return []
    # A line cut inside a character must not fail the decoding of all others.
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    rows = []
    for number, line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == lines[-1][0]:
                warnings.warn(f"{path}: torn last line {number}, skipped", stacklevel=2)
                break
            raise ValueError(
                f"{path}, line {number}: expected a JSON object, got {error}; only a"
                " last line may be torn"
            ) from error
        if not isinstance(row, dict) or any(name not in row for name in required):
            raise ValueError(
                f"{path}, line {number}: expected an object with {', '.join(required)},"
                f" got {line[:80]!r}; is this file a run's record?"
            )
        rows.append(row)
    return rows
