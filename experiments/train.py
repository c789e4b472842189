"""Runs one experiment, or continues it:

  python -m experiments.train --config=configs/block_mdp/dqn.py --workdir=runs/dqn
  python -m experiments.train --config=configs/block_mdp/dqn.py:layer_norm,quick \\
      --workdir=runs/quick --config.seeds.count=8
  python -m experiments.train --config=configs/block_mdp/dqn.py:redo,l2_init \\
      --workdir=runs/redo --config.interventions[0].tau=0.1 --set=optimizer.clip_norm=1

Variants follow the colon; the name of any intervention is one and adds it. What a flag
--config.x.y cannot give (new keys, one number a seed, whole sections), --set can.

A second launch in the same workdir goes on where the first stopped. Ctrl-C or SIGTERM
saves and ends; a second Ctrl-C ends at once, and the next launch repeats what came
after the last checkpoint. Compare runs with `python -m experiments.report DIR ...`.
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import sys
import threading
import warnings
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import axis, provenance
from experiments.build import Experiment, build
from experiments.overrides import override
from experiments.progress import Progress
from plasticity_jax.loop import Abandoned, Diverged, run
from plasticity_jax.records import DiskRecords, RecordsError, fork

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A file under configs/, with `:variant,variant` if wanted."
)
_CONFIG_JSON = flags.DEFINE_string(
    "config_json", None, "A whole config as JSON, in place of --config."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder, made if missing.")
_SET = flags.DEFINE_multi_string(
    "set", [], "path=value, in JSON, on top of the config: learner.drift=0.1; again."
)
_FORK_FROM = flags.DEFINE_string(
    "fork_from", None, "Start from the last checkpoint of the run in this folder."
)
_STOP_WITH_STDIN = flags.DEFINE_bool(
    "stop_with_stdin", False, "Save and end when standard input closes: with its owner."
)


def main(argv: list[str]) -> int:
    """Builds, runs, and turns every expected failure into one clear line."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only; got {argv[1:]}.")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax tells of every file it touches
    warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
    try:
        return _train()
    except (ValueError, ImportError, OverflowError, RecordsError, Diverged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Abandoned:
        print("stopped before anything was measured; the same command starts again")
        return 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint")
        return 130


def _train() -> int:
    config = override(_read_config(), _SET.value)
    if not _WORKDIR.value:
        raise ValueError("--workdir: expected a folder; got an empty name.")
    config = axis.resolve(config, _WORKDIR.value)
    experiment = build(config)
    forked_now = bool(_FORK_FROM.value) and fork(_FORK_FROM.value, _WORKDIR.value)
    stop, done = _Stop(), False
    if _STOP_WITH_STDIN.value:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    records = DiskRecords(_WORKDIR.value)
    try:
        records.describe(config, provenance.describe())
        done = _run(experiment, config.get("label", ""), records, stop)
    except ValueError:
        if forked_now:  # the saved state does not fit: leave no half-made fork
            shutil.rmtree(_WORKDIR.value)
        raise
    finally:
        records.close()
    if not done:
        print(f"stopped and saved; the same command continues {_WORKDIR.value}")
    return 0


def _read_config() -> dict:
    try:
        if _CONFIG_JSON.value is None:
            return json.loads(_CONFIG.value.to_json())
        config = json.loads(Path(_CONFIG_JSON.value).read_text())
    except (OSError, ValueError) as error:  # a file's own error is in the last line
        reason = str(error).strip().splitlines()[-1].strip()
        flag = "config" if _CONFIG_JSON.value is None else "config_json"
        raise ValueError(f"--{flag}: {reason}") from error
    if not isinstance(config, dict):
        raise ValueError(f"--config_json: expected a JSON object; got {config!r:.80}.")
    return config


def _stop_at_end_of_input() -> None:
    while os.read(0, 4_096):  # sys.stdin's own lock would hang the end of Python
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _run(experiment: Experiment, label: str, records, stop) -> bool:
    """Runs to the end or to a stop; says whether it was the end."""
    total_updates = experiment.counts["total_updates"]
    with Progress(total_updates, label) as progress:
        state = run(
            experiment.learner,
            experiment.probes,
            records,
            **experiment.counts,
            stop=stop,
            progress=progress,
        )
    return experiment.learner.updates(state) == total_updates


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
    """Parses the command line; what is wrong with it is one clear line."""
    try:
        # ml_collections prints a traceback of its own before it raises.
        with contextlib.redirect_stderr(io.StringIO()):
            return flags.FLAGS(argv)
    except (flags.Error, OSError, ValueError, AttributeError, KeyError) as error:
        print(f"error: {_plain(error)}", file=sys.stderr)
        sys.exit(1)


def _plain(error: Exception) -> str:
    """What a person needs of an error that ml_collections or absl reports."""
    text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    if found := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text):
        return f"the config has no key {found[2]!r}. Did you mean {found[1]!r}?"
    if isinstance(error, KeyError | AttributeError):
        return f"the config has no key {text.split(chr(10))[0].strip(chr(34))}."
    # A config file's own error comes inside a traceback, in the message.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if re.match(r"\w*Error: ", line)]
    return reasons[-1].partition(": ")[2] if reasons else lines[0]


if __name__ == "__main__":
    flags.mark_flags_as_mutual_exclusive(["config", "config_json"], required=True)
    flags.mark_flag_as_required("workdir")
    app.run(main, flags_parser=parse_flags)
