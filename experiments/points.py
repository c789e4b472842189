"""Points: settings in which the members of one compiled program differ.

    points = [{"learner.environment": "easy", "optimizer.learning_rate": 1e-3},
              {"learner.environment": "hard", "optimizer.learning_rate": 1e-3}]

A run with points has one member for each point and seed, points first. What differs is
an argument of the program, never a constant in it: floats of optimiser and
interventions, and what a learner lists as `VARYING`.
"""

import copy
import typing
from collections.abc import Mapping

import jax.numpy as jnp

from experiments.overrides import assign
from experiments.schema import check_type, naming
from plasticity_jax.interventions import INTERVENTIONS
from plasticity_jax.learners import dqn
from plasticity_jax.optimizers import OPTIMIZERS
from plasticity_jax.tasks import block_mdp

VARYING = {"dqn": (dqn.Settings, dqn.VARYING)}  # by learner.kind
ON_HOST = ("atari", "dopamine")  # kinds with one member a program


def kind_of(config: Mapping, path: str):
    """Returns the type of a setting that may differ between points, or None."""
    *section, name = path.split(".")
    if config.get("learner", {}).get("kind") in ON_HOST:
        return None
    if section == ["learner"]:
        settings, varying = VARYING.get(config["learner"].get("kind"), (None, ()))
        return typing.get_type_hints(settings)[name] if name in varying else None
    if section == ["optimizer"]:
        make = OPTIMIZERS.get(config["optimizer"].get("kind"))
    elif len(section) == 2 and section[0] == "interventions" and section[1].isdecimal():
        methods = dict(enumerate(config.get("interventions", ())))
        make = INTERVENTIONS.get(methods.get(int(section[1]), {}).get("kind"))
    else:
        return None
    hint = typing.get_type_hints(make).get(name) if make else None
    return float if hint is float else None


def can_vary(config: Mapping, path: str) -> bool:
    """Says whether members of one program may differ in a setting."""
    return kind_of(config, path) is not None


def check(config: Mapping) -> None:
    """Refuses points that one program cannot run.

    Raises:
      ValueError: points of different paths, the same point twice, a path that may not
        differ, or a value of another type.
    """
    points = config.get("points", ())
    for index, point in enumerate(points):
        where = f"config.points[{index}]"
        if not point or point.keys() != points[0].keys():
            raise ValueError(
                f"{where}: expected the paths of the first point, "
                f"{', '.join(points[0]) or 'at least one'}; got {', '.join(point)}."
            )
        for path, value in point.items():
            expected = kind_of(config, path)
            if expected is None:
                raise ValueError(
                    f"{where}: {path} cannot differ inside one program. What can: "
                    "floats of optimizer and interventions.<place>, and learner."
                    f"{', learner.'.join(dqn.VARYING)} of a dqn. Launch one run for "
                    "each value instead."
                )
            check_type(f"{where}.{path}", value, expected)
        if point in points[:index]:
            raise ValueError(
                f"{where}: expected another point; got {dict(point)} twice."
            )


def _paths(config: Mapping) -> list[str]:
    """Returns what differs between a config's points."""
    return [path for point in config.get("points", ())[:1] for path in point]


def spread(config: Mapping, num_seeds: int) -> dict:
    """Returns the config with one value a member where points or seeds differ, lists
    of points x seeds."""
    points, config = config.get("points", ()), copy.deepcopy(dict(config))
    methods = enumerate(config.get("interventions", ()))
    sections = {"optimizer": config["optimizer"]}
    sections |= {f"interventions.{index}": section for index, section in methods}
    for where, section in sections.items() if points else ():
        for name, value in section.items():
            one_a_seed = isinstance(value, list | tuple) and len(value) == num_seeds
            if one_a_seed and can_vary(config, f"{where}.{name}"):
                section[name] = [*value] * len(points)
    for path in _paths(config):
        if not path.startswith("learner."):
            values = [point[path] for point in points for _ in range(num_seeds)]
            assign(config, path, values)
    return config


def numbers(config: Mapping, num_seeds: int) -> tuple[int, ...]:
    """Returns each member's point, [S], or nothing without points."""
    count = len(config.get("points", ()))
    return tuple(index for index in range(count) for _ in range(num_seeds))


def learner_values(config: Mapping, settings, head, num_seeds: int) -> dict:
    """Returns {setting of a dqn: values [S]}, each checked with the network's head."""
    points = config.get("points", ())
    paths = [path for path in _paths(config) if path.startswith("learner.")]
    for index, point in enumerate(points if paths else ()):
        own = {path.partition(".")[2]: point[path] for path in paths}
        with naming(f"config.points[{index}]"):
            dqn.check(settings._replace(**own), head)
    values = {}
    for path in paths:
        column = [point[path] for point in points for _ in range(num_seeds)]
        if path == "learner.environment":
            values["environment"] = jnp.int32(
                [block_mdp.NAMES.index(n) for n in column]
            )
        else:
            values[path.partition(".")[2]] = jnp.float32(column)
    return values
