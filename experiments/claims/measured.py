"""What effects are made of: metrics of every seed judged, where they must be there."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.runs import Run

REMEDIES = {
    "eval": "Let log_every divide the update counts meant",
    "train": "Set learner.log_update_norm, and let rows be due there",
    "representation": "Have the probe `representation` there, with `every`",
    "weights": "Have the probe `weights` there, with `every`",
    "probe": "Have the probe `plasticity` there, with `at`",
    "hessian": "Have the probe `hessian` there, with `at`",
    "gradients": "Have the probe `gradients` there, with `at`",
    "displaced": "Have the probe `displaced` there, with `at`",
}


@dataclasses.dataclass(frozen=True)
class Paired(Run):
    """A run of which only the seeds `chosen` count, in that order."""

    chosen: tuple[int, ...] = ()

    @property
    def seeds(self) -> list[int]:
        """The seeds chosen."""
        return list(self.chosen)


def pair(run: Run, seeds: Sequence[int]) -> Paired:
    """Returns the run with these of its seeds alone, in this order."""
    fields = {f.name: getattr(run, f.name) for f in dataclasses.fields(Run)}
    return Paired(**fields, chosen=tuple(seeds))


def last(run: Run) -> int:
    """Returns the update count at which the run ends."""
    return run.config["total_updates"]


def at(run: Run, metric: str, updates: Sequence[int]) -> np.ndarray:
    """Returns a metric at the updates wanted, ascending, [S, wanted].

    Raises:
      ValueError: a seed without it at one of them.
    """
    times, values = run.series(metric)
    recorded = times[~np.isnan(values).any(axis=0)]
    missing = np.setdiff1d(updates, recorded)
    if missing.size:
        raise ValueError(
            f"{run.label}: expected {metric} of every seed at update {missing[0]}; "
            f"there is none. {REMEDIES[metric.split('/')[0]]}, as the claim's config "
            "does."
        )
    return values[:, np.isin(times, updates)]


def at_end(run: Run, metric: str) -> np.ndarray:
    """Returns a metric at the run's end, [S]: in its last row, less than a target
    period earlier, since probes may avoid what happens right at a period's end.

    Raises:
      ValueError: as `at`, for the end, where there is no such row.
    """
    times, _ = run.series(metric)
    end = last(run)
    period = run.config["learner"].get("target_period", 1)
    newest = [time for time in times[-1:] if time > end - period]
    return at(run, metric, newest or [end])[:, 0]


def between(run: Run, metric: str, start: int, end: int) -> np.ndarray:
    """Returns a metric's values after `start`, up to `end`, [S, rows]."""
    times, values = run.series(metric)
    return values[:, (times > start) & (times <= end)]


def initial_over_baseline(run: Run) -> np.ndarray:
    """Returns L_0 / b, the probe's final loss from theta_0 over its baseline, [S]."""
    return at_end(run, "probe/initial_loss") / at_end(run, "probe/baseline")


def constant(value: float, **more: float) -> dict[str, float]:
    """Returns an effect that is one number, not one a seed."""
    return {"mean": value, "lo": value, "hi": value} | more
