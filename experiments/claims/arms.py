"""Which runs a claim is about: found by their configs, never by label."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from experiments import schema
from experiments.build import LEARNERS, NETWORKS, SUPPLIED
from experiments.readings import READINGS
from experiments.runs import Run, flatten
from experiments.sweeps.grids import exact
from plasticity_jax.interventions import INTERVENTIONS
from plasticity_jax.optimizers import OPTIMIZERS
from plasticity_jax.tasks.datasets import DATASETS

FACTORIES = {
    "learner": LEARNERS,
    "network": NETWORKS,
    "optimizer": OPTIMIZERS,
    "dataset": DATASETS,
}
# What changes no number: `points` and folders are told apart without them.
BESIDE = ("label", "seeds.axis", "save_every", "points")
SHOWN = 3  # runs that are nearly what is meant, in a message


class Missing(ValueError):
    """There are no runs to judge a claim on."""


def find(claim: str, rule: Mapping, runs: Sequence[Run]) -> dict[str, Run | list[Run]]:
    """Finds a claim's arms.

    Args:
      claim: its name, for messages.
      rule: `arms` {arm: {key: value}} and `setting` {key: value}, keys as
        `learner.kind`, of what a config must be; arms are equal in all that neither
        an arm names, nor `may_differ`, nor `over`, a list of keys: with it each arm is
        a list of runs, one for each combination of their values, `least` or more.
        `study`: the folder whose runs are meant where others fit too.
      runs: the arms are among them.

    Returns:
      {arm: run}, each with its config completed; with `over` {arm: runs}, arms in one
      order.

    Raises:
      Missing: an arm that no run is, or only runs of another setting.
      ValueError: arms that are there twice or unfinished, or differ in more than what
        the rule names.
    """
    runs = [dataclasses.replace(run, config=complete(run.config)) for run in runs]
    wanted = {arm: _spelt_out(keys) for arm, keys in rule["arms"].items()}
    fitting = {
        arm: _fitting(claim, arm, keys, rule["setting"], runs)
        for arm, keys in wanted.items()
    }
    free = _free(rule, wanted)
    inside = {
        arm: [run for run in found if rule.get("study") in run.workdir.parts]
        for arm, found in fitting.items()
    }
    # Runs of other studies may fit as well; they must not change a verdict.
    sets = (all(inside.values()) and _sets(rule, inside, free)) or _sets(
        rule, fitting, free
    )
    if not sets:
        _refuse_unequal(claim, rule, fitting, free)
    if not _are_one(sets):
        _refuse_several(claim, wanted, fitting, sets)
    (cases,) = sets
    _refuse_unfinished(claim, [run for arms in cases for (run,) in arms.values()])
    arms = {arm: [case[arm][0] for case in cases] for arm in wanted}
    if "over" in rule:
        return arms
    return {arm: run for arm, (run,) in arms.items()}


def complete(config: Mapping) -> dict:
    """Returns a config with the defaults of the keys that it leaves out: those of what
    its sections build are in their signatures."""
    full = {"interventions": []} | dict(config)
    for name, table in FACTORIES.items():
        section = full.get(name, {})
        if make := table.get(section.get("kind")):
            full[name] = _defaults(make) | section
    full["interventions"] = [_intervention(s) for s in full["interventions"]]
    if "probes" in full:
        full["probes"] = {
            name: (_defaults(READINGS[name]) if name in READINGS else {}) | section
            for name, section in full["probes"].items()
        }
    return full


def shown(value) -> str:
    """Returns a config's value, or a section as `key = value`, for a person."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {shown(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    return str(value)


def _intervention(section: Mapping) -> dict:
    make = INTERVENTIONS.get(section["kind"])  # none: of another version
    return {"kind": section["kind"]} | (_defaults(make) if make else {}) | section


def _spelt_out(keys: Mapping) -> dict:
    """Returns what an arm wants, its interventions with their defaults."""
    found = dict(keys)
    if "interventions" in keys:
        found["interventions"] = [_intervention(s) for s in keys["interventions"]]
    return found


def _fitting(
    claim: str, arm: str, wanted: Mapping, setting: Mapping, runs: Sequence[Run]
) -> list[Run]:
    """Returns the runs that are an arm, in the claim's setting."""
    near = [run for run in runs if wanted.items() <= flatten(run.config).items()]
    wrong = [_mismatches(run.config, {**setting, **wanted}) for run in near]
    if found := [run for run, keys in zip(near, wrong, strict=True) if not keys]:
        return found
    expected = f"{claim}: expected one run with {shown(wanted)}, the arm {arm!r}"
    if near:
        pairs = sorted(zip(near, wrong, strict=True), key=lambda pair: len(pair[1]))
        told = "; ".join(f"{run.label!r}: {', '.join(k)}" for run, k in pairs[:SHOWN])
        raise Missing(f"{expected}, in the claim's setting; got {told}.")
    labels = ", ".join(repr(run.label) for run in runs[:SHOWN])
    more = f" and {len(runs) - SHOWN} more" if len(runs) > SHOWN else ""
    raise Missing(f"{expected}; got none among {labels}{more}. Name its folder too.")


