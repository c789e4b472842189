"""Curvature as linear maps: products with the Hessian, Gauss-Newton and Fisher
matrices of a mean loss, never the matrices."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from plasticity_jax import trees
from plasticity_jax.probes import checks
from plasticity_jax.types import Key, LossFn, PyTree


@dataclass(frozen=True)
class ComposedLoss:
    """A loss in two parts, network and loss of its outputs: itself a `loss_fn`.

    What the Gauss-Newton matrix linearises (the first) and what it does not (the
    second) is nowhere to be seen in losses alone.
    """

    outputs_fn: Callable  # (params, batch, key) -> outputs [N, ...]
    losses_fn: Callable  # (outputs [N, ...], batch) -> losses [N]

    def __call__(self, params: PyTree, batch: PyTree, key: Key) -> jax.Array:
        """Returns the losses, [N]."""
        return self.losses_fn(self.outputs_fn(params, batch, key), batch)


def hvp(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    precision: str = "highest",
) -> Callable:
    """Returns v -> H v, H the Hessian of the *mean* loss over the batch.

    Forward over reverse, linearised once: about twice the cost of a gradient for one
    product, half as much again inside a loop.

    Args:
      loss_fn: (params, batch, key) -> losses [N], unreduced.
      params: where to differentiate, P entries in all.
      batch: leading axis N.
      key: passed to `loss_fn`.
      where: predicate of a parameter's path (`dense_0/kernel`): the block of H that
        belongs to these parameters. Vectors then hold None in place of the others.
      chunk_size: examples at a time, where the activations of all N do not fit; sums
        are over examples, so the result is the same, of a loss whose row i depends on
        example i alone. Each product then costs a linearisation more.
      precision: of matrix products, the loss's own included.

    Returns:
      A function from a pytree like `params` to another.

    Raises:
      ValueError: reduced losses, unequal leading axes, parameters not floating, `where`
        that accepts no path, a vector of another structure, with `chunk_size` a loss
        that mixes examples (under jit: products of NaN).

    Source: Pearlmutter 1994.
    """

    def linearise(params_fn, selected, batch, n):
        def total(selected):
            return jnp.sum(loss_fn(params_fn(selected), batch, key)) / n

        product = jax.linearize(jax.grad(total), selected)[1]
        # Without the barrier XLA computes parts of the gradient once more for the
        # product (convolutions: 2.4 times a gradient, with it 1.9).
        return jax.tree.map(jax.lax.optimization_barrier, product)

    options = dict(where=where, chunk_size=chunk_size, precision=precision)
    return _operator(linearise, loss_fn, params, batch, key, **options)


def gauss_newton_vp(
    loss_fn: ComposedLoss,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    precision: str = "highest",
) -> Callable:
    """Returns v -> G v, G = 1/N sum_i J_i^T (d2 loss_i / d outputs2) J_i.

    For cross-entropy on logits this is also the Fisher matrix of the model's own
    predictive distribution.

    Args:
      loss_fn: a `ComposedLoss`; `landscape` returns one.
      params, batch, key, where, chunk_size, precision: as `hvp`.

    Returns:
      A function from a pytree like `params` to another.

    Raises:
      ValueError: as `hvp`, or a loss that is not a `ComposedLoss`.

    Source: Schraudolph 2002.
    """
    if not isinstance(loss_fn, ComposedLoss):
        raise ValueError(
            "loss_fn: expected ComposedLoss(outputs_fn, losses_fn), which says where "
            "the network ends and the loss begins: the Gauss-Newton matrix linearises "
            f"the network alone; got {loss_fn}."
        )

    def linearise(params_fn, selected, batch, n):
        def outputs_fn(selected):
            return loss_fn.outputs_fn(params_fn(selected), batch, key)

        def total(outputs):
            return jnp.sum(loss_fn.losses_fn(outputs, batch)) / n

        outputs, forward = jax.linearize(outputs_fn, selected)
        curvature = jax.linearize(jax.grad(total), outputs)[1]
        backward = jax.linear_transpose(forward, selected)
        return lambda vector: backward(curvature(forward(vector)))[0]

    options = dict(where=where, chunk_size=chunk_size, precision=precision)
    return _operator(linearise, loss_fn, params, batch, key, **options)


def fisher_vp(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    precision: str = "highest",
) -> Callable:
    """Returns v -> F v, F = 1/N sum_i g_i g_i^T, g_i the gradient of example i's loss.

    The *empirical* Fisher: it takes the targets that are in the batch. With targets
    drawn from the model's own prediction it estimates the Fisher itself.

    Args:
      loss_fn, params, batch, key, where, chunk_size, precision: as `hvp`.

    Returns:
      A function from a pytree like `params` to another.

    Raises:
      ValueError: as `hvp`.

    Source: Kunstner et al. 2019, arXiv 1905.12558, on the three Fishers.
    """

    def linearise(params_fn, selected, batch, n):
        def losses(selected):
            return loss_fn(params_fn(selected), batch, key)

        forward = jax.linearize(losses, selected)[1]
        backward = jax.linear_transpose(forward, selected)
        return lambda vector: backward(forward(vector) / n)[0]

    options = dict(where=where, chunk_size=chunk_size, precision=precision)
    return _operator(linearise, loss_fn, params, batch, key, **options)


def _operator(linearise, loss_fn, params, batch, key, *, where, chunk_size, precision):
    """Builds the product from `linearise`, which sums over the examples it is given and
    divides by N, the number of all."""
    checks.is_precision(precision)
    params = checks.float_params(params)
    n = checks.num_examples(batch)
    with jax.default_matmul_precision(precision):
        checks.unreduced(loss_fn, params, batch, key, n)
        selected = trees.select(params, where)
        params_fn = lambda selected: trees.fill(selected, params)
        if chunk_size is None:
            total = linearise(params_fn, selected, batch, n)
        else:
            checks.counts(chunk_size=chunk_size)
            losses_fn = lambda params, batch: loss_fn(params, batch, key)
            mixes = checks.mixes(losses_fn, params, batch)
            checks.refuse_mixing("loss_fn, with chunk_size", mixes)

            def total(vector):
                one = lambda chunk: linearise(params_fn, selected, chunk, n)(vector)
                return _sum_chunks(one, batch, n, chunk_size)

    def product(vector: PyTree) -> PyTree:
        checks.same_structure("vector", vector, selected)
        vector = jax.tree.map(lambda v, p: jnp.asarray(v, p.dtype), vector, selected)
        with jax.default_matmul_precision(precision):
            found = total(vector)
        if chunk_size is None:
            return found
        return jax.tree.map(lambda x: jnp.where(mixes, jnp.nan, x), found)

    return product


def _sum_chunks(fn: Callable, batch: PyTree, n: int, chunk_size: int) -> PyTree:
    """Sums fn(chunk) over the batch, `chunk_size` examples at a time and the rest."""
    chunk_size = min(chunk_size, n)
    whole = n - n % chunk_size
    chunks = jax.tree.map(
        lambda x: x[:whole].reshape(-1, chunk_size, *x.shape[1:]), batch
    )
    first = jax.tree.map(lambda x: x[0], chunks)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(fn, first)
    )
    add = lambda total, part: jax.tree.map(jnp.add, total, part)
    total, _ = jax.lax.scan(lambda c, x: (add(c, fn(x)), None), zeros, chunks)
    if whole < n:
        total = add(total, fn(jax.tree.map(lambda x: x[whole:], batch)))
    return total
