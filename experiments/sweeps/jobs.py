"""A sweep's runs as processes, some at a time, none of which outlives the sweep."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.progress import Progress
from experiments.sweeps.groups import Group
from experiments.threads import SIDE_BY_SIDE
from plasticity_jax.records.files import write_json

LAUNCHES = "launches"
_LOOK_SECONDS = 0.2  # between looks at the processes
_TAIL = 4_096  # bytes of a file in which its last whole line is


class Job(NamedTuple):
    """A group in the sweep's folder."""

    group: Group
    out: Path

    @property
    def workdir(self) -> Path:
        """The run's folder."""
        return self.out / self.group.slug

    @property
    def config(self) -> Path:
        """The group's config as JSON, which the run is started with."""
        return self.out / LAUNCHES / f"{self.group.slug}.json"

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.config.with_name(f"{self.group.slug}.log")

    def is_finished(self) -> bool:
        """Whether the last checkpoint is there, and so is everything before it."""
        total = str(self.group.config["total_updates"])
        return (self.workdir / "checkpoints" / total).is_dir()

    def done(self) -> int:
        """Updates made so far, of all members."""
        if self.is_finished():
            return self.group.total
        try:
            updates = json.loads(_last_line(self.workdir / "timing.jsonl"))["updates"]
        except (OSError, ValueError):
            return 0
        return self.group.num_members * updates


def _last_line(path: Path) -> str:
    """Returns the last line that has an end; empty without any."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        lines = file.read().split(b"\n")[:-1]
    return lines[-1].decode(errors="replace") if lines else ""


def run_all(
    jobs: Sequence[Job], processes: int, lock: int, on_end: Callable[[Job], None]
) -> dict[str, str]:
    """Runs what is not finished; a failure leaves the others going.

    Args:
      jobs: of the sweep, in order.
      processes: how many at a time.
      lock: a file descriptor that every process holds open as long as it lives.
      on_end: told each job whose process has ended.

    Returns:
      {slug of a job that failed: why}.

    Raises:
      KeyboardInterrupt: Ctrl-C, after every process has saved and ended.
    """
    waiting = [job for job in jobs if not job.is_finished()]
    ended = sum(job.group.total for job in jobs if job.is_finished())
    running, failed, shown = [], {}, -1
    with Progress(sum(job.group.total for job in jobs), "sweep") as progress:
        try:
            while waiting or running:
                going_on = waiting + [job for job, _ in running]
                made = ended + sum(job.done() for job in going_on)
                if made != shown:
                    progress(made, [], "")
                shown = made
                while waiting and len(running) < processes:
                    job = waiting.pop(0)
                    running.append((job, _start(job, processes, lock)))
                time.sleep(_LOOK_SECONDS)
                for job, process in list(running):
                    if process.poll() is not None:
                        running.remove((job, process))
                        ended += job.group.total
                        if not job.is_finished():
                            failed[job.group.slug] = _reason(job, process.returncode)
                        on_end(job)
        except KeyboardInterrupt:
            for _, process in running:
                process.terminate()
            for _, process in running:
                process.wait()
            raise
    return failed


def _start(job: Job, processes: int, lock: int) -> subprocess.Popen:
    """Starts a run that ends when the pipe to it closes, and so never outlives us."""
    command = ["experiments.train", f"--config_json={job.config}"]
    command += [f"--workdir={job.workdir}", "--stop_with_stdin"]
    write_json(job.config, job.group.config)
    with open(job.log, "w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=(SIDE_BY_SIDE if processes > 1 else {}) | os.environ,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C comes to us alone
        )


def _reason(job: Job, code: int) -> str:
    lines = job.log.read_text(errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")] or lines
    last = errors[-1].removeprefix("error: ") if errors else "it printed nothing"
    return f"{last} (exit code {code}; {job.log})"
