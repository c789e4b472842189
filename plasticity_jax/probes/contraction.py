"""Per-example gradients in factors, for any function, by reading its jaxpr.

Where a parameter array enters one example's computation only as the weight of matrix
products and convolutions, its gradient is a sum over positions p (pixels, tokens, uses)
of outer products a_p g_p^T: a_p what the weight is multiplied with, g_p the gradient of
the product. Inner products of such gradients need a and g alone, never the gradient.

The jaxpr of one example is run twice. The first run follows every parameter array
through layout operations (reshape, transpose, slice ...) to what consumes it. In the
second, each product of a weight that can be factored has a zero added; the gradients
of these zeros are g, in the one backward pass that also yields the ordinary per-example
gradients of all other parameters.

Jaxprs are read here and in `layouts.py` alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from plasticity_jax import trees
from plasticity_jax.probes import layouts
from plasticity_jax.probes.layouts import Meeting
from plasticity_jax.types import PyTree

# Calls whose inside is read; others (custom_jvp, scan) are bound as they are.
INLINED = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"}


class Tracked(NamedTuple):
    """A parameter array on its way through layout operations."""

    leaf: int
    value: jax.Array
    entries: np.ndarray  # like value: index into the flat leaf, -1 for padding


class Use(NamedTuple):
    """One place where a parameter array meets the data."""

    leaf: int
    meeting: Meeting
    shape: jax.ShapeDtypeStruct  # of the product, one example


class Plan(NamedTuple):
    """How the gradients of each parameter array come."""

    uses: tuple[Use, ...]  # of arrays whose gradients fall into factors
    groups: tuple[tuple[int, ...], ...]  # uses of the same entries: positions add up
    factored: tuple[bool, ...]  # by array


class Factors(NamedTuple):
    """What the per-example gradients of O outputs are made of."""

    outputs: jax.Array  # [N, O]
    operands: list  # by use: what the weight is multiplied with, [N, ...]
    errors: list  # by use: gradients of the product, [N, O, ...]
    others: list  # gradients of the arrays that are not factored, [N, O, ...]
    scale: jax.Array  # [N] powers of two: what errors and others were divided by


def plan(
    fn: Callable, params: PyTree, example: PyTree, *, factor: bool = True
) -> tuple[Plan, Callable]:
    """Finds out which parameters' gradients fall into factors.

    Args:
      fn: (params, example) -> outputs [O] of one example.
      params: arrays.
      example: one example's arrays, or their shapes.
      factor: whether to look at all.

    Returns:
      The plan, and a function from examples [N, ...] to their `Factors`.
    """
    leaves, structure = jax.tree.flatten(params)

    def flat(leaves, example):
        return fn(jax.tree.unflatten(structure, leaves), example)

    program = jax.make_jaxpr(flat)(leaves, example)
    uses, escaped = [], set() if factor else set(range(len(leaves)))

    def discover(leaves, example):
        def meet(leaf, meeting, operand, product):
            shape = jax.ShapeDtypeStruct(product.shape, product.dtype)
            uses.append(Use(leaf, meeting, shape))
            return product

        inputs = [_track(*pair) for pair in enumerate(leaves)]
        return _run(program, inputs + jax.tree.leaves(example), meet, escaped.add)

    jax.eval_shape(discover, leaves, example)
    groups = _group(uses, escaped)
    kept = [index for index, use in enumerate(uses) if use.leaf not in escaped]
    found = Plan(
        uses=tuple(uses[index] for index in kept),
        groups=tuple(
            tuple(kept.index(index) for index in group)
            for group in groups
            if uses[group[0]].leaf not in escaped
        ),
        factored=tuple(leaf not in escaped for leaf in range(len(leaves))),
    )
    return found, lambda batch: _factors(program, found, leaves, batch)


def _group(uses: list[Use], escaped: set[int]) -> list[list[int]]:
    """Puts uses of the same entries together; where they overlap otherwise, the array
    escapes."""
    groups: list[list[int]] = []
    for index, use in enumerate(uses):
        for group in groups:
            other = uses[group[0]]
            if other.leaf != use.leaf:
                continue
            if np.array_equal(other.meeting.entries, use.meeting.entries):
                group.append(index)
                break
            if np.intersect1d(other.meeting.entries, use.meeting.entries).size:
                escaped.add(use.leaf)
        else:
            groups.append([index])
    return groups


def _factors(program, plan: Plan, leaves: list, batch: PyTree) -> Factors:
    """Runs the second pass over examples [N, ...]."""
    deltas = [jnp.zeros(use.shape.shape, use.shape.dtype) for use in plan.uses]
    others = [x for x, kept in zip(leaves, plan.factored, strict=True) if not kept]

    def one(example):
        def run(deltas, others):
            operands = []

            def meet(leaf, meeting, operand, product):
                operands.append(operand)
                return product + deltas[len(operands) - 1]

            rest = iter(others)
            inputs = [
                _track(index, leaf) if factored else next(rest)
                for index, (leaf, factored) in enumerate(
                    zip(leaves, plan.factored, strict=True)
                )
            ]
            inputs += jax.tree.leaves(example)
            outputs = _run(program, inputs, meet, None)
            return outputs, (outputs, operands)

        differentiate = jax.jacrev(run, argnums=(0, 1), has_aux=True)
        (errors, gradients), (outputs, operands) = differentiate(deltas, others)
        return _scaled(Factors(outputs, operands, errors, gradients, None))

    return jax.vmap(one)(batch)


def _scaled(factors: Factors) -> Factors:
    """Brings one example's gradients to the size of 1: squares of those that a well
    fitted example has would vanish in float32, and with them its cosines."""
    gradients = (factors.errors, factors.others)
    sizes = [jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(gradients)]
    size = jnp.max(jnp.stack(sizes)).astype(factors.outputs.dtype)
    scale = trees.power_of_two(size)
    errors, others = jax.tree.map(lambda x: x / scale.astype(x.dtype), gradients)
    return factors._replace(errors=errors, others=others, scale=scale)


def _track(leaf: int, value: jax.Array) -> Tracked:
    return Tracked(leaf, value, np.arange(value.size).reshape(value.shape))


def _run(program, inputs: list, meet: Callable, escape: Callable | None):
    """Runs a closed jaxpr of one output on values, some of them `Tracked`."""
    (output,) = _evaluate(program.jaxpr, program.consts, inputs, meet, escape)
    return _plain(output, escape)


def _plain(value, escape):
    if isinstance(value, Tracked):
        escape(value.leaf)
        return value.value
    return value


def _evaluate(jaxpr, consts, inputs, meet, escape) -> list:
    """Evaluates a jaxpr, equation by equation.

    Args:
      inputs: values, some of them `Tracked`.
      meet: (leaf, meeting, operand, product) -> product, where a tracked array meets
        plain data.
      escape: (leaf), where a tracked array goes into anything else.
    """
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= zip(jaxpr.invars, inputs, strict=True)

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        args = [read(atom) for atom in eqn.invars]
        tracked = [arg for arg in args if isinstance(arg, Tracked)]
        if eqn.primitive.name in INLINED:
            inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            open_jaxpr = getattr(inner, "jaxpr", inner)
            outs = _evaluate(
                open_jaxpr, getattr(inner, "consts", ()), args, meet, escape
            )
        elif not tracked:
            outs = _bind(eqn, args)
        else:
            outs = _bind_tracked(eqn, args, tracked, meet, escape)
        values |= zip(eqn.outvars, outs, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _bind_tracked(eqn, args, tracked, meet, escape) -> list:
    """One equation with tracked arrays among its arguments."""
    if len(tracked) == 1:
        (array,) = tracked
        place = next(i for i, arg in enumerate(args) if arg is array)
        plain = [array.value if arg is array else arg for arg in args]
        entries = layouts.follow(eqn, place, array.entries)
        if entries is not None:
            (value,) = _bind(eqn, plain)
            return [Tracked(array.leaf, value, entries)]
        meeting = layouts.meeting(eqn, place, array.entries)
        if meeting is not None:
            (product,) = _bind(eqn, plain)
            operand = plain[1 - place]
            return [meet(array.leaf, meeting, operand, product)]
    return _bind(eqn, [_plain(arg, escape) for arg in args])


def _bind(eqn, args) -> list:
    bound = eqn.primitive.get_bind_params(eqn.params)
    # A pair in jax 0.10, keyword arguments alone later.
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    with eqn.ctx.manager:
        outs = eqn.primitive.bind(*functions, *args, **params)
    return outs if eqn.primitive.multiple_results else [outs]
