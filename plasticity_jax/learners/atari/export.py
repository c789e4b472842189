"""An Atari state as nested dicts of arrays, and back: nothing else, no pickle.

Saved: parameters (online, target, theta_0), states of optimiser and interventions,
Dopamine's counters and action key, the replay with its sampler's generator and sums,
the frame stack, the console with ALE's generator and ours, the counts. That is every
source of chance: Dopamine 4.1.2 draws neither from Python's `random` nor from NumPy's
global generator.
"""

import collections
import dataclasses

import jax.numpy as jnp
import numpy as np

from plasticity_jax import trees
from plasticity_jax.learners.atari.emulator import load_generator, save_generator
from plasticity_jax.learners.atari.state import AtariState, Counts

TRAIN = (
    "online_params",
    "target_network_params",
    "initial_params",
    "optimizer_state",
    "intervention_states",
)
STACK_SHAPE, STACK_DTYPE = (84, 84, 4), b"|u1"


def export(state: AtariState) -> dict:
    """Returns everything the next update depends on, copied."""
    agent = state.agent
    return {
        "train": trees.to_dict({name: getattr(agent, name) for name in TRAIN}),
        "agent": _save_agent(agent),
        "trajectory": _save_trajectory(agent._replay._transition_accumulator),
        "replay": _save_replay(agent._replay),
        "environment": _save_environment(state.environment),
        "counts": {
            name: np.asarray(value)
            for name, value in dataclasses.asdict(state.counts).items()
        },
    }


def load(state: AtariState, saved: dict, dopamine) -> None:
    """Overwrites a fresh state of the same settings with what `export` returned."""
    agent = state.agent
    fresh = {name: getattr(agent, name) for name in TRAIN}
    for name, value in trees.from_dict(fresh, saved["train"]).items():
        setattr(agent, name, value)
    _load_agent(agent, saved["agent"])
    accumulator = agent._replay._transition_accumulator
    _load_trajectory(accumulator, saved["trajectory"], dopamine)
    _load_replay(agent._replay, saved["replay"], dopamine)
    _load_environment(state.environment, saved["environment"])
    state.counts = Counts(
        **{name: np.asarray(value).item() for name, value in saved["counts"].items()}
    )


def _save_agent(agent) -> dict:
    return {
        "training_steps": np.asarray(agent.training_steps),
        "key": np.array(agent._rng),
        "state": agent.state.astype(np.uint8),  # float64 there, but pixels
        "observation": np.array(agent._observation),
        "action": np.array(agent.action),
    }


def _load_agent(agent, saved: dict) -> None:
    agent.training_steps = int(saved["training_steps"])
    agent._rng = jnp.asarray(saved["key"])
    agent.state = np.array(saved["state"], np.float64)
    agent._observation = np.array(saved["observation"])
    agent.action = np.array(saved["action"])


def _save_trajectory(accumulator) -> dict:
    """The transitions that are not in the replay yet, padded to the queue's length."""
    queue = accumulator._trajectory
    frames = np.zeros((queue.maxlen, *STACK_SHAPE[:2]), np.uint8)
    numbers = np.zeros((queue.maxlen, 4))
    for index, step in enumerate(queue):
        frames[index] = step.observation
        numbers[index] = step.action, step.reward, step.is_terminal, step.episode_end
    return {"length": np.asarray(len(queue)), "frames": frames, "numbers": numbers}


def _load_trajectory(accumulator, saved: dict, dopamine) -> None:
    accumulator._trajectory.clear()
    for index in range(int(saved["length"])):
        action, reward, is_terminal, episode_end = np.asarray(saved["numbers"])[index]
        step = dopamine.elements.TransitionElement(
            np.array(saved["frames"][index]),
            np.array(action, np.int32),
            reward,
            bool(is_terminal),
            bool(episode_end),
        )
        accumulator._trajectory.append(step)


def _save_replay(replay) -> dict:
    """The frame stacks as Dopamine compresses them, each once: the stack after one
    transition is the stack before the next."""
    items = list(replay._memory.values())
    places = {}  # compressed stack -> its place
    index = [
        [
            places.setdefault(x["data"].tobytes(), len(places))
            for x in (a.state, a.next_state)
        ]
        for a in items
    ]
    return {
        "add_count": np.asarray(replay.add_count),
        "stacks": np.frombuffer(b"".join(places), np.uint8),
        "stack_sizes": np.array([len(data) for data in places]),
        "stack_index": np.array(index),  # [N, 2]
        "action": np.array([a.action for a in items], np.int32),
        "reward": np.array([a.reward for a in items], np.float64),
        "is_terminal": np.array([a.is_terminal for a in items]),
        "episode_end": np.array([a.episode_end for a in items]),
        **_save_sampler(replay._sampling_distribution),
    }


def _load_replay(replay, saved: dict, dopamine) -> None:
    saved = {
        name: value if name == "generator" else np.asarray(value)
        for name, value in saved.items()
    }
    ends = np.cumsum(saved["stack_sizes"])[:-1]
    stacks = [_compressed(data) for data in np.split(saved["stacks"], ends)]
    replay.add_count = int(saved["add_count"])
    num_items = len(saved["action"])
    oldest = replay.add_count - num_items  # keys count up, the oldest leave first
    replay._memory = collections.OrderedDict(
        (
            oldest + i,
            dopamine.elements.ReplayElement(
                state=stacks[saved["stack_index"][i, 0]],
                action=saved["action"][i],
                reward=saved["reward"][i],
                next_state=stacks[saved["stack_index"][i, 1]],
                is_terminal=bool(saved["is_terminal"][i]),
                episode_end=bool(saved["episode_end"][i]),
            ),
        )
        for i in range(num_items)
    )
    _load_sampler(replay._sampling_distribution, saved)


def _save_sampler(sampler) -> dict:
    saved = {
        "key_by_index": np.array(sampler._key_by_index),
        "generator": save_generator(sampler._rng),
    }
    if hasattr(sampler, "_sum_tree"):
        # All of its sums: made by adding differences, they differ from fresh ones in
        # their last bits. Dopamine's own checkpoints leave out the largest priority.
        tree = sampler._sum_tree
        saved["priority_sums"] = tree._nodes.copy()
        saved["largest_priority"] = np.asarray(tree.max_recorded_priority, np.float64)
    return saved


def _load_sampler(sampler, saved: dict) -> None:
    sampler._key_by_index = saved["key_by_index"].tolist()
    sampler._index_by_key = {key: i for i, key in enumerate(sampler._key_by_index)}
    load_generator(sampler._rng, saved["generator"])
    if hasattr(sampler, "_sum_tree"):
        tree = sampler._sum_tree
        tree._nodes = np.array(saved["priority_sums"], np.float64)  # its own to write
        tree.max_recorded_priority = float(saved["largest_priority"])


def _compressed(data: np.ndarray) -> np.ndarray:
    """A stack in the form of Dopamine's `elements.compress`."""
    fields = [("data", "u1", data.shape), ("shape", "i4", (3,)), ("dtype", "S3")]
    return np.array((data, STACK_SHAPE, STACK_DTYPE), dtype=fields)


def _save_environment(environment) -> dict:
    return {
        "emulator": environment.environment.save(),
        "screens": np.stack(environment.screen_buffer),
        "lives": np.asarray(environment.lives),
        "game_over": np.asarray(environment.game_over),
    }


def _load_environment(environment, saved: dict) -> None:
    environment.environment.load(saved["emulator"])
    environment.screen_buffer = [np.array(screen) for screen in saved["screens"]]
    environment.lives = int(saved["lives"])
    environment.game_over = bool(saved["game_over"])
