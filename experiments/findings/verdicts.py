"""The verdicts that are committed: judged anew from a study's runs, and as tables."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from experiments.claims.judge import COMPARE, combine, judge
from experiments.claims.rules import load_rules, rule_of, trials
from experiments.claims.thirteen import adjust, not_judged
from experiments.findings import collect
from experiments.findings.data import RESULTS
from experiments.findings.markdown import table
from experiments.summary import interval, number

FILE = f"{RESULTS}/verdicts.json"
VERDICTS = ("holds", "does not hold", "undecided", "not testable", "not judged")
SIGNS = {"<=": "≤", "<": "<", ">=": "≥", ">": ">"}
TRIED = (
    "A claim that does not hold, or is undecided, was tried again: longer, wider, on"
    " the other architecture, by the same rule, on seeds of its own. It changes no"
    " verdict; it says how far one may be trusted."
)
FEW_SEEDS = (
    "Intervals are 95 % percentile bootstraps of the mean over seeds (C5: of a rank"
    " correlation over agents). Of few seeds they are too narrow: they cover the mean"
    " of a normal distribution in some 84 % of samples of 5 and 89 % of 8, and p-values"
    " are too small accordingly, so a bound that just clears its threshold says little."
    " Thresholds, seeds and conditions were fixed before the runs"
    " (`experiments/claims/rules.json`), looking at seeds 0 to 3 alone. p: the largest"
    " over a verdict's deciding conditions, after Holm over the thirteen claims (of a"
    " part, in brackets: its own); no part of the rule."
)


def read(root: Path) -> list[dict]:
    """Returns the committed verdicts on all claims; not judged where there is none."""
    return _rows(root, load_rules())


def read_trials(root: Path) -> list[dict]:
    """Returns the committed verdicts on what else was tried; as `read`."""
    return _rows(root, trials())


def _rows(root: Path, names: Iterable[str]) -> list[dict]:
    path = root / FILE
    found = json.loads(path.read_text()) if path.is_file() else []
    there = {row["claim"]: row for row in found}
    missing = "its study is not there yet"
    return [there.get(name) or not_judged(name, missing) for name in names]


def update(folders: Sequence[Path], root: Path) -> list[str]:
    """Judges the claims of the studies in these folders, each on its own study's
    finished runs, and what else was tried for them, and writes the verdicts; those that
    cannot be keep what they have.

    Returns:
      Why a claim of a study given could not be judged.
    """
    notes, verdicts, rows = [], [], [*read(root), *read_trials(root)]
    rules = {row["claim"]: rule_of(row["claim"]) for row in rows}
    judged = {rule.get("study") for rule in rules.values()}
    found = {one.name: collect.read(one) for one in folders if one.name in judged}
    for row in rows:
        claim, rule = row["claim"], rules[row["claim"]]
        if "not_testable" in rule:
            row = judge(claim, ())
        elif rule["study"] in found:
            runs, unfinished = found[rule["study"]]
            try:
                _refuse_part(rule, unfinished)
                row = merge(row, judge(claim, runs))
            except ValueError as error:
                notes.append(f"{claim}: not judged: {error}")
        verdicts.append(row)
    text = json.dumps(_tidy(adjust(verdicts)), allow_nan=False)
    rounded = json.loads(text, parse_float=lambda number: float(f"{float(number):.6g}"))
    (root / FILE).write_text(json.dumps(rounded, indent=1) + "\n")
    return notes


def _refuse_part(rule: Mapping, unfinished: Sequence[str]) -> None:
    """Raises: a claim about many settings, of which some are not there yet."""
    if unfinished and any(
        "over" in one for one in (rule, *rule.get("parts", {}).values())
    ):
        raise ValueError(
            f"expected the whole sweep, as the claim is over its settings; of"
            f" {rule['study']} {len(unfinished)} runs are not finished."
        )


def merge(earlier: Mapping, row: dict) -> dict:
    """Returns a verdict whose parts that were not judged now are those of earlier."""
    if "parts" not in row:
        return row
    known = {part["claim"]: part for part in earlier.get("parts", ())}
    parts = [
        known.get(part["claim"], part) if part["verdict"] == "not judged" else part
        for part in row["parts"]
    ]
    return row | combine(parts) | {"parts": parts}


def _tidy(verdicts: Sequence[dict]) -> list[dict]:
    """Keeps the labels of runs alone: results/<study>.json says where they came from,
    and a run's own command names places on a machine."""
    kept = []
    for row in verdicts:
        runs = {
            arm: [one if isinstance(one, str) else one["label"] for one in _list(found)]
            for arm, found in row["runs"].items()
        }
        parts = {"parts": _tidy(row["parts"])} if "parts" in row else {}
        kept.append(row | {"runs": runs} | parts)
    return kept


