"""Settings from the command line that a config's own flags cannot give: new keys, one
number a seed, whole sections, lists.

    --set=optimizer.clip_norm=1.0
    --set=optimizer.learning_rate=[1e-3,3e-3]
    --set='network={"kind": "vit", "width": 0.25}'
    --set='interventions=[{"kind": "redo", "tau": 0.1}]' --set=interventions.0.tau=0.2
"""

import json
from collections.abc import Sequence


def override(config: dict, assignments: Sequence[str]) -> dict:
    """Applies `path=value` in order; what is built from it checks names and types.

    Args:
      config: nested dicts and lists, changed in place.
      assignments: paths with dots, whole numbers for places in a list; values in JSON,
        or else text.

    Returns:
      The config.

    Raises:
      ValueError: no `=`, or a path through something that holds no settings.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not (path and equals):
            raise ValueError(
                f"--set: expected path=value, as optimizer.clip_norm=1.0; got "
                f"{assignment!r}."
            )
        assign(config, path, _parse(text))
    return config


def assign(config: dict, path: str, value) -> None:
    """Sets what is at a path, as `interventions.0.tau`, in place.

    Raises:
      ValueError: a path through something that holds no settings.
    """
    *parents, last = path.split(".")
    place = config
    for name in parents:
        place = _into(place, name, path)
    if isinstance(place, list):
        place[_index(place, last, path)] = value
    else:
        place[last] = value


def _into(place, name: str, path: str):
    if isinstance(place, list):
        place = place[_index(place, name, path)]
    else:
        place = place.setdefault(name, {})
    if not isinstance(place, dict | list):
        raise ValueError(
            f"--set={path}: expected a section at {name!r}; there is {place!r}."
        )
    return place


def _index(place: list, name: str, path: str) -> int:
    if not name.isdecimal() or int(name) >= len(place):
        raise ValueError(
            f"--set={path}: expected a place from 0 to {len(place) - 1} in the list; "
            f"got {name!r}."
        )
    return int(name)


def _parse(text: str):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
