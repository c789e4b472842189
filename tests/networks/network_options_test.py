import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_networks import SMALL

from plasticity_jax.networks import (
    CNN,
    MLP,
    Head,
    NatureCNN,
    ResNet18,
    ViT,
    features_fn,
)
from plasticity_jax.networks.activations import ACTIVATIONS
from plasticity_jax.networks.blocks import count_params
from plasticity_jax.networks.norms import normalize, num_groups


def drawn(network, *shape):
    """Returns (params, inputs), neither of them anything special."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal(shape).astype(np.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), inputs)
    draw = lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32)
    return jax.tree.map(draw, variables["params"]), inputs


X = np.array([-2.0, 0.0, 1.5])


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("relu", [0, 0, 1.5]),
        ("leaky_relu", [-0.02, 0, 1.5]),
        ("gelu", [-0.0455, 0, 1.3998]),  # x Phi(x), Phi from a table
        ("silu", [-2 / (1 + np.e**2), 0, 1.5 / (1 + np.e**-1.5)]),
        ("tanh", np.tanh(X)),
        ("elu", [np.e**-2 - 1, 0, 1.5]),
        ("crelu", [0, 0, 1.5, 2, 0, 0]),
        ("fourier", [*np.sin(X), *np.cos(X)]),
    ],
)
def test_activations(name, want):
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.array(X)), want, atol=1e-3)


def test_every_activation_is_tested():
    marks = test_activations.pytestmark[0].args[1]
    assert sorted(name for name, _ in marks) == sorted(ACTIVATIONS)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("activation", ["relu", "crelu"])
def test_a_norm_stands_where_it_is_asked_for(place, activation):
    network = MLP(2, "layer", hidden=(7,), norm_place=place, activation=activation)
    params, x = drawn(network, 4, 3)

    def norm(z):
        z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-6)
        return z * params["norm_0"]["scale"] + params["norm_0"]["bias"]

    def nonlinearity(z):
        sides = (z, -z) if activation == "crelu" else (z,)
        return np.concatenate([np.maximum(side, 0) for side in sides], 1)

    z = x @ params["dense_0"]["kernel"] + params["dense_0"]["bias"]
    if place == "before":
        read = features = nonlinearity(norm(z))
    else:
        features = nonlinearity(z)  # a dead unit is one that the nonlinearity silences
        read = norm(features)
    got = features_fn(network)(params, x)["hidden_0"]
    np.testing.assert_allclose(got, features, rtol=1e-4, atol=1e-4)
    want = read @ params["head"]["kernel"] + params["head"]["bias"]
    got = network.apply({"params": params}, x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["layer", "layer_plain", "rms", "group"])
def test_norms_of_images_look_at_what_they_say(kind):
    x = np.random.default_rng(0).standard_normal((2, 3, 3, 16)).astype(np.float32)
    groups = x.reshape(2, 9, 2, 8) if kind == "group" else x
    axes = (1, 3) if kind == "group" else -1
    moments = dict(axis=axes, keepdims=True)
    shift = 0 if kind == "rms" else groups.mean(**moments)
    size = np.sqrt(((groups - shift) ** 2).mean(**moments) + 1e-6)
    want = ((groups - shift) / size).reshape(x.shape)

    class Norm(nn.Module):
        @nn.compact
        def __call__(self, x):
            return normalize(kind, x, "norm", False)

    got, _ = Norm().init_with_output(jax.random.key(0), x)
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_groups_are_never_single_units():
    assert [num_groups(n) for n in (4, 15, 16, 17, 64, 512, 1024)] == [
        1, 1, 2, 1, 8, 32, 32,
    ]  # fmt: skip


@pytest.mark.parametrize("activation", ["crelu", "fourier"])
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (MLP(10), (28, 28, 1)),
        (MLP(10, "layer", hidden=(1024, 1024)), (32, 32, 3)),
        (MLP(10, hidden=(64, 64), width=2.0), (8, 8, 1)),
        (CNN(10), (32, 32, 3)),
        (NatureCNN(6), (84, 84, 4)),
        (ViT(10), (32, 32, 3)),
    ],
)
def test_doubling_activations_match_the_plain_networks_parameters(
    network, shape, activation
):
    plain = count_params(network.clone(activation="relu"), shape)
    doubled = network.clone(activation=activation)
    assert count_params(doubled, shape) > 1.03 * plain
    matched = count_params(doubled.clone(match_params=True), shape)
    assert abs(matched / plain - 1) < 0.02


def test_matching_parameters_changes_no_plain_network():
    network = MLP(3, hidden=(6,), activation="tanh")
    assert count_params(network.clone(match_params=True), (4,)) == 4 * 6 + 6 + 6 * 3 + 3


@pytest.mark.parametrize("name", SMALL)
def test_width_multiplies_every_hidden_layer(name):
    make, settings, shape = SMALL[name]
    narrow = make(3, **{**settings, "width": 0.25})
    wide = make(3, **{**settings, "width": 0.5})
    sizes = {}
    for network in (narrow, wide):
        shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *shape)))
        for layer in network.layers[:-1]:
            size = shapes["params"][layer]["kernel"].shape[-1]
            sizes.setdefault(layer, []).append(size)
    for layer, (before, after) in sizes.items():
        assert after == 2 * before or before == 1 or abs(after - 2 * before) <= 1, layer


@pytest.mark.parametrize("kind", ["two_hot", "hl_gauss", "c51"])
def test_a_categorical_head_starts_at_zero(kind):
    network = MLP(3, hidden=(4,), head=kind, support=(-2.0, 12.0), num_atoms=29)
    inputs = jnp.zeros((2, 5))
    params = network.init(jax.random.key(0), inputs)["params"]
    assert params["head"]["kernel"].shape == (4, 3 * 29)
    outputs = network.apply({"params": params}, inputs)  # the bias alone
    assert outputs.shape == (2, 3, 29)
    assert network.head_meaning == Head(kind, (-2.0, 12.0), 29)
    probs = np.exp(np.asarray(outputs, np.float64))
    probs /= probs.sum(-1, keepdims=True)
    np.testing.assert_allclose(probs @ np.linspace(-2, 12, 29), 0, atol=1e-3)


def test_atoms_of_one_output_lie_together():
    network = MLP(3, hidden=(4,), head="quantile", num_atoms=7)
    params, x = drawn(network, 2, 5)
    h = features_fn(network)(params, x)["hidden_0"]
    columns = slice(2 * 7, 3 * 7)
    head = params["head"]
    want = h @ head["kernel"][:, columns] + head["bias"][columns]
    got = network.apply({"params": params}, x)[:, 2]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_shared_bias_is_one_number():
    network = MLP(3, hidden=(4,), head="shared_bias")
    params, x = drawn(network, 2, 5)
    assert params["head"]["bias"].shape == (1,)
    h = features_fn(network)(params, x)["hidden_0"]
    want = h @ params["head"]["kernel"] + params["head"]["bias"][0]
    got = network.apply({"params": params}, x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(norm="layr"), "Did you mean 'layer'"),
        (dict(norm_place="befor"), "Did you mean 'before'"),
        (dict(activation="leaky"), "Did you mean 'leaky_relu'"),
        (dict(head="two_hots"), "Did you mean 'two_hot'"),
        (dict(head="two_hot", support=(1.0, 0.0)), "support: expected"),
        (dict(width=0.0), "width: expected a number above 0"),
        (dict(num_outputs=0), "num_outputs: expected at least 1"),
        (dict(hidden=(0,)), "hidden: expected at least 1"),
    ],
)
def test_refuses_options_that_no_network_has(settings, message):
    with pytest.raises(ValueError, match=message):
        MLP(**{"num_outputs": 2, **settings})


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (CNN, dict(channels=(4,)), "1 channels, 2 kernels, 2 strides"),
        (CNN, dict(strides=(0, 1)), "strides: expected at least 1"),
        (CNN, dict(conv_impl="gem"), "Did you mean 'gemm'"),
        (NatureCNN, dict(padding="same"), "padding: expected one of SAME, VALID"),
        (ResNet18, dict(stem="imagnet"), "Did you mean 'imagenet'"),
        (ViT, dict(dropout=1.0), "dropout: expected 0 or more, below 1"),
        (ViT, dict(num_heads=0), "num_heads: expected at least 1"),
    ],
)
def test_refuses_options_of_one_network(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(2, **settings)


def test_refuses_inputs_that_do_not_fit():
    with pytest.raises(ValueError, match="expected images"):
        count_params(CNN(2), (784,))
    with pytest.raises(ValueError, match="expected at least 4 x 4 pixels"):
        count_params(NatureCNN(2, padding="VALID"), (16, 16, 4))
