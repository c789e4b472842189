"""Runs again what a verdict needs, judges it, and sets it beside the committed one:

  python -m experiments.reproduce C5 --out=runs/reproduce
  python -m experiments.reproduce C1 C2 --out=runs/reproduce --processes=2
  python -m experiments.reproduce "C4 longer"

The sweeps are those that experiments/claims/rules.json names, each a launch of
experiments.sweep into a folder under --out; stopped, the same command goes on. Exit
code 0 says that every verdict is the committed one and every mean lies in its interval.
`C4 longer` is what else was tried for a claim that is undecided (`tried` in the rules).
--scale=quick only tries the joints: seconds, nothing to judge.
"""

import json
import shlex
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from absl import app, flags

from experiments.claims.judge import judge
from experiments.claims.report import compare
from experiments.claims.rules import command, load_rules, rule_of
from experiments.claims.thirteen import adjust, not_judged
from experiments.runs import find_runs
from plasticity_jax import checks

COMMITTED = Path("results/verdicts.json")
SCALES = ("cpu", "quick")

_OUT = flags.DEFINE_string("out", "runs/reproduce", "Folder of the sweeps.")
_SCALE = flags.DEFINE_string("scale", "cpu", "cpu, or quick: seconds, no science.")
_PROCESSES = flags.DEFINE_integer("processes", 1, "Runs at a time.")
_COMMITTED = flags.DEFINE_string("committed", str(COMMITTED), "Verdicts to compare.")


def main(argv: list[str]) -> int:
    """Runs, judges, compares; every expected failure is one clear line."""
    warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
    try:
        return _reproduce(argv[1:])
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130


def _reproduce(claims: list[str]) -> int:
    if not claims:
        names = ", ".join(load_rules())
        raise ValueError(f"expected a claim, one of {names}; got none.")
    rules = {claim: rule_of(claim) for claim in claims}
    checks.one_of("--scale", _SCALE.value, SCALES)
    checks.at_least(1, processes=_PROCESSES.value)
    committed = _read(Path(_COMMITTED.value))
    for sweep in dict.fromkeys(map(_sweep, rules.values())):
        if sweep and (code := subprocess.call([sys.executable, *shlex.split(sweep)])):
            return code  # its own message is above
    found = adjust([_judge(claim, rule) for claim, rule in rules.items()])
    same = [compare(row, committed.get(row["claim"])) for row in found]
    print("\n".join(text for text, _ in same))
    return 0 if all(reproduced for _, reproduced in same) else 1


def _sweep(rule: Mapping) -> str:
    """Returns what the interpreter is given to make a claim's runs, "" if nothing."""
    made_by = command(rule, _OUT.value, _SCALE.value).removeprefix("python ")
    return f"{made_by} --processes={_PROCESSES.value}" if made_by else ""


def _judge(claim: str, rule: Mapping) -> dict:
    runs = find_runs([Path(_OUT.value) / rule["study"]]) if "study" in rule else []
    if _SCALE.value != "quick":
        return judge(claim, runs)
    try:
        return judge(claim, runs)
    except ValueError as error:  # a tiny run may lack anything
        return not_judged(claim, str(error))


def _read(path: Path) -> dict[str, dict]:
    """Returns the committed verdicts by claim; none where there is no file."""
    if not path.is_file():
        return {}
    return {row["claim"]: row for row in json.loads(path.read_text())}


if __name__ == "__main__":
    app.run(main)
