"""Products, spectra and Gram matrices against dense matrices in float64, on every kind
of loss. One program a problem, since compilation is what takes the time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problems import PROBLEMS

from plasticity_jax import probes


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def dense(problem):
    """Hessian, Gauss-Newton and per-example gradients, by differentiating all of it."""
    loss_fn, params, batch, key, _ = problem
    flat, unravel = ravel_pytree(params)

    def outputs(flat):
        return loss_fn.outputs_fn(unravel(flat), batch, key)

    def losses(flat):
        return loss_fn(unravel(flat), batch, key)

    jacobian = jax.jacobian(outputs)(flat)  # [N, O, P]
    curvature = jax.hessian(lambda f: jnp.sum(loss_fn.losses_fn(f, batch)))
    curvature = curvature(outputs(flat))  # [N, O, N, O]
    n = len(jacobian)
    return {
        "hessian": jax.hessian(lambda flat: jnp.mean(losses(flat)))(flat),
        "gauss_newton": jnp.einsum("iop,iojq,jqr->pr", jacobian, curvature, jacobian)
        / n,
        "gradients": jax.jacobian(losses)(flat),
    }


def measured(problem, vectors):
    arguments = problem[:4]
    _, unravel = ravel_pytree(problem.params)

    def times(operator, **options):
        product = operator(*arguments, **options)
        return jax.lax.map(lambda v: ravel_pytree(product(unravel(v)))[0], vectors)

    gram = lambda **options: probes.gradient_gram(*arguments, **options)
    key = jax.random.key(8) if problem.key is None else problem.key
    spectrum = probes.hessian_spectrum(
        *arguments[:3], key, num_steps=10_000, num_draws=2, passes=2
    )
    return {
        "hvp": times(probes.hvp),
        "hvp_chunks": times(probes.hvp, chunk_size=2),
        "gauss_newton": times(probes.gauss_newton_vp),
        "fisher": times(probes.fisher_vp),
        "gram": gram(),
        "gram_chunks": gram(chunk_size=2).arrays["gram"],
        "gram_blocks": gram(method="blocks").arrays["gram"],
        "spectrum": spectrum,
    }


@pytest.mark.parametrize("name", PROBLEMS)
def test_everything_equals_the_dense_matrices(name):
    problem = PROBLEMS[name]()
    size = ravel_pytree(problem.params)[0].size
    vectors = jax.random.normal(jax.random.key(1), (2, size))
    want = jax.tree.map(np.asarray, jax.jit(lambda: dense(problem))())
    got = jax.jit(lambda: measured(problem, vectors))()

    fisher = want["gradients"].T @ want["gradients"] / len(want["gradients"])
    for ours, matrix in (
        ("hvp", want["hessian"]),
        ("hvp_chunks", want["hessian"]),
        ("gauss_newton", want["gauss_newton"]),
        ("fisher", fisher),
    ):
        np.testing.assert_allclose(
            got[ours], vectors @ matrix, rtol=1e-9, atol=1e-10, err_msg=ours
        )
    products = want["gradients"] @ want["gradients"].T
    scale = np.abs(products).max()
    for ours in (got["gram"].arrays["gram"], got["gram_chunks"], got["gram_blocks"]):
        np.testing.assert_allclose(ours, products, atol=1e-10 * scale)
    share = got["gram"].scalars["gram/structured_fraction"]
    assert problem.share <= share <= 1
    assert (share == 1) == (problem.share == 1)

    scalars, arrays = got["spectrum"]
    eigenvalues = np.linalg.eigvalsh(want["hessian"])
    scale = np.abs(eigenvalues).max()
    ends = [scalars["hessian/lambda_min"], scalars["hessian/lambda_max"]]
    np.testing.assert_allclose(ends, eigenvalues[[0, -1]], atol=1e-8 * scale)
    nodes = np.asarray(arrays["nodes"])[np.asarray(arrays["weights"]) > 1e-9]
    distance = np.abs(nodes[:, None] - eigenvalues).min(axis=1)
    assert distance.max() < 1e-6 * scale  # every node is an eigenvalue
