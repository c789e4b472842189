"""Interventions on Dopamine's agents: in the optimiser that they call, and as events
after their updates. What needs the loss, or a state beside the parameters, has no place
in their `train` functions and is refused."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import trees
from plasticity_jax.interventions import compose
from plasticity_jax.learners.atari.dopamine_settings import period
from plasticity_jax.networks.model import as_model
from plasticity_jax.types import Context, Key, Method, PyTree, Setup, TrainState

INSTEAD = (
    "Use one that acts on gradients or after updates, such as l2_penalty, l2_init or "
    "redo, or a learner other than Dopamine's."
)


class Hosted(NamedTuple):
    """A method as Dopamine's agents take it.

    An event's clock is Dopamine's, agent steps / `update_period`, not the number of
    updates: they differ by a constant, the steps before the first update, and copies to
    the target network follow this clock. So a period of 0, or one that divides theirs,
    meets them.
    """

    method: Method
    tx: optax.GradientTransformation  # for Dopamine, which hands over parameters alone
    init: Callable  # (agent) -> the interventions' states
    fire: Callable  # (agent, inputs [B, ...], params before the update): changes it


class Supplied(NamedTuple):
    """The optimiser's state, and what Dopamine does not hand to `update`."""

    chain: optax.OptState
    initial_params: PyTree
    updates: jax.Array  # [] taken


def check(method: Method, settings) -> None:
    """Refuses, by a ValueError, interventions that Dopamine's agents cannot have."""
    for intervention in method.interventions:
        name = intervention.name
        if intervention.loss is not None:
            raise ValueError(
                f"interventions: {name} adds to the loss, which Dopamine's train "
                f"functions keep to themselves. {INSTEAD}"
            )
        if intervention.architecture is not None:
            raise ValueError(
                f"interventions: {name} changes the network and keeps a state beside "
                f"its parameters; Dopamine's agents keep parameters alone. {INSTEAD}"
            )
        uneven = settings.target_update_period % settings.update_period
        if intervention.event and uneven:
            raise ValueError(
                f"interventions: {name} acts after updates, so it needs a "
                "target_update_period that is a multiple of update_period = "
                f"{settings.update_period}; got {settings.target_update_period}."
            )


def host(network, input_shape, method: Method, seed: int, settings) -> Hosted:
    """Returns the method as Dopamine's agents take it.

    Args:
      network: the agent's.
      input_shape: of one observation.
      method: optimiser and interventions, accepted by `check`.
      seed: of their draws.
      settings: the learner's.

    Raises:
      ValueError: what the interventions' own checks refuse.
    """
    model, every = as_model(network, input_shape, noisy=True), period(settings)
    setup = compose.setup(model, method, period=every, has_target=True)
    key = jax.random.key(seed)
    compose.check(setup, method, jax.eval_shape(lambda: _fresh(setup, key)))
    # What probes' optimisers have too is handed no more than they are.
    gradients = [i.gradient for i in method.interventions if i.gradient]
    needs_more = not all(gradient.in_probes for gradient in gradients)
    fire = jax.jit(lambda *args: _fire(setup, method, key, *args))
    events = [i.event for i in method.interventions if i.event]

    def init(agent):
        return compose.init(setup, method, _train_state(agent), key)

    def fire_due(agent, inputs, params):
        clock = agent.training_steps // settings.update_period
        if any(clock % (event.every_updates or every) == 0 for event in events):
            states, train = agent.intervention_states, _train_state(agent)
            states, train = fire(states, train, clock, inputs, params)
            _take_over(agent, states, train)

    tx = supply(setup.tx, key) if needs_more else setup.tx
    return Hosted(method, tx, init, fire_due)


def supply(tx: optax.GradientTransformationExtraArgs, key: Key):
    """Returns a chain that is handed theta_0 and a key at each update, from its state.

    Args:
      tx: whose `update` may ask for `initial_params` and `key`.
      key: of which update u's is a function.
    """

    def init(params):
        return Supplied(tx.init(params), params, jnp.zeros((), jnp.int32))

    def update(grads, state, params=None):
        own = trees.named_key(key, "optimizer")
        steps, chain = tx.update(
            grads, state.chain, params,
            initial_params=state.initial_params,
            key=jax.random.fold_in(own, state.updates),
        )  # fmt: skip
        return steps, Supplied(chain, state.initial_params, state.updates + 1)

    return optax.GradientTransformation(init, update)


def chain_state(opt_state) -> optax.OptState:
    """Returns the optimiser's own state, as `compose.chain` has it."""
    return opt_state.chain if isinstance(opt_state, Supplied) else opt_state


def _fresh(setup: Setup, key: Key) -> TrainState:
    params, _ = setup.model.init(key)
    return TrainState(params, params, setup.tx.init(params), {}, params)


def _train_state(agent) -> TrainState:
    return TrainState(
        params=agent.online_params,
        target_params=agent.target_network_params,
        opt_state=chain_state(agent.optimizer_state),
        model_state={},
        initial_params=agent.initial_params,
    )


def _take_over(agent, states: tuple, train: TrainState) -> None:
    opt_state = train.opt_state
    if isinstance(agent.optimizer_state, Supplied):
        opt_state = agent.optimizer_state._replace(
            chain=opt_state, initial_params=train.initial_params
        )
    agent.online_params, agent.target_network_params = train[:2]
    agent.optimizer_state = opt_state
    agent.initial_params = train.initial_params
    agent.intervention_states = states


def _fire(setup: Setup, method: Method, key: Key, states, train, clock, inputs, params):
    # Hidden activations before the step; not computed where no event asks for them.
    features = setup.model.apply(params, {}, inputs).features
    context = Context(setup, clock, inputs, features)
    return compose.fire(method, states, train, context, key)
