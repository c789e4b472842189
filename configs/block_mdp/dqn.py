"""DQN on the block MDP over digits: plasticity is lost, and layer norm keeps it.

Claims: C5, C8 (layer norm), C9 of arXiv 2303.01486, at a scale two cores finish.
Command: python -m experiments.train --config=configs/block_mdp/dqn.py --workdir=DIR
Variants, comma separated: hard, sparse; layer_norm; no_bootstrap; quick.
Measured: see the section "Main job" of BUILD_NOTES.md.

Where the paper is silent: Adam 1e-3, batch 64, gamma .99, epsilon .1, replay 50,000,
one environment step an update. The paper's target period is 1,000 to 10,000 at 512
units; at 128 units a period of 200 shows the effect in 20,000 updates.
"""

from ml_collections import ConfigDict

from experiments import presets, variants


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    config = presets.block_mdp("cpu")
    return variants.apply(config, names, VARIANTS)


def _no_bootstrap(config):
    """Gamma 0: the same network and data, the targets no longer move."""
    config.learner.discount = 0.0
    variants.rename(config, "no bootstrap (gamma 0)")


def _quick(config):
    """Seconds: every joint, no science."""
    variants.shrink(config)
    config.learner.update(
        batch_size=8, target_period=10, replay_capacity=200, num_warmup=20
    )


SHARED = presets.table("cpu")
VARIANTS = {
    **{name: SHARED[name] for name in ("hard", "sparse", "layer_norm")},
    "no_bootstrap": _no_bootstrap,
    "quick": _quick,
}
