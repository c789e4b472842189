"""The library's only host state: an agent, its replay and its console."""

import dataclasses
import math

import numpy as np

from plasticity_jax.learners.atari.agents import STACK_SIZE


@dataclasses.dataclass
class Counts:
    """Clocks, the running episode, and the window's sums since the last row."""

    updates: int = 0
    env_steps: int = 0
    failed_at: int = -1  # update count of the first loss that was not finite
    episode_return: float = 0.0  # unclipped, of the running episode
    episode_steps: int = 0
    window_loss: float = 0.0
    window_updates: int = 0
    window_episodes: int = 0
    window_return: float = 0.0
    window_episode_steps: int = 0

    def empty_window(self) -> None:
        for field in dataclasses.fields(self):
            if field.name.startswith("window_"):
                setattr(self, field.name, field.default)


class AtariState:
    """One agent playing one game. Mutable: `advance` changes it in place.

    Attributes:
      agent: Dopamine's, see `agents.make_agent`.
      environment: Dopamine's AtariPreprocessing over an `Emulator`.
      counts: see `Counts`.
    """

    def __init__(self, agent, environment, max_episode_steps):
        self.agent = agent
        self.environment = environment
        self.max_episode_steps = max_episode_steps
        self.counts = Counts()

    def begin(self) -> None:
        """Starts the first episode."""
        self.agent.begin_episode(self.environment.reset())

    def fill_replay(self) -> None:
        """Plays until the next transitions could start the training."""
        # A lost game adds its last transition up to this many times (`accumulator.py`).
        most_added = self.agent.update_horizon + STACK_SIZE - 1
        replay = self.agent._replay
        while replay.add_count + most_added <= self.agent.min_replay_history:
            self.play_step()

    def play_step(self) -> None:
        """Plays an agent step and the update that falls due, as Dopamine's runner."""
        agent, counts = self.agent, self.counts
        observation, reward, terminal, _ = self.environment.step(int(agent.action))
        counts.env_steps += 1
        counts.episode_steps += 1
        counts.episode_return += float(reward)
        clipped = np.clip(reward, -1.0, 1.0)
        game_over = self.environment.game_over
        over = game_over or counts.episode_steps == self.max_episode_steps
        if terminal or over:
            agent.end_episode(clipped, terminal)
            if over:
                self._end_episode()
                observation = self.environment.reset()
            agent.begin_episode(observation)
        else:
            agent.step(clipped, observation)
        if agent.loss is not None:
            self._record_update(float(agent.loss))
            agent.loss = None

    def _record_update(self, loss: float) -> None:
        counts = self.counts
        counts.updates += 1
        counts.window_updates += 1
        counts.window_loss += loss
        if counts.failed_at < 0 and not math.isfinite(loss):
            counts.failed_at = counts.updates

    def _end_episode(self) -> None:
        counts = self.counts
        counts.window_episodes += 1
        counts.window_return += counts.episode_return
        counts.window_episode_steps += counts.episode_steps
        counts.episode_return, counts.episode_steps = 0.0, 0

    def metrics(self) -> dict[str, np.ndarray]:
        """Returns the window's figures, each [1], and empties the window.

        `train/loss` is the mean over its updates; `train/return` (raw rewards) and
        `train/episode_steps` over the episodes that ended in it, absent if none did.
        """
        counts, agent = self.counts, self.agent
        epsilon = agent.epsilon_fn(
            agent.epsilon_decay_period,
            agent.training_steps,
            agent.min_replay_history,
            agent.epsilon_train,
        )
        row = {
            "train/loss": counts.window_loss / max(counts.window_updates, 1),
            "train/episodes": counts.window_episodes,
            "train/epsilon": float(epsilon),
            "env_steps": counts.env_steps,
            "frames": self.environment.environment.env.ale.getFrameNumber(),
        }
        if ended := counts.window_episodes:
            row["train/return"] = counts.window_return / ended
            row["train/episode_steps"] = counts.window_episode_steps / ended
        counts.empty_window()
        return {name: np.asarray([value]) for name, value in row.items()}
