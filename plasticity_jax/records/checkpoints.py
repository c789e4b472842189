"""Checkpoints: nested dicts of arrays through Orbax, with a digest of every array."""

import hashlib
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from plasticity_jax.records.files import RecordsError, first_line
from plasticity_jax.records.parts import Parts
from plasticity_jax.types import Part

PARTS = "parts"  # the folder's name, beside that of the checkpoints


class Checkpoints:
    """A folder of checkpoints, named by update count."""

    def __init__(self, folder: Path, keep: int):
        self._folder, self._parts = folder, Parts(folder.parent / PARTS)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            enable_async_checkpointing=False,  # a save has ended when it returns
            cleanup_tmp_directories=True,  # a kill leaves them
        )
        self._manager = ocp.CheckpointManager(folder, options=options)

    def newest(self) -> int | None:
        """Returns the update count of the newest, whole or not; None without one."""
        return max(self._manager.all_steps(), default=None)

    def save(self, updates: int, tree: dict, num_rows: int) -> None:
        """Saves nested dicts of arrays; the folder's name appears when all is there."""
        tree, parts = _split(jax.device_get(tree))
        meta = {"updates": updates, "num_rows": num_rows, "digest": _digest(tree)}
        meta["parts"] = {
            path: [part.name, self._parts.save(part)] for path, part in parts.items()
        }
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_pack(tree)), meta=ocp.args.JsonSave(meta)
        )
        if not self._manager.save(updates, args=items):
            raise OSError(f"Orbax did not save checkpoint {updates}")
        if parts:
            self._drop_parts()

    def restore_newest(self) -> tuple[int, int, dict] | None:
        """Returns (updates, num_rows, tree) of the newest whole one; None without any.

        A torn or altered one is reported and set aside, and the one before is taken.

        Raises:
          RecordsError: there are some, and none is whole.
        """
        torn = {}
        for updates in sorted(self._manager.all_steps(), reverse=True):
            try:
                num_rows, tree = read(self._folder, updates, self._parts)
            except Exception as error:  # Orbax raises many kinds for a torn file
                torn[updates] = first_line(error)
                continue
            self._set_aside(torn, updates)
            self._drop_parts()
            return updates, num_rows, tree
        if torn:
            raise RecordsError(
                f"no checkpoint in {self._folder} can be read: {torn}. Restore one "
                "from a copy, or delete the run's folder to start afresh."
            )
        return None

    def _set_aside(self, torn: dict[int, str], good: int) -> None:
        for updates, reason in torn.items():
            aside = self._folder.parent / f"torn_checkpoint_{updates}"
            warnings.warn(
                f"checkpoint {updates} in {self._folder} cannot be read ({reason}); it "
                f"is set aside as {aside.name}. Falling back to checkpoint {good}.",
                stacklevel=4,
            )
            shutil.rmtree(aside, ignore_errors=True)
            shutil.move(self._folder / str(updates), aside)
        if torn:
            self._manager.reload()

    def _drop_parts(self) -> None:
        """Removes the parts that no checkpoint names."""
        metas = [_restore(self._folder, u, "meta") for u in self._manager.all_steps()]
        listed = (meta.get("parts", {}).values() for meta in metas)
        self._parts.keep({name for found in listed for name, _ in found})

    def close(self) -> None:
        """Ends Orbax's threads."""
        self._manager.close()


def read(folder: Path, updates: int, parts: Parts | None = None) -> tuple[int, dict]:
    """Reads one checkpoint and writes nothing. Returns (num_rows, tree).

    Raises:
      Exception: of many kinds, where it is missing, torn or altered.
    """
    tree, meta = (_restore(folder, updates, item) for item in ("state", "meta"))
    tree = _unpack(tree)
    if _digest(tree) != meta["digest"]:
        raise ValueError("its arrays are not those that were saved")
    parts = parts or Parts(folder.parent / PARTS)
    found = {
        tuple(path.split("/")): parts.read(name, digest)
        for path, (name, digest) in meta.get("parts", {}).items()
    }
    flat = traverse_util.flatten_dict(tree)
    return meta["num_rows"], traverse_util.unflatten_dict(flat | found)


def _restore(folder: Path, updates: int, item: str):
    kinds = {"state": ocp.args.StandardRestore, "meta": ocp.args.JsonRestore}
    items = ocp.args.Composite(**{item: kinds[item]()})
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(folder / str(updates), args=items)[item]


def _split(tree: dict) -> tuple[dict, dict[str, Part]]:
    """Takes the parts out of a tree: (the rest, {path: part})."""
    flat = traverse_util.flatten_dict(tree)
    parts = {path: x for path, x in flat.items() if isinstance(x, Part)}
    rest = {path: x for path, x in flat.items() if path not in parts}
    named = {"/".join(path): part for path, part in parts.items()}
    return traverse_util.unflatten_dict(rest), named


# Orbax refuses arrays without entries: their shape is stored under a marked name.
_EMPTY = ":empty:"


def _pack(tree: dict) -> dict:
    packed = {}
    for path, leaf in traverse_util.flatten_dict(tree).items():
        leaf = np.asarray(leaf)
        if leaf.size == 0:
            path = (*path[:-1], f"{path[-1]}{_EMPTY}{leaf.dtype.str}")
            leaf = np.asarray(leaf.shape, np.int64)
        packed[path] = leaf
    return traverse_util.unflatten_dict(packed)


def _unpack(tree: dict) -> dict:
    unpacked = {}
    for path, leaf in traverse_util.flatten_dict(tree).items():
        leaf = np.asarray(leaf)
        name, marker, dtype = path[-1].partition(_EMPTY)
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
