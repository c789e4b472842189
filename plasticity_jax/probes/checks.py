"""What every probe asks of its input before it computes."""

import os
from pathlib import Path

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
    if not any(jnp.size(leaf) for _, leaf in leaves):
        raise ValueError("params: expected at least one array entry; got none.")
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
    losses = jax.eval_shape(loss_fn, params, batch, key)
    if getattr(losses, "shape", None) != (n,):
        raise ValueError(
            f"loss_fn: expected losses of shape ({n},), one per example; got {losses}. "
            "Return the losses before the mean; the probe reduces."
        )


def same_structure(name: str, tree: PyTree, like: PyTree) -> None:
    """Refuses a tree whose paths or shapes differ from those of `like`."""

    def shapes(tree):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {path_name(path): jnp.shape(leaf) for path, leaf in leaves}

    if shapes(tree) != shapes(like):
        raise ValueError(
            f"{name}: expected arrays of shapes {shapes(like)}; got {shapes(tree)}."
        )


def fits(num_bytes: int, what: str, remedy: str) -> None:
    """Refuses an array larger than the memory of one device.

    Raises:
      ValueError: with the sizes and the remedy.
    """
    limit = _memory()
    if num_bytes > limit:
        raise ValueError(
            f"{what} takes {num_bytes / 1e9:,.1f} GB; one device here has "
            f"{limit / 1e9:,.1f} GB. {remedy}"
        )


def _memory() -> float:
    """Bytes of the default device, or of the machine where the device is its CPU."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    limits = [float("inf")]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    container = Path("/sys/fs/cgroup/memory.max")
    if container.exists() and (text := container.read_text().strip()).isdigit():
        limits.append(int(text))
    return min(limits)
