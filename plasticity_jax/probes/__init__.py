"""Probes: pure measurements, each returning `ProbeResult(scalars, arrays)`."""

from plasticity_jax.probes import families
from plasticity_jax.probes.eigenpairs import top_eigenpairs
from plasticity_jax.probes.gradients import gradient_covariance, gradient_gram
from plasticity_jax.probes.landscape import landscape
from plasticity_jax.probes.ntk import empirical_ntk
from plasticity_jax.probes.operators import (
    ComposedLoss,
    fisher_vp,
    gauss_newton_vp,
    hvp,
)
from plasticity_jax.probes.plasticity import plasticity, plasticity_reference
from plasticity_jax.probes.representation import representation
from plasticity_jax.probes.spectrum import hessian_spectrum
from plasticity_jax.probes.trace import hessian_trace
from plasticity_jax.probes.updates import updates
from plasticity_jax.probes.weights import weights

__all__ = [
    "ComposedLoss",
    "empirical_ntk",
    "families",
    "fisher_vp",
    "gauss_newton_vp",
    "gradient_covariance",
    "gradient_gram",
    "hessian_spectrum",
    "hessian_trace",
    "hvp",
    "landscape",
    "plasticity",
    "plasticity_reference",
    "representation",
    "top_eigenpairs",
    "updates",
    "weights",
]
