"""How a probe hands over what it found."""

import warnings

import jax
import jax.numpy as jnp

from plasticity_jax.trees import all_finite, as_float
from plasticity_jax.types import ProbeResult, PyTree


def report(prefix: str, scalars: dict, arrays: dict, measured: PyTree) -> ProbeResult:
    """Names the scalars `prefix/...` and adds `prefix/finite`.

    Args:
      prefix: of the names.
      scalars, arrays: by name.
      measured: what has to be finite for the scalars to mean anything. Where it is not,
        `finite` is 0 and every scalar is NaN: a count of NaNs would look plausible.
        Outside jit a warning says so too.
    """
    finite = all_finite(measured)
    if not isinstance(finite, jax.core.Tracer) and not finite:
        warnings.warn(
            f"{prefix}: met a NaN or an infinity; every {prefix}/... scalar is NaN and "
            f"{prefix}/finite is 0. Have the parameters or the batch overflowed?",
            RuntimeWarning,
            stacklevel=3,
        )
    scalars = {
        f"{prefix}/{name}": jnp.where(finite, as_float(value), jnp.nan)
        for name, value in scalars.items()
    }
    scalars[f"{prefix}/finite"] = finite.astype(jnp.float32)
    return ProbeResult(scalars, arrays)
