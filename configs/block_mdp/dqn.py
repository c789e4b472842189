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

from experiments import variants


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    config = ConfigDict()
    config.label = "default"
    config.learner = dict(
        kind="dqn",
        environment="easy",
        agent="dqn",
        discount=0.99,
        epsilon=0.1,
        batch_size=64,
        target_period=200,
        replay_capacity=50_000,
        num_warmup=1_000,
        num_eval=2_048,
    )
    config.network = dict(kind="mlp", hidden=(128, 128), norm="none")
    config.optimizer = dict(
        kind="adam", learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0
    )
    config.dataset = dict(name="digits", num_held_out=360)
    config.seeds = dict(first=0, count=4, axis="map")
    config.total_updates = 20_000  # 100 target periods
    config.log_every = 1_000
    config.save_every = 5_000
    times = (0, 2_000, 6_000, 20_000)  # periods 0, 10, 30, 100
    config.probes = dict(
        plasticity=dict(
            at=times, num_inputs=256, num_targets=5, num_steps=1_000, batch_size=128
        ),
        hessian=dict(
            at=times, loss="landscape", num_examples=256, num_steps=64, num_draws=2
        ),
        gradients=dict(at=times, loss="training", num_examples=256, num_clusters=10),
        representation=dict(every=1_000),
        weights=dict(every=1_000),
    )
    return variants.apply(config, names, VARIANTS)


def _hard(config):
    """Every image gets one fixed random label. T 1,000 keeps the policy learnable."""
    config.learner.environment = "hard"
    config.label = "hard"


def _sparse(config):
    config.learner.environment = "sparse"
    config.label = "sparse"


def _layer_norm(config):
    config.network.norm = "layer"
    config.label = "layer norm"


def _no_bootstrap(config):
    """Gamma 0: the same network and data, the targets no longer move."""
    config.learner.discount = 0.0
    config.label = "no bootstrap (gamma 0)"


def _quick(config):
    """Seconds: every joint, no science."""
    config.network.hidden = (16, 16)
    config.learner.update(
        batch_size=8, target_period=10, replay_capacity=200, num_warmup=20
    )
    config.seeds.count = 2
    config.total_updates, config.log_every, config.save_every = 60, 20, 20
    for probe in config.probes.values():
        probe.update(at=(0, 60))
    config.probes.plasticity.update(
        num_inputs=32, num_targets=2, num_steps=20, batch_size=16
    )
    config.probes.hessian.update(num_examples=32, num_steps=8)
    config.probes.gradients.update(num_examples=32)
    config.probes.representation.every = config.probes.weights.every = 20


VARIANTS = {
    "hard": _hard,
    "sparse": _sparse,
    "layer_norm": _layer_norm,
    "no_bootstrap": _no_bootstrap,
    "quick": _quick,
}
