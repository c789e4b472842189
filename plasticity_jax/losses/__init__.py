"""Per-example losses, named like the equations."""

from plasticity_jax.losses.labels import cross_entropy, squared_error
from plasticity_jax.losses.td import double_q_learning, q_learning

__all__ = ["cross_entropy", "double_q_learning", "q_learning", "squared_error"]
