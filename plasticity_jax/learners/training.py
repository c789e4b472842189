"""What the pure learners share: their parts, one optimiser update, the sums behind a
row."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from plasticity_jax import checks
from plasticity_jax.networks import features_fn
from plasticity_jax.types import ProbeView, PyTree, TrainState


class Parts(NamedTuple):
    """What a learner's functions are closed over; nothing here is traced."""

    settings: Any  # the learner's own NamedTuple
    network: nn.Module
    tx: optax.GradientTransformation
    num_outputs: int

    def apply_fn(self, params, inputs):
        """Runs the network: [N, ...] -> [N, O]."""
        return self.network.apply({"params": params}, inputs)

    def init(self, inputs, key, *, has_target: bool) -> TrainState:
        """Draws parameters for inputs like these, and fresh optimiser state."""
        variables = dict(self.network.init(key, inputs[:1]))
        params = variables.pop("params")
        variables.pop("features", None)
        target_params = params if has_target else {}
        opt_state = self.tx.init(params)
        return TrainState(params, target_params, opt_state, variables, params)

    def view(self, train: TrainState, loss_fn, inputs, batch) -> ProbeView:
        """Shows the network to probes, with the pool and the batch given."""
        return ProbeView(
            loss_fn=loss_fn,
            apply_fn=self.apply_fn,
            init_fn=lambda key: self.network.init(key, inputs[:1])["params"],
            features_fn=features_fn(self.network),
            tx=self.tx,
            params=train.params,
            initial_params=train.initial_params,
            opt_state=train.opt_state,
            inputs=inputs,
            batch=batch,
        )


def check_counts(settings: NamedTuple) -> None:
    """Refuses a whole number below 1 among the settings, by name."""
    for name, kind in type(settings).__annotations__.items():
        if kind is int:
            checks.at_least(1, **{name: getattr(settings, name)})


def update(train: TrainState, tx, losses_fn) -> tuple[TrainState, jax.Array]:
    """Takes one optimiser step on the mean loss.

    Args:
      train: the state before.
      tx: any Optax transformation.
      losses_fn: (params, model_state) -> (losses [N], model_state).

    Returns:
      (state after, mean loss before the step []).
    """

    def mean_loss(params):
        losses, model_state = losses_fn(params, train.model_state)
        return jnp.mean(losses), model_state

    grad_fn = jax.value_and_grad(mean_loss, has_aux=True)
    (loss, model_state), grads = grad_fn(train.params)
    updates, opt_state = tx.update(grads, train.opt_state, train.params)
    params = optax.apply_updates(train.params, updates)
    train = train._replace(params=params, opt_state=opt_state, model_state=model_state)
    return train, loss


class Window(NamedTuple):
    """Sums since the last row, and when the loss first was not finite."""

    sums: PyTree  # {name: []}
    count: jax.Array  # [] int32
    failed_at: jax.Array  # [] int32: update count, -1 while all is well


def empty_window(*names: str) -> Window:
    """Returns a window that has seen nothing."""
    sums = {name: jnp.zeros(()) for name in names}
    return Window(sums, jnp.int32(0), jnp.int32(-1))


def observe(window: Window, updates: jax.Array, **values: jax.Array) -> Window:
    """Adds one update's values; `loss` must be among them and tells of failure."""
    sums = {name: window.sums[name] + value for name, value in values.items()}
    failed_now = (window.failed_at < 0) & ~jnp.isfinite(values["loss"])
    failed_at = jnp.where(failed_now, updates + 1, window.failed_at)
    return Window(sums, window.count + 1, failed_at.astype(jnp.int32))


def close(window: Window) -> tuple[dict, Window]:
    """Returns means as {"train/<name>": []} (NaN when empty) and the emptied window."""
    row = {f"train/{name}": total / window.count for name, total in window.sums.items()}
    return row, empty_window(*window.sums)._replace(failed_at=window.failed_at)
