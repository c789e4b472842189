"""Experience on the host: each frame once, stacks and returns made when drawn."""

from typing import NamedTuple

import numpy as np

from plasticity_jax import checks
from plasticity_jax.types import Part

STACK_SIZE = 4
PART = 2_048  # steps of each environment
BESIDE_FRAMES = ("action", "reward", "terminal", "last", "age")
FRAME_SHAPE = (84, 84)


class Batch(NamedTuple):
    """Transitions as the host hands them over: frames oldest first, not yet stacked."""

    frames_tm1: np.ndarray  # [B, 4, 84, 84] uint8; zeros before an episode's start
    a_tm1: np.ndarray  # [B] int32
    r_t: np.ndarray  # [B] float32: discounted sum of the next n rewards
    discount_t: np.ndarray  # [B] float32: discount^n, 0 where the episode ended
    frames_t: np.ndarray  # [B, 4, 84, 84] uint8: after n steps


class FrameReplay:
    """A ring of agent steps for each of E environments that step together.

    Step t of environment e is what was seen, done and got: the frame, the action on it,
    the reward and what ended after it. Number t counts from 0 and never wraps; the ring
    has the newest `length`. A step can be drawn once its n rewards and the frame after
    them are there; never where an episode was cut off, not ended, on the way.

    Memory: 7,064 bytes a step, 7.1 GB for a million.
    """

    def __init__(self, capacity: int, num_envs: int, *, horizon: int, discount: float):
        """Makes an empty ring.

        Args:
          capacity: steps kept, of all environments; a multiple of `num_envs`.
          num_envs: E.
          horizon: n, rewards in a return.
          discount: gamma.

        Raises:
          ValueError: a capacity that E does not divide, or that holds nothing to draw.
        """
        checks.at_least(1, num_envs=num_envs, horizon=horizon)
        self.length = capacity // num_envs
        least = num_envs * (horizon + STACK_SIZE + 1)
        if capacity % num_envs or capacity < least:
            raise ValueError(
                f"replay_capacity: expected a multiple of num_envs = {num_envs}, "
                f"{least} or more; got {capacity}."
            )
        lanes = (num_envs, self.length)
        self.count = 0  # steps ever added, of each environment
        self.horizon = horizon
        self.discounts = (discount ** np.arange(horizon + 1)).astype(np.float32)
        self.frames = np.zeros((*lanes, *FRAME_SHAPE), np.uint8)
        self.action = np.zeros(lanes, np.uint8)
        self.reward = np.zeros(lanes, np.float32)
        self.terminal = np.zeros(lanes, bool)  # no return beyond it
        self.last = np.zeros(lanes, bool)  # of its episode, ended or cut off
        self.age = np.zeros(lanes, np.uint8)  # steps of the episode before it, up to 3

    @property
    def num_envs(self) -> int:
        """E."""
        return len(self.frames)

    @property
    def drawable(self) -> range:
        """The numbers of the steps that can be drawn."""
        oldest = max(0, self.count - self.length)
        first = oldest + STACK_SIZE - 1 if oldest else 0
        return range(first, max(first, self.count - self.horizon))

    def add(self, frame, action, reward, terminal, last) -> None:
        """Adds a step of each environment: frame [E, 84, 84], the others [E]."""
        slot, before = self.count % self.length, (self.count - 1) % self.length
        older = np.minimum(self.age[:, before] + 1, STACK_SIZE - 1)
        begins = self.last[:, before] | (self.count == 0)
        self.age[:, slot] = np.where(begins, 0, older)
        self.frames[:, slot] = frame
        self.action[:, slot] = action
        self.reward[:, slot] = reward
        self.terminal[:, slot] = terminal
        self.last[:, slot] = last
        self.count += 1

    def is_whole(self, lanes: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Says of steps [N] whether their return is: up to its end, or n rewards long,
        with no episode cut off before."""
        terminal, before = self._ends(lanes, times)
        cut_off = self._ahead(self.last, lanes, times) & ~terminal & ~before
        return ~cut_off.any(axis=1)

    def draw(self, lanes: np.ndarray, times: np.ndarray) -> Batch:
        """Returns the transitions that begin at steps [B], all drawable and whole."""
        terminal, before = self._ends(lanes, times)
        rewards = self._ahead(self.reward, lanes, times) * self.discounts[:-1]
        return Batch(
            frames_tm1=self.stacks(lanes, times),
            a_tm1=self.action[lanes, times % self.length].astype(np.int32),
            r_t=np.where(before, 0, rewards).sum(axis=1),
            discount_t=np.where(terminal.any(axis=1), 0, self.discounts[-1]),
            frames_t=self.stacks(lanes, times + self.horizon),
        )

    def stacks(self, lanes: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Returns the newest four frames at steps [B], oldest first, [B, 4, 84, 84]."""
        back = np.arange(1 - STACK_SIZE, 1)
        slots = (times[:, None] + back) % self.length
        frames = self.frames[lanes[:, None], slots]
        age = self.age[lanes, times % self.length]
        frames[age[:, None] + back < 0] = 0  # of the episode before
        return frames

    def newest_stacks(self, frame: np.ndarray) -> np.ndarray:
        """Returns the stacks that end with a frame not added yet, [E, 4, 84, 84]."""
        lanes = np.arange(self.num_envs)
        newest = np.full(self.num_envs, self.count - 1)
        before = self.stacks(lanes, newest)[:, 1:]
        before[self.last[:, newest[0] % self.length]] = 0
        return np.concatenate([before, frame[:, None]], axis=1)

    def save(self) -> dict:
        """Returns the newest `length` steps: frames in parts of `PART` steps that are
        made once, the last unfinished one, and all else as it lies."""
        oldest, whole = max(0, self.count - self.length), self.count // PART * PART
        starts = range(oldest // PART * PART, whole, PART)
        frames = {f"{start:012d}": self._part(start) for start in starts}
        saved = {name: getattr(self, name).copy() for name in BESIDE_FRAMES}
        saved |= {"count": np.asarray(self.count), "frames": frames}
        return saved | {"newest": self._frames(whole, self.count)}

    def load(self, saved: dict) -> None:
        """Takes over what `save` returned."""
        self.count = int(saved["count"])
        for name in BESIDE_FRAMES:
            getattr(self, name)[:] = saved[name]
        pieces = {int(start): part for start, part in saved.get("frames", {}).items()}
        pieces[self.count // PART * PART] = np.asarray(saved["newest"])
        for start, piece in sorted(pieces.items()):  # the newest over the oldest
            slots = np.arange(start, start + piece.shape[1]) % self.length
            kept = slice(max(0, piece.shape[1] - self.length), None)
            self.frames[:, slots[kept]] = piece[:, kept]

    def _part(self, start: int) -> Part:
        name = f"frames_{start:012d}"
        return Part(name, lambda: self._frames(start, start + PART))

    def _frames(self, start: int, stop: int) -> np.ndarray:
        return self.frames[:, np.arange(start, stop) % self.length]

    def _ends(self, lanes, times) -> tuple[np.ndarray, np.ndarray]:
        """Returns whether the return ends at each of n rewards, and whether it has
        ended before it, each [N, n]."""
        terminal = self._ahead(self.terminal, lanes, times)
        return terminal, (np.cumsum(terminal, axis=1) - terminal) > 0

    def _ahead(self, array, lanes, times) -> np.ndarray:
        """Returns an array's next n entries from steps [N] on, [N, n]."""
        slots = (times[:, None] + np.arange(self.horizon)) % self.length
        return array[lanes[:, None], slots]
