"""A peer in an environment of its own: a process that takes one JSON object a line.

  {"build": name, "arrays": in.npz, "answer": out.npz, ...settings}  ->  {}
  {"measure": seconds}                                               ->  {"seconds": s}

`build` makes the named case from the arrays, runs it once (so compilation is apart)
and saves what it computed; `measure` times it again. A failure is {"error": text}.
This file holds both ends; it needs the standard library and NumPy.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import timing

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-peers"


class Missing(Exception):
    """The peer, or its environment, is not there."""


class Peer:
    """Our end: a worker pinned to the same core, started when first asked for."""

    def __init__(self, environment: str, worker: str):
        self._environment = ENVIRONMENTS / environment
        self._worker = f"benchmarks.peers.{worker}"
        self._process = None
        self._folder = tempfile.TemporaryDirectory()

    def build(self, name: str, arrays: dict, **settings) -> dict[str, np.ndarray]:
        """Builds a case, the peer's only one from then on. Returns what it computed."""
        paths = {
            end: str(Path(self._folder.name, f"{end}.npz"))
            for end in ("arrays", "answer")
        }
        np.savez(paths["arrays"], **arrays)
        self._ask(build=name, **paths, **settings)
        with np.load(paths["answer"]) as answer:
            return dict(answer)

    def measure(self, at_least: float) -> float:
        """Returns CPU seconds a call of the case built last."""
        return self._ask(measure=at_least)["seconds"]

    def close(self) -> None:
        """Ends the worker."""
        if self._process:
            self._process.communicate()  # it leaves at the end of its input
        self._folder.cleanup()

    def _ask(self, **request) -> dict:
        if self._process is None:
            self._start()
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"error": "the worker died"}
        if "error" in reply:
            raise RuntimeError(f"{self._worker}: {reply['error']}")
        return reply

    def _start(self) -> None:
        if not (self._environment / ".complete").exists():
            log = self._environment.with_suffix(".error")
            why = log.read_text().strip() if log.exists() else "run .ci/bench-setup"
            raise Missing(why.splitlines()[-1] if why else "its set-up was cut")
        # Another jax must not read our compilation cache.
        env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
        self._process = subprocess.Popen(
            [str(self._environment / "bin" / "python"), "-m", self._worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=env | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        )


def serve(cases: dict[str, Callable]) -> None:
    """The worker's end: answers requests until its input ends.

    Args:
      cases: by name, a function (arrays, **settings) -> (run, answer): `run()` does the
        work that is timed, `answer` holds the arrays to compare, by name.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the replies
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        reply = {}
        try:
            if "measure" in request:
                reply["seconds"] = timing.seconds(run, request["measure"])
            else:
                run = None  # frees the case before
                run = _build(cases, **request)
        except Exception:
            reply["error"] = traceback.format_exc()
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _build(cases, build, arrays, answer, **settings) -> Callable:
    with np.load(arrays) as data:
        run, answers = cases[build](dict(data), **settings)
    np.savez(answer, **answers)
    return run
