"""Whether two measurements put the same things in the same order."""

import numpy as np

from plasticity_jax.statistics.resampling import (
    BLOCK,
    Estimate,
    as_estimate,
    draw_counts,
)


def kendall(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Agreement of two orderings, Kendall's tau-b.

    Args:
      a, b: [..., I] a number for each of I items; ties are allowed, NaN is refused.

    Returns:
      [...] in [-1, 1]: 1 for the same order, -1 for the opposite; NaN where either puts
      all items level.

    Raises:
      ValueError: the shapes differ, fewer than two items, or a NaN.

    Source: Kendall, 1945 (tau-b).
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or not a.ndim or a.shape[-1] < 2:
        raise ValueError(
            "expected two arrays [..., items] of one shape and at least two items; got "
            f"{a.shape} and {b.shape}."
        )
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("expected a number for every item; got NaN. Leave it out.")
    first, second = np.triu_indices(a.shape[-1], 1)
    order_a = (a[..., first] > a[..., second]) * 1.0 - (a[..., first] < a[..., second])
    order_b = (b[..., first] > b[..., second]) * 1.0 - (b[..., first] < b[..., second])
    untied = np.sum(order_a**2, axis=-1) * np.sum(order_b**2, axis=-1)
    agreement = np.sum(order_a * order_b, axis=-1)
    return agreement / np.sqrt(np.where(untied > 0, untied, np.nan))


def rank_agreement(
    values: np.ndarray,
    reference: np.ndarray,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Kendall's tau-b between the orders of two measurements' means over seeds.

    Args:
      values: [S, I] a measurement of I items (interventions), row by row of one seed.
      reference: [S, I] another measurement of the same items and seeds.
      num_resamples: B; a seed is drawn with all its items and both measurements.
      seed: of the resampling; the same seed gives the same interval.

    Returns:
      In [-1, 1]; NaN where a measurement puts all items level. A resample in which one
      does counts as 0. Bounds are NaN for one seed.

    Raises:
      ValueError: the shapes differ, fewer than two items, or a NaN.
    """
    values, reference = np.asarray(values), np.asarray(reference)
    if values.ndim != 2 or values.shape != reference.shape:
        raise ValueError(
            "expected two arrays [seeds, items] of one shape; got "
            f"{values.shape} and {reference.shape}."
        )
    # Sums order as means do, and counts times integers tie exactly.
    value = kendall(values.sum(axis=0), reference.sum(axis=0))
    resampled = np.full(num_resamples, np.nan)
    if len(values) > 1 and not np.isnan(value):
        generator = np.random.default_rng(seed)
        counts = draw_counts(len(values), num_resamples, generator)
        step = max(1, BLOCK // values.shape[1] ** 2)
        for start in range(0, num_resamples, step):
            drawn = counts[start : start + step]
            found = kendall(drawn @ values, drawn @ reference)
            resampled[start : start + step] = np.nan_to_num(found)
    return as_estimate(value, resampled)
