"""E1: does Adam end unable to fit any task on a stream of random labels?

Figure 1 of arXiv 2303.01486. Claims: C1 (default Adam makes a huge step where the
labels change, units die, accuracy falls to chance), C2 (`tuned` does not).
Command: python -m experiments.sweep \\
    --config=configs/supervised/adam_instability.py:cpu --out=runs/adam_instability \\
    --seeds=100:105
Variants, comma separated: cpu (digits, 128 units), tuned, layer_norm, stationary (the
control), fresh (the other: a new network for every task), quick; the name of any
intervention.
Measured: RESULTS.md.

Without a variant it is the paper's: 5,000 MNIST images, 1,024 units, six tasks of
15,000 updates (inferred from its axis). Where it is silent: batches of 128, drawn with
replacement.
"""

from ml_collections import ConfigDict

from experiments import presets, variants


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    config = presets.block_mdp("cpu", at=())
    config.label = "Adam, default"
    config.network.hidden = (1024, 1024)
    config.dataset = dict(kind="mnist", num_held_out=2_048)
    config.learner = dict(
        kind="supervised",
        stream="random_labels",
        updates_per_task=15_000,
        num_examples=5_000,
        batch_size=128,
        num_eval=4_096,
        control="none",
        log_update_norm=True,  # what C1 looks at
    )
    config.optimizer = dict(kind="adam_figure1_default")
    config.probes.plasticity.update(num_inputs=2_048, batch_size=256)
    _tasks(config, num_tasks=6)
    return variants.apply(config, names, VARIANTS)


def get_grids(names: str = "") -> list[dict]:
    """Returns both arms and both controls."""
    return [{"variants": ["", "tuned", "stationary", "fresh"]}]


def _tasks(config, num_tasks: int):
    """Ends after so many tasks; probes at boundaries and just after, where C1 looks."""
    task = config.learner.updates_per_task
    ends = tuple(range(0, num_tasks * task + 1, task))
    config.total_updates = num_tasks * task
    for probe in ("plasticity", "hessian", "gradients"):
        config.probes[probe].at = (0, task, config.total_updates)
    # The task's own images; a row 50 updates into each task holds its largest step.
    config.probes.representation.update(
        at=tuple(end + 50 for end in ends[:-1]), inputs="training"
    )


def _cpu(config):
    """512 digits and 5,000 updates a task are what 128 units memorise."""
    config.network.hidden = (128, 128)
    config.dataset = dict(kind="digits", num_held_out=360)
    config.learner.update(updates_per_task=5_000, num_examples=512)
    config.probes.plasticity.update(num_inputs=256, batch_size=128)
    _tasks(config, num_tasks=10)


def _tuned(config):
    """The paper's cure: a short second moment and an epsilon inside the root."""
    config.optimizer.kind = "adam_figure1_tuned"
    config.label = config.label.replace("default", "tuned")


def _layer_norm(config):
    config.network.norm = "layer"
    variants.rename(config, "layer norm")


def _stationary(config):
    config.learner.control = "stationary"
    variants.rename(config, "stationary control")


def _fresh(config):
    config.learner.control = "fresh"
    variants.rename(config, "fresh network each task")


def _quick(config):
    """Seconds: every joint, no science."""
    _cpu(config)
    config.learner.update(updates_per_task=15, num_examples=32, batch_size=8)
    _tasks(config, num_tasks=4)
    variants.shrink(config)
    config.probes.representation.at = (15 + 5,)


VARIANTS = {
    "cpu": _cpu,
    "tuned": _tuned,
    "layer_norm": _layer_norm,
    "stationary": _stationary,
    "fresh": _fresh,
    "quick": _quick,
}
