"""What claims C1 and C2 compare: a stream of random labels under two settings of Adam.

A *boundary* is the update after which the labels change; the row at a boundary still
tells of the task that ends. The row 50 updates later holds the largest step since.
"""

import numpy as np

from experiments.claims.measured import at, at_end, between
from experiments.runs import Run

AFTER = 50  # updates after a boundary in which a huge step would come


def collapse(default: Run) -> dict[str, np.ndarray]:
    """Returns C1's effects, each [S].

    first_task_accuracy, final_accuracy: at the end of the first and the last task;
    dead_fraction: of hidden units, over the task's own images, at the end;
    update_norm_ratio: largest norm of an update in the 50 after a boundary, over the
    median norm in the task before, the median over boundaries.
    """
    ratios = update_norm_ratios(default)  # first: it refuses tasks too short
    accuracy = _at_task_ends(default)
    return {
        "first_task_accuracy": accuracy[:, 0],
        "final_accuracy": accuracy[:, -1],
        "dead_fraction": at_end(default, "representation/dead_fraction"),
        "update_norm_ratio": np.median(ratios, axis=1),
    }


def cure(default: Run, tuned: Run) -> dict[str, np.ndarray]:
    """Returns C2's effects, each [S], seeds paired.

    A seed's collapse is the first task that default Adam ends at an accuracy of .2 or
    less, or its last where there is none. default_first_task_accuracy (what never
    learned has not collapsed) and default_accuracy_at_collapse; then the tuned arm's
    first_task_accuracy, and its drop from there to the task of the collapse.
    """
    default_accuracy, tuned_accuracy = _at_task_ends(default), _at_task_ends(tuned)
    collapsed = default_accuracy <= 0.2
    task = np.where(collapsed.any(axis=1), collapsed.argmax(axis=1), -1)[:, None]
    at_collapse = np.take_along_axis(tuned_accuracy, task, axis=1)[:, 0]
    return {
        "default_first_task_accuracy": default_accuracy[:, 0],
        "default_accuracy_at_collapse": np.take_along_axis(
            default_accuracy, task, axis=1
        )[:, 0],
        "tuned_first_task_accuracy": tuned_accuracy[:, 0],
        "tuned_drop_at_collapse": tuned_accuracy[:, 0] - at_collapse,
    }


def boundaries(run: Run) -> np.ndarray:
    """Returns the update counts at which a task ends, the last one's included.

    Raises:
      ValueError: fewer than two tasks.
    """
    task = run.config["learner"]["updates_per_task"]
    ends = np.arange(task, run.config["total_updates"] + 1, task)
    if len(ends) < 2:
        raise ValueError(
            f"{run.label}: expected two tasks or more; {run.config['total_updates']} "
            f"updates hold {len(ends)} of learner.updates_per_task = {task}. Raise "
            "total_updates."
        )
    return ends


def update_norm_ratios(run: Run) -> np.ndarray:
    """Returns the largest step after each boundary but the last, over the median step
    of the task before it, [S, boundaries].

    Raises:
      ValueError: tasks too short to look at, or steps that were not recorded.
    """
    ends, task = boundaries(run), run.config["learner"]["updates_per_task"]
    if task < AFTER:
        raise ValueError(
            f"{run.label}: expected tasks of {AFTER} updates or more, for the rule "
            f"looks that far past a boundary; got learner.updates_per_task = {task}. "
            "The variant quick is too short to judge."
        )
    at(run, "train/update_norm_max", ends[:-1] + AFTER)
    at(run, "train/update_norm", ends[:-1])
    ratios = []
    for end in ends[:-1]:
        after = between(run, "train/update_norm_max", end, end + AFTER)
        before = between(run, "train/update_norm", end - task, end)
        ratios.append(after.max(axis=1) / np.median(before, axis=1))
    return np.stack(ratios, axis=1)


def _at_task_ends(run: Run) -> np.ndarray:
    return at(run, "eval/accuracy", boundaries(run))  # [S, tasks]
