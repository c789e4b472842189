"""Image classification data: uint8 on the device until used."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax import checks


class Dataset(NamedTuple):
    """Images with their labels, and how they are split."""

    images: jax.Array  # [N, H, W, D] uint8, 0 to 255
    labels: jax.Array  # [N] int32
    num_classes: int


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


DATASETS = {"digits": digits}


def load(name: str) -> Dataset:
    """Loads a dataset by name."""
    checks.one_of("dataset", name, DATASETS)
    return DATASETS[name]()


def split(dataset: Dataset, num_held_out: int) -> tuple[Dataset, Dataset]:
    """Splits into (training, held-out) examples by a shuffle that never changes.

    Raises:
      ValueError: `num_held_out` leaves no example on one of the sides.
    """
    num_examples = len(dataset.labels)
    checks.within(1, num_examples - 1, num_held_out=num_held_out)
    order = np.random.default_rng(0).permutation(num_examples)

    def take(rows):
        return dataset._replace(
            images=dataset.images[rows], labels=dataset.labels[rows]
        )

    return take(order[num_held_out:]), take(order[:num_held_out])


def to_inputs(images: jax.Array) -> jax.Array:
    """Scales uint8 pixels to float32 in [0, 1], shape kept."""
    return images.astype(jnp.float32) / 255.0
