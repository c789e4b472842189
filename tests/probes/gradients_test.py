import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import probes
from plasticity_jax.networks import MLP
from plasticity_jax.probes.gradients import cluster_order


def linear_loss(params, batch, key):
    """Gradient of example i is its row: any Gram matrix can be made to order."""
    del key
    return batch @ params


def test_gram_equals_gradients_taken_one_by_one():
    network = MLP(3, hidden=(5,), norm="layer")
    x = jax.random.normal(jax.random.key(0), (6, 4))
    params = network.init(jax.random.key(1), x)["params"]

    def loss_fn(params, batch, key):
        del key
        return jnp.sum(network.apply({"params": params}, batch) ** 2, axis=-1)

    rows = []
    for i in range(6):
        gradient = jax.grad(lambda p, i=i: loss_fn(p, x[i : i + 1], None)[0])(params)
        rows.append(np.concatenate([g.ravel() for g in jax.tree.leaves(gradient)]))
    got = probes.gradient_gram(loss_fn, params, x, None).arrays["gram"]
    np.testing.assert_allclose(got, np.array(rows) @ np.array(rows).T, rtol=1e-4)


def test_covariance_of_a_case_by_hand():
    rows = jnp.array([[1.0, 0.0], [3.0, 0.0], [-2.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    scalars, arrays = probes.gradient_covariance(
        linear_loss, jnp.ones(2), rows, jax.random.key(0), num_clusters=2
    )
    want = np.array(
        [
            [1, 1, -1, 0, 0],
            [1, 1, -1, 0, 0],
            [-1, -1, 1, 0, 0],
            [0, 0, 0, 1, 0],
            [0, 0, 0, 0, 0],
        ]
    )
    np.testing.assert_allclose(arrays["cosine"], want, atol=1e-6)
    np.testing.assert_allclose(arrays["norm"], [1, 3, 2, 5, 0])
    expected = {
        "mean_cosine": -2 / 20,
        "mean_abs_cosine": 6 / 20,
        "min_cosine": -1,
        "negative_share": 4 / 20,
        "interference_share": 4 / 20,
        "gradient_sparsity": 1 / 5,
        "mean_norm": 11 / 5,
        # eigenvalues 3 and 1: shares 3/4 and 1/4
        "effective_rank": np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(scalars[f"gradients/{name}"], value, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_order_puts_clusters_together(seed):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat(np.arange(4), [20, 12, 6, 5]))
    centres = 10 * np.eye(4, 7)
    points = jnp.asarray(centres[label] + rng.normal(size=(43, 7)))
    order = np.asarray(cluster_order(points, jax.random.key(seed), 4))
    assert sorted(order) == list(range(43))
    ordered = label[order]
    assert (np.diff(ordered) != 0).sum() == 3  # each label in one piece
    assert ordered[0] == 0  # the largest first


def test_works_under_jit_and_vmap():
    batches = jax.random.normal(jax.random.key(0), (3, 8, 2))
    measure = lambda batch: probes.gradient_covariance(
        linear_loss, jnp.ones(2), batch, jax.random.key(0), num_clusters=2
    )
    together = jax.jit(jax.vmap(measure))(batches)
    for i in range(3):
        for name, value in measure(batches[i]).scalars.items():
            np.testing.assert_allclose(together.scalars[name][i], value, rtol=1e-4)


def test_a_loss_that_mixes_examples_is_refused():
    def mixed(params, batch, key):
        outputs = linear_loss(params, batch, key)
        return (outputs - outputs.mean()) ** 2

    batch = jax.random.normal(jax.random.key(0), (6, 2))
    measure = lambda batch: probes.gradient_covariance(
        mixed, jnp.ones(2), batch, jax.random.key(0), num_clusters=2
    )
    with pytest.raises(ValueError, match="row i to depend on example i alone"):
        measure(batch)
    scalars, _ = jax.jit(measure)(batch)  # values unknown while tracing
    assert scalars["gradients/finite"] == 0
    assert np.isnan(scalars["gradients/mean_cosine"])


@pytest.mark.parametrize(
    ("batch", "clusters", "message"),
    [
        (jnp.ones((1, 2)), 1, "at least 2 examples; got 1"),
        (jnp.ones((4, 2)), 5, "num_clusters: expected 1 to N = 4"),
    ],
)
def test_bad_input_is_refused(batch, clusters, message):
    with pytest.raises(ValueError, match=message):
        probes.gradient_covariance(
            linear_loss, jnp.ones(2), batch, jax.random.key(0), num_clusters=clusters
        )
