"""Effects by hand on made-up records, and the rules at their thresholds."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.claims import adam_instability
from experiments.claims.arms import complete
from experiments.claims.judge import decide, judge
from experiments.claims.report import table
from experiments.claims.thirteen import adjust
from experiments.runs import Run

TASK, NUM_TASKS = 100, 3
SEEDS = (100, 101, 102, 103, 104)


def run(kind, accuracies, dead=0.5, spike=6.0, seeds=SEEDS, total=None, **learner):
    """A run whose tasks end at `accuracies`, whose steps are 2 long, but spike x 2 just
    after the second boundary."""
    config = {
        "label": kind,
        "learner": {
            "kind": "supervised", "stream": "random_labels", "updates_per_task": TASK,
            **learner,
        },
        "network": {"kind": "mlp"},
        "optimizer": {"kind": kind},
        "probes": {"representation": {"inputs": "training"}},
        "total_updates": total or TASK * NUM_TASKS,
    }  # fmt: skip
    rows = []
    for seed in seeds:
        for updates in range(0, TASK * NUM_TASKS + 1, 50):
            row = {"updates": updates, "seed": seed, "failed_at": None}
            row["eval/accuracy"] = 0.1
            if updates and updates % TASK == 0:
                row["eval/accuracy"] = accuracies[updates // TASK - 1]
            row["train/update_norm"] = 2.0
            row["train/update_norm_max"] = 2.0 * spike if updates == 250 else 2.5
            row["representation/dead_fraction"] = dead
            rows.append(row)
    return Run(kind, Path(kind), config, [], rows, [])


def change(changed, **sections):
    """The run, with other entries in its config's sections."""
    config = dict(changed.config)
    for name, entries in sections.items():
        old = config.get(name)
        config[name] = old | entries if isinstance(old, dict) else entries
    return dataclasses.replace(changed, config=config)


def without(changed, metric):
    rows = [{k: v for k, v in row.items() if k != metric} for row in changed.rows]
    return dataclasses.replace(changed, rows=rows)


def arms(default=(1.0, 0.9, 0.1), tuned=(1.0, 0.99, 0.97), **options):
    return [
        run("adam_figure1_default", default, **options),
        run("adam_figure1_tuned", tuned, dead=0.1),
    ]


def test_effects_of_a_collapse():
    effects = adam_instability.collapse(arms()[0])
    np.testing.assert_allclose(effects["first_task_accuracy"], [1.0] * 5)
    np.testing.assert_allclose(effects["final_accuracy"], [0.1] * 5)
    np.testing.assert_allclose(effects["dead_fraction"], [0.5] * 5)
    np.testing.assert_allclose(effects["update_norm_ratio"], [3.625] * 5)
    ratios = adam_instability.update_norm_ratios(arms()[0])
    np.testing.assert_allclose(ratios, [[1.25, 6.0]] * 5)


def test_the_cure_is_judged_where_the_default_has_collapsed():
    effects = adam_instability.cure(
        *arms(default=(1.0, 0.15, 0.1), tuned=(1.0, 0.9, 0.3))
    )
    np.testing.assert_allclose(effects["default_accuracy_at_collapse"], [0.15] * 5)
    np.testing.assert_allclose(effects["tuned_drop_at_collapse"], [0.1] * 5)
    # No collapse: the last task, and the claim has nothing to be about.
    effects = adam_instability.cure(*arms(default=(1.0, 1.0, 0.9)))
    np.testing.assert_allclose(effects["default_accuracy_at_collapse"], [0.9] * 5)


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, "holds"),
        ({"dead": 0.3}, "undecided"),
        ({"spike": 1.3}, "does not hold"),
        ({"default": (1.0, 0.9, 0.6)}, "does not hold"),
        ({"default": (0.5, 0.1, 0.1)}, "not testable"),
        ({"seeds": (0, 1, 2)}, "not testable"),
    ],
)
def test_verdicts_on_the_first_claim(options, verdict):
    assert judge("C1", arms(**options))["verdict"] == verdict


@pytest.mark.parametrize(
    ("tuned", "verdict"),
    [
        ((1.0, 1.0, 0.95), "holds"),
        ((1.0, 1.0, 0.85), "undecided"),
        ((1.0, 1.0, 0.1), "does not hold"),
        ((0.3, 1.0, 1.0), "not testable"),
    ],
)
def test_verdicts_on_the_second_claim(tuned, verdict):
    assert judge("C2", arms(tuned=tuned))["verdict"] == verdict


def test_what_never_learned_has_not_collapsed():
    """Its task of the collapse would be the first, where nothing can have dropped."""
    assert judge("C2", arms(default=(0.1, 0.1, 0.1)))["verdict"] == "not testable"


def test_seeds_beyond_the_rules_are_not_looked_at():
    more = arms(default=(1.0, 1.0, 0.1), seeds=range(98, 108))[0]
    found = judge("C1", [more])
    assert found["verdict"] == "holds" and found["seeds"] == list(SEEDS)


