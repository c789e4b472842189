"""E8: does layer norm keep the landscape flat while a network trains?

Figure 14 of arXiv 2303.01486. Claim: C9 (with layer norm the Hessian's largest
eigenvalue stays, without it grows).
Command: python -m experiments.sweep --config=configs/block_mdp/sharpness.py:cpu \\
    --out=runs/sharpness --seeds=100:108
Variants: cpu, quick; those of experiments/presets.py.

The largest eigenvalue of the landscape loss after each of 30 target updates, of one
draw: 32 Lanczos steps find it. The paper: CNN, MNIST and CIFAR-10, easy and hard.
"""

from ml_collections import ConfigDict

from experiments import presets, variants

PROBES = ("hessian", "plasticity", *presets.CHEAP)


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    config = presets.block_mdp(
        scale, probes=PROBES, num_periods=30, at=tuple(range(31))
    )
    config.probes.plasticity.at = (0, config.total_updates)
    if scale == "cpu":
        config.probes.hessian.update(num_steps=32, num_draws=1)
    if scale == "paper":
        presets.see(config, scale, "cnn")
    return variants.apply(config, names, presets.table(scale))


def get_grids(names: str = "") -> list[dict]:
    """Returns with and without layer norm x environments, on two kinds of images."""
    scale, _ = presets.scale_of(names)
    arms = ["", "layer_norm"]
    if scale == "paper":
        arms = ["mnist", "mnist,layer_norm", "cifar10", "cifar10,layer_norm"]
    return [{"variants": arms, "learner.environment": ["easy", "hard"]}]
