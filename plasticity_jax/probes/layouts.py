"""What single jaxpr operations do to a parameter array: move its entries about, or let
it meet the data in a product whose gradient falls into factors."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Meeting(NamedTuple):
    """A product of data and weight: gradient = sum over positions of a_p g_p^T."""

    entries: np.ndarray  # [K, F] which entry of the weight, -1 for padding
    unfold: Callable  # operand of one example -> a [positions, K]
    fold: Callable  # gradient of the product, one example -> g [positions, F]


def follow(eqn, place: int, entries: np.ndarray) -> np.ndarray | None:
    """Where an operation only moves entries: where to. None for any other.

    Args:
      eqn: the operation.
      place: which of its arguments the array is.
      entries: [...] like the array: what stands there, -1 for padding.
    """
    if not entries.size:
        return None
    move = MOVES.get(eqn.primitive.name)
    return move(entries, eqn.params) if move is not None and place == 0 else None


def _broadcast(entries, params):
    axes = params["broadcast_dimensions"]
    shape = params["shape"]
    if np.prod(shape) != entries.size:
        return None
    # Only axes of length 1 are added, so the order in memory stays.
    return entries.reshape(shape) if list(axes) == sorted(axes) else None


def _convert(entries, params):
    return entries if jnp.issubdtype(params["new_dtype"], jnp.floating) else None


def _pad(entries, params):
    if any(low < 0 or high < 0 for low, high, _ in params["padding_config"]):
        return None
    config = params["padding_config"]
    shape = [
        low + high + n + max(n - 1, 0) * inner
        for n, (low, high, inner) in zip(entries.shape, config, strict=True)
    ]
    padded = np.full(shape, -1)
    places = tuple(
        slice(low, low + max(n + (n - 1) * inner, 0), inner + 1)
        for n, (low, _, inner) in zip(entries.shape, config, strict=True)
    )
    padded[places] = entries
    return padded


def _reshape(entries, params):
    return entries.reshape(params["new_sizes"])


def _slice(entries, params):
    strides = params["strides"] or (1,) * entries.ndim
    starts, limits = params["start_indices"], params["limit_indices"]
    return entries[tuple(map(slice, starts, limits, strides))]


MOVES = {
    "broadcast_in_dim": _broadcast,
    "convert_element_type": _convert,
    "copy": lambda entries, params: entries,
    "copy_p": lambda entries, params: entries,
    "expand_dims": lambda e, params: np.expand_dims(e, params["dimensions"]),
    "pad": _pad,
    "reshape": _reshape,
    "rev": lambda entries, params: np.flip(entries, params["dimensions"]),
    "slice": _slice,
    "squeeze": lambda entries, params: np.squeeze(entries, params["dimensions"]),
    "transpose": lambda entries, params: entries.transpose(params["permutation"]),
}


def meeting(eqn, place: int, entries: np.ndarray) -> Meeting | None:
    """How the gradient of a weight falls into factors here, or None."""
    meet = MEETINGS.get(eqn.primitive.name)
    found = meet(eqn, place, entries) if meet is not None and entries.size else None
    if found is None or (found.entries >= 0).all():
        return found
    # Padding has no gradient: whole rows of it are left out, single places are not.
    rows = (found.entries >= 0).all(axis=1)
    if (found.entries[~rows] >= 0).any():
        return None
    return found._replace(
        entries=found.entries[rows], unfold=lambda x: found.unfold(x)[:, rows]
    )


def _dot(eqn, place: int, entries: np.ndarray) -> Meeting | None:
    contracting, batched = eqn.params["dimension_numbers"]
    if batched[0]:
        return None
    ours, theirs = contracting[place], contracting[1 - place]
    free = [axis for axis in range(entries.ndim) if axis not in ours]
    entries = entries.transpose(*ours, *free)
    rows = int(np.prod(entries.shape[: len(ours)]))
    entries = entries.reshape(rows, -1)

    def unfold(x):
        return jnp.moveaxis(x, theirs, range(-len(theirs), 0)).reshape(-1, rows)

    def fold(g):  # the product's axes: those of the left operand, then of the right
        if place == 1:
            return g.reshape(-1, entries.shape[1])
        return g.reshape(entries.shape[1], -1).T

    return Meeting(entries, unfold, fold)


def _add(eqn, place: int, entries: np.ndarray) -> Meeting | None:
    """A bias: one row of entries, added at every position.

    A matrix that is added as a whole (noise on a weight) is none: nothing is saved.
    """
    shape, size = eqn.outvars[0].aval.shape, entries.size
    if eqn.invars[1 - place].aval.shape != shape or np.prod(shape) % size:
        return None
    rows = np.broadcast_to(entries, shape).reshape(-1, size)
    whole = len(rows) == 1 and sum(n > 1 for n in entries.shape) > 1
    if whole or (rows != entries.ravel()).any():
        return None
    return Meeting(
        entries=rows[:1],
        unfold=lambda x: jnp.ones((rows.shape[0], 1), x.dtype),
        fold=lambda g: g.reshape(rows.shape),
    )


def _convolution(eqn, place: int, entries: np.ndarray) -> Meeting | None:
    params = eqn.params
    grouped = params["feature_group_count"] != 1 or params["batch_group_count"] != 1
    if place == 0 or grouped:
        return None
    numbers = params["dimension_numbers"]
    entries = entries.transpose(numbers.rhs_spec)  # [F, C, *window]
    window = entries.shape[2:]
    entries = np.moveaxis(entries, (0, 1), (-1, -2))  # [*window, C, F]
    entries = entries.reshape(-1, entries.shape[-1])
    out = [eqn.outvars[0].aval.shape[axis] for axis in numbers.out_spec[2:]]
    strides, steps = params["window_strides"], params["rhs_dilation"]

    def unfold(x):
        x = jnp.transpose(x, numbers.lhs_spec)  # [1, C, *space]
        x = jnp.moveaxis(x, 1, -1)
        holes = [d - 1 for d in params["lhs_dilation"]]
        pads = zip(params["padding"], holes, strict=True)
        pads = [(*pad, hole) for pad, hole in pads]
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
        patches = [
            x[(slice(None), *_places(offset, steps, strides, out))]
            for offset in itertools.product(*map(range, window))
        ]
        patches = jnp.stack(patches, axis=-2)  # [1, *out, window, C]
        return patches.reshape(-1, entries.shape[0])

    def fold(g):
        g = jnp.moveaxis(jnp.transpose(g, numbers.out_spec), 1, -1)
        return g.reshape(-1, entries.shape[1])

    return Meeting(entries, unfold, fold)


def _places(offset, steps, strides, out):
    return tuple(
        slice(o * step, o * step + (n - 1) * stride + 1, stride)
        for o, step, stride, n in zip(offset, steps, strides, out, strict=True)
    )


MEETINGS = {
    "dot_general": _dot,
    "add": _add,
    "add_any": _add,
    "conv_general_dilated": _convolution,
}
