"""How far does tuning the optimiser alone go?

The plain network's baseline, before any method is ranked beside it: learning rate,
epsilon and b2 of Adam, chosen on seeds 0 to 3 (judged runs use seeds from 100). What it
chooses is `TUNED` in experiments/presets.py.
Command: python -m experiments.sweep --config=configs/block_mdp/tuning.py:cpu \\
    --out=runs/tuning --seeds=0:2
Variants: cpu, quick; those of experiments/presets.py.

The probe is run by the optimiser it is about: a setting that learns nothing cannot lose
plasticity either (1e-4 and less do not solve it), so it counts only where
`probe/initial_loss` says solved. Chosen: the smallest final probe loss over both
environments.
"""

from ml_collections import ConfigDict

from experiments import presets, variants


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    probes = ("plasticity", *presets.CHEAP)
    config = presets.block_mdp(scale, probes=probes, at=(0, 100))
    config.probes.plasticity.at = (config.total_updates,)  # it has theta_0's loss too
    return variants.apply(config, names, presets.table(scale))


def get_grids(names: str = "") -> list[dict]:
    """Returns learning rates x epsilons x b2 x environments."""
    del names
    return [
        {
            "optimizer.learning_rate": [3e-4, 1e-3, 3e-3, 1e-2],
            "optimizer.eps": [1e-8, 1e-3],
            "optimizer.b2": [0.9, 0.999],
            "learner.environment": ["easy", "hard"],
        }
    ]
