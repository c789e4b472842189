"""What a run leaves behind: rows, arrays, timing, checkpoints."""

from plasticity_jax.records.disk import DiskRecords
from plasticity_jax.records.files import RecordsError
from plasticity_jax.records.fork import fork
from plasticity_jax.records.memory import MemoryRecords

__all__ = ["DiskRecords", "MemoryRecords", "RecordsError", "fork"]
