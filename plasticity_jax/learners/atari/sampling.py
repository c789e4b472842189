"""Which steps a batch is made of: uniform, or by priority."""

from typing import NamedTuple

import numpy as np

from plasticity_jax import checks
from plasticity_jax.learners.atari.replay import FrameReplay

SMALLEST = 1e-10  # under a root: Dopamine's, for priorities and weights


class Drawn(NamedTuple):
    """Steps of a replay, and what their losses count."""

    lanes: np.ndarray  # [B]
    times: np.ndarray  # [B]
    weights: np.ndarray  # [B] float32


class Uniform:
    """Draws every step alike, with replacement."""

    def __init__(self, replay: FrameReplay):
        self.replay = replay

    def added(self) -> None:
        """Takes note of a new step in the replay."""

    def draw(self, batch_size: int, generator: np.random.Generator) -> Drawn:
        """Draws [B] whole steps."""
        there, num_envs = self.replay.drawable, self.replay.num_envs
        lanes, times = np.empty(0, np.int64), np.empty(0, np.int64)
        while len(times) < batch_size:  # cut-off episodes are rare
            missing = batch_size - len(times)
            lane = generator.integers(0, num_envs, missing)
            time = generator.integers(there.start, there.stop, missing)
            kept = self.replay.is_whole(lane, time)
            lanes = np.concatenate([lanes, lane[kept]])
            times = np.concatenate([times, time[kept]])
        return Drawn(lanes, times, np.ones(batch_size, np.float32))

    def update(self, drawn: Drawn, losses: np.ndarray) -> None:
        """Takes the losses [B] of steps drawn."""

    def save(self) -> dict:
        """Returns its state as arrays."""
        return {}

    def load(self, saved: dict) -> None:
        """Takes over what `save` returned."""


class Prioritized:
    """Draws a step with probability p_i / sum p, p_i = sqrt(its loss when last seen),
    stratified; a new one at the largest p so far. Weights are p^(-1/2), over the
    batch's largest: Dopamine's Rainbow, priority exponent and beta 1/2.

    Source: arXiv 1511.05952.
    """

    def __init__(self, replay: FrameReplay):
        self.replay = replay
        self.tree = SumTree(replay.num_envs * replay.length)
        self.largest = 1.0
        self._first = 0  # the oldest step with a priority

    def added(self) -> None:
        """Takes note of a new step in the replay."""
        there, lanes = self.replay.drawable, np.arange(self.replay.num_envs)
        for time in range(self._first, there.start):  # as the ring goes round
            self.tree.set(self._places(lanes, time), np.zeros(len(lanes)))
        self._first = there.start
        if there:
            whole = self.replay.is_whole(lanes, np.full(len(lanes), there.stop - 1))
            self.tree.set(self._places(lanes, there.stop - 1), self.largest * whole)

    def draw(self, batch_size: int, generator: np.random.Generator) -> Drawn:
        """Draws [B] steps, one from each of B equal parts of the total."""
        parts = (np.arange(batch_size) + generator.random(batch_size)) / batch_size
        places = self.tree.find(parts * self.tree.total)
        lanes, slots = np.divmod(places, self.replay.length)
        newest = self.replay.count - 1
        times = newest - (newest - slots) % self.replay.length
        probs = self.tree.get(places) / self.tree.total
        weights = 1 / np.sqrt(probs + SMALLEST)
        weights = (weights / weights.max()).astype(np.float32)
        return Drawn(lanes, times, weights)

    def update(self, drawn: Drawn, losses: np.ndarray) -> None:
        """Takes the losses [B] of steps drawn; those overwritten since are left."""
        priorities = np.sqrt(np.asarray(losses, np.float64) + SMALLEST)
        kept = drawn.times >= self.replay.drawable.start
        places = self._places(drawn.lanes, drawn.times)[kept]
        self.tree.set(places, priorities[kept])
        self.largest = max(self.largest, priorities.max(initial=0.0))

    def save(self) -> dict:
        """Returns its state as arrays."""
        return {"priorities": self.tree.leaves, "largest": np.asarray(self.largest)}

    def load(self, saved: dict) -> None:
        """Takes over what `save` returned."""
        leaves = np.asarray(saved["priorities"], np.float64)
        self.tree.set(np.arange(len(leaves)), leaves)
        self.largest, self._first = float(saved["largest"]), self.replay.drawable.start

    def _places(self, lanes, times) -> np.ndarray:
        return lanes * self.replay.length + times % self.replay.length


class SumTree:
    """Numbers of which any prefix sum is found in log time, in batches."""

    def __init__(self, size: int):
        checks.at_least(1, size=size)
        self._size = size
        self._depth = max(1, (size - 1).bit_length())
        self._nodes = np.zeros(2 << self._depth)  # 1: the root; children 2 i, 2 i + 1

    @property
    def total(self) -> float:
        """The sum of all."""
        return self._nodes[1]

    @property
    def leaves(self) -> np.ndarray:
        """The numbers, [size]."""
        return self._nodes[1 << self._depth :][: self._size].copy()

    def get(self, places: np.ndarray) -> np.ndarray:
        """Returns the numbers at places [N]."""
        return self._nodes[(1 << self._depth) + places]

    def set(self, places: np.ndarray, values: np.ndarray) -> None:
        """Sets the numbers at places [N], the last of equal ones, and all sums above.

        Raises:
          ValueError: a number that is negative or not finite.
        """
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(
                f"priorities: expected finite numbers, 0 or more; got {values}."
            )
        nodes = (1 << self._depth) + places
        self._nodes[nodes] = values
        for _ in range(self._depth):
            nodes = np.unique(nodes >> 1)  # sums are made anew: no drift
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, sums: np.ndarray) -> np.ndarray:
        """Returns for each of [N] the place at which the sum of all before, and the
        number there, first exceeds it: never one whose number is 0."""
        nodes, left = np.ones(len(sums), np.int64), np.array(sums, float)
        for _ in range(self._depth):
            nodes = 2 * nodes
            lower = self._nodes[nodes]
            goes_right = (left >= lower) & (self._nodes[nodes + 1] > 0)
            left = np.where(goes_right, left - lower, left)
            nodes = nodes + goes_right
        return nodes - (1 << self._depth)


SAMPLERS = {"uniform": Uniform, "prioritized": Prioritized}
