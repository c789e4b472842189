"""A run's folder: the only place that writes to disk.

    config.json, environment.json   what was run, and where (one entry a launch)
    metrics.jsonl                   one row per update count and seed: the record
    timing.jsonl                    wall-clock seconds by phase
    arrays/<probe>_<updates>.npz    what a probe returned beside its scalars
    checkpoints/<updates>/          Orbax, with a digest of every array
    tensorboard/seed_<seed>/        a view derived from metrics.jsonl

A checkpoint at update u says that every row up to u is on disk. So a restart goes back
to the newest readable checkpoint, cuts the records to it, and nothing is lost or doubled.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from tensorboardX import SummaryWriter


class RecordsError(Exception):
    """The run's folder cannot be used or written; the message says what to do."""


class MemoryRecords:
    """Keeps rows in memory and nothing else: for notebooks, tests and benchmarks."""

    def __init__(self):
        self.rows: list[dict] = []
        self.arrays: dict[tuple[str, int], dict] = {}
        self.timing: list[dict] = []

    def restore(self) -> tuple[int, dict] | None:
        """Returns the newest (update count, tree); here there is none."""
        return None

    def write(self, rows: list[dict], arrays: dict[str, dict]) -> None:
        """Adds the rows of one update count, and each probe's arrays."""
        self.rows.extend(rows)
        for name, values in arrays.items():
            self.arrays[name, rows[0]["updates"]] = values

    def time(self, **fields) -> None:
        """Adds one line of wall-clock figures."""
        self.timing.append(fields)

    def save(self, updates: int, tree: dict) -> None:
        """Saves a checkpoint; here: nothing."""


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
        self._saved = None  # newest update count known to be saved
        self._writers: dict[int, SummaryWriter] = {}
        options = ocp.CheckpointManagerOptions(
            max_to_keep=max(2, keep), enable_async_checkpointing=False
        )
        with self._guard("checkpoints"):
            self._checkpoints = ocp.CheckpointManager(
                self.workdir / "checkpoints", options=options
            )

    def describe(self, config: dict, environment: dict) -> None:
        """Writes config.json, or compares with the one there; logs this launch.

        Raises:
          RecordsError: the folder holds a run of another configuration.
        """
        path = self.workdir / "config.json"
        if path.exists():
            _refuse_other_config(self.workdir, _read_json(path), config)
        else:
            self._write_json(path, config)
        path = self.workdir / "environment.json"
        launches = _read_json(path) if path.exists() else []
        self._write_json(path, [*launches, environment])

    def restore(self) -> tuple[int, dict] | None:
        """Reads the newest good checkpoint and cuts the records back to it.

        Returns:
          (update count, tree as it was saved), or None where there is no checkpoint.
          A torn or altered one is reported, dropped, and the one before is taken.
        """
        found = None
        for updates in sorted(self._checkpoints.all_steps(), reverse=True):
            try:
                found = updates, self._read_checkpoint(updates)
                break
            except Exception as error:  # Orbax raises many kinds for a torn file
                warnings.warn(
                    f"checkpoint {updates} in {self.workdir} cannot be read "
                    f"({_first_line(error)}); falling back to the one before.",
                    stacklevel=2,
                )
                shutil.rmtree(self.workdir / "checkpoints" / str(updates))
                self._checkpoints.reload()
        self._saved = found[0] if found else None
        self._cut(found[0] if found else -1)
        return found

    def write(self, rows: list[dict], arrays: dict[str, dict]) -> None:
        """Adds the rows of one update count, and each probe's arrays."""
        updates = rows[0]["updates"]
        for name, values in arrays.items():
            path = self.workdir / "arrays" / f"{name}_{updates:09d}.npz"
            with self._guard(path.name), _replacing(path) as temporary:
                np.savez_compressed(temporary, **values)
        self._append("metrics.jsonl", rows)
        self._write_tensorboard(rows)

    def time(self, **fields) -> None:
        """Adds one line of wall-clock figures: outside the bit-for-bit promise."""
        self._append("timing.jsonl", [fields])

    def save(self, updates: int, tree: dict) -> None:
        """Saves a checkpoint: nested dicts of arrays. All rows so far are on disk.

        Raises:
          RecordsError: it could not be written; earlier checkpoints are intact.
        """
        tree = jax.device_get(tree)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_pack(tree)),
            meta=ocp.args.JsonSave({"updates": updates, "digest": _digest(tree)}),
        )
        with self._guard(f"checkpoint {updates}"):
            for writer in self._writers.values():
                writer.flush()
            # force: a checkpoint of this count that could not be read was dropped.
            self._checkpoints.save(updates, args=items, force=True)
            self._checkpoints.wait_until_finished()
        self._saved = updates

    def close(self) -> None:
        """Ends writing and lets another process in."""
        for writer in self._writers.values():
            writer.close()
        self._checkpoints.close()
        self._lock.close()

    def _read_checkpoint(self, updates: int) -> dict:
        found = self._checkpoints.restore(
            updates,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(), meta=ocp.args.JsonRestore()
            ),
        )
        tree = _unpack(found["state"])
        if _digest(tree) != found["meta"]["digest"]:
            raise ValueError("its arrays are not those that were saved")
        return tree

    def _cut(self, last: int) -> None:
        """Drops whatever was recorded after update `last`, and torn lines."""
        for name in ("metrics.jsonl", "timing.jsonl"):
            path = self.workdir / name
            kept = [row for row in read_rows(path) if row["updates"] <= last]
            with self._guard(name), _replacing(path) as temporary:
                temporary.write_text(_lines(kept))
        for path in (self.workdir / "arrays").glob("*.npz"):
            if int(path.stem.rsplit("_", 1)[1]) > last:
                path.unlink()
        # The TensorBoard view is made anew from what was kept: none twice, none missing.
        shutil.rmtree(self.workdir / "tensorboard", ignore_errors=True)
        self._write_tensorboard(read_rows(self.workdir / "metrics.jsonl"))

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
            file.write(_lines(rows))

    def _write_json(self, path: Path, value) -> None:
        with self._guard(path.name), _replacing(path) as temporary:
            temporary.write_text(json.dumps(value, indent=2) + "\n")

    @contextlib.contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        """Turns a failure to write into one that says what is safe and what to do."""
        try:
            yield
        except Exception as error:
            saved = getattr(self, "_saved", None)
            safe = "Nothing" if saved is None else f"The run up to update {saved}"
            raise RecordsError(
                f"could not write {what} in {self.workdir}: {_first_line(error)}. "
                f"{safe} is saved there. Make room or mend the folder and give the "
                "same command again."
            ) from error


