"""A fork: another run's past, to go on from with other settings."""

import os
import shutil
from pathlib import Path

from plasticity_jax.records.files import (
    RecordsError,
    first_line,
    read_json,
    write_json,
)
from plasticity_jax.records.reading import FORK


def fork(source: str | os.PathLike, workdir: str | os.PathLike) -> bool:
    """Copies a run's records and checkpoints, not its configuration, to a new folder.

    Returns:
      Whether it was made now; False where this fork was made by an earlier launch.

    Raises:
      RecordsError: there is nothing to fork from, the new folder is not empty, or it
        cannot be written.
    """
    source, workdir = Path(source).absolute(), Path(workdir).absolute()
    counts = [int(p.name) for p in source.glob("checkpoints/*") if p.name.isdigit()]
    if not counts or not (source / "config.json").exists():
        raise RecordsError(f"fork: expected a run in {source}; it has no checkpoints.")
    mark = workdir / FORK
    if mark.exists() and read_json(mark, dict).get("source") == str(source):
        return False
    if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise RecordsError(
            f"fork: expected a new or empty folder; {workdir} is neither, nor is it a "
            f"fork of {source}. Choose another --workdir."
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        for name in ("arrays", "parts", "checkpoints"):
            if (source / name).is_dir():
                shutil.copytree(source / name, workdir / name)
        for name in ("metrics.jsonl", "timing.jsonl"):
            if (source / name).exists():
                shutil.copyfile(source / name, workdir / name)
        write_json(mark, {"source": str(source), "updates": max(counts)})
    except OSError as error:
        raise RecordsError(f"fork: {workdir}: {first_line(error)}.") from error
    return True
