"""Records that stay in memory: for notebooks, tests and benchmarks."""


class MemoryRecords:
    """Keeps rows, arrays and timing as attributes; never resumes, never saves."""

    def __init__(self):
        self.rows: list[dict] = []
        self.arrays: dict[tuple[str, int], dict] = {}  # by (probe, update count)
        self.timing: list[dict] = []

    def restore(self) -> tuple[int, dict] | None:
        """Returns nothing to continue from."""
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
        """Keeps no checkpoint."""
