"""What the studies of the block MDP share: three scales, and variants at each.

A study's config is `block_mdp(scale, ...)` with what it varies; after the colon stand
the scale (`cpu` or `quick`; none: the paper's) and variants, in any order.

Gaps of the paper, filled here for all studies: discount .99, epsilon .1, replay 50,000
with 1,000 transitions by uniform actions before the first update, Adam 1e-3; the probe
pool is the whole published test set (10,000 images; about 12,000 would give the paper's
first probe losses), mini-batches of 256. At `cpu` the digits, 128 units, batches of 64
and a target period of 200 show the loss of plasticity in 20,000 updates.
"""

import functools
from collections.abc import Callable

from ml_collections import ConfigDict

from experiments import schema, variants
from plasticity_jax.networks import Network

SCALES = ("paper", "cpu", "quick")
LEARNING = {
    "paper": dict(batch_size=512, target_period=1_000),
    "cpu": dict(batch_size=64, target_period=200),
    "quick": dict(
        batch_size=8, target_period=10, replay_capacity=200, num_warmup=20, num_eval=64
    ),
}
# Textures at `cpu`: as many images as the digits, which `hard` can be memorised with.
OBSERVATIONS = {
    "paper": {
        "mnist": dict(kind="mnist", num_held_out=10_000),
        "cifar10": dict(kind="cifar10", num_held_out=10_000),
        "textures": dict(kind="textures", num_examples=60_000, num_held_out=10_000),
        "digits": dict(kind="digits", num_held_out=360),
    },
    "cpu": {
        "mnist": dict(kind="mnist", num_held_out=360),
        "cifar10": dict(kind="cifar10", num_held_out=360),
        "textures": dict(
            kind="textures", num_examples=1_797, num_held_out=360, downscale=2
        ),
        "digits": dict(kind="digits", num_held_out=360),
    },
}
OBSERVATIONS["quick"] = OBSERVATIONS["cpu"]
ARCHITECTURES = {
    "paper": {
        "mlp": dict(hidden=(512, 512)),
        "cnn": dict(
            channels=(64, 64), kernels=(5, 3), strides=(2, 2), hidden=(256, 256)
        ),
        "resnet18": {},
        "vit": {},
    },
    "cpu": {
        "mlp": dict(hidden=(128, 128)),
        "cnn": dict(channels=(16, 16), kernels=(5, 3), strides=(2, 2), hidden=(64, 64)),
        "resnet18": dict(width=0.125),
        "vit": dict(embedding=64, feed_forward=256),
    },
    "quick": {
        "mlp": dict(hidden=(16, 16)),
        "cnn": dict(channels=(4, 4), kernels=(5, 3), strides=(2, 2), hidden=(8, 8)),
        "resnet18": dict(width=0.03125),
        "vit": dict(embedding=8, feed_forward=16),
    },
}
_CURVATURE = {
    "paper": dict(num_examples=4_096, num_steps=90, num_draws=4),
    "cpu": dict(num_examples=256, num_steps=64, num_draws=2),
    "quick": dict(num_examples=32, num_steps=8, num_draws=2),
}
_EXAMPLES = {"paper": 512, "cpu": 256, "quick": 32}
_FIT = {
    "paper": dict(num_inputs=10_000, batch_size=256, num_steps=2_000, num_targets=10),
    "cpu": dict(num_inputs=256, batch_size=128, num_steps=1_000, num_targets=5),
    "quick": dict(num_inputs=32, batch_size=16, num_steps=20, num_targets=2),
}
CHEAP = ("representation", "weights", "updates")  # at every row
EVERY_READING = (
    *("plasticity", "hessian", "eigenpairs", "trace", "gradients", "ntk"),
    *CHEAP,
)
# One number each, of a linear head none: the support holds 1 / (1 - gamma).
TWO_HOT = dict(head="two_hot", support=(-2.0, 102.0), num_atoms=51)
HL_GAUSS = TWO_HOT | dict(head="hl_gauss")
FINE = dict(discount=0.9, support=(-2.0, 12.0))
# With DQN Zoo's RMSProp, or momentum at 1e-2, fresh small networks fail the probe.
OPTIMIZERS = {
    "rmsprop": dict(
        learning_rate=1e-3, decay=0.99, eps=1e-8, eps_in_sqrt=False, centered=False
    ),
    "momentum": dict(learning_rate=3e-2),
}
L2_STRENGTH = 1e-4  # ten times the paper's weight decay
TUNED = dict(learning_rate=3e-3)  # what configs/block_mdp/tuning.py chooses


