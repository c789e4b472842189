"""What the pure learners share: their parts, and one optimiser update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import checks, trees
from plasticity_jax.interventions import compose
from plasticity_jax.types import (
    Context,
    Key,
    Method,
    Model,
    ProbeView,
    PyTree,
    Setup,
    TrainState,
)


class Parts(NamedTuple):
    """What a learner's functions are closed over; nothing here is traced."""

    settings: Any  # the learner's own NamedTuple
    network: Model  # before any intervention
    method_fn: Callable[[PyTree], Method]  # (hparams of one seed) -> Method
    num_outputs: int
    period: int  # updates between target updates, or task boundaries
    has_target: bool
    vary_fn: Callable[[PyTree], dict] = lambda hparams: {}  # a seed's own settings

    def bind(self, hparams: PyTree) -> "Bound":
        """Builds what one seed's hyper-parameters decide."""
        method = self.method_fn(hparams)
        setup = compose.setup(
            self.network, method, period=self.period, has_target=self.has_target
        )
        own = self.vary_fn(hparams)
        settings = self.settings._replace(**own) if own else self.settings
        return Bound(setup, method, settings)


class Bound(NamedTuple):
    """One seed's model, optimiser, interventions and settings."""

    setup: Setup
    method: Method
    settings: Any = ()  # the learner's; what differs between seeds is traced

    def init(self, key: Key) -> "Optimized":
        """Draws parameters, and fresh states of optimiser and interventions."""
        setup = self.setup
        params, model_state = setup.model.init(trees.named_key(key, "init"))
        target_params = params if setup.has_target else {}
        opt_state = setup.tx.init(params)
        train = TrainState(params, target_params, opt_state, model_state, params)
        compose.check(setup, self.method, train)
        states = compose.init(setup, self.method, train, key)
        return Optimized(train, states)

    def apply_fn(self, train: TrainState):
        """Returns the deterministic network: (params, [N, ...]) -> outputs [N, O]."""
        apply, model_state = self.setup.model.apply, train.model_state
        return lambda params, inputs: apply(params, model_state, inputs).outputs

    def values_fn(self, train: TrainState):
        """Returns (params, inputs [N, ...]) -> values [N, O], whatever the head."""
        apply_fn, head = self.apply_fn(train), self.setup.model.head
        return lambda params, inputs: head.predict(apply_fn(params, inputs))

    def view(self, train: TrainState, loss_fn, inputs, batch) -> ProbeView:
        """Shows the network to probes, with the pool and the batch given."""
        model = self.setup.model

        def features_fn(params, inputs):
            return model.apply(params, train.model_state, inputs).features

        return ProbeView(
            loss_fn=loss_fn,
            apply_fn=self.apply_fn(train),
            init_fn=lambda key: model.init(key)[0],
            features_fn=features_fn,
            tx=compose.chain(self.method, in_probes=True),
            params=train.params,
            initial_params=train.initial_params,
            opt_state=compose.probe_state(self.method, train.opt_state),
            inputs=inputs,
            batch=batch,
            predict_fn=None if model.head.is_linear else model.head.predict,
            fit_loss_fn=None if model.head.is_linear else model.head.losses,
        )

    def update(self, optimized: "Optimized", losses_fn, updates, inputs, key: Key):
        """Takes one optimiser step on the mean loss and the penalties.

        Args:
          optimized: the state before.
          losses_fn: (params, model_state) -> (losses [N], Forward).
          updates: [] updates taken before this one.
          inputs: the batch's observations, [B, ...].
          key: the seed's.

        Returns:
          (state after, {"loss": mean loss before the step [], "losses": [N],
          "update_norm": []}, features).
        """
        setup, (train, states) = self.setup, optimized

        def objective(params):
            losses, forward = losses_fn(params, train.model_state)
            loss = jnp.mean(losses)
            context = Context(setup, updates + 1, inputs, forward.features)
            penalty, new_states = compose.penalty(
                self.method, params, states, train, context, key
            )
            return loss + penalty, (losses, loss, forward, new_states)

        grads, (losses, loss, forward, states) = jax.grad(objective, has_aux=True)(
            train.params
        )
        steps, opt_state = setup.tx.update(
            grads, train.opt_state, train.params,
            initial_params=train.initial_params,
            key=jax.random.fold_in(trees.named_key(key, "optimizer"), updates),
        )  # fmt: skip
        train = train._replace(
            params=optax.apply_updates(train.params, steps),
            opt_state=opt_state,
            model_state=forward.model_state,
        )
        norm = trees.norm(steps)
        figures = {"loss": loss, "losses": losses, "update_norm": norm}
        return Optimized(train, states), figures, forward.features

    def sync(self, optimized: "Optimized", updates):
        """Copies the parameters to the target network, if due after update number
        `updates`, counted from 1."""
        train = optimized.train
        target_params = jax.lax.cond(
            updates % self.setup.period == 0,
            lambda: train.params,
            lambda: train.target_params,
        )
        return optimized._replace(train=train._replace(target_params=target_params))

    def fire(self, optimized: "Optimized", updates, inputs, features, key: Key):
        """Applies the events due after update number `updates`, counted from 1."""
        context = Context(self.setup, updates, inputs, features)
        train, states = optimized
        states, train = compose.fire(self.method, states, train, context, key)
        return Optimized(train, states)


class Optimized(NamedTuple):
    """What optimisation changes."""

    train: TrainState
    interventions: tuple  # their states, in order


def make_parts(
    settings,
    network: Model,
    method,
    num_outputs,
    period,
    has_target,
    vary_fn=None,
    least=None,
):
    """Returns the parts, checked.

    Args:
      settings: the learner's own.
      network: the model before any intervention.
      method: an Optax transformation, a `Method`, or (hparams of one seed) -> Method.
      num_outputs: O.
      period: updates between target updates, or task boundaries.
      has_target: whether there is a target network.
      vary_fn: (hparams of one seed) -> {setting: value} in place of `settings`.
      least: {setting: its smallest value}, where that is not 1.

    Raises:
      ValueError: a count below its smallest value.
    """  # fmt: skip
    check_counts(settings, **(least or {}))
    fixed = method if isinstance(method, Method) else Method(method)
    method_fn = method if callable(method) else lambda hparams: fixed
    own = {"vary_fn": vary_fn} if vary_fn else {}
    return Parts(settings, network, method_fn, num_outputs, period, has_target, **own)


def check_counts(settings: NamedTuple, **least: int) -> None:
    """Refuses a whole number below 1, or its own `least`, among settings, by name."""
    for name, kind in type(settings).__annotations__.items():
        if kind is int:
            checks.at_least(least.get(name, 1), **{name: getattr(settings, name)})
