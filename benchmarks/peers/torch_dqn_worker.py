"""A PyTorch DQN as people write it, in an environment of its own; see `process.py`."""

import numpy as np
import torch
from torch.nn import functional

from benchmarks.peers.process import serve
from benchmarks.peers.torch_worker import network

torch.set_num_threads(1)

NUM_ACTIONS, DISCOUNT, EPSILON = 10, 0.99, 0.1
NUM_WARMUP, CAPACITY = 1_000, 50_000


class BlockMDP:
    """`easy`: pays 1 for the class of the image shown, then moves uniformly."""

    def __init__(self, images, labels, rng):
        self._images, self._labels, self._rng = images, labels, rng
        self._groups = [np.flatnonzero(labels == c) for c in range(NUM_ACTIONS)]
        self._row = 0

    def reset(self):
        group = self._groups[self._rng.integers(NUM_ACTIONS)]
        self._row = group[self._rng.integers(len(group))]
        return self._images[self._row]

    def step(self, action):
        reward = float(action == self._labels[self._row])
        return self.reset(), reward


class Replay:
    """A ring of transitions."""

    def __init__(self, size, rng):
        self._observations = np.zeros((CAPACITY, size), np.float32)
        self._following = np.zeros((CAPACITY, size), np.float32)
        self._actions = np.zeros(CAPACITY, np.int64)
        self._rewards = np.zeros(CAPACITY, np.float32)
        self._count, self._rng = 0, rng

    def add(self, observation, action, reward, following):
        row = self._count % CAPACITY
        self._observations[row], self._following[row] = observation, following
        self._actions[row], self._rewards[row] = action, reward
        self._count += 1

    def sample(self, batch_size):
        rows = self._rng.integers(min(self._count, CAPACITY), size=batch_size)
        columns = self._observations, self._actions, self._rewards, self._following
        return tuple(torch.from_numpy(column[rows]) for column in columns)


class Agent:
    """Two networks and Adam."""

    def __init__(self, arrays, target_period):
        self._online, self._target = network(arrays), network(arrays)
        self._optimizer = torch.optim.Adam(self._online.parameters(), lr=1e-3)
        self._target_period, self._updates = target_period, 0

    def act(self, observation):
        with torch.no_grad():
            q = self._online(torch.from_numpy(observation).unsqueeze(0))
        return q.argmax(dim=1).item()

    def update(self, observations, actions, rewards, following):
        with torch.no_grad():
            targets = rewards + DISCOUNT * self._target(following).max(dim=1).values
        q = self._online(observations).gather(1, actions.unsqueeze(1)).squeeze(1)
        loss = functional.mse_loss(q, targets)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._updates += 1
        if self._updates % self._target_period == 0:
            self._target.load_state_dict(self._online.state_dict())
        return loss


def dqn(arrays: dict, batch_size: int, target_period: int, num_updates: int):
    """One agent; `run` takes up where the run before ended."""
    images, rng = arrays["images"], np.random.default_rng(0)
    env, replay = BlockMDP(images, arrays["labels"], rng), Replay(images.shape[1], rng)
    agent, observation = Agent(arrays, target_period), env.reset()

    def act(epsilon):
        nonlocal observation
        if rng.random() < epsilon:
            action = rng.integers(NUM_ACTIONS)
        else:
            action = agent.act(observation)
        following, reward = env.step(action)
        replay.add(observation, action, reward, following)
        observation = following

    def run():
        for _ in range(num_updates):
            act(EPSILON)
            agent.update(*replay.sample(batch_size))

    for _ in range(NUM_WARMUP):
        act(1.0)
    return run, {"losses": _losses(arrays, target_period)}


def _losses(arrays, target_period):
    """Returns the losses of updates on the batches given, [U]."""
    agent = Agent(arrays, target_period)
    batches = zip(
        arrays["images"][arrays["s_tm1"]],
        arrays["a_tm1"],
        arrays["r_t"],
        arrays["images"][arrays["s_t"]],
        strict=True,
    )
    losses = [agent.update(*map(torch.from_numpy, batch)).item() for batch in batches]
    return np.array(losses)


if __name__ == "__main__":
    serve({"dqn": dqn})
