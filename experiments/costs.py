"""What each run of a sweep costs an update, measured side by side:

  python -m experiments.costs runs/interventions [--updates=1000] [--rounds=5]

Timings of the sweep itself tell of whatever else the machine did meanwhile. Here every
program of the sweep is built for one seed, without probes, and they are advanced in
turn, round after round, on one core; CPU seconds, compilation apart, the median of the
rounds. FOLDER/costs.json has seconds an update by run; figures and tables take them.
"""

import os
import statistics
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    # Before JAX counts the cores.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import jax
from absl import app, flags, logging
from tqdm import tqdm

from experiments.build import build
from experiments.sweeps import folder
from plasticity_jax import checks
from plasticity_jax.records import RecordsError
from plasticity_jax.records.files import write_json

_UPDATES = flags.DEFINE_integer("updates", 1_000, "Of each program, each round.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Each of all programs in turn.")


def main(argv: list[str]) -> int:
    """Measures, and turns every expected failure into one clear line."""
    logging.set_verbosity(logging.WARNING)
    try:
        if len(argv) != 2:
            raise ValueError(f"expected the folder of one sweep; got {argv[1:]}.")
        _measure_all(Path(argv[1]))
    except (ValueError, OSError, RecordsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _measure_all(sweep: Path) -> None:
    checks.at_least(1, updates=_UPDATES.value, rounds=_ROUNDS.value)
    groups = folder.groups(sweep)
    if not groups:
        raise ValueError(f"{sweep}: expected a sweep's folder.")
    sides = {}
    for group in tqdm(groups, desc="compile", unit="program", disable=None):
        sides[group.slug] = _prepare(group.points[0].config)
    seconds = {slug: [] for slug in sides}
    for _ in tqdm(range(_ROUNDS.value), desc="measure", unit="round", disable=None):
        for slug, (learner, state) in sides.items():
            start = time.process_time()
            state = jax.block_until_ready(learner.advance(state, _UPDATES.value))
            seconds[slug].append((time.process_time() - start) / _UPDATES.value)
            sides[slug] = learner, state
    found = {slug: statistics.median(times) for slug, times in seconds.items()}
    write_json(sweep / folder.COSTS, found)
    for slug, cost in found.items():
        print(f"{slug:50} {1e6 * cost:10.1f} us")
    print(sweep / folder.COSTS)


def _prepare(config: dict):
    """Returns (learner, state) of one seed, compiled and begun."""
    seeds = {**config["seeds"], "count": 1, "axis": "map"}
    learner = build({**config, "seeds": seeds, "probes": {}}).learner
    state = jax.block_until_ready(learner.advance(learner.init(), 1))
    return learner, state


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
