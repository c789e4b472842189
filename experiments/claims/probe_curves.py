"""What claim C6 compares: learning curves of the probe from theta_t and from theta_0.

A curve is the loss over the probe's pool at 21 points of its budget, one a target. The
targets of a seed are averaged: the unit is the seed.
"""

import numpy as np

from experiments.claims.measured import at_end, initial_over_baseline, last
from experiments.runs import Run

ROUNDING = 1e-6  # of b: what goes up by less is float32's rounding, not variation


def shape(default: Run) -> dict[str, np.ndarray]:
    """Returns C6's effects, each [S], of theta at the end against theta_0.

    initial_loss_over_b; steps_ratio: probe steps until the loss is b / 2, of theta_t
    over theta_0, the budget for a curve that never is there (so the ratio is too small
    then); never_there: the share of theta_t's curves of which that is true;
    log_variation_ratio: of the sum of what a curve goes up; late_drop: the share of
    the loss of theta_t that the last fifth of the budget takes away.
    """
    baseline = at_end(default, "probe/baseline")
    (steps, before), (_, after) = (
        _curves(default, time) for time in (0, last(default))
    )
    reached, start = (
        steps_to(curves, steps, baseline / 2) for curves in (after, before)
    )
    upward, calm = (
        np.maximum(upward_variation(curves), ROUNDING * baseline)
        for curves in (after, before)
    )
    late, end = late_and_last(after.mean(axis=1), steps)
    never = (after > baseline[:, None, None] / 2).all(axis=2)
    return {
        "initial_loss_over_b": initial_over_baseline(default),
        "steps_ratio": reached / start,
        "never_there": never.mean(axis=1),
        "log_variation_ratio": np.log(upward / calm),
        "late_drop": (late - end) / late,
    }


def steps_to(curves: np.ndarray, steps: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Returns the probe steps until a curve is at `level` or below, [S]: between two
    points by a straight line, the budget where it never is, the mean over targets.

    Args:
      curves: [S, T, L].
      steps: [L], ascending from 0.
      level: [S].
    """

    def reach(curve, level):
        below = np.flatnonzero(curve <= level)
        if not below.size:
            return steps[-1]
        first = below[0]
        pair = slice(max(first - 1, 0), first + 1)
        return np.interp(-level, -curve[pair], steps[pair])

    return np.array(
        [
            np.mean([reach(curve, bound) for curve in of_seed])
            for of_seed, bound in zip(curves, level, strict=True)
        ]
    )


def upward_variation(curves: np.ndarray) -> np.ndarray:
    """Returns the sum of a curve's increases, the mean over targets, [S]."""
    return np.maximum(np.diff(curves, axis=2), 0).sum(axis=2).mean(axis=1)


def late_and_last(curves: np.ndarray, steps: np.ndarray) -> tuple:
    """Returns the loss at four fifths of the budget and at its end, [S] each."""
    late = [np.interp(0.8 * steps[-1], steps, curve) for curve in curves]
    return np.array(late), curves[:, -1]


def _curves(run: Run, updates: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (steps [L], curves [S, T, L]) of the probe at an update count."""
    if updates not in run.array_times("plasticity"):
        raise ValueError(
            f"{run.label}: expected curves of the probe `plasticity` at update "
            f"{updates}; there are none. Have the probe there, with `at`."
        )
    arrays = run.arrays("plasticity", updates)
    return arrays["steps"][0], arrays["curves"]
