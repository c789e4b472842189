"""Plasticity: what a fixed budget of optimisation reaches on fresh targets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.checks import at_least
from plasticity_jax.losses.labels import squared_error
from plasticity_jax.probes import checks
from plasticity_jax.probes.result import report
from plasticity_jax.types import Key, ProbeResult, PyTree

NUM_POINTS = 20  # of a learning curve, beside its start


def sine_targets(
    apply_fn: Callable, init_fn: Callable, inputs: PyTree, key: Key, num_targets: int
) -> jax.Array:
    """Returns sin(1e5 f(x; omega)), [T, N, O], one fresh omega a target.

    The sine is chaotic: another batch shape or precision gives another target. So
    targets are computed once, at full precision, and handed on as an array.
    """

    def target(key):
        return jnp.sin(1e5 * apply_fn(checks.float_params(init_fn(key)), inputs))

    with jax.default_matmul_precision("highest"):
        return jax.lax.map(target, jax.random.split(key, num_targets))


def fit(
    apply_fn: Callable,
    tx: optax.GradientTransformation,
    params: PyTree,
    inputs: PyTree,
    targets: jax.Array,
    key: Key,
    *,
    num_steps: int,
    batch_size: int,
) -> jax.Array:
    """Fits a copy of the network to each target in turn, from fresh optimiser state.

    The targets are moved by the network's own mean prediction, output by output, so
    that a drifted mean is not what is measured. Mini-batches come from `key` alone.

    Args:
      apply_fn: (params, inputs) -> outputs [N, O].
      tx: any Optax transformation.
      params: where every fit starts.
      inputs: the pool, leading axis N.
      targets: [T, N, O], mean-free.
      key: of the mini-batches.
      num_steps: budget.
      batch_size: B, drawn with replacement.

    Returns:
      Squared error over the whole pool, mean over outputs, [T, NUM_POINTS + 1], at the
      steps of `curve_steps(num_steps)`.
    """
    n = checks.num_examples(inputs)
    centre = jnp.mean(apply_fn(params, inputs), axis=0)

    def curve(target):
        target = target + centre

        def pool_loss(params):
            return jnp.mean(squared_error(apply_fn(params, inputs), target))

        def step(index, carry):
            params, opt_state = carry
            rows = jax.random.randint(
                jax.random.fold_in(key, index), (batch_size,), 0, n
            )
            batch = jax.tree.map(lambda x: x[rows], inputs)

            def loss(params):
                return jnp.mean(squared_error(apply_fn(params, batch), target[rows]))

            updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        def segment(carry, bounds):
            carry = jax.lax.fori_loop(bounds[0], bounds[1], step, carry)
            return carry, pool_loss(carry[0])

        steps = jnp.asarray(curve_steps(num_steps))
        bounds = jnp.stack([steps[:-1], steps[1:]], axis=1)
        _, losses = jax.lax.scan(segment, (params, tx.init(params)), bounds)
        return jnp.concatenate([pool_loss(params)[None], losses])

    with jax.default_matmul_precision("highest"):
        # On CPU one fit fills the machine; elsewhere all targets go together.
        if jax.default_backend() == "cpu":
            return jax.lax.map(curve, targets)
        return jax.vmap(curve)(targets)


def curve_steps(num_steps: int) -> np.ndarray:
    """Returns the probe steps at which a curve is evaluated, ascending from 0."""
    return np.linspace(0, num_steps, NUM_POINTS + 1).round().astype(np.int32)


def plasticity_reference(
    apply_fn: Callable,
    init_fn: Callable,
    tx: optax.GradientTransformation,
    initial_params: PyTree,
    inputs: PyTree,
    key: Key,
    *,
    num_targets: int = 10,
    num_steps: int = 2_000,
    batch_size: int = 256,
) -> dict[str, jax.Array]:
    """Measures what theta_t is compared with: computed once, kept, shared.

    Args: as `plasticity`, with theta_0 and the same key.

    Returns:
      targets [T, N, O], before a network's own mean is added; initial_loss [T], the
      final probe loss from theta_0; fresh_loss [T], the same from a fresh draw of the
      initialiser.
    """
    initial_params = checks.float_params(initial_params)
    key_targets, key_fit, key_fresh = jax.random.split(key, 3)
    targets = sine_targets(apply_fn, init_fn, inputs, key_targets, num_targets)

    def final_loss(params):
        budget = dict(num_steps=num_steps, batch_size=batch_size)
        return fit(apply_fn, tx, params, inputs, targets, key_fit, **budget)[:, -1]

    return {
        "targets": targets,
        "initial_loss": final_loss(initial_params),
        "fresh_loss": final_loss(checks.float_params(init_fn(key_fresh))),
    }


def plasticity(
    apply_fn: Callable,
    init_fn: Callable,
    tx: optax.GradientTransformation,
    params: PyTree,
    inputs: PyTree,
    key: Key,
    *,
    num_targets: int = 10,
    num_steps: int = 2_000,
    batch_size: int = 256,
    reference_params: PyTree | None = None,
    reference: dict[str, jax.Array] | None = None,
) -> ProbeResult:
    """Measures how well a copy of the network fits fresh targets on a fixed budget.

    Args:
      apply_fn: (params, inputs) -> outputs [N, O]; deterministic.
      init_fn: (key) -> params, the network's own initialiser.
      tx: the main task's optimiser.
      params: theta_t; not changed.
      inputs: N distinct observations, the same for every theta_t compared.
      key: of targets and mini-batches; the same for every theta_t compared.
      num_targets: T.
      num_steps: the budget.
      batch_size: B.
      reference_params: theta_0. Given, it and a paired fresh network are measured too.
      reference: what `plasticity_reference` returned for the same arguments, in place
        of `reference_params`.

    Returns:
      scalars, squared errors averaged over outputs, pool and targets, under probe/:
        final_loss; baseline (b: variance of the targets, about .5); plasticity
        (b - final_loss); auc (mean of the curve over the budget); num_inputs; finite
        (where 0, the others are NaN); and with a reference: initial_loss (theta_0's),
        fresh_loss, plasticity_loss (final_loss - initial_loss, positive = worse), rho
        (plasticity_loss over
        b - initial_loss), unsolved_at_init (1 where initial_loss > b / 2: such a
        network has no plasticity to lose).
      arrays: curves [T, L], steps [L], final_loss [T].

    Raises:
      ValueError: a count below 1, a tree that is not floating point, a reference of
        another number of targets or inputs.

    Source: arXiv 2303.01486, sections 3 and A.
    Cost: T (num_steps gradients of B), three times that with reference_params.
    """
    at_least(1, num_targets=num_targets, num_steps=num_steps, batch_size=batch_size)
    params = checks.float_params(params)
    n = checks.num_examples(inputs, minimum=2)
    budget = dict(num_steps=num_steps, batch_size=batch_size)
    if reference is None and reference_params is not None:
        reference = plasticity_reference(
            apply_fn, init_fn, tx, reference_params, inputs, key,
            num_targets=num_targets, **budget,
        )  # fmt: skip
    key_targets, key_fit, _ = jax.random.split(key, 3)
    if reference is None:
        targets = sine_targets(apply_fn, init_fn, inputs, key_targets, num_targets)
    else:
        targets = reference["targets"]
        if targets.shape[:2] != (num_targets, n):
            raise ValueError(
                f"reference: expected targets of shape [{num_targets}, {n}, O], from "
                f"`plasticity_reference` with the same arguments; got {targets.shape}."
            )

    curves = fit(apply_fn, tx, params, inputs, targets, key_fit, **budget)
    final_loss, steps = curves[:, -1], curve_steps(num_steps)
    baseline = jnp.mean(jnp.var(targets, axis=1))
    mean_loss = jnp.mean(final_loss)
    area = jnp.trapezoid(jnp.mean(curves, axis=0), jnp.asarray(steps)) / num_steps
    scalars = {
        "final_loss": mean_loss,
        "baseline": baseline,
        "plasticity": baseline - mean_loss,
        "auc": area,
        "num_inputs": jnp.float32(n),
    }
    if reference is not None:
        initial_loss = jnp.mean(reference["initial_loss"])
        loss = mean_loss - initial_loss
        scalars |= {
            "initial_loss": initial_loss,
            "fresh_loss": jnp.mean(reference["fresh_loss"]),
            "plasticity_loss": loss,
            "rho": loss / (baseline - initial_loss),
            "unsolved_at_init": (initial_loss > baseline / 2).astype(jnp.float32),
        }
    arrays = {"curves": curves, "steps": jnp.asarray(steps), "final_loss": final_loss}
    return report("probe", scalars, arrays, curves)
