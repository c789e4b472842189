"""Every probe that a config can name, on a learner, under the loop."""

import functools

import numpy as np
import pytest

from experiments.readings import READINGS
from plasticity_jax import loop, optimizers
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
            "probe", "hessian", "eigenpairs", "hessian_trace", "gradients", "ntk",
            "representation", "weights", "updates",
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
        ("ntk", {"outputs": "all"}, "outputs: expected one of trace, full"),
        ("trace", {"num_draws": 1}, "num_draws: expected at least 2; got 1"),
    ],
)
def test_bad_settings_are_refused_before_the_run(name, settings, message):
    with pytest.raises(ValueError, match=message):
        READINGS[name](True, **settings)
