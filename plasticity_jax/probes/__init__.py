"""Probes: pure measurements, each returning `ProbeResult(scalars, arrays)`."""

from plasticity_jax.probes.gradients import gradient_covariance, gradient_gram
from plasticity_jax.probes.hessian import hessian_spectrum, hvp
from plasticity_jax.probes.landscape import landscape
from plasticity_jax.probes.plasticity import plasticity, plasticity_reference
from plasticity_jax.probes.representation import representation
from plasticity_jax.probes.weights import weights

__all__ = [
    "gradient_covariance",
    "gradient_gram",
    "hessian_spectrum",
    "hvp",
    "landscape",
    "plasticity",
    "plasticity_reference",
    "representation",
    "weights",
]
