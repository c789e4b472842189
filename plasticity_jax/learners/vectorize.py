"""Seeds as an axis: a pure learner becomes one compiled program for all of them."""

from functools import partial

import jax
import jax.numpy as jnp

from plasticity_jax import checks, trees
from plasticity_jax.types import Learner, LearnerState, PureLearner, PyTree

AXES = ("vmap", "map")


def vectorize(
    pure: PureLearner,
    shared,
    seeds: tuple[int, ...],
    *,
    hparams: PyTree = (),
    points: tuple[int, ...] = (),
    axis: str = "vmap",
) -> Learner:
    """Maps a pure learner and its probes over seeds.

    Args:
      pure: one seed's functions.
      shared: data that all seeds read.
      seeds: one int a seed, its key is `jax.random.key(seed)`.
      hparams: what differs between seeds beside their keys, leaves [S, ...].
      points: a number for each seed's settings, [S]: a seed may then be there once for
        every number.
      axis: `vmap` advances all seeds together, `map` one after the other: faster on
        CPU from about 128 units of width. Both give a seed the same random draws; their
        results agree to rounding.

    Returns:
      A learner whose `advance` donates the state it is given.

    Raises:
      ValueError: no seeds, a seed twice, an unknown axis, hparams of another number.
    """
    _check(seeds, hparams, points, axis)

    @jax.jit
    def init(shared, keys, hparams):
        members = jax.vmap(partial(pure.init, shared))(keys, hparams)
        return LearnerState(jnp.int32(0), members)

    @partial(jax.jit, donate_argnums=0)
    def advance(state, num_updates, shared):
        # num_updates is traced: pieces of any length are one program.
        stop = state.updates + num_updates
        members = (_in_turn if axis == "map" else _together)(
            partial(pure.update, shared), state.updates, stop, state.members
        )
        return LearnerState(stop, members)

    @jax.jit
    def metrics(state, shared):
        over_seeds = jax.vmap(pure.metrics, in_axes=(None, None, 0))
        row, members = over_seeds(shared, state.updates, state.members)
        return row, LearnerState(state.updates, members)

    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    hparams = jax.tree.map(jnp.asarray, hparams)
    # Traced here, so that what cannot work is refused before anything is compiled.
    template = jax.eval_shape(init, shared, keys, hparams)
    return Learner(
        seeds=tuple(seeds),
        init=lambda: init(shared, keys, hparams),
        advance=lambda state, num_updates: advance(state, num_updates, shared),
        updates=lambda state: int(state.updates),
        failed_at=lambda state: state.members.window.failed_at,
        metrics=lambda state: metrics(state, shared),
        snapshot=lambda state: state.members,
        measure=partial(_measure, pure, shared),
        export=trees.to_dict,
        restore=lambda tree: trees.from_dict(template, tree),
        points=tuple(points),
    )


def _check(seeds, hparams, points, axis) -> None:
    checks.one_of("axis", axis, AXES)
    members = tuple(zip(seeds, points, strict=True)) if points else tuple(seeds)
    if not members or len(set(members)) != len(members):
        raise ValueError(
            f"seeds: expected at least one, each different; got {list(members)}."
        )
    if any(len(leaf) != len(seeds) for leaf in jax.tree.leaves(hparams)):
        lengths = [len(leaf) for leaf in jax.tree.leaves(hparams)]
        raise ValueError(
            f"hparams: expected {len(seeds)} values each, one a seed; got {lengths}."
        )


def _measure(pure: PureLearner, shared, fn):
    """Compiles fn(view, *args) for all seeds: (members, *args) -> leaves [S, ...]."""

    @jax.jit
    def compiled(members, shared, *args):
        def one(member, *args):
            return fn(pure.view(shared, member), *args)

        # One seed at a time on CPU: a probe fills the machine by itself.
        if jax.default_backend() == "cpu":
            return jax.lax.map(lambda xs: one(*xs), (members, *args))
        return jax.vmap(one)(members, *args)

    return lambda members, *args: compiled(members, shared, *args)


def _together(update, start, stop, members):
    # The clock stays outside vmap, so periodic work stays a cond.
    update = jax.vmap(update, in_axes=(None, 0))
    return jax.lax.fori_loop(start, stop, update, members)


def _in_turn(update, start, stop, members):
    return jax.lax.map(
        lambda member: jax.lax.fori_loop(start, stop, update, member), members
    )
