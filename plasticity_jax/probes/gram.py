"""Inner products of per-example gradients, without ever an [N, P] array."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.checks import one_of
from plasticity_jax.probes import checks, contraction
from plasticity_jax.probes.contraction import Factors, Plan
from plasticity_jax.trees import as_float
from plasticity_jax.types import PyTree

METHODS = ("auto", "blocks")
MAX_BYTES = 2**28  # of any one intermediate array


def gram(
    fn: Callable,
    params: PyTree,
    batch: PyTree,
    n: int,
    method: str,
    chunk_size: int | None,
    *,
    pairs_of_outputs: bool = False,
) -> tuple[jax.Array, jax.Array, float]:
    """Computes <d f_o(x_i) / d params, d f_q(x_j) / d params> / (scale_i scale_j).

    Args:
      fn: (params, example) -> [O], one example without leading axis.
      params: floating arrays, P entries.
      batch: leading axis N.
      n: N.
      method: `auto` factors what it can; `blocks` takes every gradient as it is.
      chunk_size: examples at a time; by default as many as keep the gradients that are
        not factored within MAX_BYTES.
      pairs_of_outputs: each pair (o, q), or the sum over o = q.

    Returns:
      (products [N, N], or [N, N, O, O]; scale [N], powers of two that bring each
      example's gradients to the size of 1; share of the P entries that were factored).
    """
    one_of("method", method, METHODS)
    first = jax.tree.map(lambda x: x[0], batch)
    plan, factors_of = contraction.plan(fn, params, first, factor=method == "auto")
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    kept = sum(
        size for size, factored in zip(sizes, plan.factored, strict=True) if factored
    )
    num_outputs = jax.eval_shape(fn, params, first).size
    if chunk_size is None:
        bytes_each = (sum(sizes) - kept) * num_outputs * 4
        chunk_size = max(1, MAX_BYTES // max(1, bytes_each))
    checks.counts(chunk_size=chunk_size)

    def multiply(a, b):
        if not pairs_of_outputs:
            return _multiply(plan, a, b)[..., None, None]
        rows = _by_output(a)
        found = _multiply(plan, rows, rows if a is b else _by_output(b))
        shape = (len(a.outputs), num_outputs, len(b.outputs), num_outputs)
        return found.reshape(shape).transpose(0, 2, 1, 3)

    if chunk_size >= n:
        factors = factors_of(batch)
        found, scale = multiply(factors, factors), factors.scale
    else:
        found, scale = _by_chunks(multiply, factors_of, batch, n, chunk_size)
    if not pairs_of_outputs:
        found = found[..., 0, 0]
    return found, scale, kept / sum(sizes)


def _by_chunks(multiply: Callable, factors_of: Callable, batch, n: int, size: int):
    """Pairs of chunks; the last one overlaps its neighbour to be as long as the others,
    and what is computed twice is the same."""
    start_of = lambda index: jnp.minimum(index * size, n - size)

    def chunk(index):
        cut = lambda x: jax.lax.dynamic_slice_in_dim(x, start_of(index), size)
        return factors_of(jax.tree.map(cut, batch))

    def row(index, carry):
        mine = chunk(index)

        def column(other, total):
            block = multiply(mine, chunk(other))
            i, j = start_of(index), start_of(other)
            total = jax.lax.dynamic_update_slice(total, block, (i, j, 0, 0))
            block = block.transpose(1, 0, 3, 2)
            return jax.lax.dynamic_update_slice(total, block, (j, i, 0, 0))

        total, scale = carry
        total = jax.lax.fori_loop(0, index + 1, column, total)
        return total, jax.lax.dynamic_update_slice(
            scale, mine.scale, (start_of(index),)
        )

    def first():
        factors = chunk(0)
        return multiply(factors, factors), factors.scale

    block, scale = jax.eval_shape(first)
    total = jnp.zeros((n, n, *block.shape[2:]), block.dtype)
    carry = total, jnp.zeros(n, scale.dtype)
    return jax.lax.fori_loop(0, -(-n // size), row, carry)


def _by_output(factors: Factors) -> Factors:
    """Makes each output of each example an example of one output, N O in all."""
    num_outputs = factors.outputs.shape[1]
    split = lambda g: g.reshape(-1, 1, *g.shape[2:])
    return Factors(
        outputs=split(factors.outputs),
        operands=[jnp.repeat(x, num_outputs, axis=0) for x in factors.operands],
        errors=[split(g) for g in factors.errors],
        others=[split(g) for g in factors.others],
        scale=factors.scale,
    )


def _multiply(plan: Plan, a: Factors, b: Factors) -> jax.Array:
    """Returns the inner products between two sets of examples, [N, N'], summed over
    outputs."""
    same = a is b
    total = 0.0
    for group in plan.groups:
        mine = _Group(plan, group, a)
        total += mine.multiply(mine if same else _Group(plan, group, b))
    for x, y in zip(a.others, b.others, strict=True):
        total += _rows(x) @ _rows(y).T
    return total


class _Group:
    """The gradient of one part of a parameter array, sum over p of a_p g_p^T, for N
    examples."""

    def __init__(self, plan: Plan, group: tuple[int, ...], factors: Factors):
        self._meetings = [plan.uses[index].meeting for index in group]
        self._operands = [factors.operands[index] for index in group]
        self._errors = [factors.errors[index] for index in group]
        self._n = len(factors.outputs)

    def multiply(self, other: "_Group") -> jax.Array:
        """Returns inner products [N, N'] by whichever way costs the fewest FLOPs."""
        a, g = jax.eval_shape(self._both)
        (_, positions, rows), columns = a.shape, g.shape[-1]
        n, m = self._n, other._n
        if positions == 1:
            return self._by_factors(other)
        in_pairs = n * m * positions**2 * (rows + columns + 8)
        in_full = (n + m) * positions * rows * columns + n * m * rows * columns
        if in_pairs < in_full:
            return self._by_pairs(other)
        return self._by_gradients(other, rows, columns, positions)

    def _both(self):
        """a [N, positions, K] and g [N, positions, O F]."""
        return jax.vmap(self._unfold)(self._operands), jax.vmap(self._fold)(
            self._errors
        )

    def _unfold(self, operands):
        unfolded = [
            as_float(meeting.unfold(x))
            for meeting, x in zip(self._meetings, operands, strict=True)
        ]
        return jnp.concatenate(unfolded)

    def _fold(self, errors):
        folded = [
            as_float(jax.vmap(meeting.fold, out_axes=1)(g))  # [positions, O, F]
            for meeting, g in zip(self._meetings, errors, strict=True)
        ]
        together = jnp.concatenate(folded)
        return together.reshape(len(together), -1)

    def _by_factors(self, other):
        (a, g), (b, h) = self._both(), other._both()
        if self is other:
            b, h = a, g
        return (_rows(a) @ _rows(b).T) * (_rows(g) @ _rows(h).T)

    def _by_pairs(self, other):
        """Every position with every other, some examples at a time."""
        (a, g), (b, h) = self._both(), other._both()
        m, positions = b.shape[:2]
        b, h = (x.reshape(m * positions, -1) for x in (b, h))

        def row(pair):
            a, g = pair
            products = (a @ b.T) * (g @ h.T)  # [positions, M positions]
            return products.sum(0).reshape(m, positions).sum(1)

        at_a_time = MAX_BYTES // (2 * positions * m * positions * a.dtype.itemsize)
        return _in_batches(row, (a, g), at_a_time)

    def _by_gradients(self, other, rows, columns, positions):
        """The gradients themselves, as many columns of them as fit at a time."""
        itemsize = 4
        most = max(self._n, other._n) * rows * itemsize
        width = min(columns, max(1, MAX_BYTES // most))
        num_blocks = -(-columns // width)

        def block(index, total):
            mine = self._gradients(index * width, width, positions)
            theirs = (
                mine
                if self is other
                else other._gradients(index * width, width, positions)
            )
            return total + mine @ theirs.T

        start = block(0, 0.0)
        return jax.lax.fori_loop(1, num_blocks, block, start)

    def _gradients(self, start, width, positions):
        """Columns start to start + width of each example's gradient, [N, K width]."""

        def gradient(pair):
            operands, errors = pair
            a, g = self._unfold(operands), self._fold(errors)
            padding = -g.shape[1] % width
            g = jnp.pad(g, ((0, 0), (0, padding)))
            g = jax.lax.dynamic_slice_in_dim(g, start, width, axis=1)
            return (a.T @ g).ravel()

        rows = jax.eval_shape(self._both)[0].shape[2]
        at_a_time = MAX_BYTES // (4 * positions * rows * 4)
        return _in_batches(gradient, (self._operands, self._errors), at_a_time)


def _in_batches(fn: Callable, xs: PyTree, at_a_time: int) -> jax.Array:
    n = len(jax.tree.leaves(xs)[0])
    if at_a_time >= n:
        return jax.vmap(fn)(xs)
    return jax.lax.map(fn, xs, batch_size=max(1, at_a_time))


def _rows(x: jax.Array) -> jax.Array:
    return as_float(x.reshape(len(x), math.prod(x.shape[1:])))
