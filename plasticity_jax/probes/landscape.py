"""A new regression task at the network's current output: how sharp is it from here?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.probes import checks
from plasticity_jax.probes.operators import ComposedLoss
from plasticity_jax.trees import as_float
from plasticity_jax.types import Key, PyTree


def landscape(
    apply_fn: Callable, params: PyTree, inputs: PyTree, key: Key
) -> tuple[ComposedLoss, PyTree]:
    """Returns (loss_fn, batch) of l(theta) = sum_o [f(X) - sg(f_0(X) + eps)]^2.

    eps ~ N(0, 1) is drawn from `key`: keep the key to keep the task. The sum runs over
    outputs. Its gradient is -2 eps grad f, so the signs of its gradient cosines are
    those of eps_i eps_j whatever the network does: judge interference on a training
    loss.

    Args:
      apply_fn: (params, inputs) -> outputs [N, O].
      params: theta_0, where the landscape is looked at.
      inputs: leading axis N.
      key: of eps.

    Source: arXiv 2303.01486, section 4.
    """
    with jax.default_matmul_precision("highest"):
        outputs = as_float(apply_fn(checks.float_params(params), inputs))
    noise = jax.random.normal(key, outputs.shape, outputs.dtype)
    batch = (inputs, jax.lax.stop_gradient(outputs + noise))

    loss_fn = ComposedLoss(
        outputs_fn=lambda params, batch, key: apply_fn(params, batch[0]),
        losses_fn=lambda outputs, batch: jnp.sum(jnp.square(outputs - batch[1]), -1),
    )
    return loss_fn, batch
