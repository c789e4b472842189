"""Dopamine's agents on ALE, probed: Pong by default.

Claims: C12, C13 of arXiv 2303.01486 need 57 games and 200M frames; this is the road
there, not the proof.
Command: python -m experiments.train --config=configs/atari/dopamine.py --workdir=DIR
Variants, comma separated, one agent first: double (double DQN, the paper's agent and
environment), rainbow, full_rainbow, quantile (QR-DQN), implicit_quantile (IQN); then
layer_norm, quick, or the name of an intervention that acts on gradients or as an event.
Another game: --config.learner.game=Seaquest
Needs the extra: pip install 'plasticity-jax[dopamine]'.

An update is four agent steps and a gradient step; 1,000,000 updates are 16M frames.
Probes draw observations from the replay, the same for theta_t, theta_0 and the fresh
network.
"""

from ml_collections import ConfigDict

from experiments import variants


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    config = ConfigDict()
    config.label = "DQN"
    config.learner = dict(
        kind="dopamine",
        game="Pong",
        agent="dqn",
        replay_capacity=100_000,
        batch_size=32,
        min_replay_history=20_000,
        update_period=4,
        target_update_period=30_000,
        discount=0.99,
        update_horizon=1,
        epsilon_train=0.1,
        epsilon_decay_period=250_000,
        sticky_actions=True,
        max_noops=0,
        terminal_on_life_loss=False,
        max_episode_steps=27_000,
        probe_pool=256,
    )
    config.network = dict(kind="nature_cnn", norm="none", padding="VALID", width=1.0)
    config.optimizer = dict(
        kind="rmsprop",
        learning_rate=2.5e-4,
        decay=0.95,
        eps=0.01 / 32**2,
        centered=True,
    )
    config.seeds = dict(first=0, count=1)
    config.total_updates = 1_000_000
    config.log_every = 5_000
    config.save_every = 25_000
    config.probes = dict(
        plasticity=dict(
            every=100_000, num_inputs=256, num_targets=2, num_steps=500, batch_size=32
        ),
        hessian=dict(
            every=100_000, loss="landscape", num_examples=64, num_steps=30, num_draws=1
        ),
        gradients=dict(
            every=100_000, loss="training", num_examples=32, num_clusters=10
        ),
        representation=dict(every=25_000),
        weights=dict(every=25_000),
    )
    return variants.apply(config, names, VARIANTS)


def _double(config):
    """The paper's agent, and its environment: DQN Zoo's."""
    config.learner.update(
        agent="double_dqn",
        sticky_actions=False,
        max_noops=30,
        terminal_on_life_loss=True,
    )
    config.label = "double DQN"


def _distributional(config, label, *, sampler, optimizer, **network):
    """Dopamine's settings for its distributional agents; its replay holds 1,000,000."""
    config.learner.update(
        sampler=sampler,
        update_horizon=3,
        target_update_period=8_000,
        epsilon_train=0.01,
    )
    config.network.update(padding="SAME", **network)
    config.optimizer = dict(kind="adam", **optimizer)
    config.label = label


RAINBOW_ADAM = dict(learning_rate=6.25e-5, eps=1.5e-4)
QUANTILE_ADAM = dict(learning_rate=5e-5, eps=3.125e-4)


def _rainbow(config):
    """Dopamine's compact Rainbow: C51, three-step returns, prioritised replay."""
    _distributional(
        config, "Rainbow", sampler="prioritized", optimizer=RAINBOW_ADAM,
        head="c51", support=(-10.0, 10.0), num_atoms=51,
    )  # fmt: skip
    config.learner.agent = "rainbow"


def _full_rainbow(config):
    """With double Q-learning, two streams, and noise in place of epsilon, too."""
    _rainbow(config)
    config.network.update(noisy=True, dueling=True)
    config.learner.agent = "full_rainbow"
    config.label = "full Rainbow"


def _quantile(config):
    _distributional(
        config, "QR-DQN", sampler="prioritized", optimizer=QUANTILE_ADAM,
        head="quantile", num_atoms=200,
    )  # fmt: skip
    config.learner.agent = "quantile"


def _implicit_quantile(config):
    _distributional(
        config, "IQN", sampler="uniform", optimizer=QUANTILE_ADAM,
        kind="implicit_quantile", head="quantile", num_atoms=64,
    )  # fmt: skip
    config.learner.agent = "implicit_quantile"


def _layer_norm(config):
    config.network.norm = "layer"
    config.label += ", layer norm"


VARIANTS = {
    "double": _double,
    "rainbow": _rainbow,
    "full_rainbow": _full_rainbow,
    "quantile": _quantile,
    "implicit_quantile": _implicit_quantile,
    "layer_norm": _layer_norm,
    "quick": variants.shrink_atari,
}
