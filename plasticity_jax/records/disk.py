"""A run's folder: the only place that writes to disk.

    config.json, environment.json   what was run, and where (one entry a launch)
    metrics.jsonl                   one row per update count and seed: the record
    timing.jsonl                    wall-clock seconds by phase
    arrays/<probe>_<updates>.npz    what a probe returned beside its scalars
    checkpoints/<updates>/          the whole state
    parts/                          what checkpoints share: a replay's frames
    tensorboard/seed_<seed>/        a view derived from metrics.jsonl

A checkpoint at update u says that every row up to u is on disk. So a restart goes back
to the newest whole one and cuts the records to it: nothing is lost or doubled.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from flax import traverse_util
from tensorboardX import SummaryWriter

from plasticity_jax.records.checkpoints import Checkpoints
from plasticity_jax.records.files import (
    RecordsError,
    first_line,
    read_json,
    read_rows,
    replacing,
    to_lines,
    write_json,
)
from plasticity_jax.records.reading import FORK, forked_at, own_references

_ARRAYS = re.compile(r".+_(\d{9,})(\.tmp)?\.npz")
_FULL = 1 << 20  # bytes left at which a disk counts as full


class DiskRecords:
    """Keeps a run in a folder, and takes up what it finds there."""

    def __init__(self, workdir: str | os.PathLike, *, keep: int = 3):
        """Opens a folder, made if missing.

        Args:
          workdir: the run's folder.
          keep: checkpoints kept; the newest may be torn, so at least 2.

        Raises:
          RecordsError: the folder cannot be written, or another process runs in it.
        """
        self.workdir = Path(workdir).absolute()
        self._saved = None  # newest update count known to be saved
        self._num_rows = 0
        self._writers: dict[int, SummaryWriter] = {}
        self._foreign = _foreign_files(self.workdir)
        with self._guard("the folder"):
            (self.workdir / "arrays").mkdir(parents=True, exist_ok=True)
            self._lock = open(self.workdir / ".lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordsError(
                f"{self.workdir} is in use by another process. Wait for it to end, or "
                "choose another --workdir."
            ) from None
        with self._guard("checkpoints"):
            self._checkpoints = Checkpoints(self.workdir / "checkpoints", max(2, keep))
            self._saved = self._checkpoints.newest()

    def describe(self, config: dict, environment: dict) -> None:
        """Writes config.json, or compares with the one there; logs this launch.

        Raises:
          RecordsError: the folder holds a run of another configuration, or files that
            no run of ours has left there.
        """
        if self._foreign:
            raise RecordsError(
                f"{self.workdir} holds {', '.join(self._foreign)} but no config.json: "
                "it is not the folder of a run. Choose another --workdir."
            )
        path = self.workdir / "config.json"
        if path.exists():
            _refuse_other_config(self.workdir, read_json(path, dict), config)
        launches = self.workdir / "environment.json"
        earlier = read_json(launches, list) if launches.exists() else []
        with self._guard("config.json and environment.json"):
            write_json(path, config)
            write_json(launches, [*earlier, environment])

    def restore(self) -> tuple[int, dict] | None:
        """Reads the newest whole checkpoint and cuts the records back to it.

        Returns:
          (update count, tree as it was saved), or None where there is no checkpoint.
          Of a fork's first checkpoint, without the probes' references: the settings
          may differ from those they were measured with.

        Raises:
          RecordsError: the rows or checkpoints that should be there are not.
        """
        found = self._checkpoints.restore_newest()
        if found is None:
            saves = [row for row in self._timing() if row.get("phase") == "save"]
            if saves and forked_at(self.workdir) < 0:
                raise RecordsError(
                    f"{self.workdir} has lost its checkpoints. Restore them from a "
                    "copy, or delete the folder to start afresh."
                )
            self._cut(-1, 0)
            return None
        updates, num_rows, tree = found
        self._cut(updates, num_rows)
        self._saved = updates
        return updates, own_references(self.workdir, updates, tree)

    def write(self, rows: list[dict], arrays: dict[str, dict]) -> None:
        """Adds the rows of one update count, and each probe's arrays."""
        for name, values in arrays.items():
            file = self.workdir / "arrays" / f"{name}_{rows[0]['updates']:09d}.npz"
            with self._guard(file.name), replacing(file) as temporary:
                np.savez_compressed(temporary, **values)
        self._append("metrics.jsonl", rows)
        self._num_rows += len(rows)
        self._write_tensorboard(rows)

    def time(self, **fields) -> None:
        """Adds one line of wall-clock figures: outside the bit-for-bit promise."""
        self._append("timing.jsonl", [fields])

    def save(self, updates: int, tree: dict) -> None:
        """Saves a checkpoint: nested dicts of arrays. All rows so far are on disk.

        Raises:
          RecordsError: it could not be written; earlier checkpoints are intact.
        """
        with self._guard(f"checkpoint {updates}"):
            for writer in self._writers.values():
                writer.flush()
            self._checkpoints.save(updates, tree, self._num_rows)
        self._saved = updates

    def close(self) -> None:
        """Ends writing and lets another process in."""
        for writer in self._writers.values():
            with contextlib.suppress(OSError):  # a view only, and made anew
                writer.close()
        self._checkpoints.close()
        self._lock.close()

    def _cut(self, last: int, num_rows: int) -> None:
        """Drops whatever was recorded after update `last`, and torn lines."""
        rows, timing = read_rows(self.workdir / "metrics.jsonl"), self._timing()
        rows = [row for row in rows if row["updates"] <= last]
        if len(rows) != num_rows:
            raise RecordsError(
                f"{self.workdir / 'metrics.jsonl'}: expected {num_rows} rows up to "
                f"update {last}, as the checkpoint says; found {len(rows)}. Restore "
                "the file from a copy, or delete the run's folder to start afresh."
            )
        timing = [row for row in timing if row["updates"] <= last]
        for name, kept in (("metrics.jsonl", rows), ("timing.jsonl", timing)):
            with self._guard(name), replacing(self.workdir / name) as temporary:
                temporary.write_text(to_lines(kept))
        for path in (self.workdir / "arrays").iterdir():
            found = _ARRAYS.fullmatch(path.name)
            if found and (found[2] or int(found[1]) > last):
                path.unlink()
        self._num_rows = len(rows)
        # The TensorBoard view is made anew from what was kept.
        for folder in (self.workdir / "tensorboard").glob("seed_*"):
            shutil.rmtree(folder)
        self._write_tensorboard(rows)

    def _timing(self) -> list[dict]:
        return read_rows(self.workdir / "timing.jsonl")

    def _write_tensorboard(self, rows: list[dict]) -> None:
        with self._guard("tensorboard"):
            for row in rows:
                seed = row["seed"]
                if seed not in self._writers:
                    folder = self.workdir / "tensorboard" / f"seed_{seed:03d}"
                    self._writers[seed] = SummaryWriter(str(folder))
                for name, value in row.items():
                    if "/" in name and value is not None:
                        self._writers[seed].add_scalar(name, value, row["updates"])

    def _append(self, name: str, rows: list[dict]) -> None:
        with self._guard(name), open(self.workdir / name, "a") as file:
            file.write(to_lines(rows))

    @contextlib.contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        """Turns a failure to write into one that says what is safe and what to do."""
        try:
            yield
        except Exception as error:
            safe = "nothing" if self._saved is None else f"updates 0 to {self._saved}"
            reason = "the disk is full" if self._is_full() else first_line(error)
            raise RecordsError(
                f"could not write {what} in {self.workdir}: {reason}. Saved there "
                f"so far: {safe}. Make room or mend the folder, then give the "
                "same command again."
            ) from error

    def _is_full(self) -> bool:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(self.workdir).free < _FULL
        return False


def _foreign_files(workdir: Path) -> list[str]:
    """What a folder without config.json holds of a run's names, before we touch it."""
    if (workdir / "config.json").exists() or (workdir / FORK).exists():
        return []
    files = ("metrics.jsonl", "timing.jsonl", "environment.json")
    files = [name for name in files if (workdir / name).exists()]
    folders = ("arrays", "checkpoints", "parts", "tensorboard")
    folders = [name for name in folders if list(workdir.glob(f"{name}/*"))]
    return files + folders


def _refuse_other_config(workdir: Path, there: dict, here: dict) -> None:
    there = traverse_util.flatten_dict(there, sep=".")
    here = traverse_util.flatten_dict(json.loads(json.dumps(here)), sep=".")
    names = sorted(name for name in there | here if there.get(name) != here.get(name))
    if not names:
        return
    lines = [f"  {n}: {there.get(n)!r} there, {here.get(n)!r} asked for" for n in names]
    raise RecordsError(
        f"{workdir} holds a run of another configuration:\n" + "\n".join(lines) + "\n"
        "To continue that run, launch with its settings. To fork it (its past, new "
        f"settings from its last checkpoint): --fork_from={workdir} --workdir=NEW. To "
        "start afresh, choose another --workdir."
    )
