"""Probes on a Flax NNX model: python examples/probe_nnx.py"""

import jax
import optax
from flax import nnx

from plasticity_jax import probes


class Network(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.List(nnx.Linear(n, 32, rngs=rngs) for n in (8, 32))
        self.head = nnx.Linear(32, 4, rngs=rngs)

    def __call__(self, x):  # [N, 8] -> ([N, 4], {layer: [N, 32]})
        features = {}
        for index, layer in enumerate(self.hidden):
            x = features[f"hidden_{index}"] = nnx.relu(layer(x))
        return self.head(x), features


# What probes ask of a model: functions of its parameters, which are any pytree.
graphdef, _, rest = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)
init_fn = lambda key: nnx.state(Network(nnx.Rngs(key)), nnx.Param)
network = lambda params: nnx.merge(graphdef, params, rest)
apply_fn = lambda params, x: network(params)(x)[0]
features_fn = lambda params, x: network(params)(x)[1]  # penultimate layer last


def loss_fn(params, batch, key):  # -> [N]: the loss of each example, before the mean
    x, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(apply_fn(params, x), labels)


def show(result):
    for name, value in result.scalars.items():
        print(f"{name:48}{value:12.5f}")


# Stands for your data and training: random labels.
key, key_init, key_x, key_y = jax.random.split(jax.random.key(0), 4)
inputs = jax.random.normal(key_x, (128, 8))
batch = (inputs, jax.random.randint(key_y, (128,), 0, 4))
tx, start = optax.adam(3e-3), init_fn(key_init)
params, opt_state = start, tx.init(start)
gradient = jax.jit(jax.grad(lambda params: loss_fn(params, batch, key).mean()))
for _ in range(200):
    updates, opt_state = tx.update(gradient(params), opt_state)
    params = optax.apply_updates(params, updates)

# Can it still learn? How sharp is its loss? Do examples interfere? Are units dormant?
budget = dict(num_targets=2, num_steps=200, batch_size=32, reference_params=start)
show(probes.plasticity(apply_fn, init_fn, tx, params, inputs, key, **budget))
show(probes.hessian_spectrum(loss_fn, params, batch, key, num_steps=20))
show(probes.gradient_covariance(loss_fn, params, batch, key))
show(probes.representation(features_fn, params, inputs))
# How sharp would a new task be, from here?
new_loss_fn, new_batch = probes.landscape(apply_fn, params, inputs, key)
show(probes.hessian_spectrum(new_loss_fn, params, new_batch, key, num_steps=20))
