"""Agent steps a CPU second on Atari, against Dopamine's own agent and environment.

  python -m benchmarks.atari [--quick] [--only=ROW,...] [--rounds=5]

DQN on Pong: batches of 32, an update every 4 agent steps, a replay of 20,000, Huber
loss, the same network. Dopamine's side is its JaxDQNAgent on its AtariPreprocessing, in
the loop of its Runner. Rows `host-...` replace the update by nothing: what is left is
acting, the games, storing and sampling. Rows `zoo-...`: DQN Zoo's network (VALID
padding) against Dopamine's default.

Pinned to one core, CPU seconds, interleaved, the median of the rounds' ratios; filling
the replay and compilation apart. That both sides compute the same is the business of
tests/learners/atari_parity_test.py. Then: where a step's time goes, on our side.
"""

import sys
import time
from functools import partial

from benchmarks import timing

if __name__ == "__main__":
    timing.pin()  # before JAX counts the cores

import jax
import numpy as np
from absl import app

from benchmarks.comparison import Comparison
from benchmarks.table import Row, run
from plasticity_jax import optimizers
from plasticity_jax.learners.atari import compat, functional
from plasticity_jax.networks import NatureCNN
from plasticity_jax.types import Method

CAPACITY, HISTORY, NUM_STEPS = 20_000, 1_000, 400
ADAM = partial(optimizers.adam, 6.25e-5, eps=1.5e-4)  # Dopamine's
PHASES = ("act", "games", "store", "sample", "learn")


class Ours:
    """Our session, ready to go on."""

    def __init__(self, num_envs: int, padding: str, updates: bool):
        settings = functional.Settings(
            num_envs=num_envs, agent="dqn", max_noops=0, life_loss="ignored",
            sticky_probability=0.25, replay_capacity=CAPACITY - CAPACITY % num_envs,
            min_replay_history=HISTORY, target_update_period=8_000,
        )  # fmt: skip
        make = lambda actions, impl: NatureCNN(actions, padding=padding, conv_impl=impl)
        learner = functional.make(make, Method(ADAM), 0, settings)
        self.session = learner.init()
        self._advance = learner.advance
        if not updates:
            nothing = lambda state, *_: (state, np.zeros(settings.batch_size))
            self.session._agent = self.session._agent._replace(learn=nothing)
        self.play(8 * num_envs)

    def play(self, num_steps: int) -> None:
        """Plays agent steps, with the updates due."""
        self._advance(self.session, num_steps // self.session.settings.update_period)
        jax.block_until_ready(self.session.agent_state.optimized.train.params)


class Dopamine:
    """Dopamine's agent and game, stepped as its Runner does."""

    def __init__(self, updates: bool):
        modules = compat.load()
        modules.dqn_agent.logging.set_verbosity("error")
        self._game = modules.atari_lib.create_atari_environment("Pong")
        self._game.environment.reset(seed=0)
        buffer = modules.replay_buffer.ReplayBuffer(
            transition_accumulator=modules.accumulator.TransitionAccumulator(
                stack_size=4, update_horizon=1, gamma=0.99
            ),
            sampling_distribution=modules.samplers.UniformSamplingDistribution(seed=0),
            batch_size=32,
            max_capacity=CAPACITY,
        )
        agent = type(
            "Agent", (modules.dqn_agent.JaxDQNAgent,),
            {"_build_replay_buffer": lambda self: buffer},
        )  # fmt: skip
        self._agent = agent(
            self._game.action_space.n, min_replay_history=HISTORY, loss_type="huber",
            seed=0,
        )  # fmt: skip
        self._agent.optimizer = ADAM()
        params = self._agent.online_params
        self._agent.optimizer_state = self._agent.optimizer.init(params)
        self._action = self._agent.begin_episode(self._game.reset())
        self._train = modules.dqn_agent
        self.play(HISTORY + 40)
        if not updates:
            self._without_updates()

    def play(self, num_steps: int) -> None:
        """Plays agent steps, with the updates due."""
        agent = self._agent
        for _ in range(num_steps):
            observation, reward, over, _ = self._game.step(self._action)
            reward = np.clip(reward, -1, 1)
            if self._game.game_over or over:
                agent.end_episode(reward, over)
                self._action = agent.begin_episode(self._game.reset())
            else:
                self._action = agent.step(reward, observation)
        jax.block_until_ready(agent.online_params)

    def _without_updates(self) -> None:
        agent = self._agent

        def train_step():
            if agent.training_steps % agent.update_period == 0:
                agent._sample_from_replay_buffer()
            agent.training_steps += 1

        agent._train_step = train_step


def against_dopamine(num_envs, padding, updates, peers) -> Comparison:
    """Seconds an agent step of both."""
    del peers
    ours, theirs = Ours(num_envs, padding, updates), Dopamine(updates)
    num_steps = NUM_STEPS if updates else 4 * NUM_STEPS

    def seconds(side):
        return timing.seconds(lambda: side.play(num_steps)) / num_steps

    return Comparison(partial(seconds, ours), partial(seconds, theirs), 0.0, 0.0)


def where_time_goes(num_envs: int, num_steps: int = NUM_STEPS) -> dict[str, float]:
    """Returns CPU seconds an agent step by phase, our side, Dopamine's network."""
    side = Ours(num_envs, "SAME", updates=True)
    session, spent = side.session, dict.fromkeys(PHASES, 0.0)
    agent, memory, games = session._agent, session.replay, session.games

    def timed(phase, function):
        def call(*args):
            start = time.process_time()
            found = jax.block_until_ready(function(*args))
            spent[phase] += time.process_time() - start
            return found

        return call

    session._agent = agent._replace(
        act=timed("act", agent.act), learn=timed("learn", agent.learn)
    )
    games.step, memory.add = timed("games", games.step), timed("store", memory.add)
    memory.draw = timed("sample", memory.draw)
    session.sampler.draw = timed("sample", session.sampler.draw)
    total = timing.seconds(lambda: side.play(num_steps))
    spent["rest"] = total - sum(spent.values())
    return {phase: seconds / num_steps for phase, seconds in spent.items()}


ROWS = tuple(
    Row(name, what, partial(against_dopamine, *case), at_least=target, quick=quick)
    for name, what, case, target, quick in (
        ("one", "1 environment", (1, "SAME", True), 1.08, True),
        ("host-1", "without updates, 1 environment", (1, "SAME", False), 1.6, True),
        ("host-32", "without updates, 32 environments", (32, "SAME", False), 4, False),
        ("zoo-1", "VALID padding, 1 environment", (1, "VALID", True), None, False),
        ("zoo-8", "VALID padding, 8 environments", (8, "VALID", True), 1.9, False),
    )
)


def main(argv: list[str]) -> int:
    """Prints one line a row, then a table of phases."""
    del argv
    code = run(ROWS, None)
    for num_envs in (1, 8):
        spent = where_time_goes(num_envs)
        total = sum(spent.values())
        cells = [f"{name} {1e3 * s:.2f} ({s / total:.0%})" for name, s in spent.items()]
        print(f"{num_envs} environments, ms a step: {', '.join(cells)}")
    return code


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
