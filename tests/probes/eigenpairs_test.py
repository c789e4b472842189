import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import probes

SPREAD = np.random.default_rng(1).normal(size=150)  # a bulk without gaps


def measure(eigenvalues, seed=0, dtype=jnp.float32, **options):
    """Eigenpairs of a quadratic with these eigenvalues on a random basis."""
    size = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))
    matrix = jnp.asarray(basis @ np.diag(eigenvalues) @ basis.T, dtype)

    def loss_fn(params, batch, key):
        flat = jnp.concatenate([params["a"], params["b"].ravel()])
        return 0.5 * flat @ matrix @ flat + 0 * batch

    params = {"a": jnp.ones(3, dtype), "b": jnp.ones((size - 3, 1), dtype)}
    compute = lambda key: probes.top_eigenpairs(
        loss_fn, params, jnp.zeros(2, dtype), key, **options
    )
    scalars, arrays = jax.jit(compute)(jax.random.key(seed))
    vectors = np.concatenate(
        [arrays["vectors"]["a"], arrays["vectors"]["b"][..., 0]], axis=1
    )
    assert scalars["eigenpairs/finite"] == 1
    assert scalars["eigenpairs/first"] == arrays["values"][0]
    return (
        np.asarray(arrays["values"]),
        np.asarray(arrays["residuals"]),
        vectors,
        matrix,
    )


@pytest.mark.parametrize(
    ("which", "outliers", "want"),
    [
        ("largest", [50.0, 30, 20, 15, -40], [50, 30, 20, 15]),
        ("smallest", [50.0, -10, -20, -30, -40], [-40, -30, -20, -10]),
        ("magnitude", [50.0, 30, -40, 20, 1], [50, -40, 30, 20]),
    ],
)
def test_outliers_are_found_with_vectors_and_honest_residuals(which, outliers, want):
    eigenvalues = [*SPREAD, *outliers]
    values, residuals, vectors, matrix = measure(eigenvalues, k=4, which=which)
    np.testing.assert_allclose(values, want, rtol=1e-4)
    error = np.linalg.norm(vectors @ matrix - values[:, None] * vectors, axis=1)
    np.testing.assert_allclose(residuals, error, atol=1e-3)
    assert residuals.max() < 1e-2
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_an_eigenvalue_is_found_as_often_as_it_is_there(seed):
    eigenvalues = [*SPREAD, 20, 20, 20, 9]
    values, *_ = measure(eigenvalues, seed, k=5, num_steps=90)
    np.testing.assert_allclose(values[:4], [20, 20, 20, 9], rtol=1e-4)
    # The fifth is at the edge of the bulk: no second copy of the fourth.
    np.testing.assert_allclose(values[4], SPREAD.max(), rtol=0.05)


@pytest.mark.parametrize("block_size", [1, 3])
def test_a_space_that_is_exhausted_goes_on_with_random_vectors(block_size):
    eigenvalues = np.repeat([7.0, 2.0, 0.0, -1.0], [2, 5, 30, 3])
    values, residuals, vectors, _ = measure(
        eigenvalues, k=10, num_steps=40, block_size=block_size
    )
    want = [7, 7, 2, 2, 2, 2, 2, 0, 0, 0]
    np.testing.assert_allclose(values, want, atol=1e-4)
    assert residuals.max() < 1e-3
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(10), atol=1e-5)


def test_all_of_them_are_the_dense_ones():
    eigenvalues = np.sort([*SPREAD[:20], 5.0])[::-1]
    values, residuals, *_ = measure(eigenvalues, k=21)
    np.testing.assert_allclose(values, eigenvalues, atol=1e-5)
    assert residuals.max() < 1e-4


def test_a_zero_hessian_has_eigenvalues_zero():
    values, residuals, vectors, _ = measure(np.zeros(12), k=3)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(residuals, 0)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-5)


def test_a_part_of_the_parameters_under_vmap():
    def loss_fn(params, batch, key):
        return params["a"] ** 2 * batch + 10 * params["b"] ** 2

    params = {"a": jnp.arange(2.0), "b": jnp.arange(2.0)}
    batch = jnp.array([1.0, 5.0])
    _, arrays = jax.vmap(
        lambda params: probes.top_eigenpairs(
            loss_fn,
            params,
            batch,
            jax.random.key(0),
            k=1,
            where=lambda path: path == "a",
        )
    )(params)
    np.testing.assert_allclose(arrays["values"], [[6], [6]], rtol=1e-6)
    assert arrays["vectors"]["b"] is None
    assert arrays["vectors"]["a"].shape == (2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 9}, "k: expected 1 to 8; got 9"),
        ({"k": 0}, "k: expected at least 1; got 0"),
        ({"k": 2.0}, "k: expected a whole number; got 2.0"),
        ({"k": 3, "num_steps": 2}, "num_steps: expected 3 to 8; got 2"),
        ({"k": 1, "which": "smalest"}, "Did you mean 'smallest'"),
        ({"k": 2, "block_size": 0}, "block_size: expected 1 to 8; got 0"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        measure(np.ones(8), **options)
