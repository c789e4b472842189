"""From a config to a learner: interventions in order, one number a seed."""

import copy

import jax
import numpy as np
import pytest

from configs.block_mdp import dqn as dqn_config
from experiments import variants
from experiments.build import build
from experiments.overrides import override
from plasticity_jax.interventions import INTERVENTIONS


def config(names="quick", **sections):
    """The quick DQN config without probes, as the launcher hands it over."""
    made = dqn_config.get_config(names).to_dict()
    made = copy.deepcopy(made) | {"probes": {}}
    for section, changes in sections.items():
        if isinstance(changes, dict) and section in made:
            made[section].update(changes)
        else:
            made[section] = changes
    return made


def trained(config, num_updates=25):
    learner = build(config).learner
    state = learner.advance(learner.init(), num_updates)
    return learner, jax.tree.map(np.asarray, learner.export(state))


def optimized(exported, seed):
    return jax.tree.map(lambda x: x[seed], exported["members"]["optimized"]["train"])


@pytest.mark.parametrize("axis", ["vmap", "map"])
def test_one_number_a_seed_is_what_each_number_gives_alone(axis):
    rates, shrinks = (1e-3, 1e-2), (0.9, 0.5)

    def listed(rate, shrink, **seeds):
        return config(
            optimizer={"learning_rate": rate},
            interventions=[
                {"kind": "l2_init", "strength": 1e-2},
                {"kind": "shrink_perturb", "shrink": shrink, "every_updates": 10},
            ],
            seeds={"axis": axis} | seeds,
        )

    _, together = trained(listed(rates, shrinks))
    for seed, (rate, shrink) in enumerate(zip(rates, shrinks, strict=True)):
        _, alone = trained(listed(rate, shrink, first=seed, count=1))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4),
            optimized(together, seed)["params"],
            optimized(alone, 0)["params"],
        )


def test_hyper_parameters_of_a_seed_survive_export_and_restore():
    made = config(optimizer={"learning_rate": [1e-3, 1e-2]})
    learner, saved = trained(made, 7)
    state = learner.advance(learner.restore(saved), 18)
    want = trained(made, 25)[1]
    jax.tree.map(np.testing.assert_array_equal, learner.export(state), want)


def test_order_counts():
    """A reset after a shrink leaves the reset's draw whole; before it, shrunk."""
    reset = {"kind": "reset_last_layer", "every_updates": 10}
    shrink = {"kind": "shrink_to_initial", "shrink": 0.0, "every_updates": 10}

    def head(*interventions):
        _, exported = trained(config(interventions=interventions), 10)
        train = optimized(exported, 0)
        return (train[name]["head"]["kernel"] for name in ("params", "initial_params"))

    np.testing.assert_array_equal(*head(reset, shrink))
    now, initial = head(shrink, reset)
    assert np.abs(now - initial).min() > 0


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"interventions": [{"kind": "redoo"}]},
            r"interventions\[0\]\.kind: expected one of .* Did you mean 'redo'",
        ),
        (
            {"interventions": [{"kind": "redo"}, {"kind": "noise", "scales": 1.0}]},
            r"interventions\[1\] has no key 'scales'\. Did you mean 'scale'",
        ),
        ({"interventions": [{"tau": 0.1}]}, r"interventions\[0\]\.kind: expected one"),
        ({"interventions": {"kind": "redo"}}, "config.interventions: expected a tuple"),
        (
            {"optimizer": {"learning_rate": [1e-3]}},
            "learning_rate: expected one number, or one a seed, 2; got 1",
        ),
        (
            {"optimizer": {"learning_rate": [1e-3, -1.0]}},
            "learning_rate: expected a number above 0; got -1.0",
        ),
        (
            {"interventions": [{"kind": "redo", "tau": [0.1, "x"]}]},
            r"interventions\[0\]\.tau: expected a number",
        ),
        (
            {"interventions": [{"kind": "redo", "every_updates": 7}]},
            "redo: expected a period that is a multiple or a divisor of 10",
        ),
        (
            {"interventions": [{"kind": "reset_layers", "only": ["dense_7"]}]},
            "dense_7.*dense_0",
        ),
        ({"interventions": [{"kind": "nap"}]}, "nap: expected .*norm"),
        (
            {"network": {"spectral": ["dense_9"]}},
            r"expected one of dense_0, .*'dense_9'\. Did you mean",
        ),
        (
            {"network": {"head": "two_hot", "support": [-1.0, 12.0]}},
            r"holds 0 to 100, .* got \(-1\.0, 12\.0\)",
        ),
        ({"network": {"activation": "rellu"}}, "Did you mean 'relu'"),
        ({"dataset": {"kind": "digit"}}, "Did you mean 'digits'"),
        ({"optimizer": {"kind": "adm"}}, "Did you mean 'adam'"),
        (
            {"interventions": [{"kind": "plasticity_injection", "only": ["tail"]}]},
            "tail.*head",
        ),
        ({"interventions": [{"kind": "infer"}] * 2}, "infer: expected once"),
    ],
)
def test_what_cannot_work_is_refused_at_construction(sections, message):
    with pytest.raises(ValueError, match=message):
        build(config(**sections))


def test_set_reaches_what_flags_cannot():
    made = override(
        config(),
        [
            "optimizer.learning_rate=[1e-3, 1e-2]",
            'interventions=[{"kind": "redo"}, {"kind": "noise"}]',
            "interventions.1.scale=0.5",
            "network.activation=crelu",
            "optimizer.clip_norm=1",
        ],
    )
    assert made["interventions"] == [{"kind": "redo"}, {"kind": "noise", "scale": 0.5}]
    assert build(made).learner.seeds == (0, 1)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optimizer.clip_norm", "expected path=value"),
        ("label.x=1", "expected a section at 'label'; there is 'default'"),
        ("interventions.3.tau=1", "expected a place from 0 to 0"),
        ("optimizer.clip_nrm=1", "Did you mean 'clip_norm'"),
        ("optimizr.clip_norm=1", "Did you mean 'optimizer'"),
    ],
)
def test_set_refuses_what_no_config_has(assignment, message):
    with pytest.raises(ValueError, match=message):
        build(override(config("redo,quick", label="default"), [assignment]))


def test_a_config_lists_what_flags_may_change():
    made = dqn_config.get_config("redo,quick")
    assert made.network.activation == "relu" and made.optimizer.clip_norm == 0.0
    assert made.interventions[0]["tau"] == 0.025


def test_an_event_that_the_run_ends_before_is_warned_of():
    late = [{"kind": "redo", "every_updates": 1_000}]
    with pytest.warns(UserWarning, match="first event would follow update 1000"):
        build(config(interventions=late))


def test_the_name_of_an_intervention_is_a_variant():
    made = dqn_config.get_config("layer_norm,redo,l2_init,quick")
    assert made.label == "layer norm, redo, l2 init"
    assert [section["kind"] for section in made.interventions] == ["redo", "l2_init"]
    with pytest.raises(ValueError, match="Did you mean 'redo'"):
        dqn_config.get_config("redoo")
    variants.intervene(made, "noise", scale=0.5)
    assert made.interventions[-1] == {"kind": "noise", "scale": 0.5}


@pytest.mark.parametrize("kind", INTERVENTIONS)
def test_every_intervention_runs_from_a_config_with_its_defaults(kind):
    """Built and traced, as the launcher would; the contract test runs them."""
    network = {"norm": "layer"} if kind == "nap" else {}
    made = config(interventions=[{"kind": kind}], network=network, total_updates=5_000)
    learner = build(made).learner
    assert len(learner.seeds) == 2
