"""A DQN in the manner of PureJaxRL: an agent's life is a `lax.scan`, with environment
and replay in the carry, to be vmapped over seeds. It uses nothing of this library.

The replay keeps observations, each once, and a sample is a pair of neighbours, as with
Flashbax. As a program it is one seed: `launch`. No update waits for a warm-up
(`num_warmup` steps come first), so none is under a `cond`.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState

NUM_ACTIONS, DISCOUNT, EPSILON = 10, 0.99, 0.1
NUM_WARMUP, CAPACITY = 1_000, 50_000


class QNetwork(nn.Module):
    """A multilayer perceptron, relu."""

    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        for index, size in enumerate(self.hidden):
            x = nn.relu(nn.Dense(size, name=f"dense_{index}")(x))
        return nn.Dense(NUM_ACTIONS, name="head")(x)


class Data(NamedTuple):
    """The environment `easy`: the image shown is of a class drawn uniformly."""

    images: jax.Array  # [N, D] float32
    labels: jax.Array  # [N]
    groups: jax.Array  # [N] rows sorted by class
    starts: jax.Array  # [C] where each class starts in them
    counts: jax.Array  # [C]


class Batch(NamedTuple):
    """Transitions, leaves [B, ...]."""

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    following: jax.Array


class Buffer(NamedTuple):
    """A ring of steps."""

    observation: jax.Array  # [capacity, D]
    action: jax.Array  # [capacity]
    reward: jax.Array  # [capacity]
    count: jax.Array  # [] steps ever added


class AgentState(TrainState):
    """Flax's, and the target network."""

    target_params: dict


class Runner(NamedTuple):
    """The carry."""

    agent: AgentState
    buffer: Buffer
    row: jax.Array  # [] of the image shown
    key: jax.Array


def make_data(images, labels) -> Data:
    """Builds the environment from images [N, D] and labels [N]."""
    counts = jnp.bincount(labels, length=NUM_ACTIONS)
    groups = jnp.argsort(labels)
    return Data(images, labels, groups, jnp.cumsum(counts) - counts, counts)


def make_agent(hidden, key, size) -> AgentState:
    """Draws a network for observations [size], with Adam at 1e-3."""
    network = QNetwork(hidden)
    params = network.init(key, jnp.zeros(size))["params"]
    return AgentState.create(
        apply_fn=lambda params, x: network.apply({"params": params}, x),
        params=params,
        target_params=params,
        tx=optax.adam(1e-3),
    )


def learn(agent: AgentState, batch: Batch, target_period: int):
    """Returns (the agent after one update, its loss)."""
    following = agent.apply_fn(agent.target_params, batch.following)
    targets = batch.reward + DISCOUNT * jnp.max(following, axis=-1)

    def loss_fn(params):
        q = agent.apply_fn(params, batch.observation)
        chosen = jnp.take_along_axis(q, batch.action[:, None], axis=-1)[:, 0]
        return jnp.mean((chosen - targets) ** 2)

    loss, grads = jax.value_and_grad(loss_fn)(agent.params)
    agent = agent.apply_gradients(grads=grads)
    agent = jax.lax.cond(
        agent.step % target_period == 0,
        lambda agent: agent.replace(target_params=agent.params),
        lambda agent: agent,
        agent,
    )
    return agent, loss


def init(data: Data, hidden, key) -> Runner:
    """Returns one agent after its warm-up."""
    key, key_agent, key_row = jax.random.split(key, 3)
    size = data.images.shape[1]
    buffer = Buffer(
        jnp.zeros((CAPACITY, size)), jnp.zeros(CAPACITY, jnp.int32),
        jnp.zeros(CAPACITY), jnp.int32(0),
    )  # fmt: skip
    agent = make_agent(hidden, key_agent, size)
    runner = Runner(agent, buffer, _draw_row(data, key_row), key)
    return jax.lax.fori_loop(
        0, NUM_WARMUP, lambda _, runner: _act(data, runner, 1.0)[0], runner
    )


def train(data: Data, runner: Runner, num_updates, batch_size, target_period):
    """Returns (the carry after some updates, {metric: [U]})."""

    def step(runner, _):
        runner, reward = _act(data, runner, EPSILON)
        key, key_batch = jax.random.split(runner.key)
        batch = _sample(runner.buffer, key_batch, batch_size)
        agent, loss = learn(runner.agent, batch, target_period)
        metrics = {"loss": loss, "reward": reward}
        return runner._replace(agent=agent, key=key), metrics

    return jax.lax.scan(step, runner, None, num_updates)


def _act(data: Data, runner: Runner, epsilon: float):
    key, key_explore, key_action, key_row = jax.random.split(runner.key, 4)
    observation = data.images[runner.row]
    q = runner.agent.apply_fn(runner.agent.params, observation)
    action = jnp.where(
        jax.random.uniform(key_explore) < epsilon,
        jax.random.randint(key_action, (), 0, NUM_ACTIONS),
        jnp.argmax(q),
    )
    reward = (action == data.labels[runner.row]).astype(jnp.float32)
    buffer, row = runner.buffer, runner.buffer.count % CAPACITY
    buffer = Buffer(
        buffer.observation.at[row].set(observation), buffer.action.at[row].set(action),
        buffer.reward.at[row].set(reward), buffer.count + 1,
    )  # fmt: skip
    row = _draw_row(data, key_row)
    return runner._replace(buffer=buffer, row=row, key=key), reward


def _draw_row(data: Data, key):
    key_class, key_row = jax.random.split(key)
    label = jax.random.randint(key_class, (), 0, NUM_ACTIONS)
    offset = jax.random.randint(key_row, (), 0, data.counts[label])
    return data.groups[data.starts[label] + offset]


def _sample(buffer: Buffer, key, batch_size: int) -> Batch:
    stored = jnp.minimum(buffer.count, CAPACITY)
    age = jax.random.randint(key, (batch_size,), 2, stored + 1)  # the last has no next
    rows = (buffer.count - age) % CAPACITY
    return Batch(
        buffer.observation[rows], buffer.action[rows], buffer.reward[rows],
        buffer.observation[(rows + 1) % CAPACITY],
    )  # fmt: skip


def launch(images, labels, hidden, seed, num_updates, batch_size, target_period):
    """Trains one agent, as a process of its own does."""

    @jax.jit
    def whole(key, images, labels):
        data = make_data(images, labels)
        runner = init(data, hidden, key)
        return train(data, runner, num_updates, batch_size, target_period)

    key = jax.random.key(seed)
    return jax.block_until_ready(whole(key, jnp.asarray(images), jnp.asarray(labels)))
