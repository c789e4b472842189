"""The bootstrap: seeds drawn with replacement, and what that makes of a statistic."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

BOUNDS = (2.5, 97.5)  # percentiles: 95 % intervals
BLOCK = 2_000_000  # numbers held at once


class Estimate(NamedTuple):
    """A statistic, its 95 % percentile interval, and its value on every resample.

    The bounds (and the resamples) are NaN where there is nothing to resample: one seed.
    Of few seeds the interval is too narrow: it covers the mean of a normal distribution
    in some 84 % of samples of 5, 89 % of 8 and 94 % of 40.
    """

    value: np.ndarray  # [...]
    low: np.ndarray  # [...]
    high: np.ndarray  # [...]
    resampled: np.ndarray  # [B, ...]


def as_estimate(value: np.ndarray, resampled: np.ndarray) -> Estimate:
    """Adds the percentile interval to a value [...] and its resamples [B, ...]."""
    low, high = np.percentile(resampled, BOUNDS, axis=0)
    return Estimate(np.asarray(value), low, high, resampled)


def draw_counts(
    num_units: int, num_resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws units with replacement; says how often each came. Returns [B, units]."""
    shares = np.full(num_units, 1 / num_units)
    return generator.multinomial(num_units, shares, num_resamples)


def by_presence(present: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups the columns that have a value in the same rows.

    Args:
      present: [N, M] bool.

    Yields:
      rows [N] bool and columns [M] bool: the columns whose values are in those rows.
    """
    patterns, which = np.unique(present.T, axis=0, return_inverse=True)
    for index, rows in enumerate(patterns):
        yield rows, which.reshape(-1) == index


def bootstrap_mean(
    values: np.ndarray, num_resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Averages over seeds.

    Args:
      values: [S, ...]; NaN where a seed has no value: it is left out of that entry.
      num_resamples: bootstrap resamples of the seeds, B.
      seed: of the resampling; the same seed gives the same interval.

    Returns:
      The means [...]. Bounds are NaN where fewer than two seeds have a value, the mean
      where none has.

    Source: Efron, 1979 (percentile bootstrap).
    """
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(len(values), -1)  # [S, U]
    means = np.full(flat.shape[1], np.nan)
    resampled = np.full((num_resamples, flat.shape[1]), np.nan)
    generator = np.random.default_rng(seed)
    for rows, columns in by_presence(~np.isnan(flat)):
        kept = flat[np.ix_(rows, columns)]
        count = len(kept)
        if count:
            means[columns] = kept.mean(axis=0)
        if count > 1:
            # How often each seed is drawn, so that no [B, S, U] array is built.
            drawn = draw_counts(count, num_resamples, generator)
            resampled[:, columns] = drawn @ kept / count
    shape = values.shape[1:]
    return as_estimate(means.reshape(shape), resampled.reshape(-1, *shape))


def mean_interval(
    values: np.ndarray, num_resamples: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Averages over seeds, as `bootstrap_mean`; for curves and tables.

    Args:
      values: [S, ...]; NaN where a seed has no value: it is left out of that entry.
      num_resamples: bootstrap resamples of the seeds.
      seed: of the resampling, so that a report can be made again.

    Returns:
      Mean, lower and upper bound of the 95 % percentile interval, each [...].
    """
    return bootstrap_mean(values, num_resamples, seed)[:3]


def bootstrap(
    statistic: Callable[..., np.ndarray],
    values: np.ndarray,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Bootstraps any statistic of scores, seeds resampled within each task.

    Args:
      statistic: called as statistic(values [..., S, T], axis=(-2, -1)), like `np.mean`,
        `np.median` or `interquartile_mean`; gives [...].
      values: [S, T] scores of S seeds on T tasks, or [S]. Where tasks have different
        numbers of seeds, NaN fills the rest: each task keeps its own number, and the
        statistic has to leave NaN out (`np.nanmean`, `interquartile_mean`).
      num_resamples: B.
      seed: of the resampling; the same seed gives the same interval.

    Returns:
      The statistic [] on all values, its interval and its resamples [B]. A task with
      one seed is kept as it is; if all are so, the bounds are NaN.

    Raises:
      ValueError: not one or two axes; a task without a value.

    Source: Agarwal et al., 2021 (2108.13264), stratified bootstrap.
    """
    values = score_matrix("values", values)
    counts = np.sum(~np.isnan(values), axis=0)  # [T]
    value = statistic(values, axis=(-2, -1))
    resampled = np.full(num_resamples, np.nan)
    if counts.max() > 1:
        generator = np.random.default_rng(seed)
        ordered = np.sort(values, axis=0)  # NaN last
        missing = np.isnan(ordered)
        step = max(1, BLOCK // values.size)
        for start in range(0, num_resamples, step):
            size = min(step, num_resamples - start)
            drawn = generator.integers(counts, size=(size, *values.shape))
            taken = np.take_along_axis(ordered[None], drawn, axis=1)
            taken[:, missing] = np.nan
            resampled[start : start + size] = statistic(taken, axis=(-2, -1))
    return as_estimate(value, resampled)


def score_matrix(name: str, values: np.ndarray) -> np.ndarray:
    """Returns scores as float64 [S, T]; refuses other shapes and a task without any."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise ValueError(f"{name}: expected [seeds, tasks]; got shape {values.shape}.")
    if not values.size or np.isnan(values).all(axis=0).any():
        raise ValueError(f"{name}: expected a score in each task; one has none.")
    return values
