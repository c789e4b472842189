"""What outputs mean: values, losses and TD losses of every head; a DQN and probes."""

import dataclasses
import functools
import math

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.readings import READINGS
from plasticity_jax import networks, optimizers, probes
from plasticity_jax.agents.q_learning import td_loss
from plasticity_jax.learners import dqn
from plasticity_jax.networks.heads import KINDS, Head
from plasticity_jax.networks.model import as_model
from plasticity_jax.tasks import datasets
from plasticity_jax.types import ProbeView, Transition

ATOMLESS = ("linear", "shared_bias")
DISTRIBUTIONAL = [kind for kind in KINDS if kind not in ATOMLESS]
ATOMS = np.linspace(-2, 6, 9)  # spacing 1


def make_head(kind):
    return Head(kind, support=(-2.0, 6.0), num_atoms=9)


# The heads once more, for one example, in loops and float64.


def value(kind, outputs):
    if kind in ATOMLESS:
        return outputs
    if kind == "quantile":
        return outputs.mean()
    return np.exp(log_softmax(outputs)) @ ATOMS


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum())


def code(kind, target):
    target = np.clip(target, -2, 6)
    if kind == "hl_gauss":
        below = [math.erf((z - target) / 0.75 / 2**0.5) for z in np.arange(-2.5, 7)]
        return np.diff(below) / (below[-1] - below[0])
    return np.maximum(0, 1 - np.abs(ATOMS - target))


def quantile_huber(theta, targets):
    total = 0.0
    for i, u in np.ndenumerate(targets - theta[:, None]):
        weight = abs((i[0] + 0.5) / len(theta) - (u < 0))
        total += weight * (u**2 / 2 if abs(u) <= 1 else abs(u) - 0.5)
    return total / len(targets)


def loss(kind, outputs, target):
    if kind in ATOMLESS:
        return (outputs - target) ** 2
    if kind == "quantile":
        return quantile_huber(outputs, np.array([target]))
    return -code(kind, target) @ log_softmax(outputs)


def td(kind, outputs_tm1, r, discount, outputs_t):
    if kind == "quantile":
        return quantile_huber(outputs_tm1, r + discount * outputs_t)
    if kind == "c51":
        probs = np.exp(log_softmax(outputs_t))
        codes = np.array([code(kind, r + discount * z) for z in ATOMS])
        return -probs @ codes @ log_softmax(outputs_tm1)
    return loss(kind, outputs_tm1, r + discount * value(kind, outputs_t))


def drawn(kind, *shape):
    rng = np.random.default_rng(len(shape))
    return rng.normal(size=shape if kind in ATOMLESS else (*shape, 9))


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_losses_equal_loops(kind):
    head, outputs = make_head(kind), drawn(kind, 4, 3)
    targets = 4 * np.random.default_rng(1).normal(size=(4, 3))  # some beyond the ends
    want = [[value(kind, cell) for cell in row] for row in outputs]
    got, losses = jax.jit(lambda *xs: (head.predict(xs[0]), head.losses(*xs)))(
        jnp.float32(outputs), jnp.float32(targets)
    )
    np.testing.assert_allclose(got, want, rtol=1e-4)
    want = [
        np.mean([loss(kind, outputs[n, o], targets[n, o]) for o in range(3)])
        for n in range(4)
    ]
    np.testing.assert_allclose(losses, want, rtol=1e-4)