def _list(found) -> list:
    return found if isinstance(found, list) else [found]


def at_once(verdicts: Sequence[Mapping]) -> str:
    """Says in one table which claims hold."""
    rows = []
    for row in verdicts:
        told = f"**{row['verdict']}**"
        if row["verdict"] != "not judged" and "parts" in row:
            told += "<br>" + "<br>".join(
                f"{_part(part)}: {part['verdict']}" for part in row["parts"]
            )
        rows.append([row["claim"], told, row["text"]])
    return table(["", "at this scale", "the paper's claim"], rows)


def tally(verdicts: Sequence[Mapping]) -> str:
    """Says in one sentence which claims hold."""
    named = [
        f"**{verdict}**: {', '.join(found)}"
        for verdict in VERDICTS
        if (found := [row["claim"] for row in verdicts if row["verdict"] == verdict])
    ]
    return "; ".join(named) + "."


def in_numbers(verdicts: Sequence[Mapping]) -> str:
    """Returns the table of what decided, with intervals, thresholds and commands."""
    rules, rows = load_rules(), []
    for row in verdicts:
        rule = rules[row["claim"]]
        again = f"`python -m experiments.reproduce {row['claim']}`"
        again = "–" if "not_testable" in rule else again
        p = row.get("p_holm")
        told = "–" if p is None else f"{p:.2g}"
        head = [f"**{row['claim']}**", row["verdict"]]
        if "parts" not in row:
            rows.append([*head, *_evidence(row, rule), told, again])
            continue
        rows.append([*head, "its parts:", "", "", told, again])
        for part in row["parts"]:
            whole = rule | rule["parts"][part["claim"]]
            own = "–" if part["p"] is None else f"({part['p']:.2g})"
            cells = [_part(part), part["verdict"], *_evidence(part, whole), own, ""]
            rows.append(cells)
    header = ["claim", "verdict", "effect, 95 % interval", "needs", "n", "p", "again"]
    return table(header, rows)


def what_else(tried: Sequence[Mapping]) -> str:
    """Returns the table of what else was tried, "" if nothing was."""
    rows = []
    for row in tried:
        if row["verdict"] != "not judged":
            again = f'`python -m experiments.reproduce "{row["claim"]}"`'
            evidence = _evidence(row, rule_of(row["claim"]))
            named = f"{trials()[row['claim']]}: {row['text']}"
            rows.append([named, row["verdict"], *evidence, again])
    header = ["tried", "verdict", "effect, 95 % interval", "needs", "n", "again"]
    return table(header, rows) if rows else ""


def _part(part: Mapping) -> str:
    """Names a part without the claim's number."""
    return part["claim"].partition(" ")[2]


def _evidence(row: Mapping, rule: Mapping) -> tuple[str, str, str]:
    """Returns the effects that decided, what was needed of each, and how many seeds."""
    if not row["effects"]:
        return row["reason"], "–", "–"
    effects, needs = [], []
    for effect, bound, sign, threshold in _deciding(row, rule):
        quantifier, _, family = effect.partition(" ")
        several = quantifier in ("every", "any")
        for name, found in row["effects"].items():
            if name == effect or (several and name.startswith(f"{family}, ")):
                met = "✓" if COMPARE[sign](found[bound], threshold) else "✗"
                of = f"{quantifier}: " if several else ""
                effects.append(f"{spelt(name)} {_number(found)}")
                needs.append(f"{of}{bound} {SIGNS[sign]} {number(threshold)} {met}")
    if not effects:
        return row["reason"], "–", _count(row)
    return "<br>".join(effects), "<br>".join(needs), _count(row)


def _deciding(row: Mapping, rule: Mapping) -> list:
    """Returns the conditions that a verdict turned on; of one undecided, those of
    `holds`."""
    if row["verdict"] == "not testable":
        return rule["needs"]
    if row["verdict"] != "does not hold":
        return rule["holds"]
    # The reason lists those that were met, in the rule's own words.
    met = row["reason"]
    return [one for one in rule["does_not_hold"] if f"{one[1]} {one[0]} " in met]


def _count(row: Mapping) -> str:
    agents = row["effects"].get("agents")
    return f"{agents['mean']:g} agents" if agents else f"{len(row['seeds'])} seeds"


def _number(effect: Mapping) -> str:
    mean, low, high = effect["mean"], effect["lo"], effect["hi"]
    return number(mean) if low == mean == high else interval((mean, low, high))


def spelt(name: str) -> str:
    """Writes an effect's name in words."""
    return name.replace("_", " ")
