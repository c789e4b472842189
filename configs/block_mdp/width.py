"""E5: do wider networks keep their plasticity?

Figure 5 of arXiv 2303.01486. Claim: C7 (width lowers plasticity loss and never removes
it).
Command: python -m experiments.sweep --config=configs/block_mdp/width.py:cpu \\
    --out=runs/width --seeds=100:108
Variants: cpu, quick; those of experiments/presets.py.

`network.width` multiplies every hidden layer, convolutions included (the paper does not
say which). The paper: 16 x {1, 2, 4, 8, 12, 16}, target periods of 1, 100 and 1,000;
how long it does not say: 100,000 updates each. At `cpu`, 20,000 updates: 32 x {1, 2, 4,
8} units with periods of 1, 200 and 1,000 on the digits, and with 200 on textures and as
a CNN of 4 x {1, 2, 4, 8} channels.
"""

from ml_collections import ConfigDict

from experiments import presets, variants

PROBES = ("plasticity", "hessian", *presets.CHEAP)
SIZES = {  # at width 1: channels of a CNN's convolutions, units of dense layers
    "paper": dict(channels=(16, 16), hidden=(16, 16)),
    "cpu": dict(channels=(4, 4), hidden=(32, 32)),
    "quick": dict(channels=(4, 4), hidden=(8, 8)),
}


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    config = presets.block_mdp(scale, probes=PROBES, at=(0, 100))
    variants.apply(config, names, presets.table(scale))
    sizes = SIZES[scale]
    config.network.update({n: sizes[n] for n in sizes if n in config.network})
    return config


def get_grids(names: str = "") -> list[dict]:
    """Returns widths x target periods x networks and what they see."""
    scale, _ = presets.scale_of(names)
    if scale == "paper":
        settings = [f"{o},{a}" for o in ("mnist", "cifar10") for a in ("mlp", "cnn")]
        return [_grid(settings, [1.0, 2.0, 4.0, 8.0, 12.0, 16.0], [1, 100, 1_000])]
    widths, usual = [1.0, 2.0, 4.0, 8.0], 10 if scale == "quick" else 200
    periods = [1, usual, 2 * usual if scale == "quick" else 1_000]
    others = ["textures,mlp", "digits,cnn"]
    return [_grid(["digits,mlp"], widths, periods), _grid(others, widths, [usual])]


def _grid(settings, widths, periods) -> dict:
    return {
        "variants": settings,
        "network.width": widths,
        "learner.target_period": periods,
    }
