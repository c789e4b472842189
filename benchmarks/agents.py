"""Rows on sweeps of agents: the vectorised DQN on the block MDP, and its peers."""

import atexit
import functools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.comparison import Comparison, of_peer, relative_gap, timed
from benchmarks.peers import scan_dqn
from benchmarks.peers.process import Peer
from plasticity_jax import networks, optimizers, trees
from plasticity_jax.agents import replay
from plasticity_jax.learners import dqn
from plasticity_jax.learners.vectorize import vectorize
from plasticity_jax.tasks import block_mdp, datasets
from plasticity_jax.types import Learner, Method

# Adam turns rounding into steps where a gradient is near 0, so that only the first
# updates can be compared: the target network is copied among them.
TARGET_PERIOD, NUM_CHECKED = 10, 15
TOLERANCE = 1e-5
LAUNCHED = 5_000  # updates of an agent whose whole process counts
SETTINGS = [  # environment, learning rate
    (name, rate) for name in block_mdp.NAMES for rate in (3e-4, 1e-3, 3e-3, 1e-2)
]
SETTING_SEEDS, SETTING_UPDATES = (0, 1), 2_000


class Case(NamedTuple):
    """A network, its batch, and how many agents train."""

    side: int  # of the images: 8 is digits
    hidden: tuple[int, ...]
    batch_size: int
    num_agents: int
    axis: str


class Ours(NamedTuple):
    """A compiled sweep, and what its first agent did first."""

    measure: Callable[[], float]  # () -> CPU seconds of one agent's update
    arrays: dict[str, np.ndarray]  # its weights, the images, its first batches
    losses: np.ndarray  # [U] of those


@functools.lru_cache(maxsize=2)
def ours_of(case: Case) -> Ours:
    """Builds the learner, checks nothing: `arrays` and `losses` are for its peers."""
    learner = _learner(case)
    state, arrays, losses = _first_updates(learner, case)
    num_updates = _updates_of_a_call(case)

    def train():
        nonlocal state
        state = jax.block_until_ready(learner.advance(state, num_updates))

    measure = timed(train)
    return Ours(lambda: measure() / (num_updates * case.num_agents), arrays, losses)


def _learner(case: Case) -> Learner:
    dataset, network = _dataset(case.side), networks.MLP(10, hidden=case.hidden)
    settings = dqn.Settings(batch_size=case.batch_size, target_period=TARGET_PERIOD)
    pure, shared = dqn.make(network, optimizers.adam(), dataset, dataset, settings)
    return vectorize(pure, shared, tuple(range(case.num_agents)), axis=case.axis)


def _first_updates(learner, case: Case):
    """Takes the first updates; returns (state, what a peer needs to take them, the
    first agent's losses)."""
    state = learner.init()
    params = jax.tree.map(lambda x: x[0], state.members.optimized.train.params)
    key = trees.named_key(state.members.key[0], "train")
    losses, batches = [], []
    for updates in range(NUM_CHECKED):
        state = learner.advance(state, 1)
        _, _, key_batch = jax.random.split(jax.random.fold_in(key, updates), 3)
        storage = jax.tree.map(lambda x: x[0], state.members.replay)
        count = scan_dqn.NUM_WARMUP + updates + 1
        batches.append(replay.sample(storage, key_batch, count, case.batch_size))
        window = state.members.window
        losses.append(float(window.sums["loss"][0]))
        emptied = jax.tree.map(jnp.zeros_like, window)
        state = state._replace(members=state.members._replace(window=emptied))
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
    arrays = {
        trees.path_name(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    } | {
        **_data(case.side),
        "s_tm1": batch.s_tm1,
        "a_tm1": batch.a_tm1.astype(np.int64),
        "r_t": batch.r_t,
        "s_t": batch.s_t,
    }
    return state, arrays, np.array(losses)


@functools.cache
def _dataset(side: int) -> datasets.Dataset:
    if side == 8:
        return datasets.split(datasets.digits(), 360)[0]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1_024, side, side, 1), np.uint8)
    labels = rng.integers(0, 10, 1_024, np.int32)
    return datasets.Dataset(jnp.asarray(images), jnp.asarray(labels), 10)


def _data(side: int) -> dict[str, np.ndarray]:
    dataset = _dataset(side)
    images = np.asarray(dataset.images, np.float32).reshape(-1, side * side) / 255
    return {"images": images, "labels": np.asarray(dataset.labels, np.int64)}