def _mismatches(config: Mapping, wanted: Mapping) -> list[str]:
    """Says what is not as the claim, or the optimiser kind it names, has it."""
    flat, own = flatten(config), {}
    if "optimizer.kind" in wanted:
        published = _defaults(OPTIMIZERS[config["optimizer"]["kind"]])
        own = {f"optimizer.{name}": value for name, value in published.items()}
    return [
        f"{key} (expected {shown(value)}, got {shown(flat.get(key, 'no such key'))})"
        for key, value in {**own, **wanted}.items()
        if key not in flat or flat[key] != value
    ]


def _free(rule: Mapping, wanted: Mapping) -> tuple[str, ...]:
    """Returns the keys and sections in which runs of one set may differ."""
    named = dict.fromkeys(key for keys in wanted.values() for key in keys)
    if "optimizer.kind" in named:
        named["optimizer"] = None
    return (*named, *rule.get("may_differ", ()), *rule.get("over", ()))


def _under(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _sets(rule: Mapping, fitting: Mapping, may_differ: Sequence) -> list[list[dict]]:
    """Puts together what differs in nothing else: each set a list of cases {arm: runs},
    those of which every arm has a run."""
    sets = {}
    for arm, found in fitting.items():
        for run in found:
            flat = flatten(run.config)
            free = (*BESIDE, *may_differ)
            rest = {k: v for k, v in flat.items() if not _under(k, free)}
            case = {k: v for k, v in flat.items() if _under(k, rule.get("over", ()))}
            cases = sets.setdefault(exact(rest), {})
            arms = cases.setdefault(exact(case), {})
            arms.setdefault(arm, []).append(run)
    whole = [
        [arms for _, arms in sorted(cases.items()) if len(arms) == len(fitting)]
        for cases in sets.values()
    ]
    return [cases for cases in whole if len(cases) >= rule.get("least", 1)]


def _are_one(sets: list[list[dict]]) -> bool:
    found = [runs for cases in sets for arms in cases for runs in arms.values()]
    return len(sets) == 1 and all(len(runs) == 1 for runs in found)


def _refuse_unequal(claim, rule, fitting, free):
    """Raises: the runs are there, and fit the setting, but not each other."""
    first, *others = fitting.values()
    for other in others:
        told, one, two = min(
            (
                (_differences(one, two, free), one, two)
                for one in first
                for two in other
            ),
            key=lambda found: len(found[0]),
        )
        if told:
            raise ValueError(
                f"{claim}: expected arms that differ in {', '.join(free)} alone; "
                f"{one.label!r} and {two.label!r} differ in {', '.join(told)}. Launch "
                "them with one config."
            )
    raise Missing(
        f"{claim}: expected runs of {rule.get('least', 1)} or more values of "
        f"{', '.join(rule.get('over', ()))}, of every arm, equal in all else; got "
        "fewer. Name their folders too."
    )


def _differences(first: Run, other: Run, free: Sequence[str]) -> list[str]:
    one, two = flatten(first.config), flatten(other.config)
    return [
        f"{key} ({shown(one.get(key, 'no such key'))} and "
        f"{shown(two.get(key, 'no such key'))})"
        for key in {**one, **two}
        if not _under(key, (*BESIDE, *free)) and one.get(key) != two.get(key)
    ]


def _refuse_several(claim, wanted, fitting, sets):
    """Raises: more than one set of runs could be meant."""
    for arm, keys in wanted.items():
        twice = [runs for cases in sets for arms in cases for runs in (arms[arm],)]
        found = next((runs for runs in twice if len(runs) > 1), fitting[arm])
        if len(found) > 1:
            labels = ", ".join(repr(run.label) for run in found)
            raise ValueError(
                f"{claim}: expected one run with {shown(keys)}, the arm {arm!r}; got "
                f"{len(found)}: {labels}. Name the one meant."
            )


def _refuse_unfinished(claim: str, runs: Sequence[Run]) -> None:
    for run in runs:
        if run.seeds and run.updates < run.config["total_updates"]:
            raise ValueError(
                f"{claim}: expected a finished run; {run.label!r} is at update "
                f"{run.updates} of {run.config['total_updates']}. Launch it again."
            )


@functools.cache
def _defaults(make) -> dict:
    """Returns a factory's defaults as a config's JSON would hold them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in schema.defaults(make, *SUPPLIED).items()
    }
