"""Q-learning on a block MDP: environment, replay and update are one pure function."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax import checks, trees
from plasticity_jax.agents import replay
from plasticity_jax.agents.exploration import epsilon_greedy
from plasticity_jax.agents.q_learning import AGENTS, td_loss
from plasticity_jax.learners import training
from plasticity_jax.networks import features_fn
from plasticity_jax.tasks import block_mdp
from plasticity_jax.tasks.datasets import Dataset, to_inputs
from plasticity_jax.types import Key, ProbeView, PureLearner, TrainState, Transition


class Shared(NamedTuple):
    """What every seed reads."""

    images: jax.Array  # [N, H, W, D] uint8
    labels: jax.Array  # [N]
    held_out_images: jax.Array  # [M, H, W, D] uint8: the probe pool
    held_out_labels: jax.Array  # [M]


class Member(NamedTuple):
    """One seed's state. Transitions hold image indices, not images."""

    train: TrainState
    mdp: block_mdp.BlockMDP
    env: block_mdp.EnvState
    replay: Transition
    key: Key  # of this seed; every draw is a function of it and the clock
    window: training.Window


def make(
    network,
    tx,
    dataset: Dataset,
    held_out: Dataset,
    *,
    environment: str = "easy",
    agent: str = "dqn",
    discount: float = 0.99,
    epsilon: float = 0.1,
    batch_size: int = 64,
    target_period: int = 1_000,
    replay_capacity: int = 50_000,
    num_warmup: int = 1_000,
    num_eval: int = 2_048,
) -> tuple[PureLearner, Shared]:
    """Builds the learner and its data.

    Args:
      network: Linen module, inputs [N, H, W, D] in [0, 1] -> action values [N, A].
      tx: Optax transformation.
      dataset: images that the environment shows.
      held_out: images it never shows, for the probes.
      environment: `easy`, `hard` or `sparse`.
      agent: `dqn` or `double_dqn`.
      discount: gamma.
      epsilon: probability of a uniform action.
      batch_size: B, drawn with replacement.
      target_period: updates between copies to the target network.
      replay_capacity: transitions kept.
      num_warmup: transitions by uniform actions before the first update.
      num_eval: `eval/accuracy` is over the first so many images of `dataset`.

    Raises:
      ValueError: an unknown name, or a count out of range.
    """
    checks.one_of("agent", agent, AGENTS)
    checks.one_of("environment", environment, block_mdp.NAMES)
    checks.within(0, 1, discount=discount, epsilon=epsilon)
    checks.at_least(
        1, batch_size=batch_size, target_period=target_period, num_eval=num_eval
    )
    checks.at_least(1, replay_capacity=replay_capacity, num_warmup=num_warmup)
    shared = Shared(dataset.images, dataset.labels, held_out.images, held_out.labels)
    num_actions = dataset.num_classes

    def q_fn(params, inputs):
        return network.apply({"params": params}, inputs)

    def make_mdp(key, labels):
        states = block_mdp.latents(environment, key, labels, num_actions)
        return block_mdp.make(environment, states, num_actions), states

    def act_and_add(member, action, key, count):
        reward, env = block_mdp.step(member.mdp, member.env, action, key)
        item = Transition(
            member.env.image, action, reward, jnp.float32(discount), env.image
        )
        storage = replay.add(member.replay, item, count)
        return member._replace(env=env, replay=storage), reward

    def init(shared, key):
        example = to_inputs(shared.images[:1])
        train = training.init_train_state(
            network, tx, example, trees.named_key(key, "init"), has_target=True
        )
        mdp, _ = make_mdp(trees.named_key(key, "labels"), shared.labels)
        env = block_mdp.reset(mdp, trees.named_key(key, "reset"))
        zero = jnp.int32(0)
        item = Transition(zero, zero, jnp.float32(0), jnp.float32(0), zero)
        storage = replay.empty(item, replay_capacity)
        window = training.empty_window("loss", "reward")
        member = Member(train, mdp, env, storage, key, window)

        def warm_up(count, member):
            step_key = jax.random.fold_in(trees.named_key(key, "warmup"), count)
            key_action, key_env = jax.random.split(step_key)
            action = jax.random.randint(key_action, (), 0, num_actions)
            return act_and_add(member, action, key_env, count)[0]

        return jax.lax.fori_loop(0, num_warmup, warm_up, member)

    def update(shared, updates, member):
        key = jax.random.fold_in(trees.named_key(member.key, "train"), updates)
        key_act, key_env, key_batch = jax.random.split(key, 3)

        observation = to_inputs(shared.images[member.env.image])
        q = q_fn(member.train.params, observation[None])[0]
        action = epsilon_greedy(key_act, q, epsilon)
        member, reward = act_and_add(member, action, key_env, num_warmup + updates)

        count = num_warmup + updates + 1
        batch = replay.sample(member.replay, key_batch, count, batch_size)
        batch = _observe(shared.images, batch)
        target_params = member.train.target_params

        def losses_fn(params, model_state):
            return td_loss(agent, q_fn, params, target_params, batch), model_state

        train, loss = training.update(member.train, tx, losses_fn)
        target_params = jax.lax.cond(
            (updates + 1) % target_period == 0,
            lambda: train.params,
            lambda: train.target_params,
        )
        train = train._replace(target_params=target_params)
        window = training.observe(member.window, updates, loss=loss, reward=reward)
        return member._replace(train=train, window=window)

    def metrics(shared, updates, member):
        row, window = training.close(member.window)
        params = member.train.params
        q = q_fn(params, to_inputs(shared.images[:num_eval]))
        _, states = make_mdp(trees.named_key(member.key, "labels"), shared.labels)
        row["eval/accuracy"] = jnp.mean(jnp.argmax(q, axis=-1) == states[:num_eval])
        row["eval/mean_abs_q"] = jnp.mean(jnp.abs(q))
        probe = view(shared, member)
        row["eval/td_loss"] = jnp.mean(probe.loss_fn(params, probe.batch, None))
        row["env_steps"] = num_warmup + updates
        return row, member._replace(window=window)

    def view(shared, member):
        target_params = member.train.target_params

        def loss_fn(params, batch, key):
            del key
            return td_loss(agent, q_fn, params, target_params, batch)

        return ProbeView(
            loss_fn=loss_fn,
            apply_fn=q_fn,
            init_fn=lambda key: network.init(key, to_inputs(shared.images[:1]))[
                "params"
            ],
            features_fn=features_fn(network),
            tx=tx,
            params=member.train.params,
            initial_params=member.train.initial_params,
            opt_state=member.train.opt_state,
            inputs=to_inputs(shared.held_out_images),
            batch=_held_out_batch(shared, member.key),
        )

    def _held_out_batch(shared, key):
        # One transition from each held-out image, by a uniform action: frozen.
        key = trees.named_key(key, "held_out")
        mdp, states = make_mdp(trees.named_key(key, "labels"), shared.held_out_labels)
        env = block_mdp.EnvState(states, jnp.arange(len(states), dtype=jnp.int32))
        actions = jax.random.randint(
            trees.named_key(key, "actions"), states.shape, 0, num_actions
        )
        step_keys = jax.random.split(trees.named_key(key, "steps"), len(states))
        step = jax.vmap(block_mdp.step, in_axes=(None, 0, 0, 0))
        rewards, successors = step(mdp, env, actions, step_keys)
        discounts = jnp.full(states.shape, discount, jnp.float32)
        batch = Transition(env.image, actions, rewards, discounts, successors.image)
        return _observe(shared.held_out_images, batch)

    return PureLearner(init, update, metrics, view), shared


def _observe(images: jax.Array, batch: Transition) -> Transition:
    """Replaces image indices by the images, scaled."""
    return batch._replace(
        s_tm1=to_inputs(images[batch.s_tm1]), s_t=to_inputs(images[batch.s_t])
    )
