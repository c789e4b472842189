"""E10, E11: does layer norm improve double DQN on 57 Atari games?

Figures 7 and 19 to 22 of arXiv 2303.01486. Claims: C12 (45 games up, 2 level, 10 down),
C13 (gradients start collinear and decorrelate as learning takes off).
Command: python -m experiments.sweep --config=configs/atari/double_dqn.py --out=runs/e10
One game: python -m experiments.train --config=configs/atari/double_dqn.py:layer_norm \\
    --config.learner.game=Seaquest --workdir=runs/seaquest
Variants: layer_norm; dqn, c51, rainbow; dopamine, machado2018 (how the game is shown,
and Dopamine's schedule); fast (8 environments); cpu (a small network, 1M frames),
quick; any intervention.

The paper's agent is DQN Zoo's double DQN with a replay of 100,000 and a final epsilon
of .1; layer norm, in each hidden layer, before the nonlinearity. An update is four
agent steps and a gradient step: 12,500,000 are 200M frames. Probes see observations
from the replay, the same for theta_t, theta_0 and the fresh network.
"""

from ml_collections import ConfigDict

from experiments import atari57, variants
from plasticity_jax.learners.atari.environments import PRESETS

MILLION_FRAMES = 62_500  # updates


def get_config(names: str = "") -> ConfigDict:
    """Returns the config, changed by the variants named."""
    config = ConfigDict()
    config.label = "double DQN"
    config.learner = dict(
        kind="atari",
        game="Pong",
        num_envs=1,
        **PRESETS["dqn_zoo"]._asdict(),
        agent="double_dqn",
        loss="huber",
        sampler="uniform",
        replay_capacity=100_000,
        batch_size=32,
        min_replay_history=50_000,
        update_period=4,
        target_update_period=30_000,
        discount=0.99,
        update_horizon=1,
        epsilon_train=0.1,
        epsilon_decay_period=250_000,
        probe_pool=512,
    )
    config.network = dict(kind="nature_cnn", head="shared_bias", padding="VALID")
    config.optimizer = dict(
        kind="rmsprop",
        learning_rate=2.5e-4,
        decay=0.95,
        eps=0.01 / 32**2,
        centered=True,
    )
    config.seeds = dict(first=0, count=1)
    config.total_updates = 200 * MILLION_FRAMES
    config.log_every = MILLION_FRAMES
    config.save_every = 4 * MILLION_FRAMES
    config.probes = dict(
        plasticity=dict(num_inputs=512, num_targets=2, num_steps=500, batch_size=32),
        hessian=dict(loss="landscape", num_examples=512, num_steps=60, num_draws=1),
        gradients=dict(loss="training", num_examples=512, num_clusters=10),
        representation=dict(),
        weights=dict(),
    )
    for probe in config.probes.values():
        probe.every = 10 * MILLION_FRAMES
    return variants.apply(config, names, VARIANTS)


def get_grids(names: str = "") -> list[dict]:
    """Returns with and without layer norm x games x three seeds; small: two, one."""
    is_small = bool({"cpu", "quick"} & set(names.split(",")))
    games = ["pong", "freeway"] if is_small else list(atari57.scores())
    return [
        {
            "variants": ["", "layer_norm"],
            "learner.game": games,
            "seeds.first": [0] if is_small else [0, 1, 2],
        }
    ]


def _layer_norm(config):
    config.network.norm = "layer"
    variants.rename(config, "layer norm")


def _dqn(config):
    config.learner.agent = "dqn"
    config.label = "DQN"


def _c51(config):
    """As published: Adam, 51 atoms over [-10, 10]."""
    config.learner.update(agent="dqn", epsilon_train=0.01)
    config.network.update(head="c51", support=(-10.0, 10.0), num_atoms=51)
    config.optimizer = dict(kind="adam", learning_rate=2.5e-4, eps=0.01 / 32)
    config.label = "C51"


def _rainbow(config):
    """Dopamine's: C51, three-step returns and prioritised replay."""
    _c51(config)
    config.learner.update(update_horizon=3, sampler="prioritized")
    config.optimizer = dict(kind="adam", learning_rate=6.25e-5, eps=1.5e-4)
    config.label = "Rainbow"


def _dopamine(config):
    """Dopamine's games and schedule."""
    config.learner.update(
        **PRESETS["dopamine"]._asdict(),
        replay_capacity=1_000_000,
        min_replay_history=20_000,
        target_update_period=8_000,
        epsilon_train=0.01,
    )
    config.network.update(head="linear", padding="SAME")
    variants.rename(config, "Dopamine's settings")


def _machado2018(config):
    config.learner.update(PRESETS["machado2018"]._asdict())
    variants.rename(config, "as Machado et al. 2018")


def _fast(config):
    config.learner.num_envs = 8
    variants.rename(config, "8 environments")


def _cpu(config):
    """About an hour on a core: a quarter of the network, 1M frames."""
    config.network.width = 0.25
    config.learner.update(
        replay_capacity=50_000,
        min_replay_history=10_000,
        target_update_period=4_000,
        epsilon_train=0.02,
        epsilon_decay_period=50_000,
        probe_pool=256,
    )
    config.total_updates = MILLION_FRAMES
    config.log_every, config.save_every = MILLION_FRAMES // 50, MILLION_FRAMES // 5
    config.probes.plasticity.num_inputs = 256
    config.probes.hessian.update(num_examples=64, num_steps=30)
    config.probes.gradients.num_examples = 128
    for probe in config.probes.values():
        probe.every = MILLION_FRAMES // 5
    variants.rename(config, "small")


VARIANTS = {
    "layer_norm": _layer_norm,
    "dqn": _dqn,
    "c51": _c51,
    "rainbow": _rainbow,
    "dopamine": _dopamine,
    "machado2018": _machado2018,
    "fast": _fast,
    "cpu": _cpu,
    "quick": variants.shrink_atari,
}
