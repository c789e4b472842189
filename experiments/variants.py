"""What configs do with their variants.

`configs/block_mdp/dqn.py:hard,quick` applies two variants, in order; the name of any
intervention is a variant too and adds it, with its default settings.
"""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from experiments import build, schema
from plasticity_jax import checks
from plasticity_jax.interventions import INTERVENTIONS
from plasticity_jax.networks import Network
from plasticity_jax.optimizers import adam, sgd


def apply(
    config: ConfigDict, names: str, variants: Mapping[str, Callable]
) -> ConfigDict:
    """Lets each named variant change the config.

    Args:
      config: changed in place, and returned.
      names: comma-separated, may be empty.
      variants: {name: function of the config}.

    Raises:
      ValueError: a name that is none of them.
    """
    _list_settings(config)
    for name in filter(None, names.split(",")):
        checks.one_of("variant", name, [*variants, *INTERVENTIONS])
        if name in variants:
            variants[name](config)
        else:
            intervene(config, name)
    _list_settings(config)  # a variant may have brought another kind
    return config


def _list_settings(config: ConfigDict) -> None:
    """Writes out what the sections leave at its default, so that a flag can change it;
    of optimisers and networks what all of them share."""
    learner, network = config.learner, config.network
    listed = {
        "learner": schema.defaults(build.LEARNERS[learner.kind]),
        "network": {
            name: value
            for name, value in schema.defaults(build.NETWORKS[network.kind]).items()
            if name in schema.defaults(Network)
        },
        "optimizer": {
            name: value
            for name, value in schema.defaults(adam, *build.SUPPLIED).items()
            if name in schema.defaults(sgd)
        },
    }
    for section, settings in listed.items():
        for name, value in settings.items():
            if name not in config[section]:
                config[section][name] = value


def intervene(config: ConfigDict, kind: str, **settings) -> None:
    """Adds an intervention after those that are there, and its name to the label."""
    before = config.get("interventions", ())
    settings = schema.defaults(INTERVENTIONS[kind]) | settings
    config.interventions = [*before, {"kind": kind, **settings}]
    rename(config, kind.replace("_", " "))


def rename(config: ConfigDict, text: str) -> None:
    """Names the run after what sets it apart: `default` makes way for the first."""
    plain = config.label == "default"
    config.label = text if plain else f"{config.label}, {text}"


def stretch(config: ConfigDict, factor: int) -> None:
    """Multiplies a run's length, and every time at which something is due."""
    config.total_updates *= factor
    config.log_every *= factor
    config.save_every *= factor
    for section in config.probes.values():
        if "every" in section:
            section.every *= factor
        if "at" in section:
            section.at = tuple(factor * updates for updates in section.at)


def shrink(config: ConfigDict) -> None:
    """Makes a config of a small MLP one of seconds: every joint, no science."""
    config.network.hidden = (16, 16)
    config.seeds.count = 2
    config.total_updates, config.log_every, config.save_every = 60, 20, 20
    for probe in config.probes.values():
        probe.update(at=(0, 60))
    config.probes.plasticity.update(
        num_inputs=32, num_targets=2, num_steps=20, batch_size=16
    )
    config.probes.hessian.update(num_examples=32, num_steps=8)
    config.probes.gradients.update(num_examples=32)
    config.probes.updates.num_examples = 8
    for name in ("representation", "weights", "updates"):
        config.probes[name].every = 20


def shrink_atari(config):
    """Makes an Atari agent's config one of seconds: every joint, no science."""
    config.network.width = 0.125
    config.learner.update(
        replay_capacity=200,
        min_replay_history=80,
        batch_size=8,
        target_update_period=40,
        epsilon_decay_period=200,
        max_episode_steps=100,
        probe_pool=16,
    )
    config.total_updates, config.log_every, config.save_every = 60, 20, 20
    for probe in config.probes.values():
        probe.every = 30
    config.probes.plasticity.update(num_inputs=16, num_steps=4, batch_size=8)
    config.probes.hessian.update(num_examples=8, num_steps=4)
    config.probes.gradients.update(num_examples=12, num_clusters=4)
