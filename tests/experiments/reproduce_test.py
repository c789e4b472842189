"""The comparison with a committed verdict, and the command's joints."""

import json
import shlex
import subprocess
import sys

import pytest

from experiments.claims.report import compare
from experiments.claims.rules import command, load_rules


def row(mean, verdict="holds", **more):
    effects = {"drop": {"mean": mean, "lo": 0.1, "hi": 0.3}}
    text = {"claim": "C2", "text": "it does", "reason": "so"}
    return text | {"verdict": verdict, "effects": effects} | more


@pytest.mark.parametrize(
    ("now", "same", "told"),
    [
        (row(0.29), True, "drop: 0.200 [0.100, 0.300]; now 0.290, within"),
        (row(0.3 + 1e-7), True, "within"),  # another machine's rounding
        (row(0.31), False, "now 0.310, outside"),
        (row(0.2, verdict="undecided"), False, "C2  UNDECIDED"),
        (row(0.2) | {"effects": {}}, False, "now not there"),
    ],
)
def test_a_verdict_beside_the_committed_one(now, same, told):
    text, found = compare(now, row(0.2))
    assert found == same and told in text and "committed: HOLDS" in text


def test_parts_are_compared_one_by_one():
    text, same = compare(row(0.2, parts=[row(0.4)]), row(0.2, parts=[row(0.2)]))
    assert not same and "C2: drop: 0.200 [0.100, 0.300]; now 0.400, outside" in text


def test_the_verdict_on_a_part_is_compared_too():
    then = row(0.2, parts=[row(0.2) | {"claim": "C8 a"}])
    now = row(0.2, parts=[row(0.2, verdict="undecided") | {"claim": "C8 a"}])
    text, same = compare(now, then)
    assert not same and "C8 a: UNDECIDED, committed: HOLDS  <--" in text
    then["parts"][0]["verdict"] = "not judged"
    assert compare(now, then)[1]


@pytest.mark.parametrize("parts", [{}, {"parts": []}])
def test_parts_that_were_not_judged_before(parts):
    now = row(0.2, parts=[row(0.4) | {"claim": "C8 a"}])
    assert compare(now, row(0.2, **parts))[1]
    text, same = compare(now, row(0.2, verdict="not judged", **parts))
    assert same and "no committed row" in text


def test_a_folder_may_have_a_blank_in_its_name():
    words = shlex.split(command(load_rules()["C9"], "my runs"))
    assert words[-1] == "--out=my runs/sharpness"


def test_nothing_committed_is_nothing_to_disagree_with():
    text, same = compare(row(0.2), None)
    assert same and "no committed row" in text


def reproduce(*arguments):
    given = [sys.executable, "-m", "experiments.reproduce", *arguments]
    return subprocess.run(given, capture_output=True, text=True, check=False)


def test_the_command(tmp_path):
    """A claim that needs no runs; the committed one says that it holds."""
    committed = tmp_path / "verdicts.json"
    committed.write_text(json.dumps([row(0.2) | {"claim": "C12", "effects": {}}]))
    found = reproduce("C12", f"--committed={committed}", f"--out={tmp_path}")
    assert found.returncode == 1 and "C12  NOT TESTABLE" in found.stdout
    assert "committed: HOLDS  <--" in found.stdout and found.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected a claim, one of C1, C2"),
        (("C1", "--scale=small"), "--scale: expected one of cpu, quick"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, message):
    found = reproduce(*arguments)
    assert found.returncode == 1 and found.stderr.startswith("error: ")
    assert message in found.stderr and found.stderr.count("\n") == 1
