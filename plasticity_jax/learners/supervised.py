"""A classifier on a stream of tasks that goes on with the same network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax import checks, trees
from plasticity_jax.learners import training
from plasticity_jax.losses import cross_entropy
from plasticity_jax.networks import features_fn
from plasticity_jax.tasks.datasets import Dataset, to_inputs
from plasticity_jax.tasks.streams import STREAMS
from plasticity_jax.types import Key, ProbeView, PureLearner, TrainState


class Shared(NamedTuple):
    """What every seed reads."""

    images: jax.Array  # [N, H, W, D] uint8
    labels: jax.Array  # [N] true labels
    held_out: jax.Array  # [M, H, W, D] uint8: the probe pool


class Member(NamedTuple):
    """One seed's state."""

    train: TrainState
    labels: jax.Array  # [N] the current task's
    key: Key  # of this seed; every draw is a function of it and the clock
    window: training.Window


def make(
    network,
    tx,
    dataset: Dataset,
    held_out: Dataset,
    *,
    stream: str = "random_labels",
    updates_per_task: int = 5_000,
    num_examples: int = 512,
    batch_size: int = 128,
    num_eval: int = 4_096,
) -> tuple[PureLearner, Shared]:
    """Builds the learner and its data.

    Args:
      network: Linen module, inputs [N, H, W, D] in [0, 1] -> logits [N, C].
      tx: Optax transformation.
      dataset: training examples; the first `num_examples` are used.
      held_out: examples never trained on, the probes' inputs.
      stream: name of the task stream.
      updates_per_task: task boundaries; the learner is not told of them.
      num_examples: size of the set to fit.
      batch_size: B, drawn with replacement.
      num_eval: `eval/accuracy` is over the first so many training examples.

    Raises:
      ValueError: an unknown stream, or more examples asked for than there are.
    """
    checks.one_of("stream", stream, STREAMS)
    checks.within(1, len(dataset.labels), num_examples=num_examples)
    checks.at_least(
        1, updates_per_task=updates_per_task, batch_size=batch_size, num_eval=num_eval
    )
    shared = Shared(
        dataset.images[:num_examples], dataset.labels[:num_examples], held_out.images
    )
    labels_fn = STREAMS[stream]

    def task_labels(shared, key, task):
        key = trees.named_key(key, "stream")
        return labels_fn(key, task, shared.labels, dataset.num_classes)

    def logits_fn(params, inputs):
        return network.apply({"params": params}, inputs)

    def init(shared, key):
        example = to_inputs(shared.images[:1])
        init_key = trees.named_key(key, "init")
        train = training.init_train_state(
            network, tx, example, init_key, has_target=False
        )
        labels = task_labels(shared, key, 0)
        return Member(train, labels, key, training.empty_window("loss"))

    def update(shared, updates, member):
        labels = jax.lax.cond(
            updates % updates_per_task == 0,
            lambda: task_labels(shared, member.key, updates // updates_per_task),
            lambda: member.labels,
        )
        key = jax.random.fold_in(trees.named_key(member.key, "train"), updates)
        rows = jax.random.randint(key, (batch_size,), 0, num_examples)
        inputs, targets = to_inputs(shared.images[rows]), labels[rows]

        def losses_fn(params, model_state):
            return cross_entropy(logits_fn(params, inputs), targets), model_state

        train, loss = training.update(member.train, tx, losses_fn)
        window = training.observe(member.window, updates, loss=loss)
        return member._replace(train=train, labels=labels, window=window)

    def metrics(shared, updates, member):
        row, window = training.close(member.window)
        logits = logits_fn(member.train.params, to_inputs(shared.images[:num_eval]))
        hits = jnp.argmax(logits, axis=-1) == member.labels[:num_eval]
        row["eval/accuracy"] = jnp.mean(hits)
        row["task"] = jnp.maximum(updates - 1, 0) // updates_per_task
        return row, member._replace(window=window)

    def view(shared, member):
        def loss_fn(params, batch, key):
            del key
            inputs, labels = batch
            return cross_entropy(logits_fn(params, inputs), labels)

        return ProbeView(
            loss_fn=loss_fn,
            apply_fn=logits_fn,
            init_fn=lambda key: network.init(key, to_inputs(shared.images[:1]))[
                "params"
            ],
            features_fn=features_fn(network),
            tx=tx,
            params=member.train.params,
            initial_params=member.train.initial_params,
            opt_state=member.train.opt_state,
            inputs=to_inputs(shared.held_out),
            batch=(to_inputs(shared.images), member.labels),
        )

    return PureLearner(init, update, metrics, view), shared
