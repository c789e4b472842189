"""Q-learning on a block MDP: environment, replay and update are one pure function."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax import checks, trees
from plasticity_jax.agents import replay
from plasticity_jax.agents.exploration import epsilon_greedy
from plasticity_jax.agents.q_learning import AGENTS, td_errors, td_loss
from plasticity_jax.learners import training, window
from plasticity_jax.learners.training import Optimized, Parts
from plasticity_jax.networks.model import as_model
from plasticity_jax.tasks import block_mdp
from plasticity_jax.tasks.datasets import Dataset, to_inputs
from plasticity_jax.types import Key, ProbeView, PureLearner, PyTree, Transition


class Settings(NamedTuple):
    """What to learn, and how."""

    environment: str = "easy"  # or hard, sparse
    reward_scale: float = 1.0  # the agent is paid reward_scale r + reward_offset
    reward_offset: float = 0.0
    agent: str = "dqn"  # or double_dqn
    discount: float = 0.99  # gamma
    epsilon: float = 0.1  # probability of a uniform action
    batch_size: int = 64  # B, drawn with replacement
    target_period: int = 1_000  # updates between copies to the target network
    replay_capacity: int = 50_000  # transitions kept
    num_warmup: int = 1_000  # transitions by uniform actions before the first update
    num_eval: int = 2_048  # `eval/...` is over the first so many images
    log_update_norm: bool = False  # its mean and largest in rows: an update takes 1.1


# Settings that may differ between seeds.
VARYING = ("environment", "reward_scale", "reward_offset", "discount", "epsilon")


class Shared(NamedTuple):
    """What every seed reads."""

    images: jax.Array  # [N, H, W, D] uint8
    labels: jax.Array  # [N]
    held_out_images: jax.Array  # [M, H, W, D] uint8: the probe pool
    held_out_labels: jax.Array  # [M]


class Member(NamedTuple):
    """One seed's state. Transitions hold image indices, not images."""

    optimized: Optimized
    mdp: block_mdp.BlockMDP
    env: block_mdp.EnvState
    replay: Transition
    key: Key  # of this seed; every draw is a function of it and the clock
    hparams: PyTree  # of this seed
    window: window.Window


def make(
    network, method, dataset: Dataset, held_out: Dataset, settings: Settings,
    vary_fn=None,
) -> tuple[PureLearner, Shared]:  # fmt: skip
    """Builds the learner and its data.

    Args:
      network: Linen module, inputs [N, H, W, D] in [0, 1] -> action values [N, A].
      method: an Optax transformation, a `Method`, or (hparams of one seed) -> Method.
      dataset: images that the environment shows; a class is a latent state.
      held_out: images it never shows, for the probes.
      settings: the environment's and the agent's.
      vary_fn: (hparams of one seed) -> {setting: value} for some of `VARYING`, in place
        of `settings`; an environment by its place in `block_mdp.NAMES`. `check` them.

    Raises:
      ValueError: an unknown name, or a count out of range.
    """
    model = as_model(network, dataset.images.shape[1:])
    check(settings, model.head)
    shared = Shared(dataset.images, dataset.labels, held_out.images, held_out.labels)
    parts = training.make_parts(
        settings, model, method, dataset.num_classes,
        period=period(settings), has_target=True, vary_fn=vary_fn,
    )  # fmt: skip
    functions = (partial(f, parts) for f in (_init, _update, _metrics, _view))
    return PureLearner(*functions), shared


def check(settings: Settings, head) -> None:
    """Refuses settings out of range, or whose returns the head cannot hold."""
    checks.one_of("agent", settings.agent, AGENTS)
    checks.one_of("environment", settings.environment, block_mdp.NAMES)
    checks.within(0, 1, discount=settings.discount, epsilon=settings.epsilon)
    low, high = settings.reward_offset, settings.reward_scale + settings.reward_offset
    head.require_support(settings.discount, (min(low, high), max(low, high)))


def period(settings: Settings) -> int:
    """Returns the updates between target updates."""
    return settings.target_period


def _init(parts: Parts, shared: Shared, key: Key, hparams: PyTree) -> Member:
    bound = parts.bind(hparams)
    optimized = bound.init(key)
    mdp, _ = _make_mdp(parts, bound.settings, key, shared.labels)
    env = block_mdp.reset(mdp, trees.named_key(key, "reset"))
    zero = jnp.int32(0)
    item = Transition(zero, zero, jnp.float32(0), jnp.float32(0), zero)
    storage = replay.empty(item, parts.settings.replay_capacity)
    norms = ("update_norm",) if parts.settings.log_update_norm else ()
    empty = window.empty("loss", "reward", *norms, maxima=norms)
    member = Member(optimized, mdp, env, storage, key, hparams, empty)
    warmup_key = trees.named_key(key, "warmup")

    def warm_up(count, member):
        key_action, key_env = jax.random.split(jax.random.fold_in(warmup_key, count))
        action = jax.random.randint(key_action, (), 0, parts.num_outputs)
        return _act_and_add(bound.settings, member, action, key_env, count)[0]

    return jax.lax.fori_loop(0, parts.settings.num_warmup, warm_up, member)