def _updates_of_a_call(case: Case) -> int:
    # Some tenths of a second on either side: shorter calls are repeated.
    return max(100, 4_000 // case.num_agents)


def torch(case: Case, peer: Peer) -> Comparison:
    """PyTorch; one agent's time is that of any."""
    ours = ours_of(case)
    num_updates = 500
    answer = peer.build(
        "dqn", ours.arrays,
        batch_size=case.batch_size, target_period=TARGET_PERIOD,
        num_updates=num_updates,
    )  # fmt: skip
    seconds = of_peer(peer)
    gap = relative_gap(ours.losses, answer["losses"])
    return Comparison(ours.measure, lambda: seconds() / num_updates, gap, TOLERANCE)


def scan(case: Case, peer: Peer) -> Comparison:
    """A scan of one agent, vmapped over as many seeds."""
    del peer
    ours, num_updates = ours_of(case), _updates_of_a_call(case)
    images, labels = ours.arrays["images"], ours.arrays["labels"]
    data = scan_dqn.make_data(jnp.asarray(images), jnp.asarray(labels))
    keys = jax.random.split(jax.random.key(0), case.num_agents)
    init = jax.vmap(lambda key: scan_dqn.init(data, case.hidden, key))
    runner = jax.jit(init)(keys)
    fixed = dict(
        num_updates=num_updates,
        batch_size=case.batch_size,
        target_period=TARGET_PERIOD,
    )
    advance = jax.vmap(partial(scan_dqn.train, **fixed), in_axes=(None, 0))
    advance = jax.jit(advance, donate_argnums=1)

    def train():
        nonlocal runner
        runner, metrics = advance(data, runner)
        jax.block_until_ready((runner, metrics))

    train()
    measure = timed(train)
    gap = relative_gap(ours.losses, _scan_losses(case, ours.arrays))
    share = num_updates * case.num_agents
    return Comparison(ours.measure, lambda: measure() / share, gap, TOLERANCE)


def _scan_losses(case: Case, arrays) -> np.ndarray:
    """Returns the peer's losses of updates on our batches, [U]."""
    names = [f"dense_{index}" for index in range(len(case.hidden))] + ["head"]
    params = {
        name: {part: arrays[f"{name}/{part}"] for part in ("kernel", "bias")}
        for name in names
    }
    images = jnp.asarray(arrays["images"])
    agent = scan_dqn.make_agent(case.hidden, jax.random.key(0), images.shape[1])
    agent = agent.replace(params=params, target_params=params)
    batches = scan_dqn.Batch(
        images[arrays["s_tm1"]], arrays["a_tm1"], arrays["r_t"], images[arrays["s_t"]]
    )
    learn = partial(scan_dqn.learn, target_period=TARGET_PERIOD)
    return jax.jit(lambda agent: jax.lax.scan(learn, agent, batches))(agent)[1]


@functools.cache
def _saved_data(side: int) -> str:
    """Returns a file of the images and labels, for a process that is not ours."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    path = str(Path(folder, "data.npz"))
    np.savez(path, **_data(side))
    return path


def launch(case: Case, peer: Peer) -> Comparison:
    """A process a seed, against one process for all: everything counts."""
    del peer
    ours = ours_of(case)
    gap = relative_gap(ours.losses, _scan_losses(case, ours.arrays))
    fixed = f"{case.hidden}, 0, {LAUNCHED}, {case.batch_size}, {TARGET_PERIOD}"
    theirs = (
        "from benchmarks.peers.scan_dqn import launch; import numpy; "
        f"launch(*numpy.load({_saved_data(case.side)!r}).values(), {fixed})"
    )
    mine = f"from benchmarks.agents import Case, train_all; train_all({case!r})"
    share = LAUNCHED * case.num_agents
    return Comparison(
        lambda: _child_seconds(mine) / share,
        lambda: _child_seconds(theirs) / LAUNCHED,
        gap,
        TOLERANCE,
    )


def train_all(case: Case) -> None:
    """What our process does in `launch`."""
    learner = _learner(case)
    jax.block_until_ready(learner.advance(learner.init(), LAUNCHED))


def points(hidden, axis: str, peer: Peer) -> Comparison:
    """Environments and learning rates along one axis, against a program for each."""
    del peer
    few = NUM_CHECKED
    gap = relative_gap(train_points(hidden, axis, few), train_apart(hidden, axis, few))
    share = len(SETTINGS) * len(SETTING_SEEDS) * SETTING_UPDATES

    def seconds(name):
        code = f"{name}({hidden!r}, {axis!r}, {SETTING_UPDATES})"
        code = f"from benchmarks.agents import {name}; {code}"
        return lambda: _child_seconds(code) / share

    sides = seconds("train_points"), seconds("train_apart")
    return Comparison(*sides, gap, TOLERANCE)


def train_points(hidden, axis: str, num_updates: int) -> np.ndarray:
    """Trains every setting and seed in one program; returns mean losses, [S]."""
    kinds, rates = zip(*SETTINGS, strict=True)
    per_setting = {
        "environment": [block_mdp.NAMES.index(kind) for kind in kinds],
        "rate": rates,
    }
    repeats = len(SETTING_SEEDS)
    hparams = {k: jnp.repeat(jnp.array(v), repeats) for k, v in per_setting.items()}

    def method_fn(hparams):
        return Method(partial(optimizers.adam, hparams["rate"]))

    def vary_fn(hparams):
        return {"environment": hparams["environment"]}

    settings = dqn.Settings(target_period=TARGET_PERIOD)
    dataset, network = _dataset(8), networks.MLP(10, hidden=hidden)
    pure, shared = dqn.make(network, method_fn, dataset, dataset, settings, vary_fn)
    numbers = np.repeat(np.arange(len(SETTINGS)), repeats)
    seeds = SETTING_SEEDS * len(SETTINGS)
    learner = vectorize(
        pure, shared, seeds, hparams=hparams, points=tuple(numbers), axis=axis
    )
    return _mean_losses(learner, num_updates)


def train_apart(hidden, axis: str, num_updates: int) -> np.ndarray:
    """Trains a setting after the other, each compiled; returns mean losses, [S]."""
    dataset, network = _dataset(8), networks.MLP(10, hidden=hidden)
    losses = []
    for environment, rate in SETTINGS:
        settings = dqn.Settings(environment, target_period=TARGET_PERIOD)
        tx = optimizers.adam(rate)
        pure, shared = dqn.make(network, tx, dataset, dataset, settings)
        learner = vectorize(pure, shared, SETTING_SEEDS, axis=axis)
        losses.append(_mean_losses(learner, num_updates))
    return np.concatenate(losses)


def _mean_losses(learner, num_updates: int) -> np.ndarray:
    state = learner.advance(learner.init(), num_updates)
    return np.asarray(state.members.window.sums["loss"]) / num_updates


def _child_seconds(code: str) -> float:
    """Returns CPU seconds of a whole process; it compiles everything itself."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
