"""What one row of the table compares."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from benchmarks import timing
from benchmarks.peers.process import Peer

AT_LEAST = 0.4  # CPU seconds of one measurement: short calls are repeated


class Peers(NamedTuple):
    """Workers in environments of their own; a case stays built until the next."""

    torch: Peer
    tangents: Peer


class Comparison(NamedTuple):
    """Two sides that were seen to do the same, and how to measure each."""

    ours: Callable[[], float]
    peer: Callable[[], float]
    gap: float  # between what the two sides computed
    tolerance: float  # of that gap
    unit: str = "s"  # or B: bytes, a constant


def relative_gap(ours, peer) -> float:
    """Returns |ours - peer| / |peer|, Euclidean: a relu that rounding turns at its kink
    changes single entries by more than rounding would."""
    ours, peer = np.asarray(ours, np.float64), np.asarray(peer, np.float64)
    return float(np.linalg.norm(ours - peer) / np.linalg.norm(peer))


def timed(function: Callable, *args) -> Callable[[], float]:
    """Returns () -> CPU seconds of a compiled function's call."""

    def measure():
        return timing.seconds(lambda: jax.block_until_ready(function(*args)), AT_LEAST)

    return measure


def of_peer(peer: Peer) -> Callable[[], float]:
    """Returns () -> CPU seconds of the case that a worker has built."""
    return lambda: peer.measure(AT_LEAST)


def compile_for(function: Callable, *args):
    """Compiles for these arguments; the result can be called and weighed."""
    return jax.jit(function).lower(*args).compile()


def memory(compiled) -> float:
    """Returns the bytes that a call needs beside its arguments."""
    analysis = compiled.memory_analysis()
    return float(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)
