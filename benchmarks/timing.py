"""Seconds that can be compared on a shared machine. Standard library only: the peers
import it too."""

import os
import statistics
import time
from collections.abc import Callable


def pin() -> None:
    """Keeps this process, and those it starts, to one core and one thread.

    To be called before JAX, NumPy or PyTorch are imported: they count the cores then.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


def seconds(thunk: Callable, at_least: float = 0.0) -> float:
    """Returns CPU seconds a call, called again until that many seconds have passed."""
    start = time.process_time()
    calls = 0
    while not calls or time.process_time() - start < at_least:
        thunk()
        calls += 1
    return (time.process_time() - start) / calls


def interleave(one: Callable, other: Callable, rounds: int) -> tuple[float, ...]:
    """Measures both in turn. Returns (median of one / other, median of each).

    Each argument is a function () -> what it measured.
    """

    def rested(measure):
        # A side's last gigabytes are freed in the background: not at the other's cost.
        time.sleep(0.4)
        return measure()

    pairs = [(rested(one), rested(other)) for _ in range(rounds)]
    ratio = statistics.median(a / b for a, b in pairs)
    return ratio, *(statistics.median(column) for column in zip(*pairs, strict=True))