@pytest.mark.parametrize("agent", ["dqn", "double_dqn"])
@pytest.mark.parametrize("kind", KINDS)
def test_td_losses_equal_loops(kind, agent):
    online, target = drawn(kind, 2, 7, 3)  # a table: 7 observations, 3 actions
    rng = np.random.default_rng(2)
    s_tm1, s_t = rng.integers(0, 7, (2, 5))
    a, r, discount = rng.integers(0, 3, 5), rng.normal(size=5), rng.uniform(size=5)
    want = []
    for n in range(5):
        chooser = (target if agent == "dqn" else online)[s_t[n]]
        best = np.argmax([value(kind, cell) for cell in chooser])
        taken, following = online[s_tm1[n], a[n]], target[s_t[n], best]
        want.append(td(kind, taken, r[n], discount[n], following))
    batch = Transition(s_tm1, a, jnp.float32(r), jnp.float32(discount), s_t)
    apply_fn = lambda params, observations: params[observations]

    @jax.jit
    def losses_and_gradients(*tables):
        def losses(online, target):
            outputs_tm1 = apply_fn(online, batch.s_tm1)
            head = make_head(kind)
            return td_loss(agent, head, apply_fn, outputs_tm1, online, target, batch)

        losses, vjp = jax.vjp(losses, *tables)
        return losses, vjp(jnp.ones(5))

    got, into = losses_and_gradients(jnp.float32(online), jnp.float32(target))
    np.testing.assert_allclose(got, want, rtol=1e-3)
    # What was not taken has no gradient: not even where it was bootstrapped from.
    taken = np.zeros((7, 3), bool)
    taken[s_tm1, a] = True
    assert not into[0][~taken].any() and into[0][taken].any() and not into[1].any()


@pytest.mark.parametrize("kind", ATOMLESS)
def test_a_linear_head_leaves_every_bit_as_it_is(kind):
    outputs, targets = jax.random.normal(jax.random.key(0), (2, 5, 3))
    head, (r, discount) = Head(kind), targets[:, :2].T
    assert head.predict(outputs) is outputs
    want = jnp.mean(jnp.square(outputs - targets), axis=-1)
    np.testing.assert_array_equal(head.losses(outputs, targets), want)
    want = jnp.square(r + discount * targets[:, 0] - outputs[:, 0])
    got = head.td_losses(outputs[:, 0], r, discount, targets[:, 0])
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "support", [(-2.0, 102.0), (-2.0, 12.0), (-10.0, 10.0), (-0.01, 5.0), (-30.0, 1.0)]
)
def test_values_start_at_zero_with_the_most_entropy(support):
    head = Head("two_hot", support=support)
    logits = head.initial_bias()
    assert logits.shape == (head.atoms_per_output,) == (51,)
    got = head.predict(jnp.asarray(logits)[None, None])
    np.testing.assert_allclose(got, 0, atol=1e-5 * support[1])
    # Lagrange: the logits of the flattest distribution of a given mean are a line.
    np.testing.assert_allclose(np.diff(logits, 2), 0, atol=1e-3)


def test_heads_without_a_support_start_with_zeros():
    for kind, atoms in [("linear", 1), ("shared_bias", 1), ("quantile", 9)]:
        np.testing.assert_array_equal(make_head(kind).initial_bias(), np.zeros(atoms))


def test_a_head_is_hashable_and_compares_by_value():
    assert {make_head("c51"): 1}[make_head("c51")] == 1
    assert dataclasses.replace(make_head("c51"), num_atoms=8) != make_head("c51")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "twohot"}, "head: .* got 'twohot'. Did you mean 'two_hot'"),
        ({"num_atoms": 1}, "num_atoms: expected at least 2; got 1"),
        ({"sigma": 0.0}, "sigma: expected a number above 0"),
        ({"support": (2.0, 2.0)}, r"low < high; got \(2.0, 2.0\)"),
        ({"support": (2.0,)}, r"\(low, high\)"),
        ({"support": (-1.0, math.inf)}, "low < high"),
        ({"kind": "c51", "support": (0.0, 10.0)}, r"low < 0 < high.* \(0.0, 10.0\)"),
    ],
)
def test_a_bad_head_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Head(**settings)


