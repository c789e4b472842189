"""E7: what do the methods that keep plasticity do to the policy?

Figures 12, 13, 15 and 16 of arXiv 2303.01486. Claims: C10 (methods that perturb the
weights keep the policy near chance in `hard`), C11 (layer norm and two-hot give
steadier TD losses, not always better policies).
Command: python -m experiments.sweep --config=configs/block_mdp/policies.py:cpu \\
    --out=runs/policies --seeds=100:105
Variants: cpu, quick; those of experiments/presets.py.

The paper's axes reach 200 target updates of 1,000. At `cpu` 100, as `hard` needs them,
at 128 units on the digits. Rows lie at each target update and half-way between; there a
run ends and is probed, since right after a reset every policy is chance, and the TD
error is highest.
"""

from ml_collections import ConfigDict

from experiments import presets, variants

ARMS = (
    "", "reset_last_layer", "shrink_perturb", "shrink_perturb_gaussian",
    "layer_norm", "two_hot", "layer_norm,two_hot", "weight_decay", "spectral_norm",
    "optimizer_reset",
)  # fmt: skip


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    num_periods = 200.5 if scale == "paper" else 100.5
    config = presets.block_mdp(
        scale,
        probes=("plasticity", *presets.CHEAP),
        num_periods=num_periods,
        at=(0, num_periods),
        target_period=1_000,
    )
    config.log_every = max(1, config.learner.target_period // 2)
    return variants.apply(config, names, presets.table(scale))


def get_grids(names: str = "") -> list[dict]:
    """Returns methods x environments; the paper's on two networks and image sets."""
    scale, _ = presets.scale_of(names)
    settings = [""]
    if scale == "paper":
        settings = [f"{o},{a}" for o in ("cifar10", "mnist") for a in ("cnn", "mlp")]
    listed = [",".join(filter(None, (s, arm))) for s in settings for arm in ARMS]
    return [{"variants": listed, "learner.environment": ["easy", "hard"]}]
