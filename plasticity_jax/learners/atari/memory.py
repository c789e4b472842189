"""How much a replay may take."""

import math


def available_memory() -> float:
    """Bytes that this machine can still give out; infinite where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":") for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return math.inf


def check_frames(capacity: int, shape: tuple[int, int]) -> None:
    """Refuses, by a ValueError, a replay whose frames would not fit."""
    frame, available = math.prod(shape), available_memory()
    if capacity * frame > available:
        raise ValueError(
            f"replay_capacity: {capacity} transitions take about "
            f"{capacity * frame / 1e9:.1f} GB, {available / 1e9:.1f} GB are available; "
            f"lower it to {int(available / frame)} or less."
        )
