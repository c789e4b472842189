"""Wiring by brute force: what the declared entries do is seen in forward passes."""

import itertools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_networks import SMALL

from plasticity_jax.networks import MLP, Network, topology
from plasticity_jax.networks.model import as_model

NORMS = ("none", "layer", "group", "rms", "batch")
CASES = [
    ("mlp", norm, place, activation)
    for (norm, place), activation in zip(
        itertools.product(NORMS, ("before", "after")),
        itertools.cycle(("relu", "crelu", "fourier")),
        strict=False,
    )
] + [
    ("mlp", "none", "before", "crelu"),
    ("mlp", "layer", "before", "fourier"),
    ("mlp", "layer_plain", "before", "relu"),
    ("cnn", "none", "before", "relu"),
    ("cnn", "layer", "after", "crelu"),
    ("cnn", "batch", "before", "fourier"),
    ("nature", "none", "before", "crelu"),
    ("resnet", "batch", "before", "crelu"),
    ("resnet", "group", "after", "relu"),
    ("vit", "layer", "before", "crelu"),
    ("vit", "rms", "after", "relu"),
]


class Case:
    """A network with random parameters, whose activations can be overridden."""

    def __init__(self, name, norm, place, activation):
        make, settings, shape = SMALL[name]
        self.name, self.norm = name, norm
        self.model = as_model(
            make(3, norm, norm_place=place, activation=activation, **settings), shape
        )
        rng = np.random.default_rng(0)
        inputs = rng.uniform(size=(4, *shape)).astype(np.float32)
        draw = lambda leaf: rng.uniform(0.2, 0.9, leaf.shape).astype(np.float32)
        params, state = jax.eval_shape(self.model.init, jax.random.key(0))
        self.params = jax.tree.map(lambda leaf: 2 * draw(leaf) - 1, params)
        state = jax.tree.map(draw, state)
        original = Network.activate

        @jax.jit
        def run(params, overrides):
            read = {}

            def activate(network, x, index, *args, **kwargs):
                x = original(network, x, index, *args, **kwargs)
                if (layer := f"hidden_{index}") in overrides:
                    mask, value = overrides[layer]
                    x = jnp.where(jnp.tile(mask, x.shape[-1] // len(mask)), value, x)
                read[layer] = x
                return x

            with mock.patch.object(Network, "activate", activate):
                forward = self.model.apply(params, state, inputs)
            return forward.outputs, forward.features, read

        self.run = run

    def __call__(self, params=None, units=None, mask=None, value=0.0):
        """Returns (outputs, features, what readers read), the marked units set."""
        overrides = {u.name: (np.zeros(u.size, bool), 0.0) for u in self.model.units}
        if units is not None:
            overrides[units.name] = (mask, value)
        return self.run(self.params if params is None else params, overrides)


def marked(size):
    """The first unit, the last, and every other one."""
    numbers = np.arange(size)
    return numbers == 0, numbers == size - 1, numbers % 2 == 1


def write(params, wires, mask, value):
    for wire in wires:
        array = topology.get(params, wire)
        where = topology.spread(wire, mask, array.ndim)
        params = topology.replace(params, wire, jnp.where(where, value, array))
    return params


@pytest.fixture(params=CASES, ids="-".join, scope="module")
def case(request):
    return Case(*request.param)


def test_silencing_the_outgoing_entries_is_zeroing_the_activation(case):
    plain = case()[0]
    for units in case.model.units:
        for mask in marked(units.size):
            got = case(write(case.params, units.outgoing, mask, 0.0))[0]
            want = case(units=units, mask=mask)[0]
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
        everyone = case(units=units, mask=np.ones(units.size, bool))[0]
        assert np.max(np.abs(everyone - plain)) > 1e-3


def test_a_units_own_entries_change_no_other_activation(case):
    for units in case.model.units:
        # A norm over several units passes on what comes before it.
        normed = units.norm_scale or case.norm == "layer_plain"
        alone = case.norm in ("none", "batch") or not normed
        wires = (*units.norm_scale, *units.norm_bias)
        wires += (*units.incoming, *units.bias) if alone else ()
        for wire, mask in itertools.product(wires, marked(units.size)):
            read = case(write(case.params, (wire,), mask, np.nan))[2]
            found = np.isnan(topology.activations(units, read[units.name]))
            assert found[:, mask].all() and not found[:, ~mask].any(), wire


def test_a_constant_activation_moves_into_the_next_bias(case):
    if case.name == "resnet":
        pytest.skip("zero padding: at the border a convolution reads fewer positions")
    for units in case.model.units:
        (outgoing,), (bias,) = units.outgoing, units.next_bias
        mask = marked(units.size)[2]
        want = case(units=units, mask=mask, value=0.7)[0]
        weights = topology.get(case.params, outgoing)
        weights = jnp.where(topology.spread(outgoing, mask, weights.ndim), weights, 0)
        given = 0.7 * jnp.sum(weights, range(weights.ndim - 1))
        params = write(case.params, (outgoing,), mask, 0.0)
        params = topology.replace(params, bias, topology.get(params, bias) + given)
        np.testing.assert_allclose(case(params)[0], want, rtol=2e-5, atol=2e-5)


def test_features_lie_along_the_outgoing_axis(case):
    _, features, read = case()
    for units in case.model.units:
        (wire,) = units.outgoing
        length = topology.get(case.params, wire).shape[wire.axis]
        assert length == wire.repeats * units.size
        assert features[units.name].size % length == 0
        gap = np.max(np.abs(features[units.name] - read[units.name]))
        assert gap < 1e-5 if units.read_as_is else gap > 0.1


@pytest.mark.parametrize(
    ("name", "without_units"),
    [
        ("mlp", []),
        ("cnn", []),
        ("nature", []),
        ("resnet", [f"hidden_{index}" for index in range(0, 17, 2)]),
        ("vit", ["hidden_2"]),
    ],
)
def test_units_cover_every_hidden_layer_but_the_residual_stream(name, without_units):
    make, settings, shape = SMALL[name]
    model = as_model(make(3, **settings), shape)

    found = {}

    def look(key):
        params, state = model.init(key)
        found.update(model.apply(params, state, jnp.zeros((2, *shape))).features)

    jax.eval_shape(look, jax.random.key(0))
    assert list(found) == [f"hidden_{index}" for index in range(len(found))]
    wired = [units.name for units in model.units]
    assert [layer for layer in found if layer not in wired] == without_units
    assert wired == sorted(wired, key=list(found).index)
    for units in model.units:
        assert found[units.name].shape[-1] % units.size == 0


@pytest.mark.parametrize("name", SMALL)
def test_incoming_weights_are_drawn_as_the_network_draws_them(name):
    make, _, shape = SMALL[name]
    network = make(3, width=0.25)
    units = as_model(network, shape).units[0]
    fresh = units.kernel_init(jax.random.key(0), (64, 50), jnp.float32)
    assert fresh.shape == (64, 50)
    np.testing.assert_allclose(np.std(fresh), 1 / 8, rtol=0.05)
    if name == "mlp":
        params, _ = as_model(network, (64,)).init(jax.random.key(0))
        drawn = topology.get(params, units.incoming[0])
        np.testing.assert_allclose(np.std(drawn), np.std(fresh), rtol=0.05)


def test_one_bias_for_all_outputs_is_no_next_bias():
    model = as_model(MLP(3, hidden=(4,), head="shared_bias"), (5,))
    assert model.units[0].next_bias == ()
    model = as_model(MLP(3, hidden=(4,), head="two_hot", num_atoms=7), (5,))
    assert model.units[0].next_bias == (topology.Wire(("head", "bias"), -1),)


def test_gather_takes_one_units_entries_from_every_run():
    wire = topology.Wire(("kernel",), axis=0, repeats=2)
    array = np.arange(12).reshape(6, 2)  # three units, two rows each
    got = topology.gather(wire, array)
    np.testing.assert_array_equal(got[1], [2, 3, 8, 9])
    np.testing.assert_array_equal(
        topology.spread(wire, jnp.array([0, 1, 0]), 2)[:, 0], [0, 1, 0, 0, 1, 0]
    )
