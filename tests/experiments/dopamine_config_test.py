"""The config of Dopamine's agents: each variant builds; what cannot work is refused."""

import pytest

from configs.atari import dopamine
from experiments import points
from experiments.build import build
from plasticity_jax.learners.atari import compat
from plasticity_jax.learners.atari.dopamine_settings import AGENTS

pytest.importorskip("dopamine", reason=f"needs the extra: {compat.INSTALL}")
pytestmark = pytest.mark.dopamine

VARIANTS = {"": "dqn", "double": "double_dqn"}
VARIANTS |= {name: name for name in AGENTS if name not in VARIANTS.values()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_agent_builds_with_what_combines(variant):
    names = ",".join(filter(None, (variant, "layer_norm", "quick", "l2_init", "redo")))
    config = dopamine.get_config(names)
    assert config.learner.agent == VARIANTS[variant]
    assert config.label.endswith("layer norm, l2 init, redo")
    with pytest.warns(UserWarning, match="redo: its first event would follow"):
        experiment = build(config.to_dict())
    assert experiment.learner.seeds == (0,) and experiment.probes


def test_variants_are_dopamines_published_settings():
    published = {"sampler": "prioritized", "update_horizon": 3}
    published |= {"target_update_period": 8_000, "epsilon_train": 0.01}
    for name in ("rainbow", "full_rainbow", "quantile"):
        assert dopamine.get_config(name).learner.to_dict().items() >= published.items()
    iqn = dopamine.get_config("implicit_quantile")
    assert iqn.learner.to_dict().items() >= (published | {"sampler": "uniform"}).items()
    assert (iqn.optimizer.learning_rate, iqn.optimizer.eps) == (5e-5, 3.125e-4)
    rainbow = dopamine.get_config("rainbow")
    assert (rainbow.optimizer.learning_rate, rainbow.optimizer.eps) == (6.25e-5, 1.5e-4)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("quick,parseval", "parseval adds to the loss"),
        ("quick,plasticity_injection", "keeps a state beside its parameters"),
    ],
)
def test_interventions_without_a_place_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        build(dopamine.get_config(names).to_dict())


def test_points_would_be_ignored_and_are_refused():
    config = dopamine.get_config("quick").to_dict()
    assert not points.can_vary(config, "optimizer.learning_rate")
    rates = [{"optimizer.learning_rate": rate} for rate in (1e-3, 1e-4)]
    with pytest.raises(ValueError, match="Launch one run for each value instead"):
        build(config | {"points": rates})
