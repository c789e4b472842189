"""What hidden units do: dormant, dead, and how many directions they span."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.probes import checks
from plasticity_jax.probes.result import report
from plasticity_jax.trees import as_float
from plasticity_jax.types import ProbeResult, PyTree

DORMANT_THRESHOLDS = (0.0, 0.025, 0.1)


def representation(
    features_fn: Callable, params: PyTree, inputs: PyTree
) -> ProbeResult:
    """Measures hidden activations on a batch of inputs.

    Args:
      features_fn: (params, inputs) -> {layer: activations [N, ..., units]} after the
        nonlinearity, shallow to deep; the last is the penultimate layer F [n, d] (a
        function that is jitted itself comes back with its names sorted). A
        convolution's unit is a channel, averaged over space.
      params: of the network.
      inputs: leading axis N.

    Returns:
      scalars, under representation/:
        dormant_fraction_<tau>: units whose mean |h| is at most tau times the layer's
          mean, pooled over units; ..._by_layer: the mean over layers instead.
        dead_fraction: units exactly 0 on all N examples, pooled.
        active_fraction: share of (example, unit) pairs above 0, pooled.
        feature_rank: singular values of F with s / sqrt(n) > .01 (2204.09560).
        srank: least k with sum of the k largest s >= .99 of all (2010.14498).
        effective_rank: exp entropy of s / sum s (Roy and Vetterli 2007).
        stable_rank: |F|_F^2 / |F|_2^2.
        participation_ratio: (sum s^2)^2 / sum s^4.
        feature_norm: mean L2 norm of a row of F; num_examples: n; finite.
      arrays: singular_values [min(n, d)], and score/<layer> [units]: mean |h| over the
        layer's mean.

    Raises:
      ValueError: no layer, or leading axes that differ.

    Source: arXiv 2302.12902 (dormant); the others as marked.
    """
    checks.num_examples(inputs)
    with jax.default_matmul_precision("highest"):
        layers = features_fn(params, inputs)
    if not layers:
        raise ValueError(
            "features_fn: expected {layer: activations} with at least one layer; got "
            "none. Does the network record its hidden layers?"
        )
    layers = {name: as_float(h) for name, h in layers.items()}
    n = checks.num_examples(layers, minimum=1)
    units = {name: h.reshape(-1, h.shape[-1]) for name, h in layers.items()}
    scores = {name: _score(h) for name, h in units.items()}

    scalars = _dormancy(scores)
    dead = jnp.concatenate([jnp.all(h == 0, axis=0) for h in units.values()])
    scalars["dead_fraction"] = jnp.mean(dead)
    active = jnp.concatenate([jnp.mean(h > 0, axis=0) for h in units.values()])
    scalars["active_fraction"] = jnp.mean(active)

    features = list(layers.values())[-1].reshape(n, -1)
    scalars |= ranks(features)
    scalars["feature_norm"] = jnp.mean(jnp.linalg.norm(features, axis=1))
    scalars["num_examples"] = jnp.float32(n)
    singular_values = _singular_values(features)
    arrays = {"singular_values": singular_values}
    arrays |= {f"score/{name}": score for name, score in scores.items()}
    return report("representation", scalars, arrays, layers)


def _score(h: jax.Array) -> jax.Array:
    # An all-dead layer is 0/0: the epsilon makes it dormant.
    magnitude = jnp.mean(jnp.abs(h), axis=0)
    return magnitude / (jnp.mean(magnitude) + 1e-9)


def _dormancy(scores: dict[str, jax.Array]) -> dict[str, jax.Array]:
    pooled = jnp.concatenate(list(scores.values()))
    found = {}
    for tau in DORMANT_THRESHOLDS:
        name = f"dormant_fraction_{tau:g}"
        found[name] = jnp.mean(pooled <= tau)
        by_layer = [jnp.mean(score <= tau) for score in scores.values()]
        found[f"{name}_by_layer"] = jnp.mean(jnp.stack(by_layer))
    return found


def ranks(features: jax.Array) -> dict[str, jax.Array]:
    """Returns the five ranks of features [n, d]; definitions in `representation`.

    A matrix of zeros has rank 0 by every one of them.
    """
    s = _singular_values(features)
    tiny = jnp.finfo(s.dtype).tiny
    total = jnp.sum(s)
    p = s / jnp.maximum(total, tiny)
    # The least k: the sums that fall short of the threshold, and one more.
    srank = jnp.sum(jnp.cumsum(s) < 0.99 * total) + 1
    entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0))
    p = jnp.square(s / jnp.maximum(s[0], tiny))  # relative: s^4 would overflow
    found = {
        "feature_rank": jnp.sum(s / jnp.sqrt(len(features)) > 0.01),
        "srank": srank,
        "effective_rank": jnp.exp(entropy),
        "stable_rank": jnp.sum(p),
        "participation_ratio": jnp.sum(p) ** 2 / jnp.maximum(jnp.sum(p**2), tiny),
    }
    return {
        name: jnp.where(total > 0, value, 0).astype(s.dtype)
        for name, value in found.items()
    }


def _singular_values(features: jax.Array) -> jax.Array:
    return jnp.linalg.svd(features, compute_uv=False)
