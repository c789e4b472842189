"""Small Atari learners, and how their states are compared."""

import functools

import jax
import numpy as np
from flax import traverse_util

from plasticity_jax import optimizers
from plasticity_jax.learners.atari import dopamine
from plasticity_jax.networks import ImplicitQuantileCNN, NatureCNN
from plasticity_jax.types import Part

TX = optimizers.adam(1e-3)
POOL = 32
SETTINGS = {
    "game": "Pong",
    "replay_capacity": 120,  # wraps within the runs below
    "min_replay_history": 80,
    "target_update_period": 20,
    "epsilon_decay_period": 100,
    "max_episode_steps": 60,  # episodes end within the runs below
    "max_noops": 5,
    "probe_pool": POOL,
}
PRIORITIZED = dict(sampler="prioritized", update_horizon=3)
C51 = dict(head="c51", support=(-10.0, 10.0), num_atoms=11)
AGENTS = {  # the learner's settings, the network's
    "dqn": ({}, {}),
    "double_dqn": ({}, {}),
    "rainbow": (PRIORITIZED, C51),
    "full_rainbow": (PRIORITIZED, dict(C51, noisy=True, dueling=True)),
    "quantile": (PRIORITIZED, dict(head="quantile", num_atoms=8)),
    "implicit_quantile": (
        dict(update_horizon=3, num_quantile_samples=6, double_q=True),
        dict(num_atoms=6, num_cosines=4),
    ),
}


def network_fn(agent="dqn", **options):
    kind = ImplicitQuantileCNN if agent == "implicit_quantile" else NatureCNN
    own = {"width": 0.1, "padding": "VALID", **AGENTS[agent][1], **options}
    return lambda num_actions, conv_impl: kind(num_actions, conv_impl=conv_impl, **own)


def build(method, seed=0, agent="dqn", network=(), **settings):
    own = {**SETTINGS, **AGENTS[agent][0], "agent": agent, **settings}
    return dopamine.make(
        network_fn(agent, **dict(network)), method, seed, dopamine.Settings(**own)
    )


@functools.cache
def make(agent="dqn", seed=0):
    return build(TX, seed, agent)


def flat(tree):
    """Arrays by path, parts as arrays."""
    as_array = lambda leaf: leaf.make() if isinstance(leaf, Part) else leaf
    tree = jax.tree.map(lambda leaf: np.array(as_array(leaf)), tree)
    return traverse_util.flatten_dict(tree, sep="/")


def assert_same(a, b):
    a, b = flat(a), flat(b)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def differs(a, b):
    a, b = flat(a), flat(b)
    return [name for name in a if not np.array_equal(a[name], b[name])]


def batch_of(snapshot):
    """A snapshot's pool as Dopamine's agents get a batch."""
    batch = jax.tree.map(lambda x: np.asarray(x[0]), snapshot["batch"])
    return {
        "state": batch.s_tm1,
        "action": batch.a_tm1,
        "next_state": batch.s_t,
        "reward": batch.r_t,
        "terminal": batch.discount_t == 0,
    }
