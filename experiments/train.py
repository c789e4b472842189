"""Runs one experiment, or continues it:

  python -m experiments.train --config=configs/block_mdp/dqn.py --workdir=runs/dqn
  python -m experiments.train --config=configs/block_mdp/dqn.py:layer_norm,quick \\
      --workdir=runs/quick --config.seeds.count=8

A second launch in the same workdir goes on where the first stopped. Ctrl-C or SIGTERM
saves and ends; a second Ctrl-C ends at once, and the next launch repeats what came
after the last checkpoint. Compare runs with `python -m experiments.report DIR ...`.
"""

import json
import re
import signal
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import provenance
from experiments.build import build
from experiments.progress import Progress
from plasticity_jax.loop import Diverged, run
from plasticity_jax.records import DiskRecords, RecordsError, fork

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A file under configs/, with `:variant,variant` if wanted."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder, made if missing.")
_FORK_FROM = flags.DEFINE_string(
    "fork_from", None, "Start from the last checkpoint of the run in this folder."
)


def main(argv: list[str]) -> int:
    """Builds, runs, and turns every expected failure into one clear line."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only; got {argv[1:]}.")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax tells of every file it touches
    try:
        return _train()
    except (ValueError, ImportError, RecordsError, Diverged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _train() -> int:
    config = json.loads(_CONFIG.value.to_json())
    experiment = build(config)
    if _FORK_FROM.value:
        fork(_FORK_FROM.value, _WORKDIR.value)
    stop = _Stop()
    records = DiskRecords(_WORKDIR.value)
    try:
        records.describe(config, provenance.describe())
        with Progress(experiment.counts["total_updates"], config["label"]) as progress:
            run(
                experiment.learner,
                experiment.probes,
                records,
                **experiment.counts,
                stop=stop,
                progress=progress,
            )
    finally:
        records.close()
    if stop():
        print(f"stopped and saved; the same command continues {_WORKDIR.value}")
    return 0


class _Stop:
    """Says whether SIGTERM or Ctrl-C came; a second Ctrl-C interrupts at once."""

    def __init__(self):
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def __call__(self) -> bool:
        return self._asked

    def _ask(self, number, frame):
        del number, frame
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nstopping: saving first", file=sys.stderr)


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; an unknown config key gives one clear line."""
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError) as error:  # as ml_collections reports it
        text = " ".join(str(error.args[0]).split("\n"))
        if found := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text):
            text = f"{found[2]!r}. Did you mean {found[1]!r}?"
        print(f"error: the config has no key {text}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=parse_flags)
