"""Inner products of per-example gradients, without ever an [N, P] array."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax import trees
from plasticity_jax.checks import one_of
from plasticity_jax.probes import checks, contraction
from plasticity_jax.probes.contraction import Factors, Plan
from plasticity_jax.trees import as_float
from plasticity_jax.types import PyTree

METHODS = ("auto", "blocks")
MAX_BYTES = 2**28  # of any one intermediate array


def gram(
    name: str,
    rows_fn: Callable,
    params: PyTree,
    batch: PyTree,
    *,
    method: str,
    where: Callable | None,
    chunk_size: int | None,
    precision: str,
    pairs_of_outputs: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes <d f_o(x_i) / d params, d f_q(x_j) / d params> / (scale_i scale_j).

    Args:
      name: of `rows_fn` in messages.
      rows_fn: (params, batch) -> [N, ...], O numbers an example; row i depends on
        example i alone.
      params: floating arrays.
      batch: leading axis N.
      method, where, chunk_size, precision: as `gradient_gram`.
      pairs_of_outputs: each pair (o, q), or the sum over o = q.

    Returns:
      (products [N, N], or [N, N, O, O], NaN where `rows_fn` mixes examples; scale [N],
      powers of two that bring each example's gradients to the size of 1; share [] of
      the selected entries that were factored).

    Raises:
      ValueError: an unknown method or precision, a chunk size that is no count, rows
        that mix examples (where values are known).
    """
    one_of("method", method, METHODS)

    def compute(params, batch):
        selected = trees.select(params, where)

        def one(selected, example):
            alone = jax.tree.map(lambda x: x[None], example)
            return rows_fn(trees.fill(selected, params), alone).ravel()

        products = _products(one, selected, batch, method, chunk_size, pairs_of_outputs)
        return *products, checks.mixes(rows_fn, params, batch)

    with jax.default_matmul_precision(precision):
        # One program also where the caller has none: it drops what is computed twice.
        products, scale, share, mixes = jax.jit(compute)(params, batch)
    checks.refuse_mixing(name, mixes)
    return jnp.where(mixes, jnp.nan, products), scale, share


def _products(fn, params, batch, method, chunk_size, pairs_of_outputs):
    """`gram` of fn: (params, example) -> [O], one example without leading axis."""
    n = checks.num_examples(batch)
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
        theirs = mine if same else _Group(plan, group, b)
        if mine.has_positions:  # one after the other: their gradients take room
            mine.operands, mine.errors, total = jax.lax.optimization_barrier(
                (mine.operands, mine.errors, total)
            )
        total += mine.multiply(theirs)
    for x, y in zip(a.others, b.others, strict=True):
        total += _rows(x) @ _rows(y).T
    return total


class _Group:
    """The gradient of one part of a parameter array, sum over p of a_p g_p^T, for N
    examples."""

    def __init__(self, plan: Plan, group: tuple[int, ...], factors: Factors):
        self._meetings = [plan.uses[index].meeting for index in group]
        self.operands = [factors.operands[index] for index in group]
        self.errors = [factors.errors[index] for index in group]
        self._n = len(factors.outputs)
        a, g = jax.eval_shape(self._both)
        self._positions, self._rows, self._columns = *a.shape[1:], g.shape[-1]

    @property
    def has_positions(self) -> bool:
        """Whether a weight meets the data more than once."""
        return self._positions > 1

    def multiply(self, other: "_Group") -> jax.Array:
        """Returns inner products [N, N'] by whichever way costs the fewest FLOPs."""
        if not self.has_positions:
            return self._by_factors(other)
        n, m, rows, columns = self._n, other._n, self._rows, self._columns
        in_pairs = n * m * self._positions**2 * (rows + columns + 8)
        in_full = (n + m) * self._positions * rows * columns + n * m * rows * columns
        way = self._by_pairs if in_pairs < in_full else self._by_gradients
        return way(other)

    def _both(self):
        """a [N, positions, K] and g [N, positions, O F]."""
        return jax.vmap(self._unfold)(self.operands), jax.vmap(self._fold)(self.errors)

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

    def _by_gradients(self, other):
        """The gradients themselves, as many columns of them as fit at a time."""
        each = max(self._n, other._n) * self._rows * 4
        width = min(self._columns, max(1, MAX_BYTES // each))

        def block(index, total):
            mine = self._gradients(index * width, width)
            if self is other:
                return total + _with_itself(mine)
            return total + mine @ other._gradients(index * width, width).T

        num_blocks = -(-self._columns // width)
        return jax.lax.fori_loop(1, num_blocks, block, block(0, 0.0))

    def _gradients(self, start, width):
        """Columns start to start + width of each example's gradient, [N, K width]."""

        def gradient(pair):
            operands, errors = pair
            a, g = self._unfold(operands), self._fold(errors)
            g = jnp.pad(g, ((0, 0), (0, -g.shape[1] % width)))
            g = jax.lax.dynamic_slice_in_dim(g, start, width, axis=1)
            return (a.T @ g).ravel()

        at_a_time = MAX_BYTES // (4 * self._positions * self._rows * 4)
        return _in_batches(gradient, (self.operands, self.errors), at_a_time)


def _with_itself(x: jax.Array) -> jax.Array:
    """Returns x x^T. One of the two squares off the diagonal is the other's mirror;
    finer cuts cost more in copies than they save."""
    half = len(x) // 2
    top, bottom = x[:half], x[half:]
    corner = bottom @ top.T
    upper = jnp.concatenate([top @ top.T, corner.T], axis=1)
    lower = jnp.concatenate([corner, bottom @ bottom.T], axis=1)
    return jnp.concatenate([upper, lower])


def _in_batches(fn: Callable, xs: PyTree, at_a_time: int) -> jax.Array:
    n = len(jax.tree.leaves(xs)[0])
    if at_a_time >= n:
        return jax.vmap(fn)(xs)
    return jax.lax.map(fn, xs, batch_size=max(1, at_a_time))


def _rows(x: jax.Array) -> jax.Array:
    return as_float(x.reshape(len(x), math.prod(x.shape[1:])))
