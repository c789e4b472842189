"""From a config to a learner with its probes: the only reader of configs."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments import points
from experiments.readings import READINGS
from experiments.schema import (
    bind,
    check_type,
    choose,
    naming,
    per_seed,
    refuse_unknown,
)
from plasticity_jax import checks, networks, optimizers
from plasticity_jax.interventions import INTERVENTIONS, compose
from plasticity_jax.learners import dqn, supervised, vectorize
from plasticity_jax.learners.atari import dopamine, functional
from plasticity_jax.tasks import datasets
from plasticity_jax.types import Learner, Method, Probe

SUPPLIED = ("direction", "counts")  # of an optimiser: by the program
PURE_LEARNERS = {"supervised": supervised, "dqn": dqn}
HOSTED_LEARNERS = {"atari": functional, "dopamine": dopamine}  # one seed a run
LEARNERS = {
    kind: module.Settings for kind, module in (PURE_LEARNERS | HOSTED_LEARNERS).items()
}
NETWORKS = {
    "mlp": networks.MLP,
    "cnn": networks.CNN,
    "resnet18": networks.ResNet18,
    "vit": networks.ViT,
    "nature_cnn": networks.NatureCNN,
    "implicit_quantile": networks.ImplicitQuantileCNN,
}
KEYS = {
    "label": str,  # the run's name in reports
    "learner": Mapping,
    "network": Mapping,
    "optimizer": Mapping,
    "interventions": tuple[Mapping, ...],  # in order
    "points": tuple[Mapping, ...],  # {path: value}: all seeds once for each
    "dataset": Mapping,
    "seeds": Mapping,
    "probes": Mapping,
    "total_updates": int,
    "log_every": int,  # updates between rows
    "save_every": int,  # updates between checkpoints
}
OPTIONAL = ("label", "dataset", "probes", "interventions", "points")
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
    points.check(config)
    learner = _hosted(config) if _on_host(config) else _pure(config)
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
    return config["learner"].get("kind") in points.ON_HOST


def _pure(config: Mapping) -> Learner:
    settings = _settings(config)
    module = PURE_LEARNERS[config["learner"]["kind"]]
    training, held_out = _dataset(config.get("dataset", {}))
    network = choose("config.network", config["network"], NETWORKS, "num_outputs")
    network = network(num_outputs=training.num_classes)
    seeds, axis = bind("config.seeds", _seeds, config["seeds"])()
    places = points.numbers(config, len(seeds))
    spread = points.spread(config, len(seeds))
    method_fn, hparams = _method(spread, len(places) or len(seeds))
    vary = {}
    if own := points.learner_values(config, settings, network.head_meaning, len(seeds)):
        hparams["config.learner"] = own
        vary["vary_fn"] = lambda hparams: hparams["config.learner"]
    with naming("config.learner"):
        pure, shared = module.make(
            network, method_fn, training, held_out, settings, **vary
        )
    first = method_fn(_of_seed(hparams, 0))
    compose.warn_of_silence(first, module.period(settings), config["total_updates"])
    seeds = seeds * max(1, len(config.get("points", ())))
    return vectorize.vectorize(
        pure, shared, seeds, hparams=hparams, points=places, axis=axis
    )


def _method(config: Mapping, count: int):
    """Returns ((hparams of one seed) -> Method, hparams with leaves [S])."""
    sections = {"config.optimizer": (config["optimizer"], optimizers.OPTIMIZERS)}
    for index, section in enumerate(config.get("interventions", ())):
        where = f"config.interventions[{index}]"
        sections[where] = (section, INTERVENTIONS)
    hparams = {
        where: per_seed(where, section, table, count)
        for where, (section, table) in sections.items()
    }

    def method_fn(hparams):
        def bound(where, *supplied):
            section, table = sections[where]
            return choose(where, {**section, **hparams[where]}, table, *supplied)

        optimizer, *interventions = sections
        return Method(
            bound(optimizer, *SUPPLIED),
            tuple(bound(where)() for where in interventions),
        )

    for index in range(count):  # ranges are checked here, where values are known
        compose.chain(method_fn(_of_seed(hparams, index)))
    return method_fn, jax.tree.map(
        jnp.asarray, hparams, is_leaf=lambda x: isinstance(x, tuple)
    )


def _of_seed(hparams: dict, index: int) -> dict:
    return {
        where: {name: float(values[index]) for name, values in section.items()}
        for where, section in hparams.items()
        if where != "config.learner"
    }


def _hosted(config: Mapping) -> Learner:
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

    module = HOSTED_LEARNERS[config["learner"]["kind"]]
    method_fn, hparams = _method(config, 1)
    method, settings = method_fn(_of_seed(hparams, 0)), _settings(config)
    compose.warn_of_silence(method, module.period(settings), config["total_updates"])
    with naming("config.learner"):
        return module.make(network_fn, method, seeds[0], settings)


def _settings(config: Mapping):
    return choose("config.learner", config["learner"], LEARNERS)()


def _dataset(section: Mapping):
    section = {"kind": "digits", "num_held_out": 360, **section}
    num_held_out = section.pop("num_held_out")
    check_type("config.dataset.num_held_out", num_held_out, int)
    loaded = choose("config.dataset", section, datasets.DATASETS)()
    with naming("config.dataset"):
        return datasets.split(loaded, num_held_out)


def _seeds(*, first: int = 0, count: int = 1, axis: str = "vmap"):
    checks.within(0, 2**32 - 1, first=first)
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
