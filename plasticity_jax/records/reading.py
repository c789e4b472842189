"""Reads a run's checkpoints and writes nothing: no lock, no cleaning up."""

import os
from pathlib import Path

from plasticity_jax.records.checkpoints import read
from plasticity_jax.records.files import RecordsError, first_line, read_json

FORK = "forked_from.json"


def read_checkpoint(
    workdir: str | os.PathLike, updates: int | None = None
) -> tuple[int, dict]:
    """Reads a checkpoint and writes nothing, so the run may still be going on.

    Args:
      workdir: the run's folder.
      updates: the checkpoint's update count; None: the newest.

    Returns:
      (update count, tree), as `DiskRecords.restore`.

    Raises:
      RecordsError: there is no such checkpoint, or it is torn.
    """
    workdir = Path(workdir).absolute()
    folder = workdir / "checkpoints"
    there = sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
    if not there:
        raise RecordsError(
            f"{workdir} has no checkpoint: a run leaves its first after `save_every` "
            "updates, or when it is stopped."
        )
    updates = there[-1] if updates is None else updates
    listed = ", ".join(map(str, there))
    if updates not in there:
        raise RecordsError(
            f"{workdir} has no checkpoint at update {updates}; there: {listed}."
        )
    try:
        _, tree = read(folder, updates)
    except Exception as error:  # Orbax raises many kinds for a torn file
        raise RecordsError(
            f"checkpoint {updates} in {workdir} cannot be read ({first_line(error)}); "
            f"there: {listed}."
        ) from error
    return updates, own_references(workdir, updates, tree)


def own_references(workdir: Path, updates: int, tree: dict) -> dict:
    """Drops a tree's references where they are those of the run forked from: the
    settings that they were measured with may differ."""
    if updates <= forked_at(workdir):
        tree.pop("references", None)
    return tree


def forked_at(workdir: Path) -> int:
    """The update count at which this run left the one it forked from; else -1."""
    path = workdir / FORK
    return read_json(path, dict)["updates"] if path.exists() else -1
