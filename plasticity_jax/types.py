"""The few types that every tier shares.

Shape legend, here and everywhere: N examples, B batch, A actions, C classes,
O outputs, P parameters, S seeds, T probe targets, K draws, M Lanczos steps.
"""

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


class PureLearner(NamedTuple):
    """One seed of a learner whose task is a pure function.

    `shared` holds what all seeds read and none writes (images): an argument, because a
    closure would be copied into the program. `updates` is the clock: one scalar for all
    seeds, so that periodic work stays a `lax.cond` under vmap. `member` is the rest.
    """

    init: Callable[[PyTree, Key], PyTree]  # (shared, key) -> member
    update: Callable[[PyTree, jax.Array, PyTree], PyTree]  # (shared, updates, member)
    metrics: Callable[[PyTree, jax.Array, PyTree], tuple[dict, PyTree]]
    view: Callable[[PyTree, PyTree], ProbeView]  # (shared, member)


class LearnerState(NamedTuple):
    """A pure learner's whole state: the shared clock and one member per seed."""

    updates: jax.Array  # []
    members: PyTree  # leaves [S, ...]


class Learner(NamedTuple):
    """What the loop drives, whatever the host. Rows and snapshots have an axis S.

    `advance` owns the state given to it (it is donated). `metrics` returns the figures
    since the last call and the state with that window emptied. `export` hands the whole
    state over, the environment's included, as nested dicts of arrays; `restore` takes
    them back.
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