def test_a_support_has_to_hold_the_returns():
    for kind in ("two_hot", "hl_gauss", "c51"):
        head = Head(kind, support=(-2.0, 10.0))
        head.require_support(0.9)  # 1 / (1 - .9) is 10 and a rounding
        with pytest.raises(
            ValueError, match=r"holds 0 to 100, .* 0.99; got \(-2.0, 10"
        ):
            head.require_support(0.99)
        head.require_support(0.9, (-0.2, 0.5))
        with pytest.raises(ValueError, match=r"holds -5 to 5, .* from -0.5 to 0.5"):
            head.require_support(0.9, (-0.5, 0.5))
        with pytest.raises(ValueError, match="no support holds undiscounted returns"):
            head.require_support(1.0)
    for kind in (*ATOMLESS, "quantile"):
        Head(kind, support=(-2.0, 10.0)).require_support(1.0)


def test_a_classifier_takes_logits_alone():
    for kind in ATOMLESS:
        Head(kind).require_logits()
    for kind in DISTRIBUTIONAL:
        with pytest.raises(ValueError, match=f"linear, shared_bias .* got '{kind}'"):
            Head(kind).require_logits()


DISCOUNT = 0.5  # returns: 2 of the right action, 1 of a wrong one


@pytest.mark.parametrize("kind", DISTRIBUTIONAL)
def test_a_dqn_learns_and_its_values_approach_the_return(kind):
    network = networks.MLP(10, hidden=(16,), head=kind, support=(-1, 3), num_atoms=9)
    pure, shared = dqn.make(
        network, optimizers.adam(1e-2), *datasets.split(datasets.digits(), 360),
        dqn.Settings(
            batch_size=32, target_period=20, replay_capacity=1_000, num_warmup=200,
            discount=0.5, epsilon=0.3, num_eval=400,
        ),
    )  # fmt: skip

    @jax.jit
    def train(shared, member, num_updates):
        update = functools.partial(pure.update, shared)
        member = jax.lax.fori_loop(0, num_updates, update, member)
        view = pure.view(shared, member)
        values = view.predict_fn(view.apply_fn(view.params, view.inputs))
        return jnp.mean(view.loss_fn(view.params, view.batch, None)), values

    member = jax.jit(pure.init)(shared, jax.random.key(0), ())
    before, start = train(shared, member, 0)
    after, values = train(shared, member, 6_000)
    # Of the right action 1 / (1 - .5) = 2, of a wrong one 0 + .5 * 2 = 1.
    labels, values = np.asarray(shared.held_out_labels), np.asarray(values)
    assert after < 0.75 * before
    right = values[np.arange(len(labels)), labels]
    assert np.mean(values.argmax(1) == labels) > 0.8
    assert np.median(right) == pytest.approx(2, abs=0.3)
    assert np.median(values) == pytest.approx(1, abs=0.25)
    assert np.abs(np.mean(start)) < 0.3


KEY = jax.random.key(3)


def make_view(kind):
    """A network of 4 inputs, 3 actions and 6 transitions, as a learner shows it."""
    head = make_head(kind)
    network = networks.MLP(3, hidden=(4,), head=kind, support=(-2, 6), num_atoms=9)
    model = as_model(network, (4,))
    params, target_params = (model.init(jax.random.key(i))[0] for i in (1, 2))
    rng = np.random.default_rng(4)
    s_tm1, s_t = rng.normal(size=(2, 6, 4)).astype(np.float32)
    r, discount = jnp.float32(rng.normal(size=6)), jnp.full(6, 0.9)
    apply_fn = lambda params, inputs: model.apply(params, {}, inputs).outputs

    def loss_fn(params, batch, key):
        outputs_tm1 = apply_fn(params, batch.s_tm1)
        return td_loss("dqn", head, apply_fn, outputs_tm1, params, target_params, batch)

    tx = optax.sgd(0.1)
    return ProbeView(
        loss_fn=loss_fn, apply_fn=apply_fn, init_fn=lambda key: model.init(key)[0],
        features_fn=None, tx=tx, params=params, initial_params=params,
        opt_state=tx.init(params), inputs=s_t,
        batch=Transition(s_tm1, rng.integers(0, 3, 6), r, discount, s_t),
        predict_fn=head.predict, fit_loss_fn=head.losses,
    )  # fmt: skip


