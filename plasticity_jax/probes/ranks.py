"""How many directions a matrix spans, by every definition of the field.

Each is a function of the singular values s in descending order. A matrix of zeros has
rank 0 by all of them. All but `feature_rank` do not depend on scale and are computed
from s / s_1, so that s^4 neither overflows nor vanishes in float32.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import entr


def ranks(features: jax.Array) -> dict[str, jax.Array]:
    """Computes the six ranks of features.

    Args:
      features: [n, d], n examples.

    Returns:
      {name: []}, floating, at most min(n, d); definitions in the functions of the same
      names below.

    Cost: one singular value decomposition.
    """
    return from_singular_values(singular_values(features), len(features))


def from_singular_values(s: jax.Array, n: int) -> dict[str, jax.Array]:
    """Returns what `ranks` does, from s [min(n, d)] of n examples."""
    return {
        "feature_rank": feature_rank(s, n),
        "srank": srank(s),
        "approximate_rank": approximate_rank(s),
        "effective_rank": effective_rank(s),
        "stable_rank": stable_rank(s),
        "participation_ratio": participation_ratio(s),
    }


def singular_values(matrix: jax.Array) -> jax.Array:
    """Returns the singular values of [n, d] in descending order, [min(n, d)]."""
    return jnp.linalg.svd(matrix, compute_uv=False)


def feature_rank(s: jax.Array, n: int) -> jax.Array:
    """Counts s_i / sqrt(n) > .01: the one that depends on scale. Returns [].

    Source: arXiv 2204.09560.
    """
    return _count(s / n**0.5 > 0.01, s)


def srank(s: jax.Array) -> jax.Array:
    """Finds the least k with s_1 + ... + s_k >= .99 sum s. Returns [].

    Source: arXiv 2010.14498.
    """
    return _least_share(_relative(s))


def approximate_rank(s: jax.Array) -> jax.Array:
    """Finds the least k with s_1^2 + ... + s_k^2 >= .99 sum s^2. Returns []."""
    return _least_share(_relative(s) ** 2)


def effective_rank(s: jax.Array) -> jax.Array:
    """Computes exp(- sum p log p) with p = s / sum s, not squared. Returns [].

    Source: Roy and Vetterli 2007.
    """
    relative = _relative(s)
    total = jnp.sum(relative)
    entropy = jnp.sum(entr(relative / _or_one(total)))
    return jnp.where(total == 0, 0.0, jnp.exp(entropy))


def stable_rank(s: jax.Array) -> jax.Array:
    """Computes sum s^2 / s_1^2, Frobenius over spectral norm. Returns []."""
    return jnp.sum(_relative(s) ** 2)


def participation_ratio(s: jax.Array) -> jax.Array:
    """Computes (sum s^2)^2 / sum s^4, elsewhere at times "stable rank". Returns []."""
    squares = _relative(s) ** 2
    return jnp.sum(squares) ** 2 / _or_one(jnp.sum(squares**2))


def numerical_rank(s: jax.Array, tolerance: float) -> jax.Array:
    """Counts s_i > tolerance * s_1. Returns []."""
    return _count(_relative(s) > tolerance, s)


def _relative(s: jax.Array) -> jax.Array:
    return s / _or_one(s[0])


def _or_one(value: jax.Array) -> jax.Array:
    # A divisor that gives 0 / 0 = 0, and leaves a NaN a NaN.
    return jnp.where(value == 0, jnp.ones_like(value), value)


def _least_share(parts: jax.Array) -> jax.Array:
    # k is among the counted if what comes before it falls short. A sum that reaches
    # the threshold exactly is enough; of zeros, nothing falls short of nothing.
    before = jnp.cumsum(parts) - parts
    return _count(before < 0.99 * jnp.sum(parts), parts)


def _count(condition: jax.Array, like: jax.Array) -> jax.Array:
    return jnp.sum(condition, dtype=like.dtype)
