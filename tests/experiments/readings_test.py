"""Every probe that a config can name, on a learner, under the loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.readings import READINGS
from plasticity_jax import loop, optimizers, types
from plasticity_jax.learners import dqn
from plasticity_jax.learners.vectorize import vectorize
from plasticity_jax.networks import MLP
from plasticity_jax.records import MemoryRecords
from plasticity_jax.tasks import datasets
from plasticity_jax.types import Probe

FIT = dict(num_inputs=16, num_targets=2, num_steps=10, batch_size=8)
FEW = dict(num_examples=8)
SETTINGS = {
    "plasticity": dict(FIT, family="random_labels", opt_state="carry"),
    "hessian": dict(FEW, num_steps=4, num_draws=1, only="head"),
    "eigenpairs": dict(FEW, k=2, which="smallest", only="head"),
    "trace": dict(FEW, num_draws=4),
    "gradients": dict(FEW, num_clusters=2),
    "displaced": dict(FEW, num_steps=4, num_draws=1, num_clusters=2),
    "ntk": FEW,
    "representation": {},
    "weights": {},
    "updates": FEW,
}


@functools.cache
def learner():
    pure, shared = dqn.make(
        MLP(10, hidden=(8,)), optimizers.adam(),
        *datasets.split(datasets.digits(), 360),
        dqn.Settings(batch_size=8, target_period=7, replay_capacity=50, num_warmup=20),
    )  # fmt: skip
    return vectorize(pure, shared, (0, 1))


def test_all_of_them_write_rows_and_arrays():
    assert SETTINGS.keys() == READINGS.keys()
    probes = {}
    for name, settings in SETTINGS.items():
        measure, prepare = READINGS[name](True, **settings)
        probes[name] = Probe(measure, (5,), prepare)
    records = MemoryRecords()
    loop.run(learner(), probes, records, total_updates=5, log_every=5, save_every=5)
    rows = [row for row in records.rows if row["updates"] == 5]
    assert len(rows) == 2
    for row in rows:
        assert row["finite"]
        prefixes = {name.partition("/")[0] for name in row if "/" in name}
        assert prefixes >= {
            "probe", "hessian", "eigenpairs", "hessian_trace", "gradients",
            "displaced", "ntk", "representation", "weights", "updates",
        }  # fmt: skip
        assert row["updates/output_churn"] > 0
        assert row["probe/baseline"] == pytest.approx(np.log(10), abs=0.6)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("plasticity", {"family": "sinus"}, "Did you mean 'sine'"),
        (
            "plasticity",
            {"opt_state": "keep"},
            "opt_state: expected one of fresh, carry",
        ),
        ("eigenpairs", {"which": "least"}, "which: expected one of largest"),
        ("hessian", {"loss": "trainig"}, "Did you mean 'training'"),
        ("displaced", {"num_draws": 0}, "num_draws: expected at least 1; got 0"),
        ("ntk", {"outputs": "all"}, "outputs: expected one of trace, full"),
        ("trace", {"num_draws": 1}, "num_draws: expected at least 2; got 1"),
    ],
)
def test_bad_settings_are_refused_before_the_run(name, settings, message):
    with pytest.raises(ValueError, match=message):
        READINGS[name](True, **settings)


def test_displaced_goes_as_far_but_another_way():
    """Of f(x; w) = x |w|^2 / 2 the landscape loss's Hessian is 2 E[x^2] w w^T minus a
    multiple of I: its eigenvalues range over 2 E[x^2] |w|^2. From 4 e_1, by 3 along e_1
    |w|^2 is 49; at right angles, as random directions nearly are, 25."""
    inputs, noise = jnp.linspace(0.5, 2.0, 16), jnp.linspace(-1.0, 1.0, 16)
    start = jnp.zeros(10_000).at[0].set(4.0)
    view = types.ProbeView(
        loss_fn=lambda w, batch, key: batch * w[0], batch=noise, inputs=inputs,
        apply_fn=lambda w, x: x[:, None] * jnp.sum(w**2) / 2,
        params=start.at[0].add(3.0), initial_params=start,
        init_fn=None, features_fn=None, tx=None, opt_state=None,
    )  # fmt: skip
    settings = dict(num_examples=16, num_steps=8, num_draws=1, num_clusters=2)
    measure, _ = READINGS["displaced"](True, **settings)
    keys = jax.random.split(jax.random.key(0), 2)
    found = jax.jit(jax.vmap(lambda key: measure(view, {}, key).scalars))(keys)
    width = found["displaced/lambda_max"] - found["displaced/lambda_min"]
    np.testing.assert_allclose(width, 2 * np.mean(inputs**2) * 25, rtol=0.03)
    assert np.ptp(width) > 0
    np.testing.assert_allclose(found["displaced/distance"], 3, rtol=1e-6)
    # Eight gradients each way: 64 of 120 pairs point against each other.
    np.testing.assert_allclose(found["displaced/interference_share"], 64 / 120)


def test_displaced_at_the_start_is_what_the_other_two_find_there():
    spectrum, clusters = dict(FEW, num_steps=8, num_draws=1), dict(num_clusters=2)

    def scalars(view):
        probes = (
            READINGS["displaced"](True, **spectrum, **clusters),
            READINGS["hessian"](True, **spectrum),
            READINGS["gradients"](True, **FEW, **clusters),
        )
        key = jax.random.key(0)
        return [measure(view, {}, key).scalars for measure, _ in probes]

    snapshot = learner().snapshot(learner().init())
    here, hessian, gradients = learner().measure(scalars)(snapshot)
    np.testing.assert_array_equal(here["displaced/distance"], 0.0)
    for name in ("hessian/lambda_max", "gradients/interference_share"):
        own = here[name.replace(name.partition("/")[0], "displaced")]
        np.testing.assert_allclose(own, (hessian | gradients)[name], rtol=1e-4)
    # With theta_0 as its own target the training loss is the run's.
    own, want = here["displaced/mean_cosine"], gradients["gradients/mean_cosine"]
    np.testing.assert_allclose(own, want, rtol=1e-4)
    assert np.ptp(own) > 0  # two seeds
