"""Several Atari games at once, each source of chance of which can be had again."""

from typing import NamedTuple

import numpy as np

from plasticity_jax import checks
from plasticity_jax.learners.atari.emulator import game_id
from plasticity_jax.learners.atari.replay import FRAME_SHAPE

LIFE_LOSS = ("ignored", "discount")
FRAME_SKIP = 4
_SEEDS = 2**31 - 1  # ALE's are 32 bits with a sign


class Preprocessing(NamedTuple):
    """How a game is shown and played: 84 x 84 grey, 4 frames an agent step, the largest
    of the last two. Nothing is left to a default of ALE's vector environment."""

    sticky_probability: float = 0.0  # of the action before, each frame
    max_noops: int = 30  # that open an episode
    life_loss: str = "discount"  # 0 when a life is lost, the game goes on; or ignored
    max_episode_steps: int = 27_000  # agent steps; 108,000 frames
    full_action_space: bool = False  # 18 actions whatever the game


PRESETS = {  # what the literature's agents see, by where it is published
    "dqn_zoo": Preprocessing(),  # the paper's
    "dopamine": Preprocessing(0.25, 0, "ignored"),
    "machado2018": Preprocessing(0.25, 0, "ignored", full_action_space=True),
}


class Step(NamedTuple):
    """What came of one action in each of E environments."""

    reward: np.ndarray  # [E] float32, as the game pays
    terminal: np.ndarray  # [E] bool: no return beyond it
    last: np.ndarray  # [E] bool: the episode is over, ended or cut off


class Environments:
    """E games behind ALE's threads. An episode's seed is a function of the run's seed,
    the environment and the episode's number, so its actions are all it takes to have it
    again: ALE's vector environment cannot save a console.

    Attributes:
      frame: [E, 84, 84] uint8, what is seen now; of a new episode after `step`.
      num_frames: emulator frames played.
    """

    def __init__(self, game: str, num_envs: int, seed: int, settings: Preprocessing):
        """Opens the games; `reset` starts them.

        Raises:
          ValueError: an unknown game, naming the nearest; a setting out of range.
        """
        check(settings)
        checks.at_least(1, num_envs=num_envs)
        self._name, self._seed, self._settings = game_id(game), seed, settings
        self._num_envs = num_envs
        self._games = self._open()
        self.num_actions = int(self._games.single_action_space.n)
        self.num_frames = 0
        self._episodes = np.zeros(num_envs, np.int64)  # begun before this one
        self._actions = [bytearray() for _ in range(num_envs)]  # of this episode
        self._lives = np.zeros(num_envs, np.int32)
        self.frame = np.zeros((num_envs, *FRAME_SHAPE), np.uint8)

    def reset(self) -> None:
        """Starts the first episode of each."""
        self._begin(np.ones(self._num_envs, bool))

    def step(self, actions: np.ndarray) -> Step:
        """Takes an agent step in each, actions [E]; ended episodes begin anew.

        Raises:
          RuntimeError: a thread of ALE's has died.
        """
        observed, reward, ended, cut_off, info = self._games.step(
            np.asarray(actions, np.int32)
        )
        for taken, action in zip(self._actions, actions, strict=True):
            taken.append(int(action))
        lost = info["lives"] < self._lives
        self._lives = info["lives"].copy()
        self.frame = observed[:, 0].copy()  # ALE's own buffer otherwise
        self.num_frames += FRAME_SKIP * self._num_envs
        last = ended | cut_off
        terminal = ended | (lost if self._settings.life_loss == "discount" else False)
        if last.any():
            self._episodes += last
            self._begin(last)
        return Step(reward.astype(np.float32), terminal, last)

    def save(self) -> dict:
        """Returns what it takes to be here again, as arrays."""
        return {
            "episodes": self._episodes.copy(),
            "lengths": np.array([len(taken) for taken in self._actions]),
            "actions": np.frombuffer(b"".join(self._actions), np.uint8).copy(),
            "num_frames": np.asarray(self.num_frames),
        }

    def load(self, saved: dict) -> None:
        """Plays the running episodes again, up to where `save` was."""
        saved = {name: np.asarray(value) for name, value in saved.items()}
        lengths = saved["lengths"]
        pieces = np.split(saved["actions"], np.cumsum(lengths)[:-1])
        self._games = self._open()
        self._episodes = saved["episodes"].copy()
        longest = int(lengths.max(initial=0))
        # All play `longest` steps; one that started late idles before, and is reset.
        self._begin(np.ones(self._num_envs, bool))
        for step in range(longest):
            begins = (lengths == longest - step) & (step > 0)
            if begins.any():
                self._begin(begins)
            places = step - (longest - lengths)
            self._replay(places, pieces)
        if (begins := lengths == 0).any() and longest:
            self._begin(begins)
        self._actions = [bytearray(piece.tobytes()) for piece in pieces]
        self.num_frames = int(saved["num_frames"])

    def _replay(self, places: np.ndarray, pieces: list[np.ndarray]) -> None:
        actions = [
            piece[place] if place >= 0 else 0
            for place, piece in zip(places, pieces, strict=True)
        ]
        observed, _, ended, cut_off, info = self._games.step(
            np.array(actions, np.int32)
        )
        self._lives = info["lives"].copy()
        self.frame = observed[:, 0].copy()
        idle_over = (ended | cut_off) & (places < 0)
        if idle_over.any():  # it would have to be reset before its next step
            self._begin(idle_over)

    def _begin(self, which: np.ndarray) -> None:
        """Starts an episode in those environments [E]."""
        (lanes,) = np.nonzero(which)
        seeds = [self._episode_seed(lane) for lane in lanes]
        observed, info = self._games.reset(
            seed=np.array(seeds, np.int32), options={"reset_mask": which}
        )
        self.frame = np.where(which[:, None, None], observed[:, 0], self.frame)
        self._lives = np.where(which, info["lives"], self._lives)
        for lane in lanes:
            self._actions[lane] = bytearray()

    def _episode_seed(self, lane: int) -> int:
        chance = np.random.default_rng((self._seed, lane, self._episodes[lane]))
        return int(chance.integers(_SEEDS))

    def _open(self):
        import ale_py
        from ale_py.vector_env import AtariVectorEnv

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner
        settings = self._settings
        return AtariVectorEnv(
            self._name,
            self._num_envs,
            max_num_frames_per_episode=FRAME_SKIP * settings.max_episode_steps,
            repeat_action_probability=settings.sticky_probability,
            full_action_space=settings.full_action_space,
            img_height=FRAME_SHAPE[0],
            img_width=FRAME_SHAPE[1],
            grayscale=True,
            stack_num=1,  # the replay stacks
            frameskip=FRAME_SKIP,
            maxpool=True,
            noop_max=settings.max_noops,
            episodic_life=False,
            life_loss_info=False,
            reward_clipping=False,
            use_fire_reset=False,
        )


def check(settings: Preprocessing) -> None:
    """Refuses, by a ValueError, settings that cannot work."""
    checks.one_of("life_loss", settings.life_loss, LIFE_LOSS)
    checks.within(0, 1, sticky_probability=settings.sticky_probability)
    checks.at_least(0, max_noops=settings.max_noops)
    checks.at_least(2, max_episode_steps=settings.max_episode_steps)
