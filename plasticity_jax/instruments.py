"""Probes bound to a learner: compiled once, with what they keep from update 0."""

import warnings
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from plasticity_jax import trees
from plasticity_jax.types import Learner, Probe


class Instruments:
    """Runs probes on a learner's snapshots and turns results into rows.

    Attributes:
      references: {probe: what its `prepare` returned at update 0}, kept with the run.
    """

    def __init__(self, learner: Learner, probes: Mapping[str, Probe], watch: Callable):
        self.references: dict[str, dict] = {}
        self._learner = learner
        self._probes = probes
        self._watch = watch
        self._measures = {
            name: learner.measure(probe.measure) for name, probe in probes.items()
        }

    def prepare(self, state) -> None:
        """Lets every probe that has no reference yet measure what it compares with."""
        for name, probe in self._probes.items():
            if probe.prepare is not None and name not in self.references:
                measure = self._learner.measure(probe.prepare)
                with self._watch(f"prepare/{name}", 0):
                    snapshot = self._learner.snapshot(state)
                    found = measure(snapshot, self._keys(name))
                    self.references[name] = jax.block_until_ready(found)

    def read(self, state, updates: int):
        """Takes the row due at this update count.

        Returns:
          (rows, one dict a seed; {probe: arrays [S, ...]}; the state, window emptied).
        """
        with self._watch("metrics", updates):
            figures, state = self._learner.metrics(state)
            figures, arrays = dict(jax.device_get(figures)), {}
        if updates == 0:  # a window's means do not exist before the first update
            figures = {n: v for n, v in figures.items() if not n.startswith("train/")}
        for name, probe in self._probes.items():
            if updates in probe.times:
                with self._watch(f"probe/{name}", updates):
                    snapshot = self._learner.snapshot(state)
                    reference = self.references.get(name, {})
                    result = self._measures[name](snapshot, reference, self._keys(name))
                    scalars, arrays[name] = jax.device_get(result)
                self._warn(scalars, updates)
                figures |= scalars
        return self._rows(state, updates, figures), arrays, state

    def _warn(self, scalars: dict, updates: int) -> None:
        """Inside jit a probe cannot say that what it met was not finite."""
        for name, finite in scalars.items():
            if name.endswith("/finite") and not finite.all():
                seeds = [
                    s for s, f in zip(self._learner.seeds, finite, strict=True) if not f
                ]
                warnings.warn(
                    f"{name.removesuffix('/finite')}: met a NaN or an infinity at "
                    f"update {updates}, seeds {seeds}; no value is recorded there.",
                    RuntimeWarning,
                    stacklevel=4,
                )

    def _keys(self, name: str) -> jax.Array:
        # The same at every update count: targets, noise and start vectors are paired.
        seeds = [jax.random.key(seed) for seed in self._learner.seeds]
        return jnp.stack([trees.named_key(seed, f"probe/{name}") for seed in seeds])

    def _rows(self, state, updates: int, figures: dict) -> list[dict]:
        rows = []
        failed_at = jax.device_get(self._learner.failed_at(state))
        points = self._learner.points
        for index, seed in enumerate(self._learner.seeds):
            values = {name: _number(figures[name][index]) for name in sorted(figures)}
            rows.append(
                {
                    "updates": updates,
                    "seed": seed,
                    **({"point": points[index]} if points else {}),
                    "finite": None not in values.values(),
                    "failed_at": None
                    if failed_at[index] < 0
                    else int(failed_at[index]),
                    **values,
                }
            )
        return rows


def _number(value) -> int | float | None:
    """A JSON number; None for what is not finite."""
    value = value.item()
    return value if value - value == 0 else None
