"""The few types that every tier shares.

Shape legend, here and everywhere: N examples, B batch, A actions, C classes,
O outputs, P parameters, S seeds, T probe targets, K draws, M Lanczos steps.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

PyTree = Any
Key = jax.Array  # a typed key, jax.random.key
LossFn = Callable[
    [PyTree, PyTree, Key], jax.Array
]  # (params, batch, key) -> losses [N]


class TrainState(NamedTuple):
    """What optimisation owns. `target_params` and `model_state` may be empty."""

    params: PyTree
    target_params: PyTree
    opt_state: optax.OptState
    model_state: PyTree
    initial_params: PyTree  # theta_0: probes and penalties compare with it


class Forward(NamedTuple):
    """What one pass through a network gives."""

    outputs: jax.Array  # [N, O], or [N, O, atoms] of a categorical or quantile head
    features: dict[str, jax.Array]  # {layer: [N, ...]}, penultimate last
    model_state: PyTree  # changed by a training pass only


class Model(NamedTuple):
    """A network as pure functions, whatever wraps it.

    `model_state` is what changes beside the parameters (batch statistics, power
    iterations, frozen heads). `units` says how hidden units are wired.
    """

    init: Callable  # (key) -> (params, model_state)
    apply: (
        Callable  # (params, model_state, inputs, key=None) -> Forward; a key: training
    )
    head: Any  # networks.heads.Head: what the outputs mean
    units: tuple  # of networks.topology.Units


class Transition(NamedTuple):
    """One step of experience, time suffixes as in the equations."""

    s_tm1: jax.Array
    a_tm1: jax.Array
    r_t: jax.Array
    discount_t: jax.Array
    s_t: jax.Array


class ProbeView(NamedTuple):
    """What a probe may see of a learner: one seed, deterministic, no training stream.

    It holds callables, so it is built and consumed inside one transformed function.
    """

    loss_fn: LossFn  # the training loss, unreduced, row-separable, its state frozen
    apply_fn: Callable  # (params, inputs [N, ...]) -> outputs [N, O]
    init_fn: Callable  # (key) -> params
    features_fn: (
        Callable  # (params, inputs) -> {layer: [N, ...]}, the last: penultimate
    )
    tx: optax.GradientTransformation  # the main task's optimiser
    params: PyTree
    initial_params: PyTree
    opt_state: optax.OptState
    inputs: PyTree  # the probe pool, leading axis N
    batch: PyTree  # what loss_fn takes, leading axis N
    predict_fn: Callable | None = None  # (outputs) -> values [N, O]; None: as they are
    fit_loss_fn: Callable | None = None  # (outputs, targets [N, O]) -> losses [N]


class ProbeResult(NamedTuple):
    """What every probe returns; under vmap over seeds each leaf gains an axis S."""

    scalars: dict[str, jax.Array]
    arrays: dict[str, jax.Array]


class Probe(NamedTuple):
    """A measurement with its times. `prepare` runs once, at update 0; what it returns
    (targets, reference figures) is kept with the run and given to every `measure`."""

    measure: Callable[[ProbeView, dict, Key], ProbeResult]
    times: tuple[int, ...]  # update counts, ascending
    prepare: Callable[[ProbeView, Key], dict] | None = None


class Setup(NamedTuple):
    """What an intervention may know of the learner before anything runs."""

    model: Model
    tx: optax.GradientTransformationExtraArgs  # the whole chain
    period: int  # updates between target updates, or task boundaries: every_updates = 0
    has_target: bool


class Context(NamedTuple):
    """What a loss term may know of the update it is part of, an event of the one it
    follows."""

    setup: Setup
    updates: jax.Array  # [] this update's number, from 1
    inputs: PyTree  # its batch's observations, [B, ...]
    features: dict[str, jax.Array]  # hidden activations on them, before the step


class Gradient(NamedTuple):
    """An Optax transformation, and its place in the chain.

    `gradient`: before the optimiser; `direction`: after it, before the learning rate;
    `step`: last. Its `update` may take `initial_params` and `key` by name.
    """

    tx: optax.GradientTransformation
    place: str
    in_probes: bool  # whether a probe's optimiser has it too


class LossTerm(NamedTuple):
    """A penalty on the training loss; probes never see it."""

    init: Callable  # (setup, train_state, key) -> term_state
    value: Callable  # (params, term_state, train_state, context, key) ->
    #                  (penalty [], term_state); features are those of `params`
    every_updates: int = 1


class Event(NamedTuple):
    """A change of the training state after some updates."""

    init: Callable  # (setup, train_state, key) -> event_state
    apply: (
        Callable  # (event_state, train_state, context, key) -> the first two, changed
    )
    every_updates: int  # 0: at each target update, or task boundary
    per_entry: bool = False  # touches parts of arrays: Adam must count per entry


class Intervention(NamedTuple):
    """A method against the loss of plasticity: any of four kinds, by what is given."""

    name: str
    architecture: Callable[[Model], Model] | None = None
    gradient: Gradient | None = None
    loss: LossTerm | None = None
    event: Event | None = None
    check: Callable[[Setup, TrainState], None] | None = None  # shapes; refuses


class Method(NamedTuple):
    """How a learner is optimised, and with which interventions, in order.

    `optimizer`: an Optax transformation, or one of `optimizers` with its settings
    bound: (*, direction, counts) -> transformation.
    """

    optimizer: Any
    interventions: tuple[Intervention, ...] = ()


class PureLearner(NamedTuple):
    """One seed of a learner whose task is a pure function.

    `shared` holds what all seeds read and none writes (images): an argument, because a
    closure would be copied into the program. `updates` is the clock: one scalar for all
    seeds, so that periodic work stays a `lax.cond` under vmap. `member` is the rest.
    """

    init: Callable[[PyTree, Key, PyTree], PyTree]  # (shared, key, hparams) -> member
    update: Callable[[PyTree, jax.Array, PyTree], PyTree]  # (shared, updates, member)
    metrics: Callable[[PyTree, jax.Array, PyTree], tuple[dict, PyTree]]
    view: Callable[[PyTree, PyTree], ProbeView]  # (shared, member)


class LearnerState(NamedTuple):
    """A pure learner's whole state: the shared clock and one member per seed."""

    updates: jax.Array  # []
    members: PyTree  # leaves [S, ...]


