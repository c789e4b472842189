"""What hidden units do: dormant, dead, saturated, and how many directions they span."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from plasticity_jax.checks import one_of, within
from plasticity_jax.probes import checks
from plasticity_jax.probes.ranks import from_singular_values, singular_values
from plasticity_jax.probes.result import report
from plasticity_jax.trees import as_float
from plasticity_jax.types import ProbeResult, PyTree

DORMANT_THRESHOLDS = (0.0, 0.025, 0.1)
# Positive exactly where the pre-activation is, and close to linear there.
RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "silu", "crelu")
SATURATED = {
    "tanh": lambda h: jnp.abs(h) > 0.99,
    "sigmoid": lambda h: (h < 0.01) | (h > 0.99),
}


def representation(
    features_fn: Callable,
    params: PyTree,
    inputs: PyTree,
    *,
    activation: str = "relu",
    linearised_threshold: float = 0.9,
    precision: str = "highest",
) -> ProbeResult:
    """Measures hidden activations on a batch of inputs.

    Args:
      features_fn: (params, inputs) -> {layer: activations [N, ..., units]} after the
        nonlinearity, shallow to deep; the last is the penultimate layer F [n, d] (a
        function that is jitted itself comes back with its names sorted). A
        convolution's unit is a channel, averaged over space; in F, one of d features a
        position. The head is left out.
      params: of the network.
      inputs: leading axis N.
      activation: the nonlinearity: relu, leaky_relu, elu, gelu, silu or crelu (for
        linearised_fraction), tanh or sigmoid (for saturated_fraction), or other.
      linearised_threshold: the share of examples from which a unit counts.
      precision: of matrix products inside `features_fn`.

    Returns:
      scalars, under representation/. Shares of units, in [0, 1], pooled over all units;
      <name>_by_layer is the mean over layers of each layer's share instead:
        dormant_fraction_<tau>: mean |h| is at most tau times the layer's mean, tau in
          0, .025, .1; an all-dead layer is dormant.
        dead_fraction: exactly 0 on all n examples.
        linearised_fraction: above 0 on at least `linearised_threshold` of examples (and
          positions), where the unit is linear: rectifiers only.
        saturated_fraction: share of (example, unit) pairs with |h| > .99 (tanh), or
          h < .01 or > .99 (sigmoid): these two only.
        active_fraction: share of (example, unit) pairs above 0.
      Of F, with singular values s:
        feature_rank, srank, approximate_rank, effective_rank, stable_rank,
          participation_ratio: see `probes/ranks.py`.
        rank_limited: 1 where n < d: ranks cannot exceed n, compare at equal n only.
        feature_norm: mean L2 norm of a row; feature_variance: mean over features of
          the variance over examples (divisor n).
        num_examples: n, what dead_fraction and the ranks depend on.
      finite: 0 where an activation or a scalar is not; the others are NaN then.
      arrays: singular_values [min(n, d)]; score/<layer> [units], mean |h| over the
        layer's mean; active/<layer> [units], share of examples above 0.

    Raises:
      ValueError: no layer, layers without a units axis, leading axes that differ from
        the inputs', an unknown activation, a threshold outside [0, 1].

    Source: arXiv 2302.12902 (dormant), 2402.18762 (linearised: the idea; the threshold
      is a later codebase's), 2310.07418 (active).

    Cost: one forward pass and one singular value decomposition.
    """
    one_of("activation", activation, (*RECTIFIERS, *SATURATED, "other"))
    within(0, 1, linearised_threshold=linearised_threshold)
    with jax.default_matmul_precision(precision):
        layers = features_fn(_in_float32(params), inputs)
    n = _check_layers(inputs, layers)
    layers = {name: as_float(h) for name, h in layers.items()}
    units = {name: h.reshape(-1, h.shape[-1]) for name, h in layers.items()}
    scores = {name: _score(h) for name, h in units.items()}

    scalars = {}
    for tau in DORMANT_THRESHOLDS:
        dormant = {name: score <= tau for name, score in scores.items()}
        scalars |= _both(f"dormant_fraction_{tau:g}", dormant)
    dead = {name: jnp.all(h == 0, axis=0) for name, h in units.items()}
    active = {name: jnp.mean(h > 0, axis=0) for name, h in units.items()}
    scalars |= _both("dead_fraction", dead) | _both("active_fraction", active)
    if activation in RECTIFIERS:
        linear = {name: _linear(h, linearised_threshold) for name, h in units.items()}
        scalars |= _both("linearised_fraction", linear)
    if activation in SATURATED:
        pairs = {name: SATURATED[activation](h) for name, h in units.items()}
        shares = {name: jnp.mean(pair, axis=0) for name, pair in pairs.items()}
        scalars |= _both("saturated_fraction", shares)

    features = list(layers.values())[-1].reshape(n, -1)
    s = singular_values(features)
    scalars |= from_singular_values(s, n)
    scalars["rank_limited"] = jnp.float32(n < features.shape[1])
    scalars["feature_norm"] = jnp.mean(jnp.linalg.norm(features, axis=1))
    scalars["feature_variance"] = jnp.mean(jnp.var(features, axis=0))
    scalars["num_examples"] = jnp.float32(n)
    arrays = {"singular_values": s}
    arrays |= {f"score/{name}": score for name, score in scores.items()}
    arrays |= {f"active/{name}": share for name, share in active.items()}
    return report("representation", scalars, arrays, (layers, scalars))


def _in_float32(params: PyTree) -> PyTree:
    # Nothing is differentiated here, so what is not floating point may stay.
    def cast(leaf):
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return as_float(leaf) if floating else leaf

    return jax.tree.map(cast, params)


def _check_layers(inputs: PyTree, layers: dict[str, jax.Array]) -> int:
    """Returns n, or refuses what is not {layer: [n, ..., units]}."""
    if not isinstance(layers, Mapping) or any(
        isinstance(h, tuple | list) for h in layers.values()
    ):
        raise ValueError(
            "features_fn: expected {layer: activations}, one array a layer; got "
            f"{jax.tree.map(jnp.shape, layers)}. What Flax sows is a tuple: take its "
            "last."
        )
    if not layers:
        raise ValueError(
            "features_fn: expected {layer: activations} with at least one layer; got "
            "none. Does the network record its hidden layers?"
        )
    shapes = {name: jnp.shape(h) for name, h in layers.items()}
    if any(len(shape) < 2 or 0 in shape for shape in shapes.values()):
        raise ValueError(
            "features_fn: expected activations [N, ..., units] with at least one unit; "
            f"got shapes {shapes}."
        )
    return checks.num_examples({"inputs": inputs, "features": layers})


def _score(h: jax.Array) -> jax.Array:
    # An all-dead layer is 0/0: the epsilon makes it dormant.
    magnitude = jnp.mean(jnp.abs(h), axis=0)
    return magnitude / (jnp.mean(magnitude) + 1e-9)


def _linear(h: jax.Array, threshold: float) -> jax.Array:
    # Counts, because a share of 9 in 10 may round to less than .9.
    least = math.ceil(threshold * len(h) - 1e-6)
    return jnp.sum(h > 0, axis=0) >= least


def _both(name: str, units: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Averages {layer: [units]} over all units, and over layers."""
    by_layer = jnp.stack([jnp.mean(values) for values in units.values()])
    return {
        name: jnp.mean(jnp.concatenate(list(units.values()))),
        f"{name}_by_layer": jnp.mean(by_layer),
    }
