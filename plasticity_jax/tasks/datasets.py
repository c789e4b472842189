"""Image classification data: uint8 on the device until used."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax import checks
from plasticity_jax.tasks import published
from plasticity_jax.tasks import textures as textured_shapes


class Dataset(NamedTuple):
    """Images with their labels, and how they are split."""

    images: jax.Array  # [N, H, W, D] uint8, 0 to 255
    labels: jax.Array  # [N] int32
    num_classes: int
    num_test: int = 0  # the last so many are the published test set


def digits() -> Dataset:
    """Loads scikit-learn's handwritten digits: 1,797 real images, 8x8x1, ten classes.

    Raises:
      ImportError: scikit-learn, which ships them, is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The digits ship with scikit-learn: pip install 'plasticity-jax[data]'"
        ) from error
    data = load_digits()
    images = np.round(data.images * (255 / 16)).astype(np.uint8)[..., None]
    return Dataset(jnp.asarray(images), jnp.asarray(data.target, jnp.int32), 10)


def textures(
    *, num_examples: int = 12_000, seed: int = 0, downscale: int = 1
) -> Dataset:
    """Generates textured shapes: 32x32x3, ten classes, fully determined by the seed.

    A smaller set of the same seed is the beginning of a larger one. `downscale`: pixels
    a side that are averaged into one, such as 2 for 16x16x3.
    """
    checks.at_least(1, num_examples=num_examples, downscale=downscale)
    checks.at_least(0, seed=seed)
    if textured_shapes.SIZE % downscale:
        raise ValueError(
            f"downscale: expected a divisor of {textured_shapes.SIZE}; got {downscale}."
        )
    images, labels = textured_shapes.generate(num_examples, seed)
    size = textured_shapes.SIZE // downscale
    blocks = images.reshape(-1, size, downscale, size, downscale, images.shape[-1])
    images = blocks.mean((2, 4), dtype=np.float32).round().astype(np.uint8)
    return Dataset(jnp.asarray(images), jnp.asarray(labels), 10)


def mnist() -> Dataset:
    """Loads MNIST: 60,000 and 10,000 images, 28x28x1, ten classes."""
    return _published(*published.mnist(), num_classes=10)


def cifar10() -> Dataset:
    """Loads CIFAR-10: 50,000 and 10,000 images, 32x32x3, ten classes."""
    return _published(*published.cifar10(), num_classes=10)


def cifar100(*, labels: str = "fine") -> Dataset:
    """Loads CIFAR-100: 50,000 and 10,000 images, 32x32x3.

    Args:
      labels: `fine` for 100 classes, `coarse` for their 20 superclasses.
    """
    checks.one_of("labels", labels, ("fine", "coarse"))
    column, num_classes = {"coarse": (0, 20), "fine": (1, 100)}[labels]
    images, both, num_test = published.cifar100()
    return _published(images, both[:, column], num_test, num_classes)


def _published(images, labels, num_test, num_classes) -> Dataset:
    labels = jnp.asarray(labels, jnp.int32)
    return Dataset(jnp.asarray(images), labels, num_classes, num_test)


DATASETS = {
    "digits": digits,
    "textures": textures,
    "mnist": mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
}


def load(name: str, **options) -> Dataset:
    """Loads a dataset by name, with its own options."""
    checks.one_of("dataset", name, DATASETS)
    return DATASETS[name](**options)


def split(dataset: Dataset, num_held_out: int) -> tuple[Dataset, Dataset]:
    """Splits into (training, held-out) examples by a shuffle that never changes; where
    there is a published test set, the held-out examples are of it alone.

    Raises:
      ValueError: `num_held_out` leaves no example on one of the sides.
    """
    num_examples, num_test = len(dataset.labels), dataset.num_test
    checks.within(1, num_test or num_examples - 1, num_held_out=num_held_out)
    random = np.random.default_rng(0)
    if num_test:
        training = random.permutation(num_examples - num_test)
        held_out = num_examples - num_test + random.permutation(num_test)[:num_held_out]
    else:
        order = random.permutation(num_examples)
        training, held_out = order[num_held_out:], order[:num_held_out]

    def take(rows):
        images, labels = dataset.images[rows], dataset.labels[rows]
        return Dataset(images, labels, dataset.num_classes)

    return take(training), take(held_out)


def balanced(dataset: Dataset, num_examples: int) -> Dataset:
    """Returns the first examples of each class, the same number of each, in order.

    Raises:
      ValueError: `num_examples` is no multiple of the classes, or one has too few.
    """
    num_classes, labels = dataset.num_classes, np.asarray(dataset.labels)
    per_class = num_examples // num_classes
    smallest = np.bincount(labels, minlength=num_classes).min()
    if num_examples % num_classes or not 1 <= per_class <= smallest:
        raise ValueError(
            f"num_examples: expected {num_classes} times 1 to {smallest}, as many of "
            f"each class; got {num_examples}."
        )
    of_each = [np.flatnonzero(labels == c)[:per_class] for c in range(num_classes)]
    rows = np.sort(np.concatenate(of_each))
    return dataset._replace(images=dataset.images[rows], labels=dataset.labels[rows])


def to_inputs(images: jax.Array) -> jax.Array:
    """Scales uint8 pixels to float32 in [0, 1], shape kept."""
    return images.astype(jnp.float32) / 255.0
