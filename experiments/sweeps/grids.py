"""Grids into configs: every combination of the factors' values, each config once."""

import copy
import importlib.util
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.build import KEYS
from experiments.overrides import assign, override
from experiments.schema import check_type, refuse_unknown
from plasticity_jax import checks

VARIANTS = "variants"  # the factor that names variants of the config file


class Point(NamedTuple):
    """One combination of a grid, for all its seeds."""

    factors: dict  # {factor: value} of all grids; None where the config has none
    config: dict


def load(config: str) -> tuple[object, str]:
    """Loads a config file, given as `file.py:variant,variant`.

    Returns:
      (the module, the variants' names).

    Raises:
      ValueError: no such file, or one that is no config.
    """
    path, _, names = config.partition(":")
    spec = importlib.util.spec_from_file_location("swept_config", path)
    if spec is None:
        raise ValueError(f"--config={config}: expected a Python file; got {path!r}.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise ValueError(f"--config={config}: {error}") from error
    if not hasattr(module, "get_config"):
        raise ValueError(
            f"--config={config}: expected get_config in the file; there is none."
        )
    return module, names


def read(module, names: str, texts: Sequence[str]) -> list[dict]:
    """Reads the grids of the command line, or else those of the config file.

    Args:
      module: a config file.
      names: the variants after the colon.
      texts: each a JSON object {factor: [values]}.

    Raises:
      ValueError: not such an object, or no grid at all.
    """
    if not texts and not hasattr(module, "get_grids"):
        raise ValueError(
            "--grid: expected at least one, since the config file has no get_grids: "
            """--grid='{"learner.environment": ["easy", "hard"]}'."""
        )
    grids = [_parse(text) for text in texts] or module.get_grids(names)
    grids = json.loads(json.dumps(grids))  # tuples become lists, as in a config
    if not grids:
        raise ValueError("--grid: expected at least one; get_grids returns none.")
    for grid in grids:
        for factor, values in grid.items():
            if not isinstance(values, list) or not values:
                raise ValueError(
                    f"--grid: {factor}: expected a list of values; got {values!r}."
                )
            refuse_unknown("--grid", factor.split(".")[0], [*KEYS, VARIANTS])
            for value in values if factor == VARIANTS else ():
                check_type(f"--grid: {VARIANTS}", value, str)
    return grids


def _parse(text: str) -> dict:
    try:
        grid = json.loads(text, object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"--grid={text}: expected JSON; {error}.") from error
    if not isinstance(grid, dict):
        raise ValueError(f"--grid={text}: expected an object {{factor: [values]}}.")
    return grid


def _each_once(pairs: list[tuple]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = ", ".join(name for name, _ in pairs)
        raise ValueError(f"--grid: expected each name once; got {names}.")
    return found


def seeds(text: str) -> tuple[int, int]:
    """Reads `first:stop`, as Python's range; returns (first, count)."""
    first, colon, stop = text.partition(":")
    if not (
        colon and first.isdecimal() and stop.isdecimal() and int(first) < int(stop)
    ):
        raise ValueError(
            f"--seeds={text}: expected first:stop, as 100:108 for seeds 100 to 107."
        )
    return int(first), int(stop) - int(first)


def expand(
    module, names: str, grids: Sequence[Mapping], changes: Sequence[str]
) -> tuple[list[Point], int]:
    """Makes a config of each combination of values, grid after grid.

    Args:
      module: a config file.
      names: the variants after the colon; the factor `variants` adds to them.
      grids: {factor: values} each.
      changes: `path=value` for every config, before the factors.

    Returns:
      (points, how many more there were whose config, but for its label, was there).

    Raises:
      ValueError: a variant or path that does not exist.
    """
    order = dict.fromkeys(factor for grid in grids for factor in grid)
    found, total = {}, 0
    for grid in grids:
        for values in itertools.product(*grid.values()):
            factors = dict(zip(grid, values, strict=True))
            config = _make(module, names, dict(factors), changes)
            settings = {path: v for path, v in leaves(config) if path != "label"}
            unnamed = {name: at(config, name) for name in order} | {VARIANTS: ""}
            factors = {name: factors.get(name, unnamed[name]) for name in order}
            found.setdefault(exact(settings), Point(factors, config))
            total += 1
    return list(found.values()), total - len(found)


def _make(module, names: str, factors: dict, changes: Sequence[str]) -> dict:
    added = factors.pop(VARIANTS, "")
    config = module.get_config(",".join(filter(None, (names, added))))
    config = override(json.loads(config.to_json()), changes)
    for path in sorted(factors, key=lambda path: path.count(".")):  # sections first
        assign(config, path, copy.deepcopy(factors[path]))
    for name, value in config.items():
        refuse_unknown("config", name, list(KEYS))
        check_type(f"config.{name}", value, KEYS[name])
    count = config["seeds"].get("count", 1)
    check_type("config.seeds.count", count, int)
    checks.at_least(1, **{"config.seeds.count": count})
    if config.get("points"):
        raise ValueError(
            "config.points: expected none, since a sweep makes them. Give their paths "
            "as factors."
        )
    return config


def leaves(config: Mapping, prefix: str = "") -> list[tuple[str, object]]:
    """Lists what a config sets, as (path, value); a list of numbers is one value."""
    found = []
    for name, value in config.items():
        if isinstance(value, list) and any(isinstance(v, dict) for v in value):
            value = {str(index): entry for index, entry in enumerate(value)}
        if isinstance(value, dict) and value:
            found += leaves(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def at(config, path: str):
    """Returns what a config has at a path, or None."""
    for name in path.split("."):
        if isinstance(config, list):
            config = {str(index): entry for index, entry in enumerate(config)}
        config = config.get(name) if isinstance(config, dict) else None
    return config


def exact(value) -> str:
    """Returns a value's JSON: the same for equal values, as 1 and 1.0, whatever their
    order."""
    text = json.dumps(value, sort_keys=True)
    return json.dumps(json.loads(text, parse_float=_number))


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value
