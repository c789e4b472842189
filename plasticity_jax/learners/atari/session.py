"""The host state of the functional route: games, replay, agent, and their clocks."""

import dataclasses

import jax
import numpy as np

from plasticity_jax import trees
from plasticity_jax.learners.atari import evaluation
from plasticity_jax.learners.atari.environments import FRAME_SKIP
from plasticity_jax.learners.atari.replay import FRAME_SHAPE, STACK_SIZE, FrameReplay
from plasticity_jax.learners.atari.sampling import SAMPLERS, Uniform


@dataclasses.dataclass
class Episodes:
    """The running episodes, and the sums over those that ended since the last row."""

    returns: np.ndarray  # [E], unclipped
    steps: np.ndarray  # [E]
    ended: int = 0
    sum_returns: float = 0.0
    sum_steps: int = 0

    def add(self, reward: np.ndarray, last: np.ndarray) -> None:
        """Takes one step of each."""
        self.returns += reward
        self.steps += 1
        self.ended += int(last.sum())
        self.sum_returns += float(self.returns[last].sum())
        self.sum_steps += int(self.steps[last].sum())
        self.returns[last], self.steps[last] = 0, 0

    def close(self) -> dict[str, float]:
        """Returns the sums as means, and empties them."""
        row = {"train/episodes": self.ended}
        if self.ended:
            row["train/return"] = self.sum_returns / self.ended
            row["train/episode_steps"] = self.sum_steps / self.ended
        self.ended, self.sum_returns, self.sum_steps = 0, 0.0, 0
        return row


