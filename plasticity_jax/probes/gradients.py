"""Do examples pull the parameters the same way? Inner products of their gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.probes import checks, ranks
from plasticity_jax.probes.gram import gram
from plasticity_jax.probes.result import report
from plasticity_jax.probes.similarity import cosines, eigenvalues, mean_off_diagonal
from plasticity_jax.types import Key, LossFn, ProbeResult, PyTree


def gradient_gram(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    method: str = "auto",
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    precision: str = "highest",
) -> ProbeResult:
    """Measures <g_i, g_j>, g_i the gradient of example i's loss.

    Args:
      loss_fn: (params, batch, key) -> losses [N], unreduced; row i depends on example i
        alone. Noise must come with the example: a key of each in the batch.
      params: P entries in all.
      batch: leading axis N, at least 2.
      key: passed to `loss_fn`.
      method: `auto` reads the loss's jaxpr and contracts the factors of each weight's
        gradient (activations and backpropagated errors) without forming it; what has no
        factors (norm scales, lookups, weights used inside a scan) is taken as it is.
        `blocks` takes every gradient as it is.
      where: predicate of a parameter's path: gradients of these alone.
      chunk_size: examples at a time. All at once by default, where gradients taken as
        they are stay within 256 MB; activations and errors of so many examples have to
        fit. With C chunks a backward pass is made (C + 1) / 2 times.
      precision: of matrix products, the loss's own included.

    Returns:
      scalars: gram/structured_fraction (share of the P entries whose gradients were
        never formed), gram/finite.
      arrays: gram [N, N].

    Raises:
      ValueError: reduced losses, N < 2, unequal leading axes, parameters not float, an
        unknown method, a loss that mixes examples (under jit: a matrix of NaN).

    Source: Goodfellow 2015, arXiv 1510.01799, for one layer's factors.
    Cost: about a gradient per example and N^2 times the widths of the layers.
    """
    products, scale, fraction = _of_losses(
        loss_fn, params, batch, key, method=method, where=where,
        chunk_size=chunk_size, precision=precision,
    )  # fmt: skip
    found = products * scale[:, None] * scale
    scalars = {"structured_fraction": fraction}
    return report("gram", scalars, {"gram": found}, found)


def _of_losses(loss_fn, params, batch, key, **options):
    """`gram` of the losses, checked."""
    checks.is_precision(options["precision"])
    params = checks.float_params(params)
    n = checks.num_examples(batch, minimum=2)
    checks.unreduced(loss_fn, params, batch, key, n)
    losses_fn = lambda params, batch: loss_fn(params, batch, key)
    return gram("loss_fn", losses_fn, params, batch, **options)


def gradient_covariance(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    num_clusters: int = 10,
    method: str = "auto",
    where: Callable[[str], bool] | None = None,
    chunk_size: int | None = None,
    precision: str = "highest",
) -> ProbeResult:
    """Measures interference: cosines between per-example gradients, clustered.

    Args:
      loss_fn, params, batch, key, method, where, chunk_size, precision: as
        `gradient_gram`.
      num_clusters: of the k-means that orders rows and columns (the paper: the number
        of latent states).

    Returns:
      scalars: gradients/mean_cosine, mean_abs_cosine, min_cosine, negative_share
        (cosine < 0), interference_share (cosine < -.1), all over i != j;
        effective_rank (exp of the entropy of the normalised eigenvalues of C);
        fisher_srank (least number of eigenvalues of the empirical Fisher, 1/N sum
        g_i g_i^T, that make up .99 of their sum); gradient_sparsity (share of examples
        without gradient: their cosines are 0); mean_norm; structured_fraction (as
        `gradient_gram`); finite (where 0, the others are NaN).
      arrays: cosine [N, N], order [N] (rows by cluster), norm [N], second_moment [N]
        (eigenvalues of the empirical Fisher, the uncentred second moment, descending;
        its other P - N are 0).

    Raises:
      ValueError: as `gradient_gram`, or more clusters than examples.

    Source: arXiv 2303.01486, section 4.
    """
    n = checks.num_examples(batch, minimum=2)
    checks.is_key(key)
    checks.counts(num_clusters=num_clusters)
    if num_clusters > n:
        raise ValueError(
            f"num_clusters: expected 1 to N = {n}, the examples; got {num_clusters}."
        )
    key_loss, key_order = jax.random.split(key)
    products, scale, fraction = _of_losses(
        loss_fn, params, batch, key_loss, method=method, where=where,
        chunk_size=chunk_size, precision=precision,
    )  # fmt: skip
    # Of the scaled gradients: tiny ones have cosines too.
    cosine, length = cosines(products)
    norm, off_diagonal = length * scale, ~jnp.eye(n, dtype=bool)
    largest = jnp.max(scale)
    share = scale / largest
    second_moment = eigenvalues(products * share[:, None] * share) / n
    scalars = {
        "mean_cosine": mean_off_diagonal(cosine),
        "mean_abs_cosine": mean_off_diagonal(jnp.abs(cosine)),
        "min_cosine": jnp.min(jnp.where(off_diagonal, cosine, jnp.inf)),
        "negative_share": mean_off_diagonal(cosine < 0),
        "interference_share": mean_off_diagonal(cosine < -0.1),
        "effective_rank": ranks.effective_rank(eigenvalues(cosine)),
        "fisher_srank": ranks.srank(second_moment),
        "gradient_sparsity": jnp.mean(length == 0),
        "mean_norm": jnp.mean(norm),
        "structured_fraction": fraction,
    }
    order = cluster_order(cosine, key_order, num_clusters)
    arrays = {
        "cosine": cosine,
        "order": order,
        "norm": norm,
        "second_moment": second_moment * largest**2,
    }
    return report("gradients", scalars, arrays, products)


def cluster_order(points: jax.Array, key: Key, num_clusters: int) -> jax.Array:
    """Returns an order of the rows, [N] int32, that puts k-means clusters together.

    k-means++ start, 20 Lloyd iterations; larger clusters first.
    """
    first = jax.random.randint(jax.random.fold_in(key, 0), (), 0, len(points))
    centres = jnp.zeros((num_clusters, points.shape[1]), points.dtype)
    centres = centres.at[0].set(points[first])

    def distances(centres):  # [N, clusters]
        cross = points @ centres.T
        return jnp.sum(points**2, 1)[:, None] - 2 * cross + jnp.sum(centres**2, 1)[None]

    def add_centre(index, centres):
        chosen = jnp.arange(num_clusters) < index
        nearest = jnp.min(jnp.where(chosen, distances(centres), jnp.inf), axis=1)
        logits = jnp.log(jnp.maximum(nearest, 1e-20))
        row = jax.random.categorical(jax.random.fold_in(key, index), logits)
        return centres.at[index].set(points[row])

    def lloyd(_, centres):
        member = jax.nn.one_hot(jnp.argmin(distances(centres), axis=1), num_clusters)
        counts = jnp.sum(member, axis=0)[:, None]
        return jnp.where(
            counts > 0, member.T @ points / jnp.maximum(counts, 1), centres
        )

    centres = jax.lax.fori_loop(1, num_clusters, add_centre, centres)
    centres = jax.lax.fori_loop(0, 20, lloyd, centres)
    label = jnp.argmin(distances(centres), axis=1)
    size = jnp.bincount(label, length=num_clusters)
    rank = jnp.argsort(jnp.argsort(-size))  # 0: the largest cluster
    return jnp.argsort(rank[label], stable=True).astype(jnp.int32)
