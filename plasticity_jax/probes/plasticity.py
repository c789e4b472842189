"""Plasticity: what a fixed budget of optimisation reaches on fresh targets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.probes import checks, families
from plasticity_jax.probes.families import Family
from plasticity_jax.probes.fit import carried, curve_steps, fit, predictor
from plasticity_jax.probes.result import report
from plasticity_jax.trees import is_key
from plasticity_jax.types import Key, ProbeResult, PyTree


def plasticity_reference(
    apply_fn: Callable,
    init_fn: Callable,
    tx: optax.GradientTransformation,
    initial_params: PyTree,
    inputs: PyTree,
    key: Key,
    *,
    family: str | Family | Callable = "sine",
    num_targets: int = 10,
    num_steps: int = 2_000,
    batch_size: int = 256,
    predict_fn: Callable | None = None,
    fit_loss_fn: Callable | None = None,
    precision: str = "highest",
) -> dict[str, jax.Array]:
    """Measures what theta_t is compared with: computed once, kept, shared.

    Args: as `plasticity`, with theta_0 and the same key. Every optimiser starts fresh.

    Returns:
      targets [T, N, ...], drawn for theta_0, before a network's own mean is added;
      initial_loss [T], the final probe loss from theta_0; fresh_loss [T], the same from
      a fresh draw of the initialiser; made_with, key and budget.
    """
    initial_params, inputs = _checked(
        init_fn, tx, initial_params, inputs, key, num_targets, num_steps, batch_size
    )
    key_targets, key_fit, key_fresh = jax.random.split(key, 3)
    predict = predictor(apply_fn, predict_fn)
    outputs = jax.eval_shape(predict, initial_params, inputs)
    family = families.resolve(family, key, inputs, outputs)
    targets = families.draw(
        family, predict, init_fn, initial_params, inputs, key_targets, num_targets
    )

    def final_loss(params):
        return fit(
            apply_fn, tx, params, inputs, targets, key_fit,
            num_steps=num_steps, batch_size=batch_size, family=family,
            predict_fn=predict_fn, fit_loss_fn=fit_loss_fn, precision=precision,
        )[:, -1]  # fmt: skip

    return {
        "targets": targets,
        "initial_loss": final_loss(initial_params),
        "fresh_loss": final_loss(checks.float_params(init_fn(key_fresh))),
        "made_with": _terms(key, num_targets, num_steps, batch_size),
    }


def plasticity(
    apply_fn: Callable,
    init_fn: Callable,
    tx: optax.GradientTransformation,
    params: PyTree,
    inputs: PyTree,
    key: Key,
    *,
    family: str | Family | Callable = "sine",
    num_targets: int = 10,
    num_steps: int = 2_000,
    batch_size: int = 256,
    reference_params: PyTree | None = None,
    reference: dict[str, PyTree] | None = None,
    opt_state: optax.OptState | str = "fresh",
    predict_fn: Callable | None = None,
    fit_loss_fn: Callable | None = None,
    precision: str = "highest",
) -> ProbeResult:
    """Measures how well a copy of the network fits fresh targets on a fixed budget.

    P(theta) = b - E_l[l(O(theta, l))]: l a loss drawn from the family, O the optimiser
    with its budget, b the loss of the best constant prediction.

    Args:
      apply_fn: (params, inputs) -> outputs [N, O], or what `predict_fn` takes;
        deterministic.
      init_fn: (key) -> params, the network's own initialiser.
      tx: the main task's optimiser.
      params: theta_t; not changed.
      inputs: N distinct observations, the same for every theta_t compared.
      key: of targets and mini-batches; the same for every theta_t compared.
      family: "sine" (the paper's), "offset", "random_teacher", "random_labels"; what
        the function of that name in `probes.families` made, as in offset(mean=100.0);
        or (key, inputs, outputs) -> (targets, loss), a task of one's own: targets
        arrays with leading axis N, loss(outputs [B, ...], targets [B, ...]) -> [B] a
        function of these two alone, `outputs` [N, ...] the predictions of theta_0
        (without a reference: of theta_t).
      num_targets: T.
      num_steps: the budget.
      batch_size: B.
      reference_params: theta_0. Given, it and a paired fresh network are measured too.
      reference: what `plasticity_reference` returned for the same arguments, in place
        of `reference_params`.
      opt_state: "fresh", or the state of `tx` with which theta_t carries on; theta_0
        and the fresh network start fresh in any case.
      predict_fn: (outputs) -> predictions [N, O], such as the expectation of a
        categorical head; targets, means and what is reported are about predictions.
      fit_loss_fn: (outputs, targets) -> [N], minimised in place of the family's loss,
        such as the cross-entropy to the two-hot encoding of the target.
      precision: of matrix products in the fits; targets are always at "highest".

    Returns:
      scalars, the family's loss averaged over pool and targets (squared error, averaged
        over outputs too; random_labels: nats), under probe/:
        final_loss; baseline (b); plasticity (b - final_loss); auc (mean of the curve
        over the budget); num_inputs; finite (where 0, the others are NaN); and with a
        reference: initial_loss (theta_0's), fresh_loss, plasticity_loss (final_loss -
        initial_loss, positive = worse), rho (plasticity_loss over b - initial_loss; no
        meaning unless theta_0 beats b), unsolved_at_init (1 where initial_loss > b / 2:
        such a network has no plasticity to lose).
      arrays: curves [T, L], steps [L], final_loss [T].

    Raises:
      ValueError: a count below 1, a tree that is not floating point, an unknown family,
        targets or losses of another shape, a state of another optimiser, a reference
        of another number of targets or inputs.

    Source: arXiv 2303.01486, sections 3 and A.
    Cost: T (num_steps gradients of B), three times that with reference_params.
    """
    checks.is_precision(precision)
    params, inputs = _checked(
        init_fn, tx, params, inputs, key, num_targets, num_steps, batch_size
    )
    opt_state = carried(tx, params, opt_state)
    n = checks.num_examples(inputs, minimum=2)
    predict = predictor(apply_fn, predict_fn)
    outputs = jax.eval_shape(predict, params, inputs)
    family = families.resolve(family, key, inputs, outputs)
    options = dict(
        num_steps=num_steps, batch_size=batch_size, family=family,
        predict_fn=predict_fn, fit_loss_fn=fit_loss_fn, precision=precision,
    )  # fmt: skip
    if reference is None and reference_params is not None:
        reference = plasticity_reference(
            apply_fn, init_fn, tx, reference_params, inputs, key,
            num_targets=num_targets, **options,
        )  # fmt: skip
    key_targets, key_fit, _ = jax.random.split(key, 3)

    def draw():
        return families.draw(
            family, predict, init_fn, params, inputs, key_targets, num_targets
        )

    if reference is None:
        targets = draw()
    else:
        terms = _terms(key, num_targets, num_steps, batch_size)
        targets = _shared_targets(reference, jax.eval_shape(draw), terms)
    curves = fit(
        apply_fn, tx, params, inputs, targets, key_fit, opt_state=opt_state, **options
    )
    baseline = families.baseline(family, targets, outputs)
    steps = jnp.asarray(curve_steps(num_steps))
    scalars = _scalars(curves, steps, baseline, reference)
    scalars["num_inputs"] = jnp.float32(n)
    arrays = {"curves": curves, "steps": steps, "final_loss": curves[:, -1]}
    # A baseline in closed form is finite where the curves are.
    measured = curves if family.baseline else (curves, baseline)
    return report("probe", scalars, arrays, measured)


def _scalars(curves, steps, baseline, reference) -> dict[str, jax.Array]:
    """Reduces curves [T, L], at steps [L], to numbers as `plasticity` names them."""
    final_loss, curve = jnp.mean(curves[:, -1]), jnp.mean(curves, axis=0)
    scalars = {
        "final_loss": final_loss,
        "baseline": baseline,
        "plasticity": baseline - final_loss,
        "auc": jnp.trapezoid(curve, steps) / steps[-1],
    }
    if reference is None:
        return scalars
    initial_loss = jnp.mean(reference["initial_loss"])
    loss = final_loss - initial_loss
    return scalars | {
        "initial_loss": initial_loss,
        "fresh_loss": jnp.mean(reference["fresh_loss"]),
        "plasticity_loss": loss,
        "rho": loss / (baseline - initial_loss),
        "unsolved_at_init": (initial_loss > baseline / 2).astype(jnp.float32),
    }


def _checked(init_fn, tx, params, inputs, key, num_targets, num_steps, batch_size):
    """Refuses what no fit can start from; returns parameters and inputs as arrays."""
    checks.is_key(key)
    checks.counts(num_targets=num_targets, num_steps=num_steps, batch_size=batch_size)
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise ValueError(f"tx: expected an Optax transformation; got {tx!r}.")
    if not callable(init_fn):
        raise ValueError(f"init_fn: expected (key) -> params; got {type(init_fn)}.")
    params = checks.float_params(params)
    drawn = jax.eval_shape(init_fn, key)
    checks.same_structure("init_fn(key)", drawn, params)
    return params, jax.tree.map(jnp.asarray, inputs)


def _terms(key, num_targets, num_steps, batch_size) -> jax.Array:
    data = jax.random.key_data(key) if is_key(key) else key
    return jnp.concatenate([jnp.uint32([num_targets, num_steps, batch_size]), data])


def _shared_targets(reference, expected, terms):
    """Returns the reference's targets, or refuses those made on other terms."""
    if not isinstance(reference, dict) or "targets" not in reference:
        raise ValueError(
            "reference: expected what `plasticity_reference` returned; got "
            f"{type(reference).__name__}. Give theta_0 as `reference_params`."
        )
    targets = reference["targets"]
    expected, got = (jax.tree.map(jnp.shape, tree) for tree in (expected, targets))
    if expected != got:
        raise ValueError(
            f"reference: expected targets of shape {expected}, from "
            f"`plasticity_reference` with the same arguments; got {got}."
        )
    made_with = reference.get("made_with", terms)
    known = not any(isinstance(x, jax.core.Tracer) for x in (made_with, terms))
    if known and not np.array_equal(made_with, terms):
        raise ValueError(
            "reference: expected one made with the same key and budget (num_targets, "
            f"num_steps, batch_size, key: {terms}); got one made with {made_with}."
        )
    return targets
