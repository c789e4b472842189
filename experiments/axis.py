"""`seeds.axis = auto`: seeds side by side or one after the other, by measurement."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import jax

from experiments.build import build
from experiments.runs import CONFIG
from plasticity_jax.learners.vectorize import AXES

MEASURED_UPDATES = 200


def resolve(config: Mapping, workdir: str) -> dict:
    """Returns the config with an axis in the place of `auto`.

    The workdir's config remembers what was measured, so that a run goes on as it began
    whatever the machine is busy with. Seeds on an accelerator go side by side in most
    cases, small networks on CPU too, large ones there one after the other.
    """
    seeds = config.get("seeds", {})
    if seeds.get("axis") != "auto":
        return dict(config)
    chosen = _remembered(Path(workdir) / CONFIG) or _measured(config)
    return {**config, "seeds": {**seeds, "axis": chosen}}


def _remembered(path: Path) -> str | None:
    if not path.is_file():
        return None
    found = json.loads(path.read_text()).get("seeds", {}).get("axis")
    return found if found in AXES else None


def _measured(config: Mapping) -> str:
    seconds = {}
    for axis in AXES:
        settings = {**config, "seeds": {**config["seeds"], "axis": axis}}
        learner = build({k: v for k, v in settings.items() if k != "probes"}).learner
        state = learner.advance(learner.init(), 1)  # compiles
        jax.block_until_ready(state)
        # Seconds of this process alone where the host computes: others may be at work.
        on_host = jax.default_backend() == "cpu"
        clock = time.process_time if on_host else time.perf_counter
        start = clock()
        jax.block_until_ready(learner.advance(state, MEASURED_UPDATES))
        seconds[axis] = clock() - start
    chosen = min(seconds, key=seconds.get)
    told = ", ".join(f"{axis} {taken:.2f} s" for axis, taken in seconds.items())
    print(f"seeds.axis: {chosen} ({MEASURED_UPDATES} updates: {told})", flush=True)
    return chosen
