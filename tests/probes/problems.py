"""Small losses of every kind a probe has to cope with, for the dense oracles."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from plasticity_jax import probes
from plasticity_jax.networks import MLP
from plasticity_jax.networks.blocks import Conv


class Problem(NamedTuple):
    loss_fn: Callable
    params: Any
    batch: Any
    key: Any
    share: float = 1.0  # of the parameters whose gradients fall into factors, at least


class ConvNet(nn.Module):
    impl: str

    @nn.compact
    def __call__(self, x):
        x = nn.relu(Conv(2, 3, 2, "SAME", self.impl)(x))  # 3 is no multiple of 2
        x = nn.relu(Conv(3, 2, 1, "VALID", self.impl)(x))
        return nn.Dense(3)(x.reshape(len(x), -1))


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(2, (3, 3), use_bias=False)(x)
        y = nn.relu(nn.GroupNorm(2)(x))
        y = nn.Conv(4, (3, 3), strides=2, use_bias=False)(y)
        y = nn.Conv(4, (3, 3), kernel_dilation=2)(nn.relu(nn.GroupNorm(2)(y)))
        x = nn.Conv(4, (1, 1), strides=2, use_bias=False)(x) + y
        return nn.Dense(3)(jnp.mean(x, axis=(1, 2)))


class ViT(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), strides=3)(x)
        x = x.reshape(len(x), -1, 4)
        x = x + self.param("position", nn.initializers.normal(0.1), x.shape[1:])
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(2)(y, y)
        y = nn.gelu(nn.Dense(6)(nn.LayerNorm()(x)))
        x = x + nn.Dense(4)(y)
        return nn.Dense(3)(jnp.mean(x, axis=1))


def of_network(network: nn.Module, shape, share: float = 1.0) -> Problem:
    keys = jax.random.split(jax.random.key(0), 3)
    inputs = jax.random.normal(keys[0], shape)
    params = network.init(keys[1], inputs)["params"]
    params = jax.tree.map(lambda p: p.astype(jnp.result_type(float)), params)
    loss_fn = probes.ComposedLoss(
        lambda params, batch, key: network.apply({"params": params}, batch[0]),
        lambda outputs, batch: optax.softmax_cross_entropy_with_integer_labels(
            outputs, batch[1]
        ),
    )
    labels = jax.random.randint(keys[2], shape[:1], 0, 3)
    return Problem(loss_fn, params, (inputs, labels), jax.random.key(4), share)


def shared_weights() -> Problem:
    """Theta^3 x, and the bias used twice."""

    def outputs_fn(params, batch, key):
        x = batch[0]
        for _ in range(3):
            x = jnp.tanh(x @ params["w"] + params["b"])
        return x

    keys = jax.random.split(jax.random.key(0), 3)
    params = {"w": jax.random.normal(keys[0], (4, 4)), "b": jnp.ones(4) / 3}
    batch = jax.random.normal(keys[1], (5, 4)), jax.random.normal(keys[2], (5, 4))
    squared = lambda outputs, batch: jnp.sum((outputs - batch[1]) ** 2, -1)
    return Problem(probes.ComposedLoss(outputs_fn, squared), params, batch, None)


def tied_weights() -> Problem:
    """W and its transpose: no common factors."""
    problem = shared_weights()
    loss_fn = probes.ComposedLoss(
        lambda params, batch, key: jnp.tanh(batch[0] @ params["w"]) @ params["w"].T,
        problem.loss_fn.losses_fn,
    )
    return problem._replace(loss_fn=loss_fn, params={"w": problem.params["w"]}, share=0)


def recurrent() -> Problem:
    """One cell over five steps inside a scan, where nothing can be factored."""

    def outputs_fn(params, batch, key):
        def cell(state, x):
            return jnp.tanh(x @ params["w"] + state @ params["u"]), None

        steps = jnp.swapaxes(batch[0], 0, 1)
        state, _ = jax.lax.scan(cell, jnp.zeros((len(batch[0]), 3)), steps)
        return state @ params["head"]

    keys = jax.random.split(jax.random.key(0), 4)
    shapes = {"w": (2, 3), "u": (3, 3), "head": (3, 3)}
    params = {
        name: jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys[:3], shapes.items(), strict=True)
    }
    inputs = jax.random.normal(keys[3], (5, 5, 2))
    squares = lambda outputs, batch: jnp.sum(outputs**2, -1)
    loss_fn = probes.ComposedLoss(outputs_fn, squares)
    return Problem(loss_fn, params, (inputs,), None, share=9 / 24)


def embedding() -> Problem:
    """Integer inputs look rows up; the tree has empty parts."""

    def outputs_fn(params, batch, key):
        rows = params["table"][batch[0]].reshape(len(batch[0]), -1)
        return nn.relu(rows @ params["dense"]["w"])

    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "table": jax.random.normal(keys[0], (7, 2)),
        "dense": {"w": jax.random.normal(keys[1], (6, 3)), "none": jnp.zeros((0, 3))},
        "empty": {},
    }
    words = jax.random.randint(keys[2], (5, 3), 0, 7)
    cubes = lambda outputs, batch: jnp.sum(outputs**3, -1)
    loss_fn = probes.ComposedLoss(outputs_fn, cubes)
    return Problem(loss_fn, params, (words,), None, share=18 / 32)


def dropout() -> Problem:
    """Each example brings the key of its own noise."""
    problem = of_network(MLP(3, hidden=(5, 4)), (5, 4))

    def outputs_fn(params, batch, key):
        hide = lambda key: jax.random.bernoulli(key, 0.5, (4,))
        inputs = batch[0] * jax.vmap(hide)(batch[2])
        return problem.loss_fn.outputs_fn(params, (inputs,), key)

    loss_fn = probes.ComposedLoss(outputs_fn, problem.loss_fn.losses_fn)
    batch = (*problem.batch, jax.random.split(jax.random.key(9), 5))
    return problem._replace(loss_fn=loss_fn, batch=batch)


PROBLEMS = {
    "mlp": lambda: of_network(MLP(3, hidden=(5, 4)), (5, 4)),
    "layer_norm": lambda: of_network(MLP(3, hidden=(5,), norm="layer"), (5, 4), 0.8),
    "cnn_gemm": lambda: of_network(ConvNet("gemm"), (5, 6, 6, 2)),
    "cnn_lax": lambda: of_network(ConvNet("lax"), (5, 6, 6, 2)),
    "resnet": lambda: of_network(ResNet(), (5, 5, 5, 1), 0.9),
    "vit": lambda: of_network(ViT(), (5, 6, 6, 1), 0.85),
    "recurrent": recurrent,
    "remat": lambda: of_network(nn.remat(MLP)(3, hidden=(5, 4)), (5, 4)),
    "shared_weights": shared_weights,
    "tied_weights": tied_weights,
    "embedding": embedding,
    "dropout": dropout,
}
