"""Flax Linen networks, and what a learner or a method needs to know of them."""

from plasticity_jax.networks.blocks import ConvNetwork, Network, features_fn
from plasticity_jax.networks.cnn import CNN
from plasticity_jax.networks.heads import Head
from plasticity_jax.networks.implicit_quantile import ImplicitQuantileCNN
from plasticity_jax.networks.mlp import MLP
from plasticity_jax.networks.model import as_model
from plasticity_jax.networks.nature_cnn import NatureCNN
from plasticity_jax.networks.resnet import ResNet18
from plasticity_jax.networks.vit import ViT

__all__ = [
    "CNN",
    "MLP",
    "ConvNetwork",
    "Head",
    "ImplicitQuantileCNN",
    "NatureCNN",
    "Network",
    "ResNet18",
    "ViT",
    "as_model",
    "features_fn",
]
