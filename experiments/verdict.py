"""Judges claims of the paper on finished runs, by rules fixed beforehand.

    python -m experiments.verdict runs/* --out=verdicts.json
    python -m experiments.verdict DIR [DIR ...] --claims=C1,C2

DIR is the workdir of a run, or a folder of them, as a sweep's. The rules are in
experiments/claims/rules.json: thresholds, seeds, and what a claim needs to be testable.
Without --claims all thirteen are judged; what the runs given cannot tell is said, with
the command that makes the runs.
"""

import json
import sys
import warnings

from absl import app, flags

from experiments.claims.report import table
from experiments.claims.rules import load_rules
from experiments.claims.thirteen import every, named
from experiments.outputs import check_out
from experiments.runs import find_runs

_CLAIMS = flags.DEFINE_list("claims", ["all"], "which claims to judge")
_OUT = flags.DEFINE_string("out", None, "path of a JSON file with effects and runs")


def main(argv: list[str]) -> int:
    """Judges, and turns every expected failure into one clear line."""
    if len(argv) < 2:
        raise app.UsageError("expected at least one DIR, a workdir; got none")
    warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
    try:
        _judge_all(argv[1:])
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _judge_all(paths: list[str]) -> None:
    if not any(_CLAIMS.value):
        claims = ", ".join(load_rules())
        raise ValueError(f"--claims: expected all, or some of {claims}; got none.")
    out = check_out(_OUT.value)
    runs = find_runs(paths)
    verdicts = every(runs) if _CLAIMS.value == ["all"] else named(_CLAIMS.value, runs)
    print(table(verdicts))
    if out:
        out.write_text(json.dumps(verdicts, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    app.run(main)
