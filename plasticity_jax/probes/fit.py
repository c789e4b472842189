"""The fit of a plasticity probe: a fixed budget of optimisation on each target."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.probes import checks
from plasticity_jax.probes.families import Family
from plasticity_jax.trees import as_float, is_key
from plasticity_jax.types import Key, PyTree

NUM_POINTS = 20  # of a learning curve, beside its start


def fit(
    apply_fn: Callable,
    tx: optax.GradientTransformation,
    params: PyTree,
    inputs: PyTree,
    targets: PyTree,
    key: Key,
    *,
    num_steps: int,
    batch_size: int,
    family: Family,
    predict_fn: Callable | None = None,
    fit_loss_fn: Callable | None = None,
    opt_state: optax.OptState | None = None,
    precision: str = "highest",
) -> jax.Array:
    """Fits a copy of the network to each target in turn, each from the same start.

    Targets of a recentred family are moved by the network's own mean prediction, output
    by output, so that a drifted mean is not what is measured. Mini-batches come from
    `key` alone.

    Args:
      apply_fn: (params, inputs) -> outputs [N, ...].
      tx: any Optax transformation.
      params: where every fit starts.
      inputs: the pool, leading axis N.
      targets: [T, N, ...], from `families.draw`.
      key: of the mini-batches.
      num_steps: budget.
      batch_size: B, drawn with replacement.
      family, predict_fn, fit_loss_fn, precision: as `probes.plasticity`.
      opt_state: where every optimiser starts; None: fresh.

    Returns:
      The family's loss over the whole pool, [T, NUM_POINTS + 1], at the steps of
      `curve_steps(num_steps)`.

    Raises:
      ValueError: losses that are not one per example.
    """
    n = checks.num_examples(inputs)
    predict = predictor(apply_fn, predict_fn)

    def reported_loss(params, inputs, target):
        return family.loss(predict(params, inputs), target)

    def fitted_loss(params, inputs, target):
        if fit_loss_fn is None:
            return reported_loss(params, inputs, target)
        return fit_loss_fn(apply_fn(params, inputs), target)

    def curve(target):
        if family.recentred:
            target = target + centre

        def rows_loss(params, rows):
            batch, batch_target = jax.tree.map(lambda x: x[rows], (inputs, target))
            return jnp.mean(fitted_loss(params, batch, batch_target))

        step = _step(tx, rows_loss, key, n, batch_size)
        pool_loss = lambda params: jnp.mean(reported_loss(params, inputs, target))
        start = tx.init(params) if opt_state is None else opt_state
        return _curve(step, pool_loss, params, start, curve_steps(num_steps))

    with jax.default_matmul_precision(precision):
        target = jax.tree.map(lambda x: x[0], targets)
        for name, loss in (("family", reported_loss), ("fit_loss_fn", fitted_loss)):
            _check_losses(name, jax.eval_shape(loss, params, inputs, target), n)
        centre = jnp.mean(predict(params, inputs), axis=0)
        # On CPU one fit fills the machine; elsewhere all targets go together.
        if jax.default_backend() == "cpu":
            return jax.lax.map(curve, targets)
        return jax.vmap(curve)(targets)


def _step(tx, rows_loss: Callable, key: Key, n: int, batch_size: int) -> Callable:
    """Returns (index, (params, opt_state)) -> the same after one update."""

    def step(index, carry):
        params, opt_state = carry
        rows = jax.random.randint(jax.random.fold_in(key, index), (batch_size,), 0, n)
        gradient = jax.grad(rows_loss)(params, rows)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return step


def _curve(step: Callable, pool_loss: Callable, params, opt_state, steps: np.ndarray):
    """Returns the pool's loss at each of `steps`, [L]; `steps` starts at 0."""

    def segment(carry, bounds):
        carry = jax.lax.fori_loop(bounds[0], bounds[1], step, carry)
        return carry, pool_loss(carry[0])

    steps = jnp.asarray(steps)
    bounds = jnp.stack([steps[:-1], steps[1:]], axis=1)
    _, losses = jax.lax.scan(segment, (params, opt_state), bounds)
    return jnp.concatenate([pool_loss(params)[None], losses])


def curve_steps(num_steps: int) -> np.ndarray:
    """Returns the probe steps at which a curve is evaluated, ascending from 0."""
    return np.linspace(0, num_steps, NUM_POINTS + 1).round().astype(np.int32)


def predictor(apply_fn: Callable, predict_fn: Callable | None) -> Callable:
    """Returns (params, inputs) -> predictions [N, ...] in float32 at least."""

    def predict(params, inputs):
        outputs = apply_fn(params, inputs)
        return as_float(outputs if predict_fn is None else predict_fn(outputs))

    return predict


def carried(
    tx: optax.GradientTransformation, params: PyTree, opt_state: PyTree
) -> optax.OptState | None:
    """Returns the state a fit carries on with, in the parameters' precision.

    Raises:
      ValueError: a string other than "fresh", or the state of another optimiser.
    """
    if isinstance(opt_state, str):
        if opt_state == "fresh":
            return None
        raise ValueError(
            f"opt_state: expected 'fresh' or the optimiser's state; got {opt_state!r}. "
            "Pass the state itself to carry it."
        )
    fresh = jax.eval_shape(tx.init, params)
    expected, got = (jax.tree.map(jnp.shape, state) for state in (fresh, opt_state))
    if jax.tree.structure(fresh) != jax.tree.structure(opt_state) or expected != got:
        raise ValueError(
            "opt_state: expected the state of `tx` for these parameters, of shapes "
            f"{expected}; got {got}."
        )

    def cast(x, like):
        return x if is_key(like) else jnp.asarray(x, like.dtype)

    return jax.tree.map(cast, opt_state, fresh)


def _check_losses(name, losses, n):
    if losses.shape != (n,):
        raise ValueError(
            f"{name}: expected losses of shape ({n},), one per example; got "
            f"{losses.shape}. Return them before the mean; where outputs have several "
            "axes, `predict_fn` has to make them [N, O]."
        )
