"""Oracles: dense Hessians by forward-over-reverse on the flat vector, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from plasticity_jax import probes
from plasticity_jax.networks import MLP
from plasticity_jax.trees import path_name


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def mlp_problem(norm="none"):
    network = MLP(3, hidden=(6, 5), norm=norm)
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (20, 4), jnp.float64)
    params = network.init(keys[1], x)["params"]
    params = jax.tree.map(lambda p: p.astype(jnp.float64), params)

    def loss_fn(params, batch, key):
        x, y = batch
        del key
        return jnp.sum((network.apply({"params": params}, x) - y) ** 2, axis=-1)

    return loss_fn, params, (x, jax.random.normal(keys[2], (20, 3)))


def dense_hessian(loss_fn, params, batch):
    flat, unravel = ravel_pytree(params)
    mean = lambda flat: jnp.mean(loss_fn(unravel(flat), batch, None))
    return np.asarray(jax.hessian(mean)(flat))


def quadratic(eigenvalues, dtype=jnp.float64):
    """A loss whose mean has exactly these Hessian eigenvalues, on a random basis."""
    size = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))
    matrix = jnp.asarray(basis @ np.diag(eigenvalues) @ basis.T, dtype)

    def loss_fn(params, batch, key):
        del key
        return 0.5 * params @ matrix @ params + 0 * batch

    return loss_fn, jnp.ones(size, dtype), jnp.zeros(2, dtype)


def test_all_lanczos_steps_give_the_dense_spectrum():
    loss_fn, params, batch = mlp_problem()
    want = np.linalg.eigvalsh(dense_hessian(loss_fn, params, batch))
    found = probes.hessian_spectrum(
        loss_fn, params, batch, jax.random.key(0), num_steps=1_000, num_draws=30
    )
    scalars, arrays = found
    np.testing.assert_allclose(scalars["hessian/lambda_max"], want[-1], rtol=1e-8)
    np.testing.assert_allclose(scalars["hessian/lambda_min"], want[0], rtol=1e-8)
    np.testing.assert_allclose(jnp.sum(arrays["weights"], axis=1), 1, rtol=1e-10)
    assert scalars["hessian/residual_max"] < 1e-8
    # Quadrature: each draw is an unbiased estimate, so five standard errors hold it.
    nodes, weights = arrays["nodes"], arrays["weights"]
    for power in (1, 2):
        draws = jnp.sum(weights * nodes**power, axis=1)
        error = jnp.std(draws, ddof=1) / jnp.sqrt(len(draws))
        assert abs(jnp.mean(draws) - np.mean(want**power)) < 5 * error


def test_few_steps_find_the_outliers_with_honest_residuals():
    loss_fn, params, batch = mlp_problem()
    want = np.linalg.eigvalsh(dense_hessian(loss_fn, params, batch))
    scalars, arrays = probes.hessian_spectrum(
        loss_fn, params, batch, jax.random.key(0), num_steps=20, num_draws=2
    )
    np.testing.assert_allclose(scalars["hessian/lambda_max"], want[-1], rtol=1e-4)
    nodes, residuals = np.asarray(arrays["nodes"]), np.asarray(arrays["residuals"])
    nearest = np.abs(nodes[..., None] - want).min(-1)
    assert (nearest <= residuals + 1e-8).all()  # the bound that residuals promise


def test_multiplicities_give_no_ghosts_in_float32():
    eigenvalues = np.repeat([-3.0, 0.0, 2.0, 100.0], [3, 20, 10, 2])
    loss_fn, params, batch = quadratic(eigenvalues, jnp.float32)
    with jax.enable_x64(False):
        scalars, arrays = probes.hessian_spectrum(
            loss_fn, params, batch, jax.random.key(1), num_steps=35, num_draws=200
        )
    nodes, weights = np.asarray(arrays["nodes"]), np.asarray(arrays["weights"])
    real = weights > 1e-6
    distance = np.abs(nodes[..., None] - [-3, 0, 2, 100])
    assert distance.min(-1)[real].max() < 1e-3
    # A ghost would be a copy more than there are eigenvalues.
    copies = ((distance < 1e-2) & real[..., None]).sum(axis=1).max(axis=0)
    assert (copies <= [3, 20, 10, 2]).all()
    assert np.isfinite(nodes).all()
    assert nodes.min() > -3.01
    assert nodes.max() < 100.01
    np.testing.assert_allclose(scalars["hessian/lambda_max"], 100, rtol=1e-4)
    np.testing.assert_allclose(scalars["hessian/negative_mass"], 3 / 35, atol=0.02)
    magnitude = np.abs(eigenvalues)
    share = magnitude[magnitude > 0] / magnitude.sum()
    want = np.exp(-np.sum(share * np.log(share)))
    np.testing.assert_allclose(scalars["hessian/effective_rank"], want, rtol=0.1)
    # One draw scatters by sqrt(2 sum lambda^2) = 200, 200 draws by 14.
    assert abs(scalars["hessian/trace"] - eigenvalues.sum()) < 4 * 14
    np.testing.assert_allclose(
        scalars["hessian/negative_energy"], 9 / magnitude.sum(), rtol=0.3
    )


def in_float32(eigenvalues, num_steps=90, num_draws=20, passes=1):
    loss_fn, params, batch = quadratic(eigenvalues, jnp.float32)
    with jax.enable_x64(False):
        return probes.hessian_spectrum(
            loss_fn, params, batch, jax.random.key(0),
            num_steps=num_steps, num_draws=num_draws, passes=passes,
        )  # fmt: skip


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.linspace(1, 3, 100),
        np.linspace(5, 6, 300),
        -np.linspace(0.9, 1, 300),
        np.append(np.linspace(0, 20, 60), np.zeros(90)) + 0.5,  # a penalty of .25 |p|^2
    ],
    ids=["far_from_zero", "further", "negative", "penalty"],
)
def test_a_spectrum_away_from_zero_gains_nothing_outside(eigenvalues, passes):
    scalars, arrays = in_float32(eigenvalues, passes=passes)
    ends = [scalars["hessian/lambda_min"], scalars["hessian/lambda_max"]]
    want = [eigenvalues.min(), eigenvalues.max()]
    np.testing.assert_allclose(ends, want, atol=2e-4 * np.abs(eigenvalues).max())
    np.testing.assert_allclose(jnp.sum(arrays["weights"], axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e25, 1e-20])
def test_neither_huge_nor_tiny_eigenvalues_leave_float32(scale):
    eigenvalues = scale * np.linspace(-1, 3, 50)
    scalars, _ = in_float32(eigenvalues, num_draws=2)
    ends = [scalars["hessian/lambda_min"], scalars["hessian/lambda_max"]]
    np.testing.assert_allclose(ends, eigenvalues[[0, -1]], rtol=1e-4)
    assert scalars["hessian/finite"] == 1


def test_a_small_bulk_beside_a_huge_eigenvalue_has_an_honest_residual():
    eigenvalues = np.append(np.linspace(-0.05, 0.05, 199), 1e4)
    scalars, _ = in_float32(eigenvalues, num_steps=40, num_draws=3)
    np.testing.assert_allclose(scalars["hessian/lambda_max"], 1e4, rtol=1e-5)
    error = abs(scalars["hessian/lambda_min"] + 0.05)
    assert error < max(scalars["hessian/residual_max"], 2e-3)  # 1e4 eps and a little


def test_density_integrates_to_one_and_peaks_where_the_eigenvalues_are():
    loss_fn, params, batch = quadratic(np.repeat([1.0, 5.0], [30, 10]))
    _, arrays = probes.hessian_spectrum(
        loss_fn, params, batch, jax.random.key(0), num_steps=4, num_draws=50
    )
    mass = np.trapezoid(arrays["density"], arrays["grid"])
    np.testing.assert_allclose(mass, 1, rtol=1e-3)
    near_one = np.abs(arrays["grid"] - 1) < 0.5
    share = np.trapezoid(arrays["density"][near_one], arrays["grid"][near_one])
    np.testing.assert_allclose(share, 0.75, atol=0.05)


@pytest.mark.parametrize("outlier", [1e2, 1e4, 1e6])
def test_density_integrates_to_one_whatever_the_outliers(outlier):
    eigenvalues = np.repeat([-1.0, 0.0, 1.0, outlier], [5, 30, 10, 5])
    loss_fn, params, batch = quadratic(eigenvalues)
    _, arrays = probes.hessian_spectrum(
        loss_fn, params, batch, jax.random.key(0), num_steps=4, num_draws=10
    )
    mass = np.trapezoid(arrays["density"], arrays["grid"])
    np.testing.assert_allclose(mass, 1, rtol=1e-3)


def test_what_is_not_finite_is_nan_throughout_and_said():
    with pytest.warns(RuntimeWarning, match="hessian: met a NaN"):
        scalars, _ = probes.hessian_spectrum(
            lambda p, b, k: jnp.sum(p**2) * b, jnp.ones(4), jnp.array([1.0, jnp.nan]),
            jax.random.key(0), num_steps=3, num_draws=1,
        )  # fmt: skip
    assert scalars.pop("hessian/finite") == 0
    assert all(np.isnan(value) for value in scalars.values())


def test_the_epsilon_rank_counts_eigenvalues_of_either_sign():
    eigenvalues = [-3.0] * 4 + [1e-3] * 20 + [0.5] * 6
    loss_fn, params, batch = quadratic(eigenvalues)
    for epsilon, want in ((1e-2, 10), (1.0, 4), (1e-4, 30)):
        scalars, _ = probes.hessian_spectrum(
            loss_fn, params, batch, jax.random.key(0),
            num_steps=3, num_draws=400, epsilon=epsilon,
        )  # fmt: skip
        np.testing.assert_allclose(scalars["hessian/epsilon_rank"], want, rtol=0.06)


def test_one_layer_has_the_spectrum_of_its_own_block():
    loss_fn, params, batch = mlp_problem()
    paths = [path_name(p) for p, _ in jax.tree_util.tree_leaves_with_path(params)]
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    inside = np.repeat([path.startswith("dense_1") for path in paths], sizes)
    block = dense_hessian(loss_fn, params, batch)[np.ix_(inside, inside)]
    want = np.linalg.eigvalsh(block)
    scalars, arrays = probes.hessian_spectrum(
        loss_fn, params, batch, jax.random.key(0), num_steps=1_000, num_draws=1,
        where=lambda path: path.startswith("dense_1"),
    )  # fmt: skip
    assert arrays["nodes"].shape == (1, inside.sum())
    np.testing.assert_allclose(scalars["hessian/lambda_max"], want[-1], rtol=1e-8)
    np.testing.assert_allclose(scalars["hessian/lambda_min"], want[0], atol=1e-8)
    with pytest.raises(ValueError, match=r"where: no path.*dense_1/kernel"):
        probes.hvp(loss_fn, params, batch, None, where=lambda path: "densel" in path)


def test_seeds_under_vmap_are_the_seeds_alone():
    def measure(params):
        loss_fn = lambda p, batch, key: jnp.sum(p**4) * batch
        return probes.hessian_spectrum(
            loss_fn, params, jnp.ones(2), jax.random.key(0),
            num_steps=4, num_draws=2, num_grid=20,
        )  # fmt: skip

    seeds = jax.random.normal(jax.random.key(1), (2, 6))
    together = jax.vmap(measure)(seeds)
    for index, params in enumerate(seeds):
        alone = measure(params)
        for name, value in alone.scalars.items():
            np.testing.assert_allclose(together.scalars[name][index], value, rtol=1e-8)


def test_a_basis_that_cannot_fit_is_refused_with_its_size():
    params = jax.ShapeDtypeStruct((10**12,), jnp.float32)
    with pytest.raises(ValueError, match=r"90 steps x 1,000,000,000,000.*360,000.0 GB"):
        jax.eval_shape(
            lambda params: probes.hessian_spectrum(
                lambda p, b, k: b * p[0], params, jnp.ones(2), jax.random.key(0)
            ),
            params,
        )


def test_a_zero_hessian_and_a_single_parameter():
    flat = lambda params, batch, key: params[0] * batch
    scalars, arrays = probes.hessian_spectrum(
        flat, jnp.ones(7), jnp.ones(3), jax.random.key(0), num_steps=5, num_draws=2
    )
    assert all(np.isfinite(value) for value in scalars.values())
    assert not arrays["nodes"].any()
    assert scalars["hessian/effective_rank"] == 0
    scalars, _ = probes.hessian_spectrum(
        lambda p, b, k: 2.5 * p**2 + 0 * b,
        jnp.array(1.0),
        jnp.ones(3),
        jax.random.key(0),
        num_steps=9,
        num_draws=1,
    )
    np.testing.assert_allclose(scalars["hessian/lambda_max"], 5)
    np.testing.assert_allclose(scalars["hessian/effective_rank"], 1)


def test_half_precision_parameters_are_measured_in_float32():
    with jax.enable_x64(False):
        scalars, _ = probes.hessian_spectrum(
            lambda p, b, k: jnp.sum(1.001 * p**2) + 0 * b,
            jnp.ones(3, jnp.bfloat16),
            jnp.ones(2),
            jax.random.key(0),
            num_steps=2,
            num_draws=1,
        )
    np.testing.assert_allclose(scalars["hessian/lambda_max"], 2.002, rtol=1e-5)


def test_landscape_is_flat_noise_at_the_current_output():
    network, key = MLP(3, hidden=(4,)), jax.random.key(0)
    x = jax.random.normal(key, (50, 4))
    params = network.init(key, x)["params"]
    apply_fn = lambda params, x: network.apply({"params": params}, x)
    loss_fn, batch = probes.landscape(apply_fn, params, x, jax.random.key(3))
    noise = jax.random.normal(jax.random.key(3), (50, 3))
    want = np.sum(np.asarray(noise) ** 2, axis=1)
    np.testing.assert_allclose(loss_fn(params, batch, None), want, rtol=1e-5)


@pytest.mark.parametrize(
    ("params", "batch", "loss_fn", "message"),
    [
        (jnp.ones(2), jnp.ones(3), lambda p, b, k: p.sum(), r"\(3,\), one per example"),
        (jnp.ones(2), jnp.ones(3), lambda p, b, k: (b, b), r"\(3,\), one per example"),
        (jnp.ones(2, int), jnp.ones(3), lambda p, b, k: b, "floating point"),
        ({}, jnp.ones(3), lambda p, b, k: b, "at least one array entry"),
        (jnp.ones(2), (jnp.ones(3), jnp.ones(4)), lambda p, b, k: b[0], "leading axis"),
        (jnp.ones(2), jnp.ones(()), lambda p, b, k: b, "leading axis"),
    ],
)
def test_bad_input_is_refused_with_what_came(params, batch, loss_fn, message):
    with pytest.raises(ValueError, match=message):
        probes.hessian_spectrum(loss_fn, params, batch, jax.random.key(0))