def _update(parts: Parts, shared: Shared, updates: jax.Array, member: Member):
    bound = parts.bind(member.hparams)
    settings = bound.settings
    key = jax.random.fold_in(trees.named_key(member.key, "train"), updates)
    key_act, key_env, key_batch = jax.random.split(key, 3)

    train = member.optimized.train
    observation = to_inputs(shared.images[member.env.image])
    q = bound.values_fn(train)(train.params, observation[None])[0]
    action = epsilon_greedy(key_act, q, settings.epsilon)
    count = settings.num_warmup + updates
    member, reward = _act_and_add(settings, member, action, key_env, count)

    batch = replay.sample(member.replay, key_batch, count + 1, settings.batch_size)
    batch = _observe(shared.images, batch)
    model, network_key = bound.setup.model, trees.named_key(key, "network")

    def losses_fn(params, model_state):
        forward = model.apply(params, model_state, batch.s_tm1, network_key)
        losses = td_loss(
            settings.agent, model.head, bound.apply_fn(train), forward.outputs,
            params, train.target_params, batch,
        )  # fmt: skip
        return losses, forward

    optimized, figures, features = bound.update(
        member.optimized, losses_fn, updates, batch.s_tm1, member.key
    )
    optimized = bound.sync(optimized, updates + 1)
    optimized = bound.fire(optimized, updates + 1, batch.s_tm1, features, member.key)
    return member._replace(
        optimized=optimized,
        window=window.observe(member.window, updates, reward=reward, **figures),
    )


def _metrics(parts: Parts, shared: Shared, updates: jax.Array, member: Member):
    num_eval, bound = parts.settings.num_eval, parts.bind(member.hparams)
    row, emptied = window.close(member.window)
    train, values_fn = member.optimized.train, bound.values_fn(member.optimized.train)
    q = values_fn(train.params, to_inputs(shared.images[:num_eval]))
    mdp, states = _make_mdp(parts, bound.settings, member.key, shared.labels)
    greedy, states = jnp.argmax(q, axis=-1), states[:num_eval]
    row["eval/accuracy"] = jnp.mean(greedy == states)
    policy = _policy(states, greedy, parts.num_outputs)
    row["eval/return"] = block_mdp.average_reward(mdp, policy)
    row["eval/mean_abs_q"] = jnp.mean(jnp.abs(q))
    view, agent = _view(parts, shared, member), parts.settings.agent
    row["eval/td_loss"] = jnp.mean(view.loss_fn(train.params, view.batch, None))
    errors = td_errors(agent, values_fn, train.params, train.target_params, view.batch)
    row["eval/td_error"] = jnp.mean(jnp.square(errors))  # of values, whatever the head
    row["env_steps"] = parts.settings.num_warmup + updates
    return row, member._replace(window=emptied)


def _view(parts: Parts, shared: Shared, member: Member) -> ProbeView:
    agent, bound = parts.settings.agent, parts.bind(member.hparams)
    train = member.optimized.train
    apply_fn, head = bound.apply_fn(train), bound.setup.model.head

    def loss_fn(params, batch, key):
        del key
        outputs_tm1 = apply_fn(params, batch.s_tm1)
        return td_loss(
            agent, head, apply_fn, outputs_tm1, params, train.target_params, batch
        )

    inputs = to_inputs(shared.held_out_images)
    batch = _held_out_batch(parts, bound.settings, shared, member.key)
    return bound.view(train, loss_fn, inputs, batch)


def _policy(states: jax.Array, actions: jax.Array, num_states: int) -> jax.Array:
    """Returns the share of each action in each latent state, [L, A]; a state that is
    not seen takes all alike."""
    seen = jax.nn.one_hot(states, num_states).T @ jax.nn.one_hot(actions, num_states)
    count = jnp.sum(seen, axis=-1, keepdims=True)
    return jnp.where(count > 0, seen / jnp.maximum(count, 1), 1 / num_states)


def _make_mdp(parts: Parts, settings: Settings, key: Key, labels: jax.Array):
    """Returns (tables, latent state of each image [N])."""
    name, num_states = settings.environment, parts.num_outputs
    key = trees.named_key(key, "labels")
    states = block_mdp.latents(name, key, labels, num_states)
    return block_mdp.make(name, states, num_states), states


def _act_and_add(settings: Settings, member: Member, action, key, count):
    """Takes a step, kept as transition number `count`; returns (member, its reward
    before scale and offset)."""
    reward, env = block_mdp.step(member.mdp, member.env, action, key)
    discount, paid = jnp.float32(settings.discount), _paid(settings, reward)
    item = Transition(member.env.image, action, paid, discount, env.image)
    storage = replay.add(member.replay, item, count)
    return member._replace(env=env, replay=storage), reward


def _paid(settings: Settings, reward: jax.Array) -> jax.Array:
    return settings.reward_scale * reward + settings.reward_offset


def _held_out_batch(parts: Parts, settings: Settings, shared: Shared, key: Key):
    """One transition from each held-out image, by a uniform action: frozen."""
    key = trees.named_key(key, "held_out")
    mdp, states = _make_mdp(parts, settings, key, shared.held_out_labels)
    env = block_mdp.EnvState(states, jnp.arange(len(states), dtype=jnp.int32))
    actions = jax.random.randint(
        trees.named_key(key, "actions"), states.shape, 0, parts.num_outputs
    )
    step_keys = jax.random.split(trees.named_key(key, "steps"), len(states))
    step = jax.vmap(block_mdp.step, in_axes=(None, 0, 0, 0))
    rewards, successors = step(mdp, env, actions, step_keys)
    discounts = jnp.full(states.shape, settings.discount, jnp.float32)
    paid = _paid(settings, rewards)
    batch = Transition(env.image, actions, paid, discounts, successors.image)
    return _observe(shared.held_out_images, batch)


def _observe(images: jax.Array, batch: Transition) -> Transition:
    """Replaces image indices by the images, scaled."""
    return batch._replace(
        s_tm1=to_inputs(images[batch.s_tm1]), s_t=to_inputs(images[batch.s_t])
    )
