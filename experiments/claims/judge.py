"""From effects to a verdict, by rules that were fixed before the runs."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.claims import EFFECTS
from experiments.claims.arms import find, shown
from experiments.claims.measured import pair
from experiments.claims.rules import command, rule_of, trials
from experiments.runs import Run
from plasticity_jax.statistics import bootstrap_mean, bootstrap_p_value

COMPARE = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip
SHOWN = 3  # runs with other seeds, in a reason


class Met(NamedTuple):
    """Whether a condition is met, in words, and how surely."""

    met: bool
    text: str
    p: float  # two-sided; NaN where there is nothing to resample


def judge(claim: str, runs: Sequence[Run]) -> dict:
    """Judges one claim, or what else was tried for it, on finished runs.

    Args:
      claim: its name in the rules: C1, or C4 longer.
      runs: the claim's arms among them, told by what the rules want of their configs;
        a trial's also by their folder, as its settings may be the claim's own.

    Returns:
      claim, text, verdict (holds, does not hold, undecided, not testable), reason,
      p (two-sided: how surely, None where nothing is), seeds (those that every arm
      has), effects on them {name: {mean, lo, hi, values}}, runs and command; of a
      claim with parts: parts, each such a verdict, or `not judged` without its runs.

    Raises:
      Missing: an arm that is not there, or of another setting.
      ValueError: an unknown claim; an arm unfinished or there twice; a metric that was
        not recorded.
    """
    rule = rule_of(claim)
    if claim in trials():
        runs = [run for run in runs if rule["study"] in run.workdir.parts]
    if "not_testable" in rule:
        found = outcome("not testable", rule["not_testable"])
    elif "parts" in rule:
        found = _judge_parts(rule, runs)
    else:
        found = _judge_one(claim, rule, runs)
    return {"claim": claim, "text": rule["claim"]} | found | {"command": command(rule)}


def decide(rule: Mapping, effects: Mapping) -> tuple[str, str, float]:
    """Returns (verdict, reason, p).

    p is the largest over the conditions that decide: all those of a claim that holds,
    or is undecided; those met of a claim that does not hold. NaN: not testable.

    Args:
      rule: lists `needs`, `holds`, `does_not_hold` of [effect, bound, sign, threshold];
        "every X" and "any X" in place of an effect are about those named "X, ...".
      effects: {name: {"mean": , "lo": , "hi": }}, `values` or `p` among them.
    """
    needs, holds, against = (
        [_check(condition, effects) for condition in rule[name]]
        for name in ("needs", "holds", "does_not_hold")
    )
    if any(not need.met for need in needs):
        return "not testable", _told(needs, False), np.nan
    if all(condition.met for condition in holds):
        return "holds", _told(holds, True), _largest(one.p for one in holds)
    if met := [condition for condition in against if condition.met]:
        return "does not hold", _told(met, True), _largest(one.p for one in met)
    return "undecided", _told(holds, False), _largest(one.p for one in holds)


def combine(parts: Sequence[Mapping]) -> dict:
    """Returns the verdict on a claim that says all of its parts at once."""
    by_verdict = {}
    for part in parts:
        by_verdict.setdefault(part["verdict"], []).append(part)
    told = [
        f"{', '.join(part['claim'] for part in found)}: {verdict}"
        for verdict, found in by_verdict.items()
    ]
    deciding, verdict = parts, "undecided"
    if "does not hold" in by_verdict:
        deciding, verdict = by_verdict["does not hold"], "does not hold"
    elif set(by_verdict) == {"holds"}:
        verdict = "holds"
    elif set(by_verdict) <= {"not testable", "not judged"}:
        verdict = "not testable"
    known = [part["p"] for part in deciding if part["p"] is not None]
    return outcome(verdict, "; ".join(told), _largest(known))


def outcome(verdict: str, reason: str, p: float = np.nan) -> dict:
    """Returns a verdict without effects; p is None where it is NaN."""
    known = None if np.isnan(p) else float(p)
    empty = {"seeds": [], "effects": {}, "runs": {}}
    return {"verdict": verdict, "reason": reason, "p": known} | empty


def _judge_parts(rule: Mapping, runs: Sequence[Run]) -> dict:
    parts, missing = [], []
    for name, part in rule["parts"].items():
        whole = {**rule, **part, "setting": rule["setting"] | part.get("setting", {})}
        try:
            found = _judge_one(name, whole, runs)
        except ValueError as error:
            missing.append(error)
            found = outcome("not judged", str(error))
        parts.append({"claim": name, "text": part["claim"]} | found)
    if len(missing) == len(parts):
        raise missing[0]
    return combine(parts) | {"parts": parts}


def _judge_one(claim: str, rule: Mapping, runs: Sequence[Run]) -> dict:
    arms = find(claim, rule, runs)
    listed = {arm: found if "over" in rule else [found] for arm, found in arms.items()}
    everyone = [run for found in listed.values() for run in found]
    alone = rule.get("unit") == "agent"  # else seeds are paired between runs
    common = [s for s in rule["seeds"] if all(s in run.seeds for run in everyone)]
    paired = {
        arm: [pair(run, _own(run, rule) if alone else common) for run in found]
        for arm, found in listed.items()
    }
    if "over" not in rule:
        paired = {arm: run for arm, (run,) in paired.items()}
    compared = rule.get("effects", claim)
    effects_of = EFFECTS.get(compared) or EFFECTS[compared.split()[0]]
    effects = effects_of(**paired) if alone or common else {}
    summaries = {name: _summarise(name, found) for name, found in effects.items()}
    if wrong := [text for run in everyone for text in _seeds(run, rule, alone)]:
        verdict = outcome("not testable", "; ".join(wrong[:SHOWN]))
    else:
        verdict = outcome(*decide(rule, summaries))
    origins = {arm: [_origin(run) for run in found] for arm, found in listed.items()}
    return verdict | {
        "seeds": rule["seeds"] if alone else common,
        "effects": summaries,
        "runs": origins if "over" in rule else {a: o for a, (o,) in origins.items()},
    }


def _check(condition: Sequence, effects: Mapping) -> Met:
    """Says whether one condition is met. NaN meets none."""
    effect, bound, sign, threshold = condition
    quantifier, _, family = effect.partition(" ")
    names = [effect]
    if quantifier in ("every", "any"):
        names = [name for name in effects if name.startswith(f"{family}, ")]
    values = [effects[name][bound] for name in names]
    met = [bool(COMPARE[sign](value, threshold)) for value in values]
    p_values = [_p_value(effects[name], sign, threshold) for name in names]
    if quantifier == "any":  # one of several is more easily met: Bonferroni
        smallest = min(p_values, default=np.nan)
        p, is_met = float(np.minimum(len(names) * smallest, 1.0)), any(met)
    else:
        p, is_met = _largest(p_values), bool(met) and all(met)
    numbers = ", ".join(f"{value:.3g}" for value in values)
    return Met(is_met, f"{bound} {effect} {numbers} {sign} {threshold:g}", p)


def _p_value(effect: Mapping, sign: str, threshold: float) -> float:
    """Twice the bootstrap's share on the wrong side: .05 is where the 95 % interval
    ends. An effect that is a count brings its own."""
    if "values" not in effect:
        return effect.get("p", np.nan)
    resampled = bootstrap_mean(effect["values"]).resampled
    side = "above" if sign in (">=", ">") else "below"
    return min(1.0, 2 * bootstrap_p_value(resampled, threshold, side))


def _told(conditions: Sequence[Met], met: bool) -> str:
    return "; ".join(
        one.text if met else f"not {one.text}" for one in conditions if one.met == met
    )


def _largest(p_values: Iterable[float]) -> float:
    return max((p for p in p_values if not np.isnan(p)), default=np.nan)


def _own(run: Run, rule: Mapping) -> list[int]:
    return [seed for seed in rule["seeds"] if seed in run.seeds]


def _seeds(run: Run, rule: Mapping, may_diverge: bool) -> list[str]:
    """Says what is wrong with a run's seeds, if anything is. More than the rule's are
    not looked at."""
    if set(rule["seeds"]) <= set(run.all_seeds if may_diverge else run.seeds):
        return []
    diverged = [f"{seed} diverged at {at}" for seed, at in run.failed.items()]
    got = ", ".join([*map(str, run.seeds), *diverged]) or "none"
    expected = f"expected the rule's seeds {shown(rule['seeds'])}"
    return [f"{run.label!r}: {expected}; got {got}"]


def _summarise(name: str, values) -> dict:
    """Returns {mean, lo, hi, values} of an effect [S]; what is no such array already
    is a summary."""
    if isinstance(values, Mapping):
        return dict(values)
    if not np.isfinite(values).all():  # the interval would leave that seed out
        raise ValueError(f"{name}: expected a finite number a seed; got {values}.")
    mean, low, high = map(float, bootstrap_mean(values)[:3])
    return {"mean": mean, "lo": low, "hi": high, "values": values.tolist()}


def _origin(run: Run) -> dict:
    launch = run.launches[0] if run.launches else {}
    names = ("command", "commit", "dirty", "started", "python", "devices")
    return {"label": run.label} | {name: launch.get(name) for name in names}
