"""Families of targets: what a plasticity probe asks a network to fit."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.checks import one_of
from plasticity_jax.losses.labels import cross_entropy, squared_error
from plasticity_jax.probes import checks
from plasticity_jax.types import Key, PyTree

BASELINE_STEPS = 100  # of L-BFGS, from the constant 0


class Family(NamedTuple):
    """One kind of target, drawn anew for every fit.

    `outputs` are the predictions of the network for which targets are made; `fresh` is
    (key) -> predictions [N, ...] of a freshly initialised network on the same inputs.
    """

    draw: Callable  # (key, inputs, outputs [N, ...], fresh) -> targets, leading axis N
    loss: Callable  # (predictions [B, ...], targets [B, ...]) -> losses [B]
    recentred: bool = False  # whether a fit adds the network's own mean to the targets
    baseline: Callable | None = None  # (targets [T, N, ...], outputs) -> b, if known


def sine() -> Family:
    """Makes the paper's: sin(1e5 f(x; omega)), recentred; squared error, b about .5.

    Source: arXiv 2303.01486, sections 3 and A.
    """
    return Family(_sine, squared_error, recentred=True, baseline=_variance)


def offset(mean: float = 10.0) -> Family:
    """Makes mean + sin(1e5 f(x; omega)), not recentred; squared error, b about .5.

    How hard are targets far from where the network is? Source: on target magnitude,
    arXiv 2402.18762.
    """

    def draw(key, inputs, outputs, fresh):
        return mean + _sine(key, inputs, outputs, fresh)

    return Family(draw, squared_error, baseline=_variance)


def random_teacher() -> Family:
    """Makes f(x; omega), mean 0 and variance 1 an output over the pool, recentred.

    Squared error, b = 1. An output that is constant over the pool is all 0, with b = 0.

    Source: target-fitting capacity, arXiv 2204.09560.
    """
    return Family(_teacher, squared_error, recentred=True, baseline=_variance)


def random_labels() -> Family:
    """Makes one uniform class an input; cross-entropy in nats, b about log C.

    C is the number of outputs; b is the entropy of the labels' frequencies, a little
    below log C on a finite pool. Source: arXiv 1611.03530.
    """
    return Family(_labels, cross_entropy, baseline=_label_entropy)


FAMILIES = {
    "sine": sine,
    "offset": offset,
    "random_teacher": random_teacher,
    "random_labels": random_labels,
}


def resolve(
    family: str | Family | Callable, key: Key, inputs: PyTree, outputs: PyTree
) -> Family:
    """Returns the family that is meant.

    Args:
      family: a name in FAMILIES; a Family; or (key, inputs, outputs) -> (targets,
        loss), whose loss may depend on its own two arguments alone.
      key, inputs, outputs: what a callable is traced with; arrays or shapes.

    Raises:
      ValueError: an unknown name, or a callable that does not return such a pair.
    """
    if family in tuple(FAMILIES.values()):  # the factory itself, not called
        family = family()
    if isinstance(family, Family):
        return family
    if not callable(family):
        one_of("family", family, FAMILIES)
        return FAMILIES[family]()
    losses = []

    def draw(key, inputs, outputs, fresh=None):
        drawn = family(key, inputs, outputs)
        if not (isinstance(drawn, tuple) and len(drawn) == 2 and callable(drawn[1])):
            raise ValueError(
                "family: expected (targets, loss) from (key, inputs, outputs), loss a "
                f"function of (outputs, targets); got {type(drawn).__name__}: {drawn}."
            )
        targets, loss = drawn
        losses.append(loss)
        return targets

    # A trace alone gives the loss: a stored reference holds the targets already.
    jax.eval_shape(draw, key, inputs, outputs)
    return Family(draw, losses[0])


def draw(
    family: Family,
    predict: Callable,
    init_fn: Callable,
    params: PyTree,
    inputs: PyTree,
    key: Key,
    num_targets: int,
) -> PyTree:
    """Returns T targets for the network `params`, [T, N, ...], its mean not added.

    The sine is chaotic: another batch shape or precision gives another target. So
    targets are computed once, at full precision, and handed on as arrays.

    Args:
      predict: (params, inputs) -> predictions [N, ...].
      init_fn: (key) -> params.

    Raises:
      ValueError: targets whose leading axis is not that of the inputs.
    """

    def fresh(key):
        return predict(checks.float_params(init_fn(key)), inputs)

    with jax.default_matmul_precision("highest"):
        outputs = predict(params, inputs)

        def target(key):
            return family.draw(key, inputs, outputs, fresh)

        targets = jax.lax.map(target, jax.random.split(key, num_targets))
    n = checks.num_examples(inputs)
    shapes = [leaf.shape[1:] for leaf in jax.tree.leaves(targets)]
    if not shapes or any(shape[:1] != (n,) for shape in shapes):
        raise ValueError(
            f"family: expected targets with leading axis {n}, one for each input; got "
            f"shapes {shapes}."
        )
    return targets


def baseline(family: Family, targets: PyTree, outputs: PyTree) -> jax.Array:
    """Returns b, [], the mean loss of the best constant prediction.

    Args:
      family: without a closed form, its loss is minimised by L-BFGS over one constant
        a target; the loss is taken to be convex in the prediction, and finite at 0.
      targets: [T, N, ...], not recentred: b does not depend on the mean.
      outputs: predictions [N, ...], of which shape and dtype count.
    """
    if family.baseline is not None:
        return family.baseline(targets, outputs)

    def best(target):
        def loss(constant):
            constant = jnp.broadcast_to(constant, outputs.shape)
            return jnp.mean(family.loss(constant, target))

        return _minimum(loss, jnp.zeros(outputs.shape[1:], outputs.dtype))

    return jnp.mean(jax.lax.map(best, targets))


def _sine(key, inputs, outputs, fresh):
    return jnp.sin(1e5 * fresh(key))


def _teacher(key, inputs, outputs, fresh):
    taught = fresh(key)
    deviation = jnp.std(taught, axis=0)
    # The rounding of a constant must not be blown up to variance 1.
    rounding = 100 * jnp.finfo(taught.dtype).eps * jnp.max(jnp.abs(taught), axis=0)
    constant = deviation <= rounding
    centred = taught - jnp.mean(taught, axis=0)
    return jnp.where(constant, 0.0, centred / jnp.where(constant, 1.0, deviation))


def _labels(key, inputs, outputs, fresh):
    if outputs.shape[-1] < 2:
        raise ValueError(
            "family: expected at least 2 outputs, the classes of random_labels; got 1."
        )
    return jax.random.randint(key, outputs.shape[:1], 0, outputs.shape[-1])


def _variance(targets, outputs):
    return jnp.mean(jnp.var(targets, axis=1))


def _label_entropy(labels, outputs):
    frequency = jnp.mean(jax.nn.one_hot(labels, outputs.shape[-1]), axis=1)  # [T, C]
    return jnp.mean(jnp.sum(jax.scipy.special.entr(frequency), axis=-1))


def _minimum(loss: Callable, start: jax.Array) -> jax.Array:
    tx = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(_, carry):
        point, state, least = carry
        value, gradient = value_and_grad(point, state=state)
        updates, state = tx.update(
            gradient, state, point, value=value, grad=gradient, value_fn=loss
        )
        return optax.apply_updates(point, updates), state, jnp.fmin(least, value)

    carry = (start, tx.init(start), loss(start))
    return jax.lax.fori_loop(0, BASELINE_STEPS, step, carry)[2]
