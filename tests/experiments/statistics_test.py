"""Means, bootstrap intervals, and the summary's numbers."""

from pathlib import Path

import numpy as np
import pytest

from experiments.runs import Run
from experiments.statistics import (
    conclusion,
    interval,
    mean_interval,
    number,
    performance_metric,
    summarise,
    summary_table,
)


def make_run(label, rows):
    """A run in memory, from rows of (updates, seed, metrics)."""
    rows = [{"updates": u, "seed": s, "failed_at": None} | m for u, s, m in rows]
    return Run(label, Path("nowhere"), {}, [], rows, [])


def test_interval_of_a_constant_is_the_constant():
    mean, low, high = mean_interval(np.full((5, 2, 3), 0.25))
    for bound in (mean, low, high):
        np.testing.assert_array_equal(bound, np.full((2, 3), 0.25))


def test_interval_matches_the_exact_bootstrap_of_two_seeds():
    # Means of resamples of {0, 1}: 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    mean, low, high = mean_interval(np.array([0.0, 1.0]))
    assert (mean, low, high) == (0.5, 0.0, 1.0)


def test_interval_matches_resampling_by_index():
    values = np.random.default_rng(1).gamma(1.0, size=12)
    _, low, high = mean_interval(values, num_resamples=40_000)
    draws = np.random.default_rng(2).integers(12, size=(40_000, 12))
    expected = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    np.testing.assert_allclose([low, high], expected, atol=0.01)


def test_interval_covers_a_known_mean():
    values = np.random.default_rng(0).normal(loc=3.0, size=(40, 500))
    _, low, high = mean_interval(values)
    coverage = np.mean((low <= 3.0) & (high >= 3.0))
    # 95 % at best; the percentile bootstrap of 40 is a little narrow.
    assert 0.91 <= coverage <= 0.97


def test_interval_is_repeatable_and_ignores_missing_seeds():
    values = np.array([[1.0, 5.0, np.nan], [2.0, np.nan, np.nan], [4.0, 7.0, 2.0]])
    mean, low, high = mean_interval(values)
    np.testing.assert_array_equal(mean, [7 / 3, 6.0, 2.0])
    assert (low[1], high[1]) == (5.0, 7.0)
    assert np.isnan(low[2]) and np.isnan(high[2])  # one seed: nothing to resample
    for again, bound in zip(mean_interval(values), (mean, low, high), strict=True):
        np.testing.assert_array_equal(again, bound)
    assert np.isnan(mean_interval(np.full((2, 1), np.nan))[0]).all()


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
