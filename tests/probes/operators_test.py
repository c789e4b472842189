import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import probes

OPERATORS = (probes.hvp, probes.gauss_newton_vp, probes.fisher_vp)
LOSS = probes.ComposedLoss(
    lambda params, batch, key: batch[0] @ params["w"] + params["b"],
    lambda outputs, batch: (outputs - batch[1]) ** 2,
)
PARAMS = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
BATCH = (jnp.array([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]]), jnp.array([1.0, 0.0, 2.0]))
VECTOR = {"w": jnp.array([1.0, 3.0]), "b": jnp.array(-1.0)}


def by_hand(operator):
    rows = np.column_stack([BATCH[0], np.ones(3)])  # gradients of the outputs
    errors = rows @ [1.0, -2.0, 0.5] - np.asarray(BATCH[1])
    weights = 4 * errors**2 if operator is probes.fisher_vp else 2 * np.ones(3)
    return (rows * weights[:, None]).T @ rows @ [1.0, 3.0, -1.0] / 3


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("chunk_size", [None, 1, 2, 3, 50])
def test_products_of_a_linear_model_by_hand(operator, chunk_size):
    got = operator(LOSS, PARAMS, BATCH, None, chunk_size=chunk_size)(VECTOR)
    want = by_hand(operator)
    np.testing.assert_allclose([*got["w"], got["b"]], want, rtol=1e-6)


@pytest.mark.parametrize("operator", OPERATORS)
def test_where_gives_the_block_and_none_elsewhere(operator):
    whole = operator(LOSS, PARAMS, BATCH, None)({"w": VECTOR["w"], "b": jnp.array(0.0)})
    product = operator(LOSS, PARAMS, BATCH, None, where=lambda path: path == "w")
    part = product({"w": VECTOR["w"], "b": None})
    assert part["b"] is None
    np.testing.assert_allclose(part["w"], whole["w"], rtol=1e-6)


@pytest.mark.parametrize("operator", OPERATORS)
def test_half_precision_is_computed_in_float32(operator):
    params, batch, vector = jax.tree.map(
        lambda x: x.astype(jnp.bfloat16), (PARAMS, BATCH, VECTOR)
    )
    got = operator(LOSS, params, batch, None)(vector)
    assert got["w"].dtype == jnp.float32
    np.testing.assert_allclose([*got["w"], got["b"]], by_hand(operator), rtol=1e-6)


@pytest.mark.parametrize("operator", OPERATORS)
def test_works_under_vmap_over_seeds(operator):
    stack = lambda *trees: jax.tree.map(lambda *xs: jnp.stack(xs), *trees)
    params = stack(PARAMS, VECTOR)
    product = lambda params: operator(LOSS, params, BATCH, None)(VECTOR)
    together = jax.jit(jax.vmap(product))(params)
    for index, one in enumerate((PARAMS, VECTOR)):
        np.testing.assert_allclose(together["w"][index], product(one)["w"], rtol=1e-6)


def test_precision_reaches_the_loss():
    def traced(**options):
        fn = lambda params: probes.hvp(LOSS, params, BATCH, None, **options)(VECTOR)
        return str(jax.make_jaxpr(fn)(PARAMS))

    assert "Precision.HIGHEST" in traced()
    assert "Precision.HIGHEST" not in traced(precision="default")


def test_a_vector_of_another_structure_is_refused():
    with pytest.raises(ValueError, match=r"vector: expected.*'w': \(2,\)"):
        probes.hvp(LOSS, PARAMS, BATCH, None)({"w": jnp.ones(3), "b": jnp.array(0.0)})


def test_gauss_newton_says_what_it_needs():
    with pytest.raises(ValueError, match=r"expected ComposedLoss\(outputs_fn, losses"):
        probes.gauss_newton_vp(lambda p, b, k: b[1], PARAMS, BATCH, None)


def test_chunks_of_a_loss_that_mixes_examples_are_refused():
    def loss_fn(params, batch, key):
        outputs = LOSS.outputs_fn(params, batch, key)
        return (outputs - jnp.mean(outputs)) ** 2

    probes.hvp(loss_fn, PARAMS, BATCH, None)(VECTOR)
    with pytest.raises(ValueError, match="with chunk_size: expected row i to depend"):
        probes.hvp(loss_fn, PARAMS, BATCH, None, chunk_size=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "w"}, "where: expected a predicate of paths"),
        ({"precision": "hi"}, "precision: expected a name"),
        ({"chunk_size": 2.0}, "chunk_size: expected a whole number"),
    ],
)
def test_slips_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        probes.hvp(LOSS, PARAMS, BATCH, None, **options)


def test_losses_that_are_counts_are_refused():
    with pytest.raises(ValueError, match="expected floating losses"):
        probes.hvp(lambda p, b, k: jnp.arange(3), PARAMS, BATCH, None)


@pytest.mark.parametrize(
    "probe", [probes.hessian_spectrum, probes.hessian_trace, probes.gradient_covariance]
)
def test_no_key_is_refused(probe):
    with pytest.raises(
        ValueError, match=r"key: expected jax.random.key\(seed\); got None"
    ):
        probe(LOSS, PARAMS, BATCH, None)


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match="chunk_size: expected at least 1"):
        probes.hvp(LOSS, PARAMS, BATCH, None, chunk_size=0)