def scale_of(names: str) -> tuple[str, str]:
    """Splits a config's names into (scale, the variants left)."""
    listed = [name for name in names.split(",") if name]
    scales = [name for name in listed if name in SCALES]
    if len(scales) > 1:
        raise ValueError(
            f"variants: expected one scale of {', '.join(SCALES)}; got {scales}."
        )
    return (scales or ["paper"])[0], ",".join(n for n in listed if n not in scales)


def block_mdp(
    scale: str,
    *,
    probes: tuple[str, ...] = ("plasticity", "hessian", "gradients", *CHEAP),
    num_periods: float = 100,
    at: tuple[float, ...] = (0, 10, 30, 100),
    **learner,
) -> ConfigDict:
    """Returns DQN on the easy block MDP, observed as digits or, at the paper's scale,
    MNIST, by an MLP.

    Args:
      scale: one of `SCALES`.
      probes: what is measured; `CHEAP` ones at every row.
      num_periods: length, in target periods.
      at: target periods after which the others are measured.
      **learner: settings in place of the scale's; quick keeps its own sizes.
    """
    config = ConfigDict()
    config.label = "default"
    sizes = LEARNING[scale]
    sizes = learner | sizes if scale == "quick" else sizes | learner
    config.learner = dict(
        kind="dqn", environment="easy", agent="dqn", discount=0.99, epsilon=0.1,
        replay_capacity=50_000, num_warmup=1_000, num_eval=2_048,
    ) | sizes  # fmt: skip
    config.optimizer = dict(
        kind="adam", learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0
    )
    config.network = dict(kind="mlp") | ARCHITECTURES[scale]["mlp"]
    axis = "auto" if scale == "paper" else "map"
    config.seeds = dict(first=0, count=2 if scale == "quick" else 4, axis=axis)
    config.probes = {name: _probe(scale, name) for name in probes}
    observe(config, scale, "mnist" if scale == "paper" else "digits")
    if scale == "quick":  # every joint, no science
        num_periods, at = 6, (0, 6)
    _schedule(config, scale, num_periods, at)
    return config


