"""Is it bootstrapping that costs plasticity, or how large the values grow?

Beyond arXiv 2303.01486: plasticity loss against the mean |Q| that training ends with.
Command: python -m experiments.sweep --config=configs/block_mdp/value_scale.py:cpu \\
    --out=runs/value_scale --seeds=100:108
Variants: cpu, quick; those of experiments/presets.py.

Three ways to the same magnitude: a longer horizon (discount), larger rewards
(reward_scale; 1 - gamma gives normalised targets, values up to 1), and an offset
without a horizon (reward_offset at discount 0: targets that are large and stand still).
"""

from ml_collections import ConfigDict

from experiments import presets, variants

PROBES = ("plasticity", "hessian", *presets.CHEAP)


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    config = presets.block_mdp(scale, probes=PROBES, at=(0, 100))
    return variants.apply(config, names, presets.table(scale))


def get_grids(names: str = "") -> list[dict]:
    """Returns horizons x reward scales, and offsets without a horizon."""
    del names
    return [
        {
            "learner.discount": [0.0, 0.9, 0.97, 0.99],
            "learner.reward_scale": [0.01, 0.1, 1.0, 10.0],
        },
        {"learner.discount": [0.0], "learner.reward_scale": [100.0]},
        {"learner.discount": [0.0], "learner.reward_offset": [1.0, 10.0, 100.0]},
    ]
