"""E2: does training sharpen the landscape of new tasks, or does any walk?

Figure 2 of arXiv 2303.01486. Claims: C3 (the Hessian's outliers grow much faster under
gradient descent than under a random walk of equal steps), C4 (descent, not the walk,
makes gradients of examples point against each other).
Command: python -m experiments.sweep --config=configs/block_mdp/landscape.py:cpu \\
    --out=runs/landscape --seeds=100:108
Variants: cpu, quick; those of experiments/presets.py; random_walk, the twin with steps
as long as the learner's. Its other twin, as far from theta_0 as the learner, stands in
the same rows as `displaced/...`, for the walk of equal steps barely moves.

Where the paper is silent: 2 x 512 units, a Hessian batch of 4,096, gamma .99; it looks
at the Hessian after 5 target updates and at gradients after 1 and 20. At `cpu` also a
learning rate of 1e-2, since 1e-3 moves little in 20,000 updates.
"""

from ml_collections import ConfigDict

from experiments import presets, variants

PROBES = ("hessian", "gradients", "displaced", *presets.CHEAP)


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    scale, names = presets.scale_of(names)
    learner = {
        "paper": dict(target_period=5_000),
        "cpu": dict(target_period=1_000, batch_size=128),
        "quick": {},
    }[scale]
    config = presets.block_mdp(
        scale, probes=PROBES, num_periods=20, at=(0, 1, 5, 20), **learner
    )
    config.optimizer = dict(kind="sgd", learning_rate=1e-3)
    return variants.apply(config, names, presets.table(scale))


def get_grids(names: str = "") -> list[dict]:
    """Returns descent and walk at each learning rate."""
    scale, _ = presets.scale_of(names)
    rates = [1e-3] if scale == "paper" else [1e-3, 1e-2]
    return [{"variants": ["", "random_walk"], "optimizer.learning_rate": rates}]
