"""What every probe asks of its input before it computes."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.checks import at_least
from plasticity_jax.trees import as_float, path_name
from plasticity_jax.types import LossFn, PyTree

NUM_COMPARED = 8  # examples whose rows alone and together have to agree


def is_key(key) -> None:
    """Refuses what is not one random key.

    Raises:
      ValueError: anything but `jax.random.key(seed)` or the older `PRNGKey(seed)`.
    """
    kind = getattr(key, "dtype", None)
    if kind is None or not (
        (jnp.issubdtype(kind, jax.dtypes.prng_key) and jnp.ndim(key) == 0)
        or (kind == jnp.uint32 and jnp.ndim(key) == 1)
    ):
        raise ValueError(f"key: expected jax.random.key(seed); got {key!r}.")


def counts(**values: int) -> None:
    """Refuses what is not a whole number of at least 1, by name."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name}: expected a whole number; got {value!r}.")
    at_least(1, **values)


def float_params(params: PyTree) -> PyTree:
    """Returns the parameters in float32 at least.

    Raises:
      ValueError: no parameters, or a leaf that is not floating point.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        kind = getattr(leaf, "dtype", type(leaf))
        if not (kind is float or jnp.issubdtype(kind, jnp.floating)):
            raise ValueError(
                f"params: expected floating point arrays; {path_name(path) or 'it'} is "
                f"{getattr(kind, '__name__', kind)}. Pass only what is differentiated."
            )
    if not any(jnp.size(leaf) for _, leaf in leaves):
        raise ValueError("params: expected at least one array entry; got none.")
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
    shape, kind = getattr(losses, "shape", None), getattr(losses, "dtype", None)
    if shape != (n,) or not jnp.issubdtype(kind, jnp.floating):
        raise ValueError(
            f"loss_fn: expected floating losses of shape ({n},), one per example; got "
            f"{losses}. Return the losses before the mean; the probe reduces."
        )


def mixes(fn: Callable, params: PyTree, batch: PyTree) -> jax.Array:
    """Whether rows of fn(params, batch) depend on other examples. Returns [] bool.

    Rows of a few examples taken alone and together are compared: batch normalisation,
    a mean, or noise drawn for the batch as a whole change them all. At parameters some
    way off: a loss that is fitted is rounding, alone and together.
    """
    few = jax.tree.map(lambda x: x[:NUM_COMPARED], batch)
    params = jax.tree.map(lambda p: 1.1 * p + 0.01, params)
    alone = jax.vmap(lambda x: fn(params, jax.tree.map(lambda x: x[None], x))[0])(few)
    together = fn(params, few)
    scale = jnp.max(jnp.abs(together))
    agree = jnp.all(jnp.abs(alone - together) <= 1e-3 * scale)
    return jnp.isfinite(scale) & ~agree


def refuse_mixing(name: str, mixes: jax.Array) -> None:
    """Raises where values are known; under jit they are not."""
    if not isinstance(mixes, jax.core.Tracer) and mixes:
        raise ValueError(
            f"{name}: expected row i to depend on example i alone; rows of single "
            "examples differ from those of the batch. Is there batch normalisation, a "
            "mean over the batch, or noise drawn for the batch as a whole inside? "
            "(Noise: give each example a key of its own in the batch.)"
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


def is_precision(precision: str) -> None:
    """Refuses what JAX does not know as a precision of matrix products."""
    try:
        with jax.default_matmul_precision(precision):
            pass
    except (ValueError, TypeError):
        raise ValueError(
            "precision: expected a name that `jax.default_matmul_precision` takes, "
            f"such as 'highest' or 'bfloat16'; got {precision!r}."
        ) from None


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
