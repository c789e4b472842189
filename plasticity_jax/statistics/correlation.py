"""Correlations and regression lines over agents, with bootstrap intervals.

All take `x` [N] or [N, M] (M metrics at once), `y` [N], and:
  clusters: [N] labels; agents of one label are drawn together (rows of one seed, one
    agent at several times). None: every row is a unit.
  num_resamples: B.
  seed: of the resampling; the same seed gives the same interval.
A row that is NaN in x or y is left out of that metric. A resample in which either is
constant has no correlation and no slope: it counts as 0, so it speaks for neither sign.
If that is so on all rows, the value and its bounds are NaN.
"""

from collections.abc import Callable

import numpy as np

from plasticity_jax.statistics.resampling import (
    BLOCK,
    Estimate,
    as_estimate,
    by_presence,
    draw_counts,
)

# Variance over mean square below which a column is constant but for rounding.
CONSTANT = 1e-13


def pearson(
    x: np.ndarray,
    y: np.ndarray,
    clusters: np.ndarray | None = None,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Linear correlation.

    Args:
      x, y: [N] or [N, M], and [N]; finite or NaN. The others: see the module.

    Returns:
      [] or [M] in [-1, 1]; NaN where either side is constant.

    Raises:
      ValueError: shapes that do not fit; an infinite value.

    Source: Efron, 1979 (the bootstrap of pairs).
    """
    _refuse_infinite(x=x, y=y)
    return _associate(_pearson, x, y, clusters, num_resamples, seed)


def spearman(
    x: np.ndarray,
    y: np.ndarray,
    clusters: np.ndarray | None = None,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Rank correlation: Pearson's, of ranks in which ties share their mean rank.

    Ranks are taken anew in every resample. Infinite values rank as what they are.

    Args:
      x, y: [N] or [N, M], and [N]. The others: see the module.

    Returns:
      [] or [M] in [-1, 1]; NaN where either side is constant.

    Raises:
      ValueError: shapes that do not fit.

    Source: Spearman, 1904.
    """
    return _associate(_spearman, x, y, clusters, num_resamples, seed)


def slope(
    x: np.ndarray,
    y: np.ndarray,
    clusters: np.ndarray | None = None,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Slope of the least-squares line of y on x.

    Args:
      x, y: [N] or [N, M], and [N]; finite or NaN. Take the logarithm of x first if the
        line is in that. The others: see the module.

    Returns:
      [] or [M], units of y a unit of x; NaN where x is constant.

    Raises:
      ValueError: shapes that do not fit; an infinite value.
    """
    _refuse_infinite(x=x, y=y)
    return _associate(_slope, x, y, clusters, num_resamples, seed)


def intercept(
    x: np.ndarray,
    y: np.ndarray,
    clusters: np.ndarray | None = None,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Where that line is at x = 0.

    Args:
      x, y, clusters, num_resamples, seed: as for `slope`; equal ones resample alike, so
        the band at X is the percentiles of intercept.resampled + X * slope.resampled.

    Returns:
      [] or [M] in units of y; the mean of y where x is constant.

    Raises:
      ValueError: shapes that do not fit; an infinite value.
    """
    _refuse_infinite(x=x, y=y)
    return _associate(_intercept, x, y, clusters, num_resamples, seed)


def _associate(
    statistic: Callable, x, y, clusters, num_resamples: int, seed: int
) -> Estimate:
    """Evaluates statistic(weights [W, N], x [N, M], y [N]) -> [W, M], NaN where it is
    not defined, with each row's weight 1 and on resamples."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    columns = x.reshape(len(x), -1)
    labels = np.arange(len(x)) if clusters is None else np.asarray(clusters)
    if y.shape != x.shape[:1] or x.ndim > 2 or labels.shape != y.shape or not y.size:
        raise ValueError(
            "expected x [N] or [N, M], y [N] and clusters [N], N at least 1; got "
            f"{x.shape}, {y.shape} and {labels.shape}."
        )
    names, unit = np.unique(labels, return_inverse=True)
    generator = np.random.default_rng(seed)
    counts = draw_counts(len(names), num_resamples, generator).astype(np.float64)
    weights = counts[:, unit]  # [B, N]
    value = np.full(columns.shape[1], np.nan)
    resampled = np.full((num_resamples, columns.shape[1]), np.nan)
    present = ~np.isnan(columns) & ~np.isnan(y)[:, None]
    for rows, which in by_presence(present):
        if not rows.any():
            continue
        part = columns[np.ix_(rows, which)], y[rows]
        value[which] = statistic(np.ones((1, rows.sum())), *part)[0]
        if len(np.unique(unit[rows])) > 1:
            step = max(1, BLOCK // (8 * rows.sum()))  # to stay in the cache
            for start in range(0, num_resamples, step):
                drawn = weights[start : start + step, rows]
                found = np.nan_to_num(statistic(drawn, *part))
                resampled[start : start + step, which] = found
    resampled[:, np.isnan(value)] = np.nan
    shape = x.shape[1:]
    return as_estimate(value.reshape(shape)[()], resampled.reshape(-1, *shape))


def _pearson(weights, x, y):
    covariance, variance_x, variance_y, _, _ = _moments(weights, x, y)
    return np.clip(covariance / np.sqrt(variance_x * variance_y), -1, 1)


def _slope(weights, x, y):
    covariance, variance_x, _, _, _ = _moments(weights, x, y)
    return covariance / variance_x


def _intercept(weights, x, y):
    covariance, variance_x, _, mean_x, mean_y = _moments(weights, x, y)
    return mean_y - np.nan_to_num(covariance / variance_x) * mean_x


def _moments(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple:
    """Returns covariance, variances (NaN for a constant) and means, each [W, M] or, of
    y, [W, 1]."""
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample of no row
        shares = weights / weights.sum(axis=1, keepdims=True)
    centre_x, centre_y = x.mean(axis=0), y.mean()
    x, y = x - centre_x, (y - centre_y)[:, None]
    mean_x, mean_y = shares @ x, shares @ y
    covariance = shares @ (x * y) - mean_x * mean_y
    variances = []
    for values, mean in ((x, mean_x), (y, mean_y)):
        square = shares @ values**2
        variance = square - mean**2
        variances.append(np.where(variance > CONSTANT * square, variance, np.nan))
    return covariance, *variances, mean_x + centre_x, mean_y + centre_y


def _spearman(weights, x, y):
    weights = np.ascontiguousarray(weights.T)  # [N, W]: rows are what is reordered
    deviations_y, variance_y = _rank_deviations(weights, y)
    weighted_y = weights * deviations_y
    result = np.empty((x.shape[1], weights.shape[1]))
    for row, column in zip(result, x.T, strict=True):
        deviations_x, variance_x = _rank_deviations(weights, column)
        covariance = np.einsum("nw,nw->w", weighted_y, deviations_x)
        row[:] = np.clip(covariance / np.sqrt(variance_x * variance_y), -1, 1)
    return result.T


def _rank_deviations(weights: np.ndarray, values: np.ndarray) -> tuple:
    """Ranks values [N] within resamples, a value as often as its weight [N, W] says.

    Returns:
      Mid-ranks less their mean [N, W], and their sums of squares [W], NaN for a
      constant: multiples of a quarter, so zero is exact.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    totals = np.add.reduceat(weights[order], starts, axis=0)  # [distinct, W]
    ends = np.cumsum(totals, axis=0)
    deviations = ends - (totals + ends[-1]) / 2
    squares = np.einsum("kw,kw,kw->w", totals, deviations, deviations)
    place = np.empty(len(values), dtype=np.intp)
    place[order] = np.repeat(
        np.arange(len(starts)), np.diff(starts, append=len(values))
    )
    return deviations[place], np.where(squares > 0, squares, np.nan)


def _refuse_infinite(**arrays) -> None:
    for name, values in arrays.items():
        if np.isinf(np.asarray(values, dtype=np.float64)).any():
            raise ValueError(
                f"{name}: expected finite values, or NaN where there is none; got an "
                "infinite one. Set it to NaN to leave it out, or use `spearman`."
            )
