"""What a probe sees of a Dopamine agent."""

import jax
import numpy as np
import optax

from plasticity_jax import networks
from plasticity_jax.agents.q_learning import td_errors, td_loss
from plasticity_jax.interventions import compose
from plasticity_jax.learners.atari.dopamine_settings import Settings, chooses
from plasticity_jax.learners.atari.hosted import chain_state
from plasticity_jax.networks.noisy import NOISE
from plasticity_jax.types import Key, Method, ProbeView, PyTree, Transition

NOISE_KEY = 0  # jax.random.PRNGKey(0): every probe of every run sees this noise


def snapshot(settings: Settings, seed: int, state) -> PyTree:
    """What probes read, leaves [1, ...]; the pool is drawn by (seed, update count)."""
    agent, memory = state.agent, state.agent._replay._memory
    # Not `_replay.sample`: that would advance the training's generator.
    draw = np.random.default_rng((seed, state.counts.updates, 2))
    oldest = agent._replay.add_count - len(memory)
    places = draw.choice(len(memory), settings.probe_pool, replace=False)
    items = [memory[oldest + int(place)].unpack() for place in places]
    terminal = np.array([item.is_terminal for item in items], np.float32)
    batch = Transition(
        s_tm1=np.stack([item.state for item in items]),  # [N, 84, 84, 4] uint8
        a_tm1=np.array([item.action for item in items], np.int32),
        r_t=np.array([item.reward for item in items], np.float32),
        discount_t=np.float32(agent.cumulative_gamma) * (1 - terminal),
        s_t=np.stack([item.next_state for item in items]),
    )
    tree = {
        "params": agent.online_params,
        "target_params": agent.target_network_params,
        "initial_params": agent.initial_params,
        "opt_state": chain_state(agent.optimizer_state),
        "batch": batch,
    }
    return jax.tree.map(lambda x: x[None], tree)


def view(settings: Settings, network, method: Method, snapshot: PyTree) -> ProbeView:
    """Shows one snapshot to probes: the trained loss with every weight 1, whatever the
    sampler.

    What training draws is fixed. An implicit quantile network is seen at the midpoints
    of equal parts, where its loss is a quantile head's; a noisy one, in the loss, under
    one draw for the online network and one for the next states, ever the same
    (`NOISE_KEY`), elsewhere as its mean.
    """
    head, inputs = network.head_meaning, snapshot["batch"].s_tm1

    def apply_fn(params, inputs):
        return network.apply({"params": params}, inputs)

    return ProbeView(
        loss_fn=_loss_fn(settings, network, snapshot["target_params"]),
        apply_fn=apply_fn,
        init_fn=lambda key: network.init(key, inputs[:1])["params"],
        features_fn=networks.features_fn(network),
        tx=compose.chain(method, in_probes=True),
        params=snapshot["params"],
        initial_params=snapshot["initial_params"],
        opt_state=compose.probe_state(method, snapshot["opt_state"]),
        inputs=inputs,
        batch=snapshot["batch"],
        predict_fn=None if head.is_linear else head.predict,
        fit_loss_fn=None if head.is_linear else head.losses,
    )


def _loss_fn(settings: Settings, network, target_params):
    # As Dopamine's full Rainbow splits its key: online network, next states, the rest.
    online, following, _ = jax.random.split(jax.random.PRNGKey(NOISE_KEY), 3)
    head, rule = network.head_meaning, chooses(settings)

    def apply_fn(params, inputs, noise=following):
        return network.apply({"params": params}, inputs, rngs={NOISE: noise})

    def loss_fn(params, batch: Transition, key: Key):  # -> [N]
        del key
        if head.is_linear:
            errors = td_errors(rule, apply_fn, params, target_params, batch)
            return optax.losses.huber_loss(errors)
        outputs_tm1 = apply_fn(params, batch.s_tm1, online)
        return td_loss(rule, head, apply_fn, outputs_tm1, params, target_params, batch)

    return loss_fn
