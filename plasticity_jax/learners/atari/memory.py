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
