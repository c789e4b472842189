"""Flax Linen networks; learners keep only their parameters."""

from plasticity_jax.networks.blocks import features_fn
from plasticity_jax.networks.mlp import MLP
from plasticity_jax.networks.nature_cnn import NatureCNN

__all__ = ["MLP", "NatureCNN", "features_fn"]