def _probe(scale: str, name: str) -> dict:
    examples = dict(num_examples=_EXAMPLES[scale])
    return {
        "plasticity": _FIT[scale],
        "hessian": dict(loss="landscape") | _CURVATURE[scale],
        "displaced": _CURVATURE[scale],
        "eigenpairs": examples | dict(loss="training", k=1),
        "trace": examples | dict(loss="training", num_draws=10),
        "gradients": examples | dict(loss="training", num_clusters=10),
        "ntk": examples,
        "updates": dict(num_examples=_EXAMPLES[scale] // 4),
    }.get(name, {})


def _schedule(config: ConfigDict, scale: str, num_periods: int, at) -> None:
    period = config.learner.target_period
    config.total_updates = int(num_periods * period)
    config.log_every = (
        period if scale == "paper" else max(1, int(num_periods) // 20) * period
    )
    config.save_every = 5 * config.log_every
    for name, section in config.probes.items():
        if name in CHEAP:
            section.every = config.log_every
        else:
            section.at = tuple(int(periods * period) for periods in at)


def observe(config: ConfigDict, scale: str, kind: str) -> None:
    """Sets what states look like; probes take no more examples than are held out."""
    config.dataset = dict(OBSERVATIONS[scale][kind])
    for section in config.probes.values():
        for name in ("num_inputs", "num_examples"):
            if name in section:
                section[name] = min(section[name], config.dataset.num_held_out)


def see(config: ConfigDict, scale: str, kind: str) -> None:
    """Sets the network's kind; keeps what is not as in every network: norm, head."""
    usual = schema.defaults(Network)
    kept = {
        name: value
        for name, value in config.network.items()
        if name in usual and value != usual[name]
    }
    config.network = dict(kind=kind) | kept | ARCHITECTURES[scale][kind]


def _environment(name: str, config: ConfigDict) -> None:
    config.learner.environment = name
    if name != "easy":
        variants.rename(config, name)


def _network(text: str, settings: dict, config: ConfigDict) -> None:
    config.network.update(settings)
    variants.rename(config, text)


def _optimizer(kind: str, config: ConfigDict) -> None:
    config.optimizer = dict(kind=kind) | OPTIMIZERS[kind]
    variants.rename(config, kind)


def _fine(config):
    """A shorter horizon, whose values a sine of height 1 is not small beside."""
    config.learner.discount = FINE["discount"]
    config.network.support = FINE["support"]
    variants.rename(config, f"gamma {FINE['discount']}")


def _l2(config):
    variants.intervene(config, "l2_penalty", strength=L2_STRENGTH)


def _nap(config):
    """With the norms that its projection needs."""
    config.network.norm = "layer"
    variants.intervene(config, "nap")


def _plasticity_injection(config):
    """Once, at half time, with a copy to the target network."""
    period = config.learner.target_period
    half = config.total_updates // (2 * period) * period
    variants.intervene(config, "plasticity_injection", at_update=half)


def _tuned(config):
    config.optimizer.update(TUNED)
    variants.rename(config, "tuned")


def _paper_a2(config):
    """The appendix's target period, ten times the text's; the same iterations."""
    config.learner.target_period *= 10
    variants.stretch(config, 10)
    variants.rename(config, f"target period {config.learner.target_period:,}")


def _longer(config):
    """Three times as many target periods; as many rows."""
    variants.stretch(config, 3)
    variants.rename(config, "longer")


def _wider(config):
    config.network.width = 2.0 * config.network.get("width", 1.0)
    variants.rename(config, "wider")


_VARIANTS = {
    "easy": functools.partial(_environment, "easy"),
    "hard": functools.partial(_environment, "hard"),
    "sparse": functools.partial(_environment, "sparse"),
    "layer_norm": functools.partial(_network, "layer norm", dict(norm="layer")),
    "spectral_norm": functools.partial(
        _network, "spectral norm", dict(spectral=("first",))
    ),
    "crelu": functools.partial(_network, "crelu", dict(activation="crelu")),
    "two_hot": functools.partial(_network, "two-hot", TWO_HOT),
    "hl_gauss": functools.partial(_network, "HL-Gauss", HL_GAUSS),
    "fine": _fine,
    **{kind: functools.partial(_optimizer, kind) for kind in OPTIMIZERS},
    "tuned": _tuned,
    "l2": _l2,
    "nap": _nap,
    "plasticity_injection": _plasticity_injection,
    "paper_a2": _paper_a2,
    "longer": _longer,
    "wider": _wider,
}


def table(scale: str) -> dict[str, Callable[[ConfigDict], None]]:
    """Returns the variants that every study of the block MDP has at a scale."""
    observations = {
        kind: functools.partial(_named, kind, observe, scale, kind)
        for kind in OBSERVATIONS[scale]
    }
    architectures = {
        kind: functools.partial(_named, kind, see, scale, kind)
        for kind in ARCHITECTURES[scale]
    }
    return observations | architectures | _VARIANTS


def _named(text: str, change: Callable, scale: str, kind: str, config: ConfigDict):
    change(config, scale, kind)
    variants.rename(config, text)
