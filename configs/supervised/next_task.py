"""Does the probe's loss tell how well the next task is learned?

Beyond arXiv 2303.01486, whose probe is a stand-in for tasks to come: on a stream of
random labels the task to come does come, so the probe before a boundary can be set
beside the accuracy and the mean loss of the task after it.
Command: python -m experiments.sweep --config=configs/supervised/next_task.py:cpu \\
    --out=runs/next_task --seeds=100:108
Variants: those of configs/supervised/adam_instability.py, whose stream it is;
probe_labels (a probe with random labels in place of sines); any intervention.

Rows: probe/final_loss at update k tells of the tasks before, train/loss and
eval/accuracy of the row one task later of the next task.
"""

from ml_collections import ConfigDict

from configs.supervised import adam_instability
from experiments import variants

ARMS = (
    "", "tuned", "layer_norm", "fresh", "shrink_perturb", "l2_init", "redo",
    "reset_last_layer",
)  # fmt: skip


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    listed = names.split(",")
    probe = "random_labels" if "probe_labels" in listed else "sine"
    others = ",".join(name for name in listed if name != "probe_labels")
    config = adam_instability.get_config(others)
    task = config.learner.updates_per_task
    times = tuple(range(0, config.total_updates + 1, task))
    config.log_every = config.save_every = task  # train/loss: the whole task's mean
    for name, section in config.probes.items():
        config.probes[name] = dict(section, at=times, every=0)
    config.probes.plasticity.family = probe
    if probe != "sine":
        variants.rename(config, "probe of labels")
    return config


def get_grids(names: str = "") -> list[dict]:
    """Returns the arms, each with both probes."""
    del names
    arms = [f"{arm},{probe}" for arm in ARMS for probe in ("", "probe_labels")]
    return [{"variants": [arm.strip(",") for arm in arms]}]