class Session:
    """One agent playing E games. Mutable: `advance` changes it in place.

    Attributes:
      agent_state: what learning changes, on the device.
      updates: gradient steps made.
      env_steps: agent steps of all environments.
    """

    def __init__(self, settings, agent, open_games, seed: int):
        self.settings, self._agent, self._seed = settings, agent, seed
        num_envs, self._open_games = settings.num_envs, open_games
        self.games = open_games(num_envs, seed)
        self.replay = FrameReplay(
            settings.replay_capacity - settings.replay_capacity % num_envs, num_envs,
            horizon=settings.update_horizon, discount=settings.discount,
        )  # fmt: skip
        self.sampler = SAMPLERS[settings.sampler](self.replay)
        self.episodes = Episodes(np.zeros(num_envs), np.zeros(num_envs, np.int64))
        self.agent_state = None
        self.updates = self.env_steps = 0
        self._stack = np.zeros((num_envs, STACK_SIZE, *FRAME_SHAPE), np.uint8)

    def begin(self) -> None:
        """Draws the network, and plays until the first update may be made."""
        self.agent_state = self._agent.init(jax.random.key(self._seed))
        self.games.reset()
        self._stack[:, -1] = self.games.frame
        while self.env_steps < self.settings.min_replay_history:
            self.play()

    def advance(self, num_updates: int) -> "Session":
        """Makes updates, and plays what falls due between them."""
        goal = self.updates + num_updates
        while self.updates < goal:
            self.learn() if self.updates < self._due() else self.play()
        return self

    def play(self) -> None:
        """Takes an agent step in each game."""
        count, settings = np.uint32(self.env_steps), self.settings
        if self.env_steps < settings.min_replay_history:
            chance = np.random.default_rng((self._seed, 0, self.env_steps))
            action = chance.integers(0, self.games.num_actions, settings.num_envs)
        else:
            action = np.asarray(
                self._agent.act(self.agent_state, self._stack, self.epsilon(), count)
            )
        frame = self.games.frame
        step = self.games.step(action)
        clipped = np.clip(step.reward, -1, 1)
        self.replay.add(frame, action, clipped, step.terminal, step.last)
        self.sampler.added()
        self.episodes.add(step.reward, step.last)
        self.env_steps += settings.num_envs
        self._stack[:, :-1] = self._stack[:, 1:]
        self._stack[step.last] = 0
        self._stack[:, -1] = self.games.frame

    def learn(self) -> None:
        """Makes one gradient step."""
        chance = np.random.default_rng((self._seed, 1, self.updates))
        drawn = self.sampler.draw(self.settings.batch_size, chance)
        self.agent_state, losses = self._agent.learn(
            self.agent_state,
            np.uint32(self.updates),
            self.replay.draw(drawn.lanes, drawn.times),
            drawn.weights,
        )
        self.sampler.update(drawn, losses)
        self.updates += 1

    def epsilon(self) -> np.float32:
        """The probability of a uniform action: 1, then down in a line."""
        settings = self.settings
        done = self.env_steps - settings.min_replay_history
        left = np.clip(1 - done / settings.epsilon_decay_period, 0, 1)
        return np.float32(settings.epsilon_train + (1 - settings.epsilon_train) * left)

    def metrics(self) -> dict[str, np.ndarray]:
        """Returns the window's figures, each [1], and empties it. `train/return` (raw
        rewards) and `train/episode_steps` are over the episodes that ended in it."""
        row, self.agent_state = self._agent.metrics(self.agent_state)
        row = dict(jax.device_get(row)) | self.episodes.close()
        row |= {"train/epsilon": self.epsilon(), "env_steps": self.env_steps}
        row["frames"] = FRAME_SKIP * self.env_steps
        if self.settings.eval_episodes:
            played = self.evaluate(self.settings.eval_episodes)
            row["eval/return"] = played.returns.mean()
            row["eval/episode_steps"] = played.steps.mean()
        return {name: np.asarray([value]) for name, value in row.items()}

    def evaluate(self, num_episodes: int, chance: int = 0) -> evaluation.Episodes:
        """Plays episodes without learning, in games of their own; other numbers for
        `chance`, other episodes."""
        seeds = np.random.SeedSequence((self._seed, 3, self.updates, chance))
        seed = int(seeds.generate_state(1)[0] >> 1)
        state = self.agent_state._replace(key=jax.random.key(seed))
        return evaluation.play(
            lambda *args: self._agent.act(state, *args),
            self._open_games(num_episodes, seed),
            epsilon=self.settings.eval_epsilon,
            max_steps=self.settings.max_episode_steps,
        )

    def snapshot(self):
        """Returns what probes read; the pool is drawn by (seed, update count)."""
        chance = np.random.default_rng((self._seed, 2, self.updates))
        drawn = Uniform(self.replay).draw(self.settings.probe_pool, chance)
        return self.agent_state, self.replay.draw(drawn.lanes, drawn.times)

    def save(self) -> dict:
        """Returns everything the next update depends on, as nested dicts of arrays."""
        counts = {"updates": self.updates, "env_steps": self.env_steps}
        return {
            "agent": trees.to_dict(self.agent_state),
            "games": self.games.save(),
            "replay": self.replay.save(),
            "sampler": self.sampler.save(),
            "episodes": _arrays(dataclasses.asdict(self.episodes)),
            "counts": _arrays(counts),
        }

    def load(self, saved: dict) -> None:
        """Takes over what `save` returned.

        Raises:
          ValueError: it is of another network, optimiser, or number of games.
        """
        self.agent_state = trees.from_dict(self._agent.template, saved["agent"])
        self.replay.load(saved["replay"])
        self.sampler.load(saved.get("sampler", {}))
        self.games.load(saved["games"])
        kinds = {field.name: field.type for field in dataclasses.fields(Episodes)}
        found = {name: np.array(saved["episodes"][name]) for name in kinds}
        self.episodes = Episodes(
            **{n: x if kinds[n] is np.ndarray else x.item() for n, x in found.items()}
        )
        self.updates, self.env_steps = (
            int(saved["counts"][name]) for name in ("updates", "env_steps")
        )
        self._stack = self.replay.newest_stacks(self.games.frame)

    def _due(self) -> int:
        """Returns how many updates should have been made by now."""
        played = self.env_steps - self.settings.min_replay_history
        return max(0, played) // self.settings.update_period


def _arrays(values: dict) -> dict:
    return {name: np.asarray(value) for name, value in values.items()}
