"""Configs into groups: what one compiled program can run is one run with `points`."""

import copy
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from experiments.build import build
from experiments.schema import naming
from experiments.sweeps.grids import VARIANTS, Point, exact, leaves

_LONGEST = 100  # characters of a folder's name


class Group(NamedTuple):
    """What one run does."""

    slug: str  # its folder's name
    config: dict  # with `points` where there are several
    points: list[Point]

    @property
    def num_members(self) -> int:
        """Points times seeds."""
        return len(self.points) * self.config["seeds"].get("count", 1)

    @property
    def total(self) -> int:
        """Updates to make, of all members."""
        return self.num_members * self.config["total_updates"]


def divide(
    configs: Sequence[Mapping],
    can_vary: Callable[[Mapping, str], bool],
    *,
    max_members: int,
    processes: int,
) -> list[list[int]]:
    """Divides configs into groups, each of one compiled program.

    Args:
      configs: of runs, without `points`.
      can_vary: (config, path) -> whether a number or name there may differ in a group.
      max_members: points x seeds of a group, at most, unless one point has more seeds.
      processes: how many groups there are at least, if there are that many configs.

    Returns:
      Places in `configs`, each in one group, in order.
    """
    alike = {}
    for index, config in enumerate(configs):
        alike.setdefault(_structure(config, can_vary), []).append(index)
    groups = []
    for indices in alike.values():
        fit = max(1, max_members // configs[indices[0]]["seeds"].get("count", 1))
        groups += _cut(indices, math.ceil(len(indices) / fit))
    while len(groups) < min(processes, len(configs)):
        largest = max(range(len(groups)), key=lambda place: len(groups[place]))
        groups[largest : largest + 1] = _cut(groups[largest], 2)
    return groups


def _structure(config: Mapping, can_vary: Callable) -> str:
    """Returns a text that is equal where one program can run two configs."""
    fixed, varying = {}, []
    for path, value in leaves(config):
        is_one = isinstance(value, str | int | float) and not isinstance(value, bool)
        if is_one and can_vary(config, path):
            varying.append(path)
        elif path != "label":
            fixed[path] = value
    return exact([fixed, sorted(varying)])


def _cut(indices: list[int], count: int) -> list[list[int]]:
    """Cuts into `count` pieces whose sizes differ by one at most."""
    edges = [len(indices) * piece // count for piece in range(count + 1)]
    return [indices[a:b] for a, b in itertools.pairwise(edges)]


def join(points: Sequence[Point], groups: Sequence[Sequence[int]]) -> list[Group]:
    """Makes one run's config of each group.

    Args:
      points: of the whole sweep.
      groups: places in `points`, as `divide` returns them.

    Returns:
      Groups, named by number and by the factors that vary in the sweep, not in them.
    """
    varying = [
        name
        for name in points[0].factors
        if not _agree(p.factors[name] for p in points)
    ]
    joined = []
    for number, places in enumerate(groups, start=1):
        members = [points[place] for place in places]
        own = {
            name: _word(name, members[0].factors[name])
            for name in varying
            if _agree(p.factors[name] for p in members)
        }
        config = _merge([point.config for point in members])
        config["label"] = _label([point.config for point in members], own)
        words = [word for word in own.values() if word] or ["all"]
        slug = "-".join([f"{number:02d}", *words])
        slug = re.sub(r"[^\w.=+-]+", "_", slug, flags=re.ASCII)[:_LONGEST]
        joined.append(Group(slug, config, members))
    return joined


def _agree(values: Iterable) -> bool:
    return len({exact(value) for value in values}) == 1


def _word(factor: str, value) -> str:
    """What tells a factor's value in a name: `cnn`, `width=0.5`, `redo+l2_init`."""
    if isinstance(value, str):
        return value or "default"
    sections = [value] if isinstance(value, dict) else value
    if isinstance(sections, list) and all(isinstance(s, dict) for s in sections):
        kinds = [str(section.get("kind", factor)) for section in sections]
        return "+".join(kinds) or f"no {factor}"
    text = "x".join(map(str, value)) if isinstance(value, list) else str(value)
    return "" if value is None else f"{factor.split('.')[-1]}={text}"


def _merge(configs: Sequence[Mapping]) -> dict:
    merged = copy.deepcopy(dict(configs[0]))
    settings = [dict(leaves(config)) for config in configs]
    paths = [
        path
        for path in settings[0]
        if path != "label" and not _agree(setting[path] for setting in settings)
    ]
    if paths:
        merged["points"] = [{path: s[path] for path in paths} for s in settings]
    return merged


def _label(configs: Sequence[Mapping], own: Mapping[str, str]) -> str:
    """What the configs' labels share, then the factors that labels do not tell."""
    shared, *others = [config.get("label", "").split(", ") for config in configs]
    words = [word for word in shared if all(word in other for other in others)]
    words += [w.replace("=", " ") for name, w in own.items() if name != VARIANTS]
    words = list(filter(None, words))
    return ", ".join([word for word in words if word != "default"] or ["default"])


def check(groups: Iterable[Group]) -> None:
    """Builds what every run will build, so that none starts if one is wrong.

    Raises:
      ValueError: as `build`, with the group's name.
    """
    for group in groups:
        seeds = dict(group.config["seeds"])
        if seeds.get("axis") == "auto":  # measured by the run itself
            seeds.pop("axis")
        with naming(group.slug):
            build({**group.config, "seeds": seeds})
