"""The empirical neural tangent kernel: inner products of the outputs' gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.checks import one_of
from plasticity_jax.probes import checks, ranks
from plasticity_jax.probes.gram import gram
from plasticity_jax.probes.result import report
from plasticity_jax.probes.similarity import cosines, eigenvalues, mean_off_diagonal
from plasticity_jax.types import ProbeResult, PyTree

OUTPUTS = ("trace", "full")


def empirical_ntk(
    apply_fn: Callable,
    params: PyTree,
    inputs: PyTree,
    *,
    outputs: str = "trace",
    method: str = "auto",
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    precision: str = "highest",
) -> ProbeResult:
    """Measures inner products of output gradients at the current parameters.

    Args:
      apply_fn: (params, inputs) -> outputs [N, ...], O numbers an example; row i
        depends on input i alone.
      params: P entries in all.
      inputs: leading axis N, at least 2.
      outputs: `trace`: sum_o <df_o(x_i), df_o(x_j)>; `full`: every pair of outputs.
      method, where, chunk_size, precision: as `gradient_gram`.

    Returns:
      scalars: ntk/effective_rank (exp of the entropy of the normalised eigenvalues of
        the trace kernel; it falls where inputs become alike), ntk/mean_cosine (its
        off-diagonal entries over the roots of the diagonal's, mean), ntk/trace (sum of
        its diagonal / N), ntk/structured_fraction, ntk/finite.
      arrays: kernel [N, N], or [N, N, O, O] with outputs=`full`.

    Raises:
      ValueError: N < 2, parameters not float, unknown names, outputs that do not have
        one row an input or mix inputs (under jit: NaN).

    Source: Jacot et al. 2018, arXiv 1806.07572; its rank: arXiv 2402.18762.
    Cost: as `gradient_gram` with O times the backward passes; `full` as if there were
      N O examples.
    """
    one_of("outputs", outputs, OUTPUTS)
    checks.is_precision(precision)
    params = checks.float_params(params)
    n = checks.num_examples(inputs, minimum=2)
    outputs_shape = jax.eval_shape(apply_fn, params, inputs)
    shape = getattr(outputs_shape, "shape", ())
    if not shape or shape[0] != n:
        raise ValueError(
            f"apply_fn: expected one array of outputs [{n}, ...], a row an input; got "
            f"{outputs_shape}."
        )

    products, scale, fraction = gram(
        "apply_fn", apply_fn, params, inputs, method=method, where=where,
        chunk_size=chunk_size, precision=precision, pairs_of_outputs=outputs == "full",
    )  # fmt: skip
    scales = jnp.expand_dims(scale[:, None] * scale, tuple(range(2, products.ndim)))
    kernel = products * scales
    if outputs == "full":
        products = jnp.trace(products, axis1=2, axis2=3)
    trace = products * scale[:, None] * scale
    cosine, _ = cosines(products)
    scalars = {
        "effective_rank": ranks.effective_rank(eigenvalues(trace)),
        "mean_cosine": mean_off_diagonal(cosine),
        "trace": jnp.trace(trace) / n,
        "structured_fraction": fraction,
    }
    return report("ntk", scalars, {"kernel": kernel}, kernel)
