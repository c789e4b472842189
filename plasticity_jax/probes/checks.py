"""What every probe asks of its input before it computes."""

import jax
import jax.numpy as jnp

from plasticity_jax.trees import as_float, path_name
from plasticity_jax.types import LossFn, PyTree


def float_params(params: PyTree) -> PyTree:
    """Returns the parameters in float32 at least.

    Raises:
      ValueError: no parameters, or a leaf that is not floating point.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError("params: expected at least one array; got an empty tree.")
    for path, leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(
                f"params: expected floating point arrays; {path_name(path)} is "
                f"{jnp.result_type(leaf)}. Pass only what is differentiated."
            )
    return jax.tree.map(as_float, params)


def num_examples(batch: PyTree, minimum: int = 1) -> int:
    """Returns N, the leading axis that all leaves share.

    Raises:
      ValueError: no leaf, leaves that disagree, or fewer examples than `minimum`.
    """
    leaves = jax.tree_util.tree_leaves_with_path(batch)
    lengths = {path_name(p) or "batch": (jnp.shape(x) or (None,))[0] for p, x in leaves}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise ValueError(
            "batch: expected arrays that share one leading axis of examples; got "
            f"leading axes {lengths}."
        )
    (n,) = set(lengths.values())
    if n < minimum:
        raise ValueError(f"batch: expected at least {minimum} examples; got {n}.")
    return n


def unreduced(loss_fn: LossFn, params: PyTree, batch: PyTree, key, n: int) -> None:
    """Refuses a loss that does not return one value per example.

    Raises:
      ValueError: the loss is reduced or of another shape.
    """
    shape = jax.eval_shape(loss_fn, params, batch, key).shape
    if shape != (n,):
        raise ValueError(
            f"loss_fn: expected losses of shape ({n},), one per example; got {shape}. "
            "Return the losses before the mean; the probe reduces."
        )
