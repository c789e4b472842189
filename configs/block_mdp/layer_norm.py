"""What of layer norm keeps plasticity: the norm, its place, or smaller relative steps?

Beyond arXiv 2303.01486, whose figures 6 and 8 to 11 have layer norm as one thing.
Command: python -m experiments.sweep --config=configs/block_mdp/layer_norm.py:cpu \\
    --out=runs/layer_norm --seeds=100:108
Variants: cpu, quick; those of experiments/presets.py; after (layer norm behind the
nonlinearity), plain (without scale and offset), rms_norm (no mean taken away, no
offset), group_norm.

A norm makes outputs independent of the weights' length, so that the same step is
another one. So plain and normed networks are run over learning rates, to be compared
where `updates/effective_learning_rate` agrees; `nap` holds that rate fixed, and weight
decay acts on it alone.
"""

from ml_collections import ConfigDict

from experiments import presets, variants

PROBES = ("plasticity", "hessian", *presets.CHEAP)


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    config = presets.block_mdp(scale, probes=PROBES, at=(0, 100))
    return variants.apply(config, names, presets.table(scale) | VARIANTS)


def _after(config):
    config.network.update(norm="layer", norm_place="after")
    variants.rename(config, "layer norm after")


def _plain(config):
    config.network.norm = "layer_plain"
    variants.rename(config, "layer norm without scale and offset")


def _rms_norm(config):
    config.network.norm = "rms"
    variants.rename(config, "RMS norm")


def _group_norm(config):
    config.network.norm = "group"
    variants.rename(config, "group norm")


VARIANTS = {
    "after": _after,
    "plain": _plain,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
}


def get_grids(names: str = "") -> list[dict]:
    """Returns kinds and places of norms, and with and without over learning rates."""
    del names
    environments = {"learner.environment": ["easy", "hard"]}
    arms = [
        "", "layer_norm", "after", "plain", "rms_norm", "group_norm", "nap",
        "weight_decay", "layer_norm,weight_decay", "l2", "layer_norm,l2",
    ]  # fmt: skip
    rates = {"optimizer.learning_rate": [1e-4, 3e-4, 1e-3, 3e-3]}
    return [
        {"variants": arms} | environments,
        {"variants": ["", "layer_norm"]} | rates | environments,
    ]
