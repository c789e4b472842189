"""Comparing algorithms by their scores over tasks and seeds."""

import numpy as np

from plasticity_jax.statistics.resampling import (
    Estimate,
    as_estimate,
    bootstrap_mean,
    draw_counts,
    score_matrix,
)


def interquartile_mean(
    values: np.ndarray, axis: int | tuple[int, ...] | None = None
) -> np.ndarray:
    """Averages the middle half: a quarter of the values, rounded down, goes each side.

    Args:
      values: [...]; NaN is left out.
      axis: over which to average, as in `np.mean`; None takes all.

    Returns:
      The other axes; NaN where there is no value.

    Source: Agarwal et al., 2021 (2108.13264).
    """
    values = np.asarray(values, dtype=np.float64)
    axes = range(values.ndim) if axis is None else np.atleast_1d(axis)
    axes = [int(a) % values.ndim for a in axes]
    others = [a for a in range(values.ndim) if a not in axes]
    flat = values.transpose(*others, *axes)
    flat = np.sort(flat.reshape(*(values.shape[a] for a in others), -1))  # NaN last
    count = np.sum(~np.isnan(flat), axis=-1, keepdims=True)
    cut, place = count // 4, np.arange(flat.shape[-1])
    middle = (place >= cut) & (place < count - cut)
    sums = np.sum(flat, axis=-1, where=middle)
    kept = np.sum(middle, axis=-1)
    return np.divide(sums, kept, where=kept > 0, out=np.full(sums.shape, np.nan))[()]


def probability_of_improvement(
    values: np.ndarray,
    reference: np.ndarray,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Probability that a run scores above a run of the reference, averaged over tasks.

    Args:
      values: [S, T] or [S]; NaN is left out.
      reference: [S', T] or [S'] on the same tasks, runs of its own.
      num_resamples: B; both sides are resampled, each within its task.
      seed: of the resampling; the same seed gives the same interval.

    Returns:
      In [0, 1], a tie counting one half; .5 where neither is better. Bounds are NaN
      where no task has two runs of either.

    Raises:
      ValueError: the tasks are not as many; a task without a score.

    Source: Agarwal et al., 2021 (2108.13264); Mann and Whitney, 1947 (U / S S').
    """
    values = score_matrix("values", values)
    reference = score_matrix("reference", reference)
    if values.shape[1] != reference.shape[1]:
        raise ValueError(
            f"reference: expected {values.shape[1]} tasks, as in values; got "
            f"{reference.shape[1]}."
        )
    generator = np.random.default_rng(seed)
    total, totals, can_vary = 0.0, np.zeros(num_resamples), False
    for ours, theirs in zip(values.T, reference.T, strict=True):
        ours, theirs = ours[~np.isnan(ours)], theirs[~np.isnan(theirs)]
        wins = (np.sign(ours[:, None] - theirs) + 1) / 2  # [S, S']
        total += wins.mean()
        left = draw_counts(len(ours), num_resamples, generator)
        right = draw_counts(len(theirs), num_resamples, generator)
        totals += np.sum((left @ wins) * right, axis=1) / wins.size
        can_vary |= wins.size > 1
    num_tasks = values.shape[1]
    resampled = totals / num_tasks if can_vary else np.full(num_resamples, np.nan)
    return as_estimate(np.float64(total / num_tasks), resampled)


def performance_profile(
    values: np.ndarray,
    thresholds: np.ndarray,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Share of runs that score above each threshold, averaged over tasks.

    Args:
      values: [S, T] or [S] scores; NaN is left out.
      thresholds: [K].
      num_resamples: B; seeds are resampled within each task.
      seed: of the resampling; the same seed gives the same band.

    Returns:
      In [0, 1], falling with the threshold; the band [K] is pointwise, NaN where no
      task has two runs.

    Raises:
      ValueError: not [seeds, tasks]; a task without a score.

    Source: Agarwal et al., 2021 (2108.13264), run-score distributions.
    """
    values = score_matrix("values", values)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    generator = np.random.default_rng(seed)
    profiles, resampled, can_vary = [], 0.0, False
    for scores in values.T:
        scores = scores[~np.isnan(scores)]
        above = (scores[:, None] > thresholds).astype(np.float64)  # [S, K]
        profiles.append(above.mean(axis=0))
        drawn = draw_counts(len(scores), num_resamples, generator)
        resampled = resampled + drawn @ above / (len(scores) * values.shape[1])
        can_vary |= len(scores) > 1
    resampled = resampled if can_vary else np.full_like(resampled, np.nan)
    return as_estimate(np.mean(profiles, axis=0), resampled)


def paired_difference(
    values: np.ndarray,
    reference: np.ndarray,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Mean of the differences between runs of the same seeds.

    Args:
      values: [S, ...], row by row of the same seeds as the reference.
      reference: [S, ...].
      num_resamples: B; seeds are resampled, each with both its values.
      seed: of the resampling; the same seed gives the same interval.

    Returns:
      values - reference averaged over seeds, [...]. A seed that either has as NaN is
      left out of that entry; bounds are NaN where fewer than two are left.

    Raises:
      ValueError: the shapes differ.
    """
    values, reference = np.asarray(values), np.asarray(reference)
    if values.shape != reference.shape:
        raise ValueError(
            f"reference: expected shape {values.shape}, the same seeds as in values; "
            f"got {reference.shape}. Keep the seeds that both have."
        )
    return bootstrap_mean(values - reference, num_resamples, seed)
