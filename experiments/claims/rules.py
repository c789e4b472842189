"""The rules of the thirteen claims, and of what else was tried for one."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from plasticity_jax import checks

RULES = Path(__file__).with_name("rules.json")


def load_rules() -> dict[str, dict]:
    """Returns the rules of the thirteen claims, by claim."""
    rules = json.loads(RULES.read_text())
    del rules["about"]
    return rules


def trials() -> dict[str, str]:
    """Returns {trial: its claim}: what else was tried for a claim, as `C4 longer`."""
    return {
        f"{claim} {name}": claim
        for claim, rule in load_rules().items()
        for name in rule.get("tried", {})
    }


def rule_of(name: str) -> dict:
    """Returns the rule of a claim, or of a trial: its claim's, or that of a `part` of
    the claim, with the trial's own changes, about runs in a folder of their own.

    Raises:
      ValueError: neither a claim nor a trial.
    """
    rules, tried = load_rules(), trials()
    checks.one_of("claim", name, [*rules, *tried])
    rule = dict(rules[tried.get(name, name)])
    listed, parts = rule.pop("tried", {}), rule.get("parts", {})
    if name in rules:
        return rule
    word = name.partition(" ")[2]
    changes = {"study": f"{rule['study']}_{word}", **listed[word]}
    part = changes.pop("part", None)
    if part:
        del rule["parts"]
    for change in (parts.get(part, {}), changes):
        rule |= {**change, "setting": rule["setting"] | change.get("setting", {})}
    return rule | {"effects": part or name}


def command(rule: Mapping, out: str = "runs", scale: str = "cpu") -> str:
    """Returns the command that makes a claim's runs, "" where there is none."""
    if "sweep" not in rule:
        return ""
    flags = [flag.format(scale=scale) for flag in rule["sweep"]]
    folder = shlex.quote(f"--out={out}/{rule['study']}")
    return " ".join(["python -m experiments.sweep", *flags, folder])
