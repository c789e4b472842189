"""What claims C10 and C11 compare: policies and TD errors along training."""

from collections.abc import Sequence

import numpy as np

from experiments.claims.measured import REMEDIES, last
from experiments.runs import Run

TENTH = 0.1


def perturbed(none: Run, **perturbers: Run) -> dict[str, np.ndarray]:
    """Returns C10's effects, each [S]: the accuracy of the greedy policy over the last
    tenth of training, of the default and of each method that perturbs the weights."""
    return {"accuracy, none": accuracy(none)} | {
        f"perturbed_accuracy, {name}": accuracy(run) for name, run in perturbers.items()
    }


def stability(none: Sequence[Run], **methods: Sequence[Run]) -> dict[str, np.ndarray]:
    """Returns C11's effects, each [S], by method and environment, seeds paired.

    td_sd: standard deviation over time of the log of the TD error (of the expectation,
    squared) between copies to the target network, after the first tenth of training;
    td_sd_difference and accuracy_difference: method minus none.
    """
    effects = {}
    for index, plain in enumerate(none):
        environment = plain.config["learner"]["environment"]
        effects[f"td_sd, none, {environment}"] = variability(plain)
        for name, runs in methods.items():
            case = f"{name}, {environment}"
            sd, better = variability(runs[index]), accuracy(runs[index])
            effects[f"td_sd_difference, {case}"] = sd - variability(plain)
            effects[f"accuracy_difference, {case}"] = better - accuracy(plain)
    return effects


def accuracy(run: Run) -> np.ndarray:
    """Returns the mean accuracy over the last tenth of training, [S]."""
    return between_copies(run, "eval/accuracy", 1 - TENTH).mean(axis=1)


def variability(run: Run) -> np.ndarray:
    """Returns the standard deviation over time of log eval/td_error after the first
    tenth of training (divisor rows - 1), [S].

    Raises:
      ValueError: fewer than ten rows, or a seed without a positive error.
    """
    errors = between_copies(run, "eval/td_error", TENTH)
    if errors.shape[1] < 10 or not (errors > 0).all():
        raise ValueError(
            f"{run.label}: expected eval/td_error above 0, of every seed, in ten rows "
            f"or more after the first tenth of training; got {errors.shape[1]} rows. "
            f"{REMEDIES['eval']}."
        )
    return np.log(errors).std(axis=1, ddof=1)


def between_copies(run: Run, metric: str, share: float) -> np.ndarray:
    """Returns a metric after a share of training, [S, rows], without the rows at a copy
    to the target network: there the targets have just moved, an intervention may just
    have changed the weights, and no update followed.

    Raises:
      ValueError: no such rows, or a seed without the metric in one.
    """
    times, values = run.series(metric)
    period = run.config["learner"]["target_period"]
    wanted = (times > share * last(run)) & (times % period != 0)
    if not wanted.any() or np.isnan(values[:, wanted]).any():
        raise ValueError(
            f"{run.label}: expected {metric} of every seed after {share:.0%} of "
            f"training, between copies to the target network every {period} updates; "
            "there is none. Let log_every be half that period, or less."
        )
    return values[:, wanted]
