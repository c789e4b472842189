"""What configs share: a small MLP on digits with its probes, and their variants.

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


def small_mlp_on_digits(times: tuple[int, ...]) -> ConfigDict:
    """Returns the sections of a 64-128-128-10 network on digits, four seeds, probed in
    full at `times` and by the cheap probes every 1,000 updates."""
    config = ConfigDict()
    config.network = dict(kind="mlp", hidden=(128, 128), norm="none")
    config.dataset = dict(kind="digits", num_held_out=360)
    config.seeds = dict(first=0, count=4, axis="map")
    config.log_every = 1_000
    config.save_every = 5_000
    config.probes = dict(
        plasticity=dict(
            at=times, num_inputs=256, num_targets=5, num_steps=1_000, batch_size=128
        ),
        hessian=dict(
            at=times, loss="landscape", num_examples=256, num_steps=64, num_draws=2
        ),
        gradients=dict(at=times, loss="training", num_examples=256, num_clusters=10),
        representation=dict(every=1_000),
        weights=dict(every=1_000),
        updates=dict(every=1_000, num_examples=64),
    )
    return config


def shrink(config: ConfigDict) -> None:
    """Makes such a config one of seconds: every joint, no science."""
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
