"""How large are the updates around a change of task, and when do units die?

Beyond arXiv 2303.01486, whose figure 1 shows that Adam's units are dead some time after
the labels changed: here rows are dense around three changes, down to single updates.
Command: python -m experiments.sweep --config=configs/supervised/boundaries.py:cpu \\
    --out=runs/boundaries --seeds=100:104
Variants: those of configs/supervised/adam_instability.py, whose stream it is; any
intervention.

Rows lie OFFSETS updates from the change to each task of `looked_at`; train/update_norm
of a row is the mean over the updates since the row before, train/update_norm_max the
largest of them: at 1 and 2 updates after the change, that update's own. The row at 0 is
of the task that ends there. The run ends with the last task looked at.
"""

from ml_collections import ConfigDict

from configs.supervised import adam_instability

ARMS = ("", "tuned", "layer_norm", "optimizer_reset")
OFFSETS = (
    *(-200, -100, -50, -20, -10, -5, -2, -1, 0),
    *(1, 2, 3, 5, 10, 20, 50, 100, 200, 500),
)
QUICK_OFFSETS = (-5, -1, 0, 1, 2, 5)


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    config = adam_instability.get_config(names)
    task, scales = config.learner.updates_per_task, set(names.split(","))
    offsets = QUICK_OFFSETS if "quick" in scales else OFFSETS
    tasks = looked_at(config)
    times = [(number - 1) * task + offset for number in tasks for offset in offsets]
    config.total_updates = tasks[-1] * task
    config.log_every, config.save_every = max(1, task // 5), task
    # Of the images that are learned: a unit that is 0 on all of them has no gradient.
    config.probes = dict(representation=dict(at=tuple(times), inputs="training"))
    return config


def get_grids(names: str = "") -> list[dict]:
    """Returns the arms."""
    del names
    return [{"variants": list(ARMS)}]


def looked_at(config: ConfigDict) -> tuple[int, ...]:
    """Returns the tasks, counted from 1, at whose start rows are dense: the second, one
    in the middle, and the last but one of ten, or the last of fewer."""
    count = config.total_updates // config.learner.updates_per_task
    return (2, 5, 9) if count >= 10 else (2, count // 2 + 1, count)
