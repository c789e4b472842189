"""Arrays that never change once they have a name: saved once, by whatever checkpoint
comes first, and shared by those that follow. A replay of gigabytes is made of them."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from plasticity_jax.records.files import replacing
from plasticity_jax.types import Part


class Parts:
    """A folder of arrays, named by those who make them."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._digests: dict[str, str] = {}  # of what this process has written or read

    def save(self, part: Part) -> str:
        """Writes a part that is not there yet; returns the digest of its array."""
        if part.name not in self._digests:
            array = np.ascontiguousarray(part.make())
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._path(part.name)) as temporary:
                np.savez_compressed(temporary, array=array)
            self._digests[part.name] = _digest(array)
        return self._digests[part.name]

    def read(self, name: str, digest: str) -> np.ndarray:
        """Reads a part.

        Raises:
          ValueError: it is not the one that was saved.
          OSError: it is not there.
        """
        with np.load(self._path(name), allow_pickle=False) as file:
            array = file["array"]
        if _digest(array) != digest:
            raise ValueError(f"part {name} is not the one that was saved")
        self._digests[name] = digest
        return array

    def keep(self, names: Collection[str]) -> None:
        """Removes all parts but these: none that no checkpoint names is trusted."""
        for path in self._folder.glob("*.npz"):
            if path.stem not in names:
                path.unlink()
                self._digests.pop(path.stem, None)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"


def _digest(array: np.ndarray) -> str:
    state = hashlib.blake2b(digest_size=16)
    state.update(f"{array.dtype.str} {array.shape}".encode())
    state.update(array.reshape(-1).view(np.uint8))
    return state.hexdigest()
