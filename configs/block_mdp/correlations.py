"""E3: does any one statistic of a network tell how much plasticity it has lost?

Figure 3 of arXiv 2303.01486. Claim: C5 (weight norm, weight rank, dead units and
feature rank each go with plasticity loss in one setting and against it in another).
Command: python -m experiments.sweep --config=configs/block_mdp/correlations.py:cpu \\
    --out=runs/correlations --seeds=100:104
Variants: cpu, quick; those of experiments/presets.py; four_statistics (without the
probes that these four do not need).

Every reading of the library is taken at the start and at the end, the paper's own
explanation, curvature and interference, among them. The paper has 128 agents over
environments, observations, architectures, optimisers and seeds, target period 1,000;
it names no optimiser: ours are Adam, RMSProp and SGD with momentum. At `cpu` there are
144: digits and textures, both 8x8, 64 units or 16 channels with stride 2, 50 target
updates of 500 (values have to grow before plasticity is lost), a probe on 128 images,
which all of them can fit at the start.
"""

from ml_collections import ConfigDict

from experiments import presets, variants

OBSERVATIONS = {
    "paper": ("mnist", "cifar10"),
    "cpu": ("digits", "textures"),
    "quick": ("digits", "textures"),
}


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    learner = dict(target_period=1_000)
    if scale == "cpu":
        learner = dict(target_period=500, batch_size=32)
    num_periods = 100 if scale == "paper" else 50
    config = presets.block_mdp(
        scale,
        probes=presets.EVERY_READING,
        num_periods=num_periods,
        at=(0, num_periods),
        **learner,
    )
    config.probes.plasticity.at = (config.total_updates,)  # it has theta_0's loss too
    own = {"four_statistics": _four_statistics}
    variants.apply(config, names, presets.table(scale) | own)
    if scale == "cpu":
        _small(config)
    return config


def _four_statistics(config):
    for name in set(config.probes) - {"plasticity", "representation", "weights"}:
        del config.probes[name]
    variants.rename(config, "four statistics")


def _small(config):
    """What 45 CPU-seconds an agent allow."""
    if config.network.kind == "mlp":
        config.network.hidden = (64, 64)
    if config.dataset.kind == "textures":
        config.dataset.downscale = 4
    config.probes.plasticity.update(
        num_inputs=128, batch_size=64, num_steps=1_500, num_targets=3
    )


def get_grids(names: str = "") -> list[dict]:
    """Returns observations x architectures x optimisers x rewards."""
    scale, _ = presets.scale_of(names)
    settings = [
        f"{observations},{architecture}{optimizer}"
        for observations in OBSERVATIONS[scale]
        for architecture in ("mlp", "cnn")
        for optimizer in ("", ",rmsprop", ",momentum")
    ]
    rewards = ["easy", "hard", "sparse"]
    return [{"variants": settings, "learner.environment": rewards}]