def read(name, view, **settings):
    measure, _ = READINGS[name](True, **settings)
    return jax.jit(lambda params: measure(view._replace(params=params), {}, KEY))(
        view.params
    )


def jacobian(fn, params):
    """Returns the derivatives of fn(params), [..., P]."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return np.asarray(jax.jit(jax.jacrev(lambda flat: fn(unravel(flat))))(flat))


def test_interference_on_the_td_loss_equals_a_dense_jacobian():
    view = make_view("c51")
    result = read("gradients", view, num_examples=6, num_clusters=2)
    rows = jacobian(lambda params: view.loss_fn(params, view.batch, KEY), view.params)
    norm = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(result.arrays["norm"], norm, rtol=1e-4)
    want = rows @ rows.T / norm / norm[:, None]
    np.testing.assert_allclose(result.arrays["cosine"], want, atol=1e-4)


def test_probes_of_outputs_look_at_values(monkeypatch):
    view = make_view("two_hot")

    def values(params):
        return make_head("two_hot").predict(view.apply_fn(params, view.inputs))

    slopes = jacobian(values, view.params)  # [6, 3, P]
    result = read("ntk", view, num_examples=6)
    want = np.einsum("iop,jop->ij", slopes, slopes)
    np.testing.assert_allclose(result.arrays["kernel"], want, rtol=1e-4)

    result = read("updates", view, num_examples=6)
    mean_loss = lambda params: jnp.mean(view.loss_fn(params, view.batch, KEY))
    gradient = jax.grad(mean_loss)(view.params)
    moved = jax.tree.map(lambda p, g: p - 0.1 * g, view.params, gradient)
    want = np.abs(values(moved) - values(view.params)).mean()
    np.testing.assert_allclose(result.scalars["updates/output_churn"], want, rtol=1e-3)

    # Where a landscape is looked at, its loss is the noise's square: of values, [6, 3].
    call = lambda loss_fn, *args, **options: loss_fn(*args)
    monkeypatch.setattr(probes, "hessian_trace", call)
    want = np.sum(np.square(jax.random.normal(KEY, (6, 3))), axis=1)
    got = read("trace", view, loss="landscape", num_examples=6)
    np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.fixture
def settings_of_the_probe(monkeypatch):
    """The plasticity probe returns the settings that it is called with."""
    for name in ("plasticity", "plasticity_reference"):
        monkeypatch.setattr(probes, name, lambda *args, **settings: settings)


@pytest.mark.usefixtures("settings_of_the_probe")
def test_the_plasticity_probe_fits_by_the_head_or_by_what_it_reports():
    view = make_view("two_hot")
    for fit, loss in [("head", view.fit_loss_fn), ("reported", None)]:
        measure, prepare = READINGS["plasticity"](True, fit=fit, num_inputs=6)
        for settings in (prepare(view, KEY), measure(view, {}, KEY)):
            assert settings["predict_fn"] == view.predict_fn
            assert settings["fit_loss_fn"] == loss


@pytest.mark.usefixtures("settings_of_the_probe")
def test_labels_are_not_fitted_by_a_head_for_values():
    view, settings = make_view("two_hot"), dict(family="random_labels", num_inputs=6)
    _, prepare = READINGS["plasticity"](True, **settings)
    with pytest.raises(ValueError, match="fit='reported' takes the values as logits"):
        prepare(view, KEY)
    _, prepare = READINGS["plasticity"](True, fit="reported", **settings)
    assert prepare(view, KEY)["family"] == "random_labels"
    with pytest.raises(ValueError, match="fit: expected one of head, reported"):
        READINGS["plasticity"](True, fit="heads")
