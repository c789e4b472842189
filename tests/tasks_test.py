import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.agents import replay
from plasticity_jax.agents.exploration import epsilon_greedy
from plasticity_jax.tasks import block_mdp, datasets


def test_digits_are_the_real_ones():
    data = datasets.digits()
    assert data.images.shape == (1797, 8, 8, 1)
    assert data.images.dtype == jnp.uint8
    assert int(data.images.max()) == 255
    np.testing.assert_array_equal(data.labels[:10], np.arange(10))


def test_split_is_disjoint_complete_and_fixed():
    data = datasets.digits()
    one, other = datasets.split(data, 360)
    again, _ = datasets.split(data, 360)
    assert len(one.labels) == 1437
    assert len(other.labels) == 360
    np.testing.assert_array_equal(one.labels, again.labels)
    rows = np.concatenate([one.images, other.images]).reshape(1797, -1)
    assert sorted(map(bytes, rows)) == sorted(
        map(bytes, np.asarray(data.images).reshape(1797, -1))
    )
    with pytest.raises(ValueError, match="num_held_out: expected 1 to 1796"):
        datasets.split(data, 1797)


def test_unknown_dataset_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        datasets.load("digit")


LABELS = jnp.array([0, 1, 2, 0, 1, 2, 2])


def walk(name, policy, num_steps=4_000):
    """Rewards, latents and images of a scripted policy, latent -> action."""
    states = block_mdp.latents(name, jax.random.key(7), LABELS, 3)
    mdp = block_mdp.make(name, states, 3)

    def step(env, key):
        reward, following = block_mdp.step(mdp, env, policy(env.latent), key)
        return following, (env, reward)

    env = block_mdp.reset(mdp, jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), num_steps)
    _, (seen, rewards) = jax.lax.scan(step, env, keys)
    return np.asarray(states), jax.device_get(seen), np.asarray(rewards)


@pytest.mark.parametrize("name", block_mdp.NAMES)
def test_an_environment_by_its_place_is_the_one_by_name(name):
    key, place = jax.random.key(3), jnp.int32(block_mdp.NAMES.index(name))
    states = block_mdp.latents(name, key, LABELS, 3)

    @jax.jit
    def by_place(place):
        states = block_mdp.latents(place, key, LABELS, 3)
        return states, block_mdp.make(place, states, 3)

    expected = states, block_mdp.make(name, states, 3)
    jax.tree.map(np.testing.assert_array_equal, by_place(place), expected)


@pytest.mark.parametrize("name", block_mdp.NAMES)
def test_average_reward_is_what_a_long_walk_earns(name):
    # Right in states 0 and 1, in state 2 half the time.
    states = block_mdp.latents(name, jax.random.key(7), LABELS, 3)
    mdp = block_mdp.make(name, states, 3)
    policy = jnp.array([[1.0, 0, 0], [0, 1, 0], [0, 0.5, 0.5]])

    def step(env, key):
        key_action, key_step = jax.random.split(key)
        logits = jnp.log(policy[env.latent])
        action = jax.random.categorical(key_action, logits)
        reward, env = block_mdp.step(mdp, env, action, key_step)
        return env, reward

    keys = jax.random.split(jax.random.key(1), 20_000)
    _, rewards = jax.lax.scan(step, block_mdp.reset(mdp, keys[0]), keys)
    # Easy and hard visit every state alike and pay 1, 1, 1/2. In sparse only state 2
    # pays, as often as its chain of 0 -> 1 -> 2 -> (0, or anywhere) is there.
    transitions = np.array([[0, 1, 0], [0, 0, 1], [2 / 3, 1 / 6, 1 / 6]])
    visits = np.linalg.matrix_power(transitions, 200)[0]
    expected = visits[2] / 2 if name == "sparse" else 2.5 / 3
    average = float(block_mdp.average_reward(mdp, policy))
    assert average == pytest.approx(expected, abs=1e-5)
    assert average == pytest.approx(float(rewards.mean()), abs=0.015)


def test_easy_pays_the_label_and_moves_uniformly():
    states, seen, rewards = walk("easy", lambda s: jnp.where(s == 1, 1, 0))
    np.testing.assert_array_equal(rewards, np.isin(seen.latent, [0, 1]))
    np.testing.assert_array_equal(states[seen.image], seen.latent)
    pairs = collections.Counter(zip(seen.latent, seen.latent[1:], strict=False))
    assert all(abs(count / 4_000 - 1 / 9) < 0.02 for count in pairs.values())
    assert len(pairs) == 9
    images = np.bincount(seen.image[seen.latent == 2])[[2, 5, 6]]
    np.testing.assert_allclose(images / images.sum(), 1 / 3, atol=0.05)


def test_hard_shows_images_of_their_fixed_random_label():
    states, seen, rewards = walk("hard", lambda s: s)
    np.testing.assert_array_equal(states[seen.image], seen.latent)
    assert (states != LABELS).any()
    assert (rewards == 1).all()


def test_sparse_climbs_and_pays_only_at_the_top():
    _, seen, rewards = walk("sparse", lambda s: s)
    np.testing.assert_array_equal(seen.latent[1:], (seen.latent[:-1] + 1) % 3)
    np.testing.assert_array_equal(rewards, seen.latent == 2)
    _, seen, rewards = walk("sparse", lambda s: (s + 1) % 3)
    assert not rewards.any()
    counts = np.bincount(seen.latent, minlength=3) / 4_000
    np.testing.assert_allclose(counts, 1 / 3, atol=0.04)


def test_replay_is_a_ring():
    storage = replay.empty({"x": jnp.int32(0)}, 5)
    held = collections.deque(maxlen=5)
    for count in range(13):
        storage = replay.add(storage, {"x": jnp.int32(count)}, count)
        held.append(count)
        rows = replay.sample(storage, jax.random.key(count), count + 1, 64)["x"]
        assert set(np.asarray(rows).tolist()) <= set(held)
    assert set(np.asarray(storage["x"]).tolist()) == set(held)
    rows = replay.sample(storage, jax.random.key(0), 13, 5_000)["x"]
    np.testing.assert_allclose(np.bincount(rows)[8:] / 5_000, 0.2, atol=0.03)


def test_epsilon_greedy_explores_at_its_rate():
    q = jnp.array([0.0, 3.0, 1.0, 2.0])
    keys = jax.random.split(jax.random.key(0), 4_000)
    actions = jax.vmap(lambda key: epsilon_greedy(key, q, 0.4))(keys)
    share = np.bincount(actions, minlength=4) / 4_000
    np.testing.assert_allclose(share, [0.1, 0.7, 0.1, 0.1], atol=0.025)
    greedy = jax.vmap(lambda key: epsilon_greedy(key, q, 0.0))(keys)
    assert (greedy == 1).all()
