"""The loop: advance to the next due time, probe, write, save."""

import bisect
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from plasticity_jax import checks
from plasticity_jax.instruments import Instruments
from plasticity_jax.types import Learner, Probe

PIECE_SECONDS = 2.0  # a signal is answered, and progress shown, about this often


class Diverged(Exception):
    """No seed has a finite loss left; the message names the update."""


class Abandoned(Exception):
    """A stop was asked for before the first row was whole: nothing was saved."""


def run(
    learner: Learner,
    probes: Mapping[str, Probe],
    records,
    *,
    total_updates: int,
    log_every: int,
    save_every: int,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, list[dict], str], None] = lambda *_: None,
) -> Any:
    """Runs a learner, or continues it from what `records` holds.

    Args:
      learner: what to advance.
      probes: measurements by name; none changes what is learned.
      records: `DiskRecords` or `MemoryRecords`.
      total_updates: where to end.
      log_every: updates between rows; each probe time is a row as well.
      save_every: updates between checkpoints; the end is one as well.
      stop: asked between pieces; when it says true the run saves and returns.
      progress: told (update count, the newest rows, phase), the phase's name as it
        begins and "" after every piece.

    Returns:
      The learner's state where it stopped.

    Raises:
      ValueError: a count below 1, or a saved state that is of other seeds, another
        network, or already past `total_updates`.
      Diverged: no seed has a finite loss left. The last good checkpoint stays.
      Abandoned: stopped before the first row was whole.
    """
    checks.at_least(
        1, total_updates=total_updates, log_every=log_every, save_every=save_every
    )
    next_due = _schedule(probes, total_updates, (log_every, save_every))
    saved, updates, rows = None, 0, []
    watch = _stopwatch(
        records, progress, lambda: saved is None and updates == 0 and stop()
    )
    instruments = Instruments(learner, probes, watch)

    def note(state, updates):
        rows, arrays, state = instruments.read(state, updates)
        records.write(rows, arrays)
        return rows, state

    def save(state, updates):
        _refuse_divergence(learner, state)
        with watch("save", updates):
            records.save(updates, _pack(learner, instruments, state))

    if found := records.restore():
        saved, tree = found
        state, instruments.references = _unpack(learner, tree, saved, total_updates)
        instruments.prepare(state)
    else:
        with watch("init", 0):
            state = learner.init()
        instruments.prepare(state)
        rows, state = note(state, 0)

    updates, piece = learner.updates(state), 1
    progress(updates, rows, "")
    while updates < total_updates and not stop():
        due = next_due(updates)
        num_updates = min(piece, due - updates)
        with watch("advance", updates + num_updates, num_updates) as seconds:
            state = jax.block_until_ready(learner.advance(state, num_updates))
        piece = round(num_updates * min(8.0, PIECE_SECONDS / max(seconds(), 1e-3))) or 1
        updates += num_updates
        if updates == due:
            rows, state = note(state, updates)
            _refuse_divergence(learner, state)
        progress(updates, rows, "")
        if updates == due and updates % save_every == 0:
            save(state, updates)
            saved = updates
    if updates != saved:
        save(state, updates)
    return state


def _schedule(probes, total_updates: int, periods: tuple[int, ...]) -> Callable:
    """Returns (updates) -> the first update count after it at which a row is due."""
    times = sorted({time for probe in probes.values() for time in probe.times})

    def next_due(updates: int) -> int:
        periodic = (updates // period * period + period for period in periods)
        return min(
            total_updates, *periodic, *times[bisect.bisect(times, updates) :][:1]
        )

    return next_due


def _pack(learner: Learner, instruments: Instruments, state) -> dict:
    return {
        "learner": learner.export(state),
        "references": instruments.references,
        "seeds": np.asarray(learner.seeds),
    }


def _unpack(learner: Learner, tree: dict, saved: int, total_updates: int):
    """Returns (state, references) of a saved tree that fits this run."""
    if tuple(tree["seeds"].tolist()) != learner.seeds:
        raise ValueError(
            f"seeds: expected those of the saved state, {tree['seeds'].tolist()}; got "
            f"{list(learner.seeds)}."
        )
    if saved > total_updates:
        raise ValueError(
            f"total_updates: expected at least {saved}, where the saved state is; got "
            f"{total_updates}."
        )
    return learner.restore(tree["learner"]), tree.get("references", {})


def _refuse_divergence(learner: Learner, state) -> None:
    failed_at = jax.device_get(learner.failed_at(state))
    if (failed_at >= 0).all():
        raise Diverged(
            f"the loss was no longer finite at update {failed_at.max()}"
            + (f", in all {len(failed_at)} seeds" if len(failed_at) > 1 else "")
            + ". Checkpoints from before it stay; a smaller learning rate or gradient "
            "clipping is the usual cure."
        )


def _stopwatch(records, progress, give_up) -> Callable:
    """Returns a context manager that writes a phase's seconds to the records, and
    says what begins: a first call compiles, and may take a while."""
    seen = set()

    @contextlib.contextmanager
    def watch(phase: str, updates: int, num_updates: int = 0):
        if give_up():
            raise Abandoned
        if phase != "advance" or phase not in seen:
            progress(updates - num_updates, [], phase)
        start = time.perf_counter()
        seconds = lambda: time.perf_counter() - start
        yield seconds
        records.time(
            phase=phase,
            updates=updates,
            num_updates=num_updates,
            seconds=round(seconds(), 6),
            first_call=phase not in seen,  # compilation included
        )
        seen.add(phase)

    return watch