def read_rows(path: Path) -> list[dict]:
    """Reads a JSONL file; a torn last line, left by a kill, is passed over."""
    rows = []
    if not path.exists():
        return rows
    for line in path.read_text(errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def fork(source: str | os.PathLike, workdir: str | os.PathLike) -> None:
    """Copies a run's records and checkpoints, not its configuration, to a new folder.

    Raises:
      RecordsError: nothing to fork from, or the new folder holds a run already.
    """
    source, workdir = Path(source), Path(workdir)
    if not (source / "checkpoints").is_dir():
        raise RecordsError(f"--fork_from: {source} holds no checkpoints.")
    if (workdir / "config.json").exists():
        return  # forked before: this launch continues it
    for name in ("metrics.jsonl", "timing.jsonl"):
        workdir.mkdir(parents=True, exist_ok=True)
        if (source / name).exists():
            shutil.copyfile(source / name, workdir / name)
    for name in ("arrays", "checkpoints"):
        shutil.copytree(source / name, workdir / name, dirs_exist_ok=True)


def _refuse_other_config(workdir: Path, there: dict, here: dict) -> None:
    there = traverse_util.flatten_dict(there, sep=".")
    here = traverse_util.flatten_dict(json.loads(json.dumps(here)), sep=".")
    names = sorted(name for name in there | here if there.get(name) != here.get(name))
    if not names:
        return
    lines = [f"  {n}: {there.get(n)!r} there, {here.get(n)!r} asked for" for n in names]
    raise RecordsError(
        f"{workdir} holds a run of another configuration:\n" + "\n".join(lines) + "\n"
        "Continue that run: launch with its settings. Fork it (same past, new settings "
        f"from its last checkpoint): --fork_from={workdir} --workdir=NEW. Start afresh: "
        "choose another --workdir."
    )


def _pack(tree: dict) -> dict:
    """Makes a tree that Orbax stores: empty dicts go, empty arrays become shapes."""
    flat = traverse_util.flatten_dict(tree)
    packed = {}
    for path, leaf in flat.items():
        leaf = np.asarray(leaf)
        if leaf.size == 0:  # Orbax refuses arrays without entries: keep the shape
            path = (*path[:-1], f"{path[-1]}:empty:{leaf.dtype.str}")
            leaf = np.asarray(leaf.shape, np.int64)
        packed[path] = leaf
    return traverse_util.unflatten_dict(packed)


def _unpack(tree: dict) -> dict:
    unpacked = {}
    for path, leaf in traverse_util.flatten_dict(tree).items():
        leaf = np.asarray(leaf)
        name, marker, dtype = path[-1].partition(":empty:")
        if marker:
            leaf = np.zeros(tuple(leaf), np.dtype(dtype))
        unpacked[(*path[:-1], name)] = leaf
    return traverse_util.unflatten_dict(unpacked)


def _digest(tree: dict) -> str:
    """A hash of every array: Orbax notices a missing file, not every altered byte."""
    state = hashlib.blake2b(digest_size=16)
    for path, leaf in sorted(traverse_util.flatten_dict(tree).items()):
        leaf = np.ascontiguousarray(leaf)
        state.update(f"{path} {leaf.dtype.str} {leaf.shape}".encode())
        state.update(leaf.reshape(-1).view(np.uint8))
    return state.hexdigest()


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path whose file takes `path`'s place at the end, at once."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    yield temporary
    os.replace(temporary, path)


def _lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _read_json(path: Path):
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordsError(f"{path} is not readable JSON: {error}.") from error


def _first_line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".splitlines()
    return text[0][:300]
