"""What a person sees of a run: a bar on a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm

LINE_SECONDS = 10.0


class Progress:
    """Shows updates per second, time left and the newest plasticity figure.

    On a terminal a tqdm bar; otherwise one line at most every LINE_SECONDS.
    """

    def __init__(self, total: int, label: str, file=sys.stderr):
        self._bar = tqdm(
            total=total,
            desc=label or "run",
            unit="update",
            unit_scale=True,
            dynamic_ncols=True,
            file=file,
            disable=not file.isatty(),
        )
        self._file, self._label, self._total = file, label or "run", total
        self._start = self._first = None
        self._next_line = 0.0
        self._note = ""
        self._phases: set[str] = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def __call__(self, updates: int, rows: list[dict], phase: str) -> None:
        """Takes the update count, the newest rows, one a seed, and what begins."""
        now = time.monotonic()
        if phase:
            self._begin(phase)
            return
        if self._start is None:  # a continued run has its first updates behind it
            self._start, self._first = now, updates
            self._bar.initial = self._bar.last_print_n = updates
        self._note = _plasticity(rows) or self._note
        if not self._bar.disable:
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.update(updates - self._bar.n)
        elif now >= self._next_line or updates == self._total:
            self._next_line = now + LINE_SECONDS
            print(self._line(updates, now), file=self._file, flush=True)

    def _begin(self, phase: str) -> None:
        """A bar shows each phase; plain lines only the first, in which it compiles."""
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{phase} ... {self._note}")
        elif phase not in self._phases and phase not in ("metrics", "save"):
            print(f"[{self._label}] {phase} ...", file=self._file, flush=True)
        self._phases.add(phase)

    def _line(self, updates: int, now: float) -> str:
        parts = [f"[{self._label}] {updates:,}/{self._total:,} updates"]
        if updates > self._first:
            rate = (updates - self._first) / max(now - self._start, 1e-9)
            left = (self._total - updates) / rate
            parts.append(f"{rate:,.{0 if rate >= 10 else 1}f} updates/s")
            parts.append(f"{left:,.0f} s left")
        return ", ".join(parts + [self._note] * bool(self._note))


def _plasticity(rows: list[dict]) -> str:
    """The mean probe loss over seeds, and how it changed; empty where not measured."""
    losses = [row["probe/final_loss"] for row in rows if row.get("probe/final_loss")]
    changes = [
        row["probe/plasticity_loss"] for row in rows if "probe/final_loss" in row
    ]
    changes = [change for change in changes if change is not None]
    if not losses or not changes:
        return ""
    loss, change = sum(losses) / len(losses), sum(changes) / len(changes)
    return f"probe loss {loss:.3f} ({round(change, 3) + 0.0:+.3f})"  # no -0.000
