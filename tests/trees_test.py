import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import trees

TREE = {"a": jnp.arange(3.0), "b": (jnp.full((2, 2), -1.0), {})}


def test_dot_and_norm_equal_the_flat_vector():
    flat = np.array([0, 1, 2, -1, -1, -1, -1.0])
    assert trees.dot(TREE, TREE) == flat @ flat
    np.testing.assert_allclose(trees.norm(TREE), np.linalg.norm(flat), rtol=1e-6)
    assert trees.size(TREE) == 7


def test_dot_computes_in_float32_for_half_precision():
    half = {"x": jnp.full(4096, 1.0, jnp.bfloat16)}  # bfloat16 stops at 256
    assert trees.dot(half, half) == 4096


def test_dict_round_trip_keeps_keys_empties_and_names():
    tree = {"key": jax.random.key(3), "state": (TREE, jnp.int32(4))}
    nested = trees.to_dict(tree)
    assert nested["state"]["0"]["b"]["0"].shape == (2, 2)
    back = trees.from_dict(jax.eval_shape(lambda: tree), nested)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    assert jax.random.bits(back["key"]) == jax.random.bits(tree["key"])
    assert back["state"][1] == 4


@pytest.mark.parametrize("nested", [{}, {"a": np.zeros(4)}])
def test_from_dict_names_what_does_not_fit(nested):
    with pytest.raises(ValueError, match=r"a: expected shape \(3,\)"):
        trees.from_dict({"a": jnp.zeros(3)}, nested)


def test_named_keys_differ_by_name_and_repeat():
    key = jax.random.key(0)
    words = [jax.random.bits(trees.named_key(key, name)) for name in ("a", "b", "a")]
    assert words[0] != words[1]
    assert words[0] == words[2]


def test_all_finite():
    assert trees.all_finite(TREE)
    assert not trees.all_finite({"x": jnp.array([1.0, jnp.nan])})
    assert trees.all_finite({})
