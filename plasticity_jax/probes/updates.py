"""What the next update would do: measured, and thrown away."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import trees
from plasticity_jax.probes import checks
from plasticity_jax.probes.result import report
from plasticity_jax.types import Key, LossFn, ProbeResult, PyTree


def updates(
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    params: PyTree,
    opt_state: optax.OptState,
    batch: PyTree,
    key: Key,
    *,
    apply_fn: Callable | None = None,
    inputs: PyTree | None = None,
    precision: str = "highest",
) -> ProbeResult:
    """Measures one update of the training optimiser on a batch.

    The optimiser gets gradient, state and parameters in the dtypes of training; all
    else is computed in float32 at least.

    Args:
      loss_fn: (params, batch, key) -> losses [N], unreduced.
      tx: the optimiser of training.
      params: P entries in all.
      opt_state: as training left it.
      batch: leading axis N.
      key: passed to `loss_fn`.
      apply_fn: (params, inputs) -> outputs; with `inputs`, or neither.
      inputs: held out of the batch, leading axis of examples.
      precision: of matrix products inside `loss_fn` and `apply_fn`.

    Returns:
      scalars, under updates/:
        gradient_norm: L2 of the gradient of the mean loss.
        update_norm: L2 of what `tx` returns, which is added to the parameters.
        effective_learning_rate: update_norm over the parameters' L2 norm. Parameters
          that are all 0: 0 where the update is too, else infinite.
        output_churn, with `apply_fn`: mean |f(theta + update) - f(theta)| over inputs
          and outputs.
        finite: 0 where gradient, update or outputs are not; the others are NaN then.
      arrays: gradient_norm, update_norm and effective_learning_rate as
        <metric>/<path> [] of each parameter array (a bias that starts at 0: infinite).

    Raises:
      ValueError: reduced losses, unequal leading axes, parameters not floating,
        `apply_fn` without `inputs` or the reverse.

    Cost: a gradient, an update, and two forward passes on `inputs`.
    """
    if (apply_fn is None) != (inputs is None):
        given = "inputs" if apply_fn is None else "apply_fn"
        raise ValueError(
            f"apply_fn, inputs: expected both, for output_churn, or neither; got "
            f"{given} only."
        )
    theta = checks.float_params(params)
    n = checks.num_examples(batch)
    checks.unreduced(loss_fn, theta, batch, key, n)
    mean_loss = lambda theta: jnp.mean(trees.as_float(loss_fn(theta, batch, key)))
    with jax.default_matmul_precision(precision):
        gradient = jax.grad(mean_loss)(theta)
        # A gradient of another dtype than in training may not fit the state.
        as_trained = jax.tree.map(
            lambda g, p: g.astype(jnp.result_type(p)), gradient, params
        )
        step, _ = tx.update(as_trained, opt_state, params)
    step = jax.tree.map(trees.as_float, step)

    norms = {"gradient_norm": trees.norm(gradient), "update_norm": trees.norm(step)}
    if inputs is not None:
        with jax.default_matmul_precision(precision):
            norms["output_churn"] = _churn(apply_fn, theta, step, inputs)
    rate = _ratio(norms["update_norm"], trees.norm(theta))
    scalars = norms | {"effective_learning_rate": rate}
    arrays = {}
    for (path, p), g, u in zip(
        jax.tree_util.tree_leaves_with_path(theta),
        jax.tree.leaves(gradient),
        jax.tree.leaves(step),
        strict=True,
    ):
        name = trees.path_name(path)
        arrays[f"gradient_norm/{name}"] = trees.norm(g)
        arrays[f"update_norm/{name}"] = trees.norm(u)
        rate = _ratio(trees.norm(u), trees.norm(p))
        arrays[f"effective_learning_rate/{name}"] = rate
    return report("updates", scalars, arrays, (theta, norms))


def _churn(apply_fn: Callable, theta: PyTree, step: PyTree, inputs: PyTree):
    checks.num_examples(inputs)
    moved = jax.tree.map(jnp.add, theta, step)
    before, after = apply_fn(theta, inputs), apply_fn(moved, inputs)
    return jnp.mean(jnp.abs(trees.as_float(after) - trees.as_float(before)))


def _ratio(update_norm: jax.Array, weight_norm: jax.Array) -> jax.Array:
    # x / 0 is infinite already; 0 / 0, which would be NaN, moves nothing.
    return jnp.where(update_norm == 0, 0.0, update_norm / weight_norm)