def test_how_sure_a_verdict_is():
    """Every resample on the right side: (0 + 1) / (10,000 + 1), twice; of C1, which is
    undecided on its dead units, the condition that fails is told."""
    sure = judge("C2", arms())
    assert sure["p"] == pytest.approx(2 / 10_001)
    unsure = judge("C1", arms(dead=0.4 - 1e-9))
    assert unsure["verdict"] == "undecided" and unsure["p"] == 1.0
    # Of the thirteen, those without a p count as 1.
    first, second = adjust([sure, unsure])
    assert first["p_holm"] == pytest.approx(26 / 10_001) and second["p_holm"] == 1.0
    (alone,) = adjust([judge("C12", [])])
    assert alone["p"] is None and alone["p_holm"] is None


def test_quantifiers():
    """every: all of a family; any: one, at a p as many times as large."""
    values = np.array([0.1, 0.2, 0.3])
    effects = {
        name: {"mean": 0.2, "lo": low, "hi": 0.3, "values": values}
        for name, low in (("x, a", 0.1), ("x, b", -0.1), ("xy, c", 9.0))
    }
    rule = {"needs": [], "does_not_hold": []}
    every = decide(rule | {"holds": [["every x", "lo", ">", 0.0]]}, effects)
    assert every[0] == "undecided" and "lo every x 0.1, -0.1 > 0" in every[1]
    verdict, _, p = decide(rule | {"holds": [["any x", "lo", ">", 0.0]]}, effects)
    assert verdict == "holds" and p == pytest.approx(2 * 2 / 10_001)
    # A family that is not there meets nothing.
    assert decide(rule | {"holds": [["every z", "lo", ">", 0]]}, {})[0] == "undecided"


def test_controls_are_no_arms():
    control = run("adam_figure1_default", (1.0, 1.0, 1.0), control="fresh")
    runs = [*arms(), control]
    assert judge("C2", runs)["verdict"] == "holds"


def test_an_effect_that_is_not_a_number_decides_nothing():
    rule = {"needs": [], "holds": [["x", "hi", "<=", 1]], "does_not_hold": []}
    nan = {"x": {"mean": np.nan, "lo": np.nan, "hi": np.nan}}
    assert decide(rule, nan)[0] == "undecided"


WRONG_SETTINGS = {
    "learner.kind (expected supervised, got dqn)": {"learner": {"kind": "dqn"}},
    "learner.stream (expected random_labels, got permuted_images)": {
        "learner": {"stream": "permuted_images"}
    },
    "learner.transition (expected 0, got 0.5)": {"learner": {"transition": 0.5}},
    "learner.control (expected none, got fresh)": {"learner": {"control": "fresh"}},
    "network.norm (expected none, got layer)": {"network": {"norm": "layer"}},
    # This network's default is group norm: what is left out is not always `none`.
    "network.norm (expected none, got group)": {"network": {"kind": "resnet18"}},
    "interventions (expected none, got kind = redo, tau = 0.025": {
        "interventions": [{"kind": "redo"}]
    },
    "optimizer.b2 (expected 0.999, got 0.9)": {"optimizer": {"b2": 0.9}},
    "optimizer.eps_root (expected 0.0, got 0.1)": {"optimizer": {"eps_root": 0.1}},
    "optimizer.clip_norm (expected 0.0, got 1.0)": {"optimizer": {"clip_norm": 1.0}},
}


@pytest.mark.parametrize("message", WRONG_SETTINGS)
def test_another_setting_is_refused(message):
    default, tuned = arms()
    wrong = change(default, **WRONG_SETTINGS[message])
    for claim in ("C1", "C2"):
        with pytest.raises(ValueError, match=re.escape(message)):
            judge(claim, [wrong, tuned])
    # Beside the run meant it is no arm.
    assert judge("C1", [wrong, default])["verdict"] == "holds"


def test_a_key_left_out_is_at_its_default():
    default, tuned = arms()
    spelt_out = {
        "learner": {"control": "none", "transition": 0.0},
        "network": {"norm": "none"},
        "optimizer": {"b2": 0.999, "eps": 1e-9, "eps_root": 0.0},
        "interventions": [],
    }
    runs = [change(default, **spelt_out), tuned]
    assert judge("C2", runs)["verdict"] == "holds"
    network = complete(default.config)["network"]
    assert network["hidden"] == [512, 512]
    assert complete(tuned.config)["optimizer"]["eps_root"] == 1e-3


def test_arms_differ_in_their_optimisers_alone():
    default, tuned = arms()
    # How seeds are laid out and how often is saved changes no number.
    other = change(tuned, seeds={"axis": "vmap"}, save_every=7)
    assert judge("C2", [default, other])["verdict"] == "holds"
    other = change(tuned, network={"hidden": [64]}, seeds={"count": 5})
    differ = r"network\.hidden \(512, 512 and 64\), seeds\.count \(no such key and 5\)"
    with pytest.raises(ValueError, match=differ):
        judge("C2", [default, other])


