"""The report's figures: each draws runs and returns a Figure, or None without data."""

from experiments.figures import (
    curvature,
    interference,
    outcome,
    probe_curves,
    small_multiples,
    timing,
)

PLOTS = (
    outcome.PLOT,
    probe_curves.PLOT,
    curvature.DENSITY,
    curvature.SHARPEST,
    interference.PLOT,
    small_multiples.CURVATURE,
    small_multiples.INTERNALS,
    small_multiples.OTHERS,
    timing.PLOT,
)
