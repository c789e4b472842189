"""The loop: advance to the next due time, probe, write, save."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from plasticity_jax import checks
from plasticity_jax.instruments import Instruments
from plasticity_jax.types import Learner, Probe

PIECE_SECONDS = 2.0  # a signal is answered, and progress shown, about this often


class Diverged(Exception):
    """No seed has a finite loss left; the message names the update."""


def run(
    learner: Learner,
    probes: Mapping[str, Probe],
    records,
    *,
    total_updates: int,
    log_every: int,
    save_every: int,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, list[dict], str], None] = lambda updates, rows, phase: (
        None
    ),
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
      ValueError: a count below 1.
      Diverged: no seed has a finite loss left. The last good checkpoint stays.
    """
    checks.at_least(
        1, total_updates=total_updates, log_every=log_every, save_every=save_every
    )
    probe_times = {time for probe in probes.values() for time in probe.times}
    watch = _stopwatch(records, progress)
    instruments = Instruments(learner, probes, watch)

    def note(state, updates):
        rows, arrays, state = instruments.read(state, updates)
        records.write(rows, arrays)
        return rows, state

    def save(state, updates):
        _refuse_divergence(learner, state)
        with watch("save", updates):
            tree = {"learner": learner.export(state)}
            records.save(updates, tree | {"references": instruments.references})

    if found := records.restore():
        saved, tree = found
        state, rows = learner.restore(tree["learner"]), []
        instruments.references = tree.get("references", {})
    else:
        saved = None
        with watch("init", 0):
            state = learner.init()
        instruments.prepare(state)
        rows, state = note(state, 0)

    updates, piece = learner.updates(state), 1
    progress(updates, rows, "")
    while updates < total_updates and not stop():
        periodic = (_after(updates, period) for period in (log_every, save_every))
        due = min(total_updates, *periodic, *(t for t in probe_times if t > updates))
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


def _after(updates: int, period: int) -> int:
    return (updates // period + 1) * period


def _refuse_divergence(learner: Learner, state) -> None:
    failed_at = jax.device_get(learner.failed_at(state))
    if (failed_at >= 0).all():
        raise Diverged(
            f"the loss was no longer finite at update {failed_at.max()}"
            + (f", in all {len(failed_at)} seeds" if len(failed_at) > 1 else "")
            + ". The last checkpoint before it stays; a smaller learning rate or "
            "gradient clipping is the usual cure."
        )


def _stopwatch(records, progress) -> Callable:
    """Returns a context manager that writes a phase's seconds to the records, and
    says what begins: a first call compiles, and may take a while."""
    seen = set()

    @contextlib.contextmanager
    def watch(phase: str, updates: int, num_updates: int = 0):
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
