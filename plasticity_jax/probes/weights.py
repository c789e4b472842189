"""How large the parameters are, how far they went, and the ranks of weight matrices."""

import jax
import jax.numpy as jnp

from plasticity_jax import trees
from plasticity_jax.probes import checks
from plasticity_jax.probes.ranks import (
    effective_rank,
    numerical_rank,
    singular_values,
)
from plasticity_jax.probes.result import report
from plasticity_jax.types import ProbeResult, PyTree


def weights(params: PyTree, initial_params: PyTree) -> ProbeResult:
    """Measures parameters theta against their initial values theta_0.

    A weight matrix is a parameter array of two axes and more, flattened to
    [fan_in, fan_out], s its singular values in descending order.

    Args:
      params: P entries in all.
      initial_params: the same structure.

    Returns:
      scalars, under weights/:
        norm: global L2; distance_from_init: global L2 of theta - theta_0.
        mean_abs: mean |theta| over all P entries.
        effective_rank: exp entropy of s / sum s, summed over matrices.
        numerical_rank: s_i > s_1 max(fan_in, fan_out) eps, summed. It is full, hence
          constant, in practice. eps is that of the dtype in which the matrix was
          given; in bfloat16 the count is 0 from 128 rows or columns on, where
          rounding alone could fill the matrix.
        rank_0.01: s_i > .01 s_1, summed.
        finite: 0 where a parameter or a scalar is not; the others are NaN then.
      arrays: norm, mean_abs and distance_from_init as <metric>/<path> [] of each
        parameter array; effective_rank, numerical_rank and rank_0.01 of each matrix.

    Raises:
      ValueError: the trees differ, or parameters are not floating.

    Source: arXiv 2306.13812 (mean_abs), Roy and Vetterli 2007 (effective rank).

    Cost: a singular value decomposition a matrix.
    """
    given, initial = _by_path(params), _by_path(initial_params)
    shapes, initial_shapes = (
        {path: jnp.shape(leaf) for path, leaf in leaves.items()}
        for leaves in (given, initial)
    )
    if shapes != initial_shapes:
        raise ValueError(
            f"initial_params: expected arrays of shapes {shapes}, as in params; got "
            f"{initial_shapes}."
        )
    current, initial = checks.float_params(given), checks.float_params(initial)
    by_matrix = {
        path: _ranks(matrix, jnp.result_type(given[path]))
        for path, matrix in trees.matrices(current).items()
    }
    change = trees.sub(current, initial)
    total = sum(jnp.sum(jnp.abs(leaf)) for leaf in current.values())
    scalars = {
        "norm": trees.norm(current),
        "mean_abs": total / max(trees.size(current), 1),
        "distance_from_init": trees.norm(change),
    }
    for name in ("effective_rank", "numerical_rank", "rank_0.01"):
        scalars[name] = jnp.asarray(sum(found[name] for found in by_matrix.values()))
    arrays = {}
    for path, leaf in current.items():
        arrays[f"norm/{path}"] = trees.norm(leaf)
        arrays[f"mean_abs/{path}"] = jnp.sum(jnp.abs(leaf)) / max(leaf.size, 1)
        arrays[f"distance_from_init/{path}"] = trees.norm(change[path])
    for path, found in by_matrix.items():
        arrays |= {f"{name}/{path}": value for name, value in found.items()}
    return report("weights", scalars, arrays, (current, initial, scalars))


def _by_path(tree: PyTree) -> dict[str, jax.Array]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {trees.path_name(path): leaf for path, leaf in leaves}


def _ranks(matrix: jax.Array, dtype) -> dict[str, jax.Array]:
    s = singular_values(matrix)
    rounding = max(matrix.shape) * float(jnp.finfo(dtype).eps)
    return {
        "effective_rank": effective_rank(s),
        "numerical_rank": numerical_rank(s, rounding),
        "rank_0.01": numerical_rank(s, 0.01),
    }
