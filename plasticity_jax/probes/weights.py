"""How large the parameters are and how far they went."""

import jax
import jax.numpy as jnp

from plasticity_jax import trees
from plasticity_jax.probes import checks
from plasticity_jax.probes.result import report
from plasticity_jax.types import ProbeResult, PyTree


def weights(params: PyTree, initial_params: PyTree) -> ProbeResult:
    """Measures parameters theta against their initial values theta_0.

    Args:
      params: P entries in all.
      initial_params: the same structure.

    Returns:
      scalars, under weights/: norm (global L2), mean_abs, distance_from_init (L2 of
        theta - theta_0), effective_rank (of each weight matrix, convolutions flattened
        to [fan_in, fan_out], summed over layers), rank_0.01 (singular values above .01
        of the largest, summed), finite.
      arrays: norm/<path> [] of each parameter array.

    Raises:
      ValueError: the trees differ, or parameters are not floating.
    """
    params = checks.float_params(params)
    shapes, initial_shapes = (
        jax.tree.map(jnp.shape, tree) for tree in (params, initial_params)
    )
    if shapes != initial_shapes:
        raise ValueError(
            f"initial_params: expected arrays of shapes {shapes}, as in params; got "
            f"{initial_shapes}."
        )
    effective, numerical = 0.0, 0.0
    for matrix in trees.matrices(params).values():
        s = jnp.linalg.svd(matrix, compute_uv=False)
        p = s / jnp.maximum(jnp.sum(s), jnp.finfo(s.dtype).tiny)
        terms = jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0)
        effective += jnp.where(s[0] > 0, jnp.exp(-jnp.sum(terms)), 0.0)
        numerical += jnp.sum((s > 0.01 * s[0]).astype(s.dtype))
    total = sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(params))
    scalars = {
        "norm": trees.norm(params),
        "mean_abs": total / trees.size(params),
        "distance_from_init": trees.norm(trees.sub(params, initial_params)),
        "effective_rank": jnp.asarray(effective),
        "rank_0.01": jnp.asarray(numerical),
    }
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays = {
        f"norm/{trees.path_name(path)}": jnp.linalg.norm(leaf.ravel())
        for path, leaf in leaves
    }
    return report("weights", scalars, arrays, params)