@dataclasses.dataclass(frozen=True)  # a leaf to JAX, unlike a NamedTuple
class Part:
    """A leaf of an exported state that never changes once it has its name: records save
    it once, and give the array back in its place."""

    name: str
    make: Callable[[], Any]  # () -> the array


class Learner(NamedTuple):
    """What the loop drives, whatever the host. Rows and snapshots have an axis S.

    `advance` owns the state given to it (it is donated). `metrics` returns the figures
    since the last call and the state with that window emptied. `export` hands the whole
    state over, the environment's included, as nested dicts of arrays and `Part`s;
    `restore` takes them back, as arrays.
    """

    seeds: tuple[int, ...]
    init: Callable[[], Any]  # () -> state
    advance: Callable[[Any, int], Any]  # (state, num_updates) -> state
    updates: Callable[[Any], int]  # (state) -> update count
    failed_at: Callable[[Any], jax.Array]  # (state) -> [S] update count, -1: all well
    metrics: Callable[[Any], tuple[dict, Any]]  # (state) -> ({name: [S]}, state)
    snapshot: Callable[[Any], PyTree]  # (state) -> what `measure` reads
    measure: Callable  # (fn(view, *args)) -> compiled (snapshot, *args) -> [S, ...]
    export: Callable[[Any], dict]  # (state) -> nested dicts of arrays
    restore: Callable[[dict], Any]  # its inverse
    points: tuple[int, ...] = ()  # [S] which settings each seed has, where they differ
