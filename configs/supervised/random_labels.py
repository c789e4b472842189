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
    config = variants.small_mlp_on_digits(times=(0, 5_000, 25_000, 50_000))
    config.label = "Adam, default"
    config.learner = dict(
        kind="supervised",
        stream="random_labels",
        updates_per_task=5_000,
        num_examples=512,
        batch_size=128,
        num_eval=4_096,
    )
    config.optimizer = dict(
        kind="adam", learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-9, eps_root=0.0
    )
    config.total_updates = 50_000  # ten tasks
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
    variants.shrink(config)
    config.learner.update(updates_per_task=15, num_examples=32, batch_size=8)


VARIANTS = {
    "tuned": _tuned,
    "layer_norm": _layer_norm,
    "stationary": _stationary,
    "quick": _quick,
}
