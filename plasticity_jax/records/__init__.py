"""What a run leaves behind: rows, arrays, timing, checkpoints."""

from plasticity_jax.records.disk import DiskRecords
from plasticity_jax.records.files import RecordsError
from plasticity_jax.records.fork import fork
from plasticity_jax.records.memory import MemoryRecords
from plasticity_jax.records.reading import read_checkpoint

__all__ = ["DiskRecords", "MemoryRecords", "RecordsError", "fork", "read_checkpoint"]
