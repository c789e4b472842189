"""E6: which methods keep a network able to learn?

Figures 6 and 8 to 11 of arXiv 2303.01486. Claim: C8 (two-hot targets and layer norm
help most; shrink-and-perturb, weight decay and spectral norm do not; resets of the last
layer help some architectures and hurt others).
Command: python -m experiments.sweep --config=configs/block_mdp/interventions.py:cpu \\
    --out=runs/interventions --seeds=100:108
Variants: cpu, quick; those of experiments/presets.py.

At `cpu` the methods that came after the paper stand beside its own, each with its
source's settings, the pairs of layer norm, two-hot, L2 and resets, a plain network with
a tuned optimiser, and the paper's own on a small CNN. Gaps: shrink-and-perturb by .8
with .2 of a fresh draw, two-hot on 51 atoms over [-2, 102], plasticity injection once,
at half time. A run ends, and is probed, half-way between two target updates, not right
after a reset. The probe's 2,000 steps are the paper's: in 1,000 a two-hot network does
not solve the probe even before training.
"""

from ml_collections import ConfigDict

from experiments import presets, variants

PAPER = (
    "reset_last_layer", "layer_norm", "shrink_perturb", "spectral_norm",
    "weight_decay", "optimizer_reset",
)  # fmt: skip
LATER = (
    "redo", "continual_backprop", "l2_init", "crelu", "infer", "plasticity_injection",
    "self_normalized_resets", "nap", "hare_tortoise", "hl_gauss",
)  # fmt: skip
PAIRS = (
    "layer_norm,two_hot", "layer_norm,l2", "layer_norm,reset_last_layer",
    "two_hot,l2", "two_hot,reset_last_layer", "l2,reset_last_layer",
)  # fmt: skip
NORMED = ("resnet18", "vit")  # they come with norms, and without a first dense layer


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    ends = range(5, 101, 5) if scale == "paper" else (100,)
    at = (0, *(end + 0.5 for end in ends))
    interference = ("gradients",) if scale == "paper" else ()
    probes = ("plasticity", "hessian", *interference, *presets.CHEAP)
    config = presets.block_mdp(scale, probes=probes, num_periods=100.5, at=at)
    config.probes.plasticity.at = config.probes.plasticity.at[1:]  # has theta_0's too
    variants.apply(config, names, presets.table(scale))
    if scale == "cpu":
        config.probes.plasticity.update(num_steps=2_000, num_targets=3)
    return config


def get_grids(names: str = "") -> list[dict]:
    """Returns methods x easy and hard; the paper's: x heads x networks x images."""
    scale, _ = presets.scale_of(names)
    environments = {"learner.environment": ["easy", "hard"]}
    if scale != "paper":
        paper = ["", *PAPER, "two_hot", "layer_norm,two_hot"]
        arms = [*paper, "l2", *LATER, *PAIRS[1:], "tuned"]
        cnn = [",".join(filter(None, ("cnn", arm))) for arm in paper]
        easy = {"learner.environment": ["easy"]}
        return [{"variants": arms} | environments, {"variants": cnn} | easy]
    listed = [
        ",".join(filter(None, (observations, architecture, head, arm)))
        for observations in ("cifar10", "mnist")
        for architecture in ("resnet18", "vit", "cnn", "mlp")
        for head in ("", "two_hot")
        for arm in ("", *PAPER)
        if not (architecture in NORMED and arm in ("layer_norm", "spectral_norm"))
    ]
    return [{"variants": listed} | environments]
