"""Other plasticity probes than a config's own, and what they find in its final states.

Each differs from the config's probe in one thing: how many images or steps, the rate of
the optimiser, whether it goes on from the run's state, what the targets are.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import optax

from experiments import provenance
from experiments.build import build
from experiments.readings import READINGS
from experiments.remeasure import Request, alter, make_request, members, run_probe
from experiments.runs import CONFIG
from plasticity_jax.records import read_checkpoint
from plasticity_jax.records.files import read_json
from plasticity_jax.types import Learner, Probe

REFERENCE = "reference"  # the config's own
RATES = {"third_rate": 1 / 3, "triple_rate": 3.0}  # times the optimiser's
KEYS = {"other_targets": 1}  # the same probe drawn anew: what no ranking can exceed
NAMES = (
    REFERENCE, *KEYS, "half_pool", "whole_pool", "half_steps", "double_steps",
    *RATES, "carry", "random_teacher", "offset",
)  # fmt: skip
REPORTED = (
    "final_loss", "initial_loss", "baseline", "plasticity_loss", "rho",
    "unsolved_at_init",
)  # fmt: skip


class Saved(NamedTuple):
    """A finished run's last checkpoint."""

    config: dict
    learner: Learner
    updates: int
    state: object
    references: dict
    settings: dict  # of the config's own probe, defaults included
    available: int  # images in the probe's pool


def changes(name: str, own: Mapping, available: int) -> dict:
    """Returns the settings in which a probe differs from the config's own.

    Args:
      name: one of `NAMES`.
      own: the config's settings, defaults included.
      available: how many images there are.
    """
    return {
        "half_pool": {"num_inputs": max(2, own["num_inputs"] // 2)},
        "whole_pool": {"num_inputs": available},
        "half_steps": {"num_steps": max(1, own["num_steps"] // 2)},
        "double_steps": {"num_steps": 2 * own["num_steps"]},
        "carry": {"opt_state": "carry"},
        "random_teacher": {"family": "random_teacher"},
        "offset": {"family": "offset"},
    }.get(name, {})


@functools.lru_cache(maxsize=1)  # a process measures one run after the other
def load(workdir: Path) -> Saved:
    """Rebuilds a run's learner and reads its newest checkpoint."""
    config = read_json(workdir / CONFIG, dict)
    learner = build(config | {"probes": {}}).learner
    updates, tree = read_checkpoint(workdir)
    state = learner.restore(tree["learner"])
    show = learner.measure(lambda view: view.inputs)
    pool = jax.eval_shape(show, learner.snapshot(state))
    own = make_request(config, "plasticity", updates).settings
    references = tree.get("references", {})
    return Saved(config, learner, updates, state, references, own, pool.shape[1])


def measure(
    workdir: Path, chosen: Sequence[tuple[int | None, int]], name: str
) -> list[dict]:
    """Measures the final states of some members of a run with one probe.

    Args:
      workdir: of a finished run.
      chosen: (point, seed) of each member; point None in a run without points.
      name: one of `NAMES`.

    Returns:
      A row a member: point, seed, failed_at, updates, the probe's settings
      (learning_rate: a factor), `REPORTED`, seconds (the program's compilation
      included, shared out alike), and the provenance; none where the probe would be
      the config's own again.
    """
    start, saved = time.perf_counter(), load(workdir)
    different = changes(name, saved.settings, saved.available)
    if different and different.items() <= saved.settings.items():
        return []
    request = _request(saved, name, different)
    learner = alter(_at_rate(saved.learner, RATES.get(name, 1.0)), key=KEYS.get(name))
    learner, references = members(learner, saved.references, chosen)
    rows = run_probe(learner, saved.state, request, references, lambda _: None).rows
    settings = request.settings | {"learning_rate": RATES.get(name, 1.0)}
    seconds = round((time.perf_counter() - start) / len(rows), 3)
    origin = provenance.describe()
    return [
        {key: row.get(key) for key in ("point", "seed", "failed_at", "updates")}
        | settings
        | {reading: row[f"probe/{reading}"] for reading in REPORTED}
        | {"seconds": seconds}
        | origin
        for row in rows
    ]


def _request(saved: Saved, name: str, different: Mapping) -> Request:
    told = ",".join(f"{key}={value}" for key, value in different.items())
    request = make_request(saved.config, f"plasticity:{told}", saved.updates)
    if name in (REFERENCE, "carry") and "plasticity" in saved.references:
        # What theta_0 reached: it starts with a fresh optimiser in any case.
        return request._replace(as_in_run=True)
    probe = Probe(_without_fresh(request.settings), request.probe.times)
    return request._replace(probe=probe)


def _without_fresh(settings: Mapping):
    """Returns a measurement of theta_t and theta_0 in one program, without the fresh
    network: what is not returned is not computed."""
    measure, _ = READINGS["plasticity"](False, **settings)

    def measured(view, reference, key):
        result = measure(view, reference, key)
        scalars = {f"probe/{name}" for name in REPORTED}
        kept = {n: value for n, value in result.scalars.items() if n in scalars}
        return result._replace(scalars=kept)

    return measured


def _at_rate(learner: Learner, factor: float) -> Learner:
    """Returns the learner with its probes' optimiser at a multiple of its rate, which
    is what multiplies a chain's steps at last."""
    if factor == 1:
        return learner

    def measure(fn):
        def scaled(view, *args):
            tx = optax.chain(view.tx, optax.scale(factor))
            return fn(view._replace(tx=tx), *args)

        return learner.measure(scaled)

    return learner._replace(measure=measure)
