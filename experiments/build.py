"""From a config to a learner with its probes: the only reader of configs."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

from experiments.readings import READINGS
from experiments.schema import bind, check_type, choose, naming, refuse_unknown
from plasticity_jax import checks, networks, optimizers
from plasticity_jax.learners import dqn, supervised, vectorize
from plasticity_jax.learners.atari import dopamine_dqn
from plasticity_jax.tasks import datasets
from plasticity_jax.types import Learner, Probe

PURE_LEARNERS = {"supervised": supervised, "dqn": dqn}
NETWORKS = {"mlp": networks.MLP, "nature_cnn": networks.NatureCNN}
KEYS = {
    "label": str,  # the run's name in reports
    "learner": Mapping,
    "network": Mapping,
    "optimizer": Mapping,
    "dataset": Mapping,
    "seeds": Mapping,
    "probes": Mapping,
    "total_updates": int,
    "log_every": int,  # updates between rows
    "save_every": int,  # updates between checkpoints
}
OPTIONAL = ("label", "dataset", "probes")
WHEN = ("at", "every")  # of a probe's section: its times; the rest are its settings


class Experiment(NamedTuple):
    """What a config describes."""

    learner: Learner
    probes: dict[str, Probe]
    counts: dict[str, int]  # the loop's total_updates, log_every, save_every


def build(config: Mapping) -> Experiment:
    """Builds everything a run needs.

    Args:
      config: nested mapping; see any file under configs/.

    Raises:
      ValueError: a key that is unknown or missing, a value of the wrong type or range.
    """
    config = dict(config)
    for name, value in config.items():
        refuse_unknown("config", name, list(KEYS))
        check_type(f"config.{name}", value, KEYS[name])
    for name in KEYS:
        if name not in config and name not in OPTIONAL:
            raise ValueError(f"config.{name}: expected a value; there is none.")
    names = ("total_updates", "log_every", "save_every")
    counts = {name: config[name] for name in names}
    checks.at_least(1, **counts)
    learner = _atari(config) if _on_host(config) else _pure(config)
    probes = {
        name: _probe(config, name, section)
        for name, section in config.get("probes", {}).items()
    }
    return Experiment(learner, probes, counts)


def probe(
    config: Mapping, where: str, name: str, settings: Mapping, times: tuple[int, ...]
) -> Probe:
    """Builds one probe for the learner that a config describes.

    Args:
      config: as `build` takes it.
      where: the settings' place, for messages.
      name: one of `READINGS`.
      settings: {argument: value}.
      times: update counts, ascending.

    Raises:
      ValueError: an unknown setting, or a value of the wrong type or range.
    """
    make = bind(where, READINGS[name], settings)
    measure, prepare = make(not _on_host(config))  # there the pool is drawn each time
    return Probe(measure, times, prepare)


def _on_host(config: Mapping) -> bool:
    return config["learner"].get("kind") == "atari"


def _pure(config: Mapping) -> Learner:
    settings = _settings(config)
    make = PURE_LEARNERS[config["learner"]["kind"]].make
    load = bind("config.dataset", _dataset, config.get("dataset", {}))
    training, held_out = load()
    network = choose("config.network", config["network"], NETWORKS, "num_outputs")
    network, tx = network(num_outputs=training.num_classes), _tx(config)
    with naming("config.learner"):
        pure, shared = make(network, tx, training, held_out, settings)
    seeds, axis = bind("config.seeds", _seeds, config["seeds"])()
    return vectorize.vectorize(pure, shared, seeds, axis=axis)


def _atari(config: Mapping) -> Learner:
    network = choose(
        "config.network", config["network"], NETWORKS, "num_outputs", "conv_impl"
    )
    seeds, _ = bind("config.seeds", _seeds, config["seeds"])()
    if len(seeds) != 1:
        raise ValueError(
            "config.seeds.count: expected 1 for an Atari agent, whose environment is "
            f"on the host; got {len(seeds)}. Launch one run a seed."
        )

    def network_fn(num_actions, conv_impl):
        return network(num_outputs=num_actions, conv_impl=conv_impl)

    tx, settings = _tx(config), _settings(config)
    with naming("config.learner"):
        return dopamine_dqn.make(network_fn, tx, seeds[0], settings)


def _settings(config: Mapping):
    table = {kind: module.Settings for kind, module in PURE_LEARNERS.items()}
    table["atari"] = dopamine_dqn.Settings
    return choose("config.learner", config["learner"], table)()


def _tx(config: Mapping):
    return choose("config.optimizer", config["optimizer"], optimizers.OPTIMIZERS)()


def _dataset(*, name: str = "digits", num_held_out: int = 360):
    return datasets.split(datasets.load(name), num_held_out)


def _seeds(*, first: int = 0, count: int = 1, axis: str = "vmap"):
    checks.at_least(0, first=first)
    checks.at_least(1, count=count)
    return tuple(range(first, first + count)), axis


def _probe(config: Mapping, name: str, section: Mapping) -> Probe:
    refuse_unknown("config.probes", name, list(READINGS))
    check_type(f"config.probes.{name}", section, Mapping)
    where, section = f"config.probes.{name}", dict(section)
    when = {key: section.pop(key) for key in WHEN if key in section}
    times = bind(where, _times, when)(config["total_updates"])
    return probe(config, where, name, section, times)


def _times(total: int, *, at: tuple[int, ...] = (), every: int = 0) -> tuple[int, ...]:
    """Update counts up to `total`: those named, the multiples of `every`, and, with
    `every`, 0 and the end."""
    checks.at_least(0, every=every, at=min(at, default=0))
    if late := [time for time in at if time > total]:
        warnings.warn(
            f"probe times {late} lie after the end, update {total}: not measured.",
            stacklevel=4,
        )
    times = set(at) - set(late)
    if every:
        times |= set(range(0, total, every)) | {total}
    return tuple(sorted(times))
