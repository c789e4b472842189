"""What Dopamine's agents ask of a network: two streams, noise, levels of quantiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks import ImplicitQuantileCNN, NatureCNN, as_model
from plasticity_jax.networks.heads import Head
from plasticity_jax.networks.noisy import NOISE, NoisyDense

SHAPE = (36, 36, 2)
SMALL = dict(width=0.08, padding="VALID", conv_impl="lax")
PIXELS = jax.random.randint(jax.random.key(9), (3, *SHAPE), 0, 256).astype(jnp.uint8)


def drawn(network):
    params, _ = as_model(network, SHAPE, noisy=True).init(jax.random.key(1))
    return params


@pytest.mark.parametrize(
    "head",
    [{}, dict(head="c51", support=(-3.0, 3.0), num_atoms=7), dict(head="quantile")],
)
def test_two_streams_are_value_plus_centred_advantage(head):
    plain = NatureCNN(3, **SMALL, **head)
    network = plain.clone(dueling=True)
    params = drawn(network)
    noise = jax.random.normal(jax.random.key(3), params["head"]["bias"].shape)
    params["head"]["bias"] += noise
    got = network.apply({"params": params}, PIXELS)
    assert got.shape == plain.apply({"params": drawn(plain)}, PIXELS).shape
    hidden = as_model(network, SHAPE).apply(params, {}, PIXELS).features["hidden_3"]
    streams = hidden @ params["head"]["kernel"] + params["head"]["bias"]
    streams = np.asarray(streams.reshape(3, 4, -1))
    value, advantages = streams[:, 0], streams[:, 1:]
    for action in range(3):
        want = value + advantages[:, action] - advantages.mean(1)
        np.testing.assert_allclose(
            got[:, action].reshape(3, -1), want, rtol=1e-4, atol=1e-5
        )


def test_two_streams_start_at_zero():
    network = NatureCNN(
        3, dueling=True, head="c51", support=(-2.0, 12.0), num_atoms=29, **SMALL
    )
    params = drawn(network)
    params["head"]["kernel"] *= 0
    values = Head("c51", (-2.0, 12.0), 29).predict(
        network.apply({"params": params}, PIXELS)
    )
    np.testing.assert_allclose(values, 0, atol=1e-3)


def test_noise_has_the_stated_moments_and_is_shared_by_the_rows():
    """E f(p)^2 = E |p| = sqrt(2 / pi), and of the product its square."""
    layer, x = NoisyDense(5), jnp.array([[1.0, -2.0, 0.5], [3.0, 1.0, 0.0]])
    variables = layer.init(jax.random.key(0), x)
    params = variables["params"]
    assert params["kernel_sigma"].shape == (3, 5)
    np.testing.assert_allclose(params["kernel_sigma"], 0.1 / np.sqrt(3), rtol=1e-6)
    mean = layer.apply(variables, x)
    np.testing.assert_allclose(mean, x @ params["kernel"], rtol=1e-5)

    def draw(key):
        return layer.apply(variables, x, rngs={NOISE: key})

    draws = jax.vmap(draw)(jax.random.split(jax.random.key(1), 40_000)) - mean
    assert float(jnp.abs(jnp.mean(draws))) < 2e-3
    root, sigma = np.sqrt(2 / np.pi), 0.1 / np.sqrt(3)
    want = sigma**2 * (np.sum(x**2, 1) * root**2 + root)
    np.testing.assert_allclose(np.var(draws, axis=0).mean(1), want, rtol=0.05)
    # One draw for all rows: the noise is linear in x, but for the bias's.
    combined = jnp.concatenate([x, 2 * x[:1] - x[1:]])
    noise = layer.apply(variables, combined, rngs={NOISE: jax.random.key(2)})
    noise = noise - layer.apply(variables, combined)
    np.testing.assert_allclose(noise[2], 2 * noise[0] - noise[1], atol=1e-5)


def test_a_noisy_network_is_its_mean_without_the_stream():
    network = NatureCNN(3, noisy=True, **SMALL)
    params, plain = drawn(network), network.clone(noisy=False)
    mean = {
        layer: {name: x for name, x in entries.items() if "sigma" not in name}
        for layer, entries in params.items()
    }
    got = network.apply({"params": params}, PIXELS)
    want = plain.apply({"params": mean}, PIXELS)
    np.testing.assert_array_equal(got, want)
    noisy = network.apply({"params": params}, PIXELS, rngs={NOISE: jax.random.key(0)})
    assert np.abs(noisy - got).max() > 1e-3
    units = as_model(network, SHAPE, noisy=True).units
    assert [layer.name for layer in units] == ["hidden_0", "hidden_1"]


def test_quantiles_at_any_level_by_hand():
    network = ImplicitQuantileCNN(3, num_atoms=4, num_cosines=5, norm="layer", **SMALL)
    params = drawn(network)
    taus = jnp.array([[0.1, 0.7], [0.3, 0.2], [0.9, 0.5]])
    got = network.apply({"params": params}, PIXELS, tau=taus)
    assert got.shape == (3, 3, 2)
    hidden = as_model(network, SHAPE).apply(params, {}, PIXELS).features["hidden_2"]
    for row, level in [(0, 1), (2, 0)]:
        waves = np.cos(np.pi * np.arange(1, 6) * taus[row, level])
        embed, dense, head = (params[n] for n in ("embed_tau", "dense_3", "head"))
        psi = np.maximum(waves @ embed["kernel"] + embed["bias"], 0)
        z = (hidden[row].reshape(-1) * psi) @ dense["kernel"] + dense["bias"]
        z = (z - z.mean()) / np.sqrt(z.var() + 1e-6)
        want = np.maximum(z, 0) @ head["kernel"] + head["bias"]
        np.testing.assert_allclose(got[row, :, level], want, rtol=1e-3, atol=1e-5)
    at_midpoints = jnp.tile(jnp.array([0.125, 0.375, 0.625, 0.875]), (3, 1))
    np.testing.assert_array_equal(
        network.apply({"params": params}, PIXELS),
        network.apply({"params": params}, PIXELS, tau=at_midpoints),
    )


@pytest.mark.parametrize("dueling", [False, True])
def test_implicit_units_are_silenced_by_their_outgoing_weights(dueling):
    model = as_model(ImplicitQuantileCNN(3, dueling=dueling, **SMALL), SHAPE)
    params, _ = model.init(jax.random.key(1))
    outputs = model.apply(params, {}, PIXELS).outputs
    assert outputs.shape == (3, 3, 64)
    assert [layer.name for layer in model.units] == [f"hidden_{i}" for i in range(4)]
    for layer in model.units:
        (wire,) = layer.outgoing
        zeroed = jax.tree.map(jnp.copy, params)
        zeroed[wire.path[0]]["kernel"] *= 0
        assert np.abs(model.apply(zeroed, {}, PIXELS).outputs - outputs).max() > 1e-4
        moved = jax.tree.map(jnp.copy, zeroed)
        (incoming,) = layer.incoming
        moved[incoming.path[0]]["kernel"] += 1.0
        np.testing.assert_array_equal(
            model.apply(moved, {}, PIXELS).outputs,
            model.apply(zeroed, {}, PIXELS).outputs,
        )


@pytest.mark.parametrize("settings", [dict(head="c51"), dict(noisy=True)])
def test_refuses_what_an_implicit_network_is_not(settings):
    with pytest.raises(ValueError, match="expected head 'quantile' and no noise"):
        ImplicitQuantileCNN(3, **settings)
