"""E4 and E9: what does lost plasticity look like while a new task is learned?

Figures 4, 17 and 18 of arXiv 2303.01486. Claim: C6 (flatter and noisier learning
curves, not an early plateau).
Command: python -m experiments.sweep --config=configs/block_mdp/probe_curves.py:cpu \\
    --out=runs/probe_curves --seeds=100:108
Variants: cpu, quick; those of experiments/presets.py.

The paper: CNN, CIFAR-10, probe curves after 0, 10, 20, 50, 100 and 150 target updates,
easy and hard, regression and two-hot, with layer norm and without. At `cpu` the CNN
has 8 channels and sees the digits (on the textures it learns half of them and loses no
plasticity); an MLP stands beside it. Three targets.
"""

from ml_collections import ConfigDict

from experiments import presets, variants

PROBES = ("plasticity", *presets.CHEAP)


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    config = presets.block_mdp(
        scale, probes=PROBES, num_periods=150, at=(0, 10, 20, 50, 100, 150)
    )
    presets.observe(config, scale, "cifar10" if scale == "paper" else "digits")
    presets.see(config, scale, "cnn")
    variants.apply(config, names, presets.table(scale))
    if scale == "cpu":
        config.probes.plasticity.num_targets = 3
        if config.network.kind == "cnn":
            config.network.update(channels=(8, 8), hidden=(32, 32))
    return config


def get_grids(names: str = "") -> list[dict]:
    """Returns heads and norms x environments; at `cpu` norms on an MLP too."""
    scale, _ = presets.scale_of(names)
    listed = ["", "layer_norm", "two_hot", "layer_norm,two_hot"]
    if scale != "paper":
        listed += ["mlp", "mlp,layer_norm"]
    return [{"variants": listed, "learner.environment": ["easy", "hard"]}]
