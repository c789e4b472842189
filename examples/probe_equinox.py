"""Probes on an Equinox model: python examples/probe_equinox.py"""

import equinox as eqx
import jax
import optax

from plasticity_jax import probes

# What probes ask of a model: functions of its parameters, which are any pytree.
make_fn = lambda key: eqx.nn.MLP(8, 4, width_size=32, depth=2, key=key)
_, static = eqx.partition(make_fn(jax.random.key(0)), eqx.is_inexact_array)
init_fn = lambda key: eqx.filter(make_fn(key), eqx.is_inexact_array)
network = lambda params: eqx.combine(params, static)
apply_fn = lambda params, x: jax.vmap(network(params))(x)


def features_fn(params, x):  # -> {layer: activations [N, units]}, the penultimate last
    features = {}
    for index, layer in enumerate(network(params).layers[:-1]):
        x = features[f"hidden_{index}"] = jax.nn.relu(jax.vmap(layer)(x))
    return features


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