def test_seeds_must_be_the_rules_in_every_arm():
    default, tuned = arms()
    fewer = run("adam_figure1_tuned", (1.0, 0.99, 0.97), seeds=(102, 100))
    found = judge("C2", [default, fewer])
    assert found["verdict"] == "not testable" and found["seeds"] == [100, 102]
    assert found["reason"].endswith(
        "expected the rule's seeds 100, 101, 102, 103, 104; got 102, 100"
    )
    rows = [dict(row) for row in tuned.rows]
    rows[-1]["failed_at"] = 250
    found = judge("C2", [default, dataclasses.replace(tuned, rows=rows)])
    assert found["verdict"] == "not testable" and found["seeds"] == [100, 101, 102, 103]
    assert "104 diverged at 250" in found["reason"]
    rows = [{**row, "failed_at": 150} for row in default.rows if row["updates"] <= 150]
    found = judge("C1", [dataclasses.replace(default, rows=rows)])
    assert found["verdict"] == "not testable" and found["effects"] == {}
    assert "NOT TESTABLE" in table([found])


def test_seeds_are_paired_by_number():
    """The arms' rows are in another order; drops are .1 for seed 100, 0 for others."""
    default, tuned = arms(tuned=(1.0, 1.0, 1.0))
    rows = [dict(row) for row in reversed(tuned.rows)]
    for row in rows:
        if row["seed"] == 100 and row["updates"] == 300:
            row["eval/accuracy"] = 0.9
    found = judge("C2", [default, dataclasses.replace(tuned, rows=rows)])
    drops = found["effects"]["tuned_drop_at_collapse"]["values"]
    np.testing.assert_allclose(drops, [0.1, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("metric", "remedy"),
    [
        ("eval/accuracy", "log_every"),
        ("representation/dead_fraction", "probe `representation`"),
        ("train/update_norm_max", "log_update_norm"),
        ("train/update_norm", "log_update_norm"),
    ],
)
def test_a_metric_that_is_missing_is_named(metric, remedy):
    default, _ = arms()
    with pytest.raises(ValueError, match=f"expected {metric} .*{remedy}"):
        judge("C1", [without(default, metric)])
    one_seed = [dict(row) for row in default.rows]
    for row in one_seed[-7:]:
        del row[metric]
    with pytest.raises(ValueError, match=f"expected {metric} of every seed"):
        judge("C1", [dataclasses.replace(default, rows=one_seed)])


def test_the_largest_step_may_be_in_any_row_of_the_fifty():
    default, _ = arms(spike=1.0)
    early = [
        {"updates": 225, "seed": seed, "train/update_norm_max": 12.0} for seed in SEEDS
    ]
    default = dataclasses.replace(default, rows=default.rows + early)
    ratios = adam_instability.update_norm_ratios(default)
    np.testing.assert_allclose(ratios, [[1.25, 6.0]] * 5)


def test_tasks_too_short_or_too_few_are_refused():
    default, _ = arms()
    short = change(default, learner={"updates_per_task": 15})
    short = dataclasses.replace(
        short,
        rows=[{**row, "updates": row["updates"] // 50 * 20} for row in short.rows],
        config=short.config | {"total_updates": 120},
    )
    with pytest.raises(ValueError, match=r"tasks of 50 updates or more.* = 15"):
        judge("C1", [short])
    with pytest.raises(ValueError, match="two tasks or more; 300 updates hold 1 of"):
        judge("C1", [change(default, learner={"updates_per_task": 300})])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"one run with optimizer\.kind = adam_fig"):
        judge("C2", arms()[:1])
    with pytest.raises(ValueError, match="got 2: 'adam_figure1_default'"):
        judge("C1", arms()[:1] * 2)
    with pytest.raises(ValueError, match="expected a finished run"):
        judge("C1", arms(total=1_000))
    with pytest.raises(ValueError, match="Did you mean 'C4'"):
        judge("C14", arms())


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--out=missing/verdicts.json", "--out=missing/verdicts.json: expected"),
        ("--claims=", "--claims: expected all, or some of C1, C2, C3"),
        ("--claims=C1", "is no folder"),
    ],
)
def test_the_command_refuses_in_one_line(flag, message):
    command = [sys.executable, "-m", "experiments.verdict", "no_such_folder", flag]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.startswith("error: ") and message in found.stderr
    assert found.stderr.count("\n") == 1


def test_the_table_tells_verdict_reason_and_interval():
    text = table([judge("C1", arms())])
    assert (
        "C1  HOLDS" in text and "update_norm_ratio" in text and "[3.625, 3.625]" in text
    )
