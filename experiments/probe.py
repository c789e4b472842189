"""Probes a saved model again, with other probes or on other images:

  python -m experiments.probe --workdir=runs/dqn
  python -m experiments.probe --workdir=runs/dqn --updates=15000 --out=again.json \\
      --probe=hessian:loss=training,num_steps=30 --probe=representation
  python -m experiments.probe --workdir=runs/dqn --inputs=images.npz \\
      --probe=plasticity:num_inputs=100 --optimizer=adam:learning_rate=1e-4

The run may have ended, been stopped, or still be going on: nothing in its folder is
changed or locked. A probe's settings are those of the run's config, except for what
--probe says. With nothing changed the figures are those of metrics.jsonl, bit for bit.
The table shows mean, lowest and highest over the seeds that did not diverge.
"""

import shlex
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from absl import app, flags, logging

from experiments import provenance
from experiments.build import SUPPLIED, build
from experiments.outputs import check_out
from experiments.readings import READINGS
from experiments.remeasure import (
    Result,
    alter,
    load_images,
    make_request,
    parse_call,
    run_probe,
    table,
)
from experiments.runs import Run, find_runs
from experiments.schema import choose
from plasticity_jax.optimizers import OPTIMIZERS
from plasticity_jax.records import RecordsError, read_checkpoint
from plasticity_jax.records.files import replacing, write_json

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder.", required=True)
_UPDATES = flags.DEFINE_integer(
    "updates", None, "Which checkpoint, by its update count. Default: the newest."
)
_PROBE = flags.DEFINE_multi_string(
    "probe",
    None,
    "NAME or NAME:SETTING=VALUE,SETTING=VALUE, as often as wanted. NAME is one of "
    f"{', '.join(READINGS)}, its settings are the keys of config.probes.NAME. Default: "
    "all probes of the run's config.",
)
_INPUTS = flags.DEFINE_string(
    "inputs",
    None,
    "An NPZ file whose array `images` takes the place of the probe pool: uint8 from 0 "
    "to 255, or floating point from 0 to 1, each of the run's shape. A probe on the "
    "training loss keeps the learner's own batch; `weights` looks at no input.",
)
_OPTIMIZER = flags.DEFINE_string(
    "optimizer",
    None,
    "KIND:SETTING=VALUE,...: what the plasticity probe trains with in place of the "
    f"run's optimiser. KIND is one of {', '.join(OPTIMIZERS)}.",
)
_KEY = flags.DEFINE_integer(
    "key", None, "Any number: other targets, noise and start vectors than the run's."
)
_OUT = flags.DEFINE_string(
    "out", None, "A JSON file to write; arrays go beside it, an NPZ file a probe."
)


def main(argv: list[str]) -> int:
    """Probes, and turns every expected failure into one clear line."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only; got {argv[1:]}.")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    warnings.showwarning = lambda text, *_: _say(f"warning: {text}")
    try:
        _probe_again()
    except (ValueError, ImportError, OSError, RecordsError) as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _probe_again() -> None:
    run, out = _find_run(_WORKDIR.value), check_out(_OUT.value)
    texts = _PROBE.value or list(run.config.get("probes", {}))
    if not texts:
        raise ValueError("--probe: expected at least one; the run's config names none.")
    learner = build(run.config | {"probes": {}}).learner
    updates, tree = read_checkpoint(run.workdir, _UPDATES.value)
    requests = [make_request(run.config, text, updates) for text in texts]
    _say(f"{run.label}, update {updates}, seeds {', '.join(map(str, learner.seeds))}")
    state = learner.restore(tree["learner"])
    learner, references = _alter(learner, state), tree.get("references", {})
    if any(flag.value is not None for flag in (_INPUTS, _OPTIMIZER, _KEY)):
        references = {}  # they were measured on other terms
    results = []
    for number, request in enumerate(requests, 1):
        _say(f"[{number}/{len(requests)}] {request.name} ...")
        if _INPUTS.value and request.settings.get("loss") == "training":
            _say("  on the learner's own batch: --inputs is no batch of its loss")
        results.append(run_probe(learner, state, request, references, _say))
        print(f"{request}\n{table(results[-1].rows)}\n", flush=True)
    if out:
        _write(out, run, updates, results)


def _find_run(workdir: str) -> Run:
    runs = find_runs([workdir])
    if runs[0].num_points > 1:
        raise ValueError(
            f"--workdir: expected a run without points; there are "
            f"{runs[0].num_points} in {workdir}. experiments.sensitivity probes sweeps."
        )
    if len(runs) > 1:
        names = ", ".join(run.workdir.name for run in runs)
        raise ValueError(f"--workdir: expected one run; {workdir} holds {names}.")
    return runs[0]


def _alter(learner, state):
    changes = {}
    if _INPUTS.value is not None:
        changes["inputs"] = load_images(_INPUTS.value, learner, state)
    if _OPTIMIZER.value is not None:
        where = f"--optimizer={_OPTIMIZER.value}"
        kind, settings = parse_call(where, _OPTIMIZER.value)
        section = {"kind": kind} | settings
        changes["tx"] = choose(where, section, OPTIMIZERS, *SUPPLIED)()
    return alter(learner, key=_KEY.value, **changes)


def _write(out: Path, run: Run, updates: int, results: list[Result]) -> None:
    """Writes what was found, and where it comes from."""
    counts, found = Counter(), []
    for result in results:
        name = result.request.name
        counts[name] += 1
        suffix = f"_{counts[name]}" if counts[name] > 1 else ""
        arrays = out.with_name(f"{out.stem}_{name}{suffix}.npz")
        with replacing(arrays) as temporary:
            np.savez_compressed(temporary, **result.arrays)
        found.append(
            {
                "probe": name,
                "settings": result.request.settings,
                "reference": result.reference,
                "arrays": arrays.name,
                "rows": result.rows,
            }
        )
    command = shlex.join(["python", "-m", "experiments.probe", *sys.argv[1:]])
    report = provenance.describe() | {
        "command": command,
        "run": {"workdir": str(run.workdir), "label": run.label},
        "launches": run.launches,
        "updates": updates,
        "inputs": _INPUTS.value,
        "optimizer": _OPTIMIZER.value,
        "key": _KEY.value,
        "probes": found,
    }
    write_json(out, report)
    print(out)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; what is wrong with it is one clear line."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
