"""Adam on ten tasks of random labels, one network: it ends unable to fit any.

Claims: C1 (default Adam collapses), C2 (tuned: variant `tuned`) of arXiv 2303.01486,
figure 1, at a scale two cores finish.
Command: python -m experiments.train --config=configs/supervised/random_labels.py \\
    --workdir=DIR
Variants, comma separated: tuned, layer_norm, stationary (the control), quick.

Where we differ: the paper memorises 5,000 MNIST images; 512 digits and 5,000 updates a
task are what 128 units memorise, and where the collapse shows.
"""

from ml_collections import ConfigDict

from experiments import variants


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    config = ConfigDict()
    config.label = "Adam, default"
    config.learner = dict(
        kind="supervised",
        stream="random_labels",
        updates_per_task=5_000,
        num_examples=512,
        batch_size=128,
        num_eval=4_096,
    )
    config.network = dict(kind="mlp", hidden=(128, 128), norm="none")
    config.optimizer = dict(
        kind="adam", learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-9, eps_root=0.0
    )
    config.dataset = dict(name="digits", num_held_out=360)
    config.seeds = dict(first=0, count=4, axis="map")
    config.total_updates = 50_000  # ten tasks
    config.log_every = 1_000
    config.save_every = 5_000
    times = (0, 5_000, 25_000, 50_000)
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


def _tuned(config):
    """The paper's cure: a short second moment and an epsilon inside the root."""
    config.optimizer.update(b2=0.9, eps_root=1e-3)
    config.label = "Adam, tuned"


def _layer_norm(config):
    config.network.norm = "layer"
    config.label = "Adam, layer norm"


def _stationary(config):
    config.learner.stream = "stationary"
    config.label = "Adam, stationary control"


def _quick(config):
    """Seconds: every joint, no science."""
    config.network.hidden = (16, 16)
    config.learner.update(updates_per_task=15, num_examples=32, batch_size=8)
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
    "tuned": _tuned,
    "layer_norm": _layer_norm,
    "stationary": _stationary,
    "quick": _quick,
}
