"""From resamples to p-values, corrected for how many were looked at."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from plasticity_jax import checks
from plasticity_jax.statistics.resampling import Estimate


def bootstrap_p_value(resampled: np.ndarray, threshold: float, side: str) -> np.ndarray:
    """The p-value of "the statistic is on this side of the threshold", one-sided.

    Of few seeds it is too small: S seeds that all lie on the right side give
    1 / (B + 1), where a sign test gives 1 / 2^S.

    Args:
      resampled: [B, ...] the statistic on every resample.
      threshold: a resample exactly there is on the wrong side.
      side: "above" or "below", what is claimed.

    Returns:
      (resamples on the wrong side + 1) / (B + 1), [...] in (0, 1]; NaN where a resample
      is (one seed: nothing is known).

    Raises:
      ValueError: another side.

    Source: Davison and Hinkley, 1997, 4.2.5 (the +1).
    """
    checks.one_of("side", side, ("above", "below"))
    resampled = np.asarray(resampled)
    wrong = resampled <= threshold if side == "above" else resampled >= threshold
    p_values = (wrong.sum(axis=0) + 1) / (len(resampled) + 1)
    return np.where(np.isnan(resampled).any(axis=0), np.nan, p_values)[()]


def holm(p_values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Adjusts p-values so that any false claim among a family is as rare as the level.

    Args:
      p_values: [..., m, ...] in [0, 1]; NaN is no member of the family and stays NaN.
      axis: along which the family lies.

    Returns:
      Of the same shape, in [0, 1]: claim those at or below the level.

    Raises:
      ValueError: a value outside [0, 1].

    Source: Holm, 1979.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if np.any((p_values < 0) | (p_values > 1)):
        raise ValueError(f"p_values: expected 0 to 1; got {p_values}.")
    order = np.argsort(p_values, axis=axis)  # NaN last
    ordered = np.moveaxis(np.take_along_axis(p_values, order, axis), axis, -1)
    family = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)
    scaled = (family - np.arange(ordered.shape[-1])) * ordered
    adjusted = np.minimum(np.maximum.accumulate(scaled, axis=-1), 1)
    result = np.empty_like(p_values)
    np.put_along_axis(result, order, np.moveaxis(adjusted, -1, axis), axis)
    return result


class Signs(NamedTuple):
    """In which groups a statistic is surely above 0 (1), surely below (-1) or not known
    to be either (0), and the two-sided p-value of it."""

    signs: np.ndarray  # [G, ...] int
    p_values: np.ndarray  # [G, ...]


def sign_consistency(
    groups: Sequence[Estimate], adjust: bool = True, level: float = 0.05
) -> Signs:
    """Says for each metric where its correlation surely has which sign.

    Args:
      groups: the correlations [...] of each group, G of them, as from `spearman`.
      adjust: Holm's correction over the groups, for each metric by itself.
      level: of the two-sided test; at .05 without adjustment a sign is given where the
        95 % interval leaves 0 out (to one resample).

    Returns:
      signs and p-values, [G, ...]. A group whose correlation is not defined has sign 0,
      p-value NaN, and is no member of the family that Holm corrects for.
    """
    above, below = (
        np.stack([bootstrap_p_value(group.resampled, 0, side) for group in groups])
        for side in ("above", "below")
    )
    p_values = np.minimum(2 * np.minimum(above, below), 1)
    if adjust:
        p_values = holm(p_values, axis=0)
    signs = np.where(above < below, 1, -1) * (p_values <= level)
    return Signs(signs, p_values)
