"""The numbers that sum up a run, and how they are written."""

from pathlib import Path

import numpy as np
import pytest

from experiments.runs import Run
from experiments.summary import (
    conclusion,
    interval,
    number,
    performance_metric,
    summarise,
    summary_table,
)


def make_run(label, rows):
    """A run in memory, from rows of (updates, seed, metrics)."""
    rows = [{"updates": u, "seed": s, "failed_at": None} | m for u, s, m in rows]
    return Run(label, Path("nowhere"), {}, [], rows, [])


def test_summary_of_a_run():
    rows = [
        (0, 0, {"probe/final_loss": 0.1, "eval/accuracy": 0.1}),
        (0, 1, {"probe/final_loss": 0.3, "eval/accuracy": 0.1}),
        (9, 0, {"probe/final_loss": 0.4, "probe/plasticity_loss": 0.3}),
        (9, 1, {"probe/final_loss": 0.4, "probe/plasticity_loss": 0.1}),
        (9, 2, {"probe/final_loss": 99.0, "failed_at": 8}),
        (10, 0, {"eval/accuracy": 0.9, "probe/unsolved_at_init": 1}),
        (10, 1, {"eval/accuracy": 0.7, "probe/unsolved_at_init": 0}),
    ]
    summary = summarise(make_run("a", rows), "eval/accuracy")
    assert summary.initial_loss == pytest.approx(0.2)
    assert summary.final_loss == pytest.approx(0.4)
    assert summary.plasticity_loss == pytest.approx((0.2, 0.1, 0.3))
    assert summary.performance == pytest.approx(0.8)
    assert (summary.num_seeds, summary.updates) == (2, 10)
    assert summary.failed == {2: 8} and summary.unsolved_seeds == 1
    assert summary.sharpness is None and summary.dead is None


def test_performance_is_what_all_runs_share():
    accuracy = make_run("a", [(0, 0, {"eval/accuracy": 1.0, "train/loss": 1.0})])
    game = make_run("b", [(0, 0, {"train/return": 1.0, "train/loss": 1.0})])
    assert performance_metric([accuracy]) == "eval/accuracy"
    assert performance_metric([accuracy, game]) == "train/loss"
    assert performance_metric([make_run("c", [])]) is None


def test_summary_table_is_aligned():
    runs = [make_run("a", [(0, 0, {})]), make_run("long\nlabel", [(10_000, 0, {})])]
    lines = summary_table(runs).splitlines()
    assert len(lines) == 3
    column = lines[0].index("updates")
    assert lines[1][column:].startswith("0 ")
    assert lines[2][column:].startswith("10,000 ")


def test_conclusion_of_many_runs_names_the_ends():
    runs = [
        make_run(f"run {i}", [(0, 0, {"probe/final_loss": 0.1 * i})]) for i in range(6)
    ]
    text = conclusion(runs)
    assert "highest probe loss, run 5" in text and "lowest, run 0" in text
    assert "run 3" not in text and "one seed" in text
    assert "No run has measured the probe" in conclusion([make_run("a", [])])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.00031, "0.0003"),
        (-0.0128, "-0.013"),
        (2.345, "2.35"),
        (18.34, "18.3"),
        (2550.4, "2,550"),
        (3.2e7, "3e+07"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_interval_of_one_seed_says_so():
    assert interval((0.2, np.nan, np.nan)) == "0.200 [one seed]"
    assert interval((0.2, 0.1, 0.3)) == "0.200 [0.100, 0.300]"
