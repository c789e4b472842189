"""Statistics over seeds and agents: estimates with bootstrap intervals, in numpy.

The unit that is resampled is a seed (or an agent), never a checkpoint of one.
"""

from plasticity_jax.statistics.correlation import (
    intercept,
    pearson,
    slope,
    spearman,
)
from plasticity_jax.statistics.ordering import kendall, rank_agreement
from plasticity_jax.statistics.resampling import (
    Estimate,
    bootstrap,
    bootstrap_mean,
    mean_interval,
)
from plasticity_jax.statistics.scores import (
    interquartile_mean,
    paired_difference,
    performance_profile,
    probability_of_improvement,
)
from plasticity_jax.statistics.significance import (
    Signs,
    bootstrap_p_value,
    holm,
    sign_consistency,
)

__all__ = [
    "Estimate",
    "Signs",
    "bootstrap",
    "bootstrap_mean",
    "bootstrap_p_value",
    "holm",
    "intercept",
    "interquartile_mean",
    "kendall",
    "mean_interval",
    "paired_difference",
    "pearson",
    "performance_profile",
    "probability_of_improvement",
    "rank_agreement",
    "sign_consistency",
    "slope",
    "spearman",
]
