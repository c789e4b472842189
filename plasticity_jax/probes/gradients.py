"""Do examples pull the parameters the same way? Inner products of their gradients."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from plasticity_jax.probes import checks
from plasticity_jax.probes.result import report
from plasticity_jax.types import Key, LossFn, ProbeResult, PyTree


def gradient_gram(
    loss_fn: LossFn, params: PyTree, batch: PyTree, key: Key
) -> jax.Array:
    """Returns <g_i, g_j>, [N, N], g_i the gradient of example i's loss.

    Args:
      loss_fn: (params, batch, key) -> losses [N], unreduced; row i depends on
        example i alone.
      params: P entries in all.
      batch: leading axis N, at least 2.
      key: passed to `loss_fn`.

    Raises:
      ValueError: reduced losses, N < 2, unequal leading axes, parameters not float, a
        loss that mixes examples (under jit: a matrix of NaN).

    Cost: an [N, P] array.
    """
    params = checks.float_params(params)
    n = checks.num_examples(batch, minimum=2)
    checks.unreduced(loss_fn, params, batch, key, n)

    def gradient(example):
        one = jax.tree.map(lambda x: x[None], example)
        loss_of = jax.value_and_grad(lambda p: loss_fn(p, one, key)[0])
        loss, gradient = loss_of(params)
        return loss, ravel_pytree(gradient)[0]

    with jax.default_matmul_precision("highest"):
        losses, gradients = jax.vmap(gradient)(batch)
        together = loss_fn(params, batch, key)
        gram = gradients @ gradients.T
    scale = jnp.max(jnp.abs(together))
    separable = jnp.all(jnp.abs(losses - together) <= 1e-3 * scale)
    mixes = jnp.isfinite(scale) & ~separable
    if not isinstance(mixes, jax.core.Tracer) and mixes:
        raise ValueError(
            "loss_fn: expected row i to depend on example i alone; the losses of "
            "single examples differ from those of the batch. Is there batch "
            "normalisation, or a mean over the batch, inside?"
        )
    return jnp.where(mixes, jnp.nan, gram)


def gradient_covariance(
    loss_fn: LossFn,
    params: PyTree,
    batch: PyTree,
    key: Key,
    *,
    num_clusters: int = 10,
) -> ProbeResult:
    """Measures interference: cosines between per-example gradients, clustered.

    Args:
      loss_fn, params, batch, key: as `gradient_gram`.
      num_clusters: of the k-means that orders rows and columns (the paper: the number
        of latent states).

    Returns:
      scalars: gradients/mean_cosine, mean_abs_cosine, min_cosine, negative_share
        (cosine < 0), interference_share (cosine < -.1), all over i != j;
        effective_rank (exp of the entropy of the normalised eigenvalues of C);
        zero_share (examples without gradient: their cosines are 0); mean_norm; finite
        (where 0, the others are NaN).
      arrays: cosine [N, N], order [N] (rows by cluster), norm [N].

    Raises:
      ValueError: as `gradient_gram`, or more clusters than examples.

    Source: arXiv 2303.01486, section 4.
    """
    n = checks.num_examples(batch, minimum=2)
    if not 1 <= num_clusters <= n:
        raise ValueError(
            f"num_clusters: expected 1 to N = {n}, the examples; got {num_clusters}."
        )
    key_loss, key_order = jax.random.split(key)
    gram = gradient_gram(loss_fn, params, batch, key_loss)
    norm = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0))
    scale = jnp.where(norm > 0, 1 / jnp.where(norm > 0, norm, 1.0), 0.0)
    cosine = gram * scale[:, None] * scale[None, :]

    off_diagonal = ~jnp.eye(n, dtype=bool)

    def mean(values):
        return jnp.sum(jnp.where(off_diagonal, values, 0.0)) / (n * (n - 1))

    spectrum = jnp.maximum(jnp.linalg.eigvalsh(cosine), 0.0)
    share = spectrum / jnp.maximum(jnp.sum(spectrum), jnp.finfo(spectrum.dtype).tiny)
    entropy = -jnp.sum(jnp.where(share > 0, share * jnp.log(share), 0.0))
    scalars = {
        "mean_cosine": mean(cosine),
        "mean_abs_cosine": mean(jnp.abs(cosine)),
        "min_cosine": jnp.min(jnp.where(off_diagonal, cosine, jnp.inf)),
        "negative_share": mean(cosine < 0),
        "interference_share": mean(cosine < -0.1),
        "effective_rank": jnp.exp(entropy),
        "zero_share": jnp.mean(norm == 0),
        "mean_norm": jnp.mean(norm),
    }
    order = cluster_order(cosine, key_order, num_clusters)
    arrays = {"cosine": cosine, "order": order, "norm": norm}
    return report("gradients", scalars, arrays, gram)


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
