"""Claims C3 to C13 on made-up records: effects by hand, and each verdict there is."""

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from experiments.claims import measured, policies, probe_curves
from experiments.claims.arms import Missing, find
from experiments.claims.judge import judge
from experiments.claims.report import table
from experiments.claims.rules import command, load_rules, rule_of, trials
from experiments.claims.thirteen import every, named
from experiments.overrides import assign
from experiments.runs import Run
from experiments.sweeps import grids

SEEDS = range(100, 108)
PERIOD = 10
TWO_HOT, LAYER_NORM = {"network.head": "two_hot"}, {"network.norm": "layer"}


def made(at, label="default", workdir="runs/study", seeds=SEEDS, total=1000, **changes):
    """A run with these metrics, {update: {metric: number, or one a seed}}, and a config
    changed by {path: value}, dots written as __."""
    config = {
        "label": label,
        "learner": {"kind": "dqn", "environment": "easy", "target_period": PERIOD},
        "network": {"kind": "mlp", "hidden": [128, 128]},
        "optimizer": {"kind": "adam"},
        "dataset": {"kind": "digits"},
        "interventions": [],
        "probes": {"hessian": {}, "gradients": {}, "plasticity": {}},
        "total_updates": total,
    }
    for path, value in changes.items():
        assign(config, path.replace("__", "."), value)
    rows = []
    for updates, metrics in at.items():
        for index, seed in enumerate(seeds):
            row = {"updates": updates, "seed": seed, "failed_at": None}
            for name, value in metrics.items():
                row[name] = float(np.broadcast_to(value, len(seeds))[index])
            rows.append(row)
    return Run(label, Path(workdir), config, [], rows, [])


def method(kind):
    return {"interventions": [{"kind": kind}]}


def verdict(claim, runs):
    return judge(claim, runs)["verdict"]


def test_the_end_is_the_last_row_of_the_last_target_period():
    metric = "probe/rho"
    run = made({500: {metric: 0.1}, 1000 - PERIOD + 1: {metric: 0.2}, 1000: {}})
    np.testing.assert_array_equal(measured.at_end(run, metric), np.full(8, 0.2))
    early = made({1000 - PERIOD: {metric: 0.1}, 1000: {}})
    with pytest.raises(ValueError, match="of every seed at update 1000; there is none"):
        measured.at_end(early, metric)
    gap = made({990: {metric: 0.1}, 995: {metric: [np.nan] + [0.2] * 7}, 1000: {}})
    with pytest.raises(ValueError, match="of every seed at update 995; there is none"):
        measured.at_end(gap, metric)


# C3, C4: by learning rate descent and walk, whose numbers at the end are given.


def landscape(walk=1.1, displaced=2.0, td_loss=3.0, share=(0.3, 0.1, 0.2), rates=None):
    """Sharpness 2 -> 16 under descent, 2 -> 2 walk, and 2 displaced; TD loss 1 -> ."""
    runs = []
    for rate in rates or (0.01, 0.001):
        start = {"hessian/lambda_max": 2.0, "eval/td_loss": 1.0}
        descent = {
            "hessian/lambda_max": 16.0, "eval/td_loss": td_loss,
            "displaced/lambda_max": 2.0 * displaced,
            "gradients/interference_share": share[0],
            "displaced/interference_share": share[2],
        }  # fmt: skip
        walker = {
            "hessian/lambda_max": 2.0 * walk, "eval/td_loss": 1.0,
            "gradients/interference_share": share[1],
        }  # fmt: skip
        sgd = {"optimizer__kind": "sgd", "optimizer__learning_rate": rate}
        runs += [
            made({0: start, 1000: descent}, f"sgd {rate}", **sgd),
            made(
                {0: start, 1000: walker}, f"walk {rate}", **sgd | method("random_walk")
            ),
        ]
    return runs


def test_growth_of_the_learner_and_its_twins():
    part = judge("C3", landscape())["parts"][0]
    means = {name: effect["mean"] for name, effect in part["effects"].items()}
    assert means["growth, descent"] == pytest.approx(np.log(8))
    assert means["growth_difference, walk"] == pytest.approx(np.log(8 / 1.1))
    assert means["growth_difference, displaced"] == pytest.approx(np.log(4))
    assert means["td_loss_change"] == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "holds"),
        ({"walk": 5.0}, "undecided"),  # log 1.6
        ({"displaced": 8.0}, "does not hold"),
        ({"td_loss": 1.0}, "not testable"),
    ],
)
def test_verdicts_on_the_third_claim(options, expected):
    assert verdict("C3", landscape(**options)) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ((0.3, 0.1, 0.2), "holds"),
        ((0.3, 0.1, 0.285), "undecided"),
        ((0.3, 0.1, 0.3), "does not hold"),
        ((0.3, 0.3, 0.1), "does not hold"),
    ],
)
def test_verdicts_on_the_fourth_claim(share, expected):
    assert verdict("C4", landscape(share=share)) == expected


def test_a_claim_of_parts_says_them_all():
    one_rate = judge("C4", landscape(rates=[0.01]))
    assert one_rate["verdict"] == "undecided"
    assert [part["verdict"] for part in one_rate["parts"]] == ["holds", "not judged"]
    worse = landscape(share=(0.3, 0.1, 0.3), rates=[0.001])
    mixed = judge("C4", landscape(rates=[0.01]) + worse)
    assert mixed["verdict"] == "does not hold"
    assert mixed["reason"] == (
        "C4 learning rate 1e-2: holds; C4 learning rate 1e-3: does not hold"
    )
    with pytest.raises(Missing, match="expected one run with interventions = none"):
        judge("C4", [made({}, learner__discount=0.5)])


# C5


def agents(initial_loss=0.05, **metrics):
    """48 agents: 2 images x 2 networks x 3 rewards x 4 seeds, whose plasticity loss is
    a permutation of 0 to 47; metrics are functions of (loss, dataset)."""
    random, runs = np.random.default_rng(0), []
    losses = iter(random.permutation(48).reshape(12, 4))
    as_loss = {"weights/norm": 1, "weights/rank_0.01": 1}
    as_loss |= {"representation/dead_fraction": 1, "representation/feature_rank": 1}
    for dataset in ("digits", "textures"):
        for network in ("mlp", "cnn"):
            for environment in ("easy", "hard", "sparse"):
                loss = next(losses)
                flip = 1.0 if dataset == "digits" else -1.0
                end = {name: flip * loss for name in as_loss}
                end |= {name: of(loss, dataset) for name, of in metrics.items()}
                end |= {"probe/plasticity_loss": loss}
                end |= {"probe/initial_loss": initial_loss, "probe/baseline": 0.5}
                runs.append(
                    made(
                        {1000: end}, f"{dataset} {network} {environment}",
                        seeds=range(100, 104), dataset={"kind": dataset},
                        network={"kind": network}, learner__environment=environment,
                    )
                )  # fmt: skip
    return runs


def test_signs_of_correlations_in_groups():
    found = judge("C5", agents())
    effects = found["effects"]
    assert found["verdict"] == "holds" and effects["agents"]["mean"] == 48
    # Rewards have 16 agents a group, which is too few.
    groups = {name.split(", ")[1] for name in effects if name.startswith("dead_units")}
    assert groups == {
        *("observation digits", "observation textures"),
        *("architecture mlp", "architecture cnn", "optimiser adam"),
    }
    assert effects["weight_norm, observation digits"]["mean"] == pytest.approx(1)
    assert effects["weight_norm, observation textures"]["mean"] == pytest.approx(-1)
    assert effects["weight_norm, optimiser adam"]["n"] == 48
    # No resample is on the wrong side; Holm over five groups.
    p = effects["positive_groups, weight_norm"]["p"]
    assert p == pytest.approx(5 * 2 / 10_001) and found["p"] == p


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"weights/norm": lambda loss, dataset: loss}, "does not hold"),
        ({"weights/norm": lambda loss, dataset: loss * 0}, "undecided"),
        ({"initial_loss": 0.2}, "not testable"),
    ],
)
def test_verdicts_on_the_fifth_claim(options, expected):
    found = judge("C5", agents(**options))
    assert found["verdict"] == expected
    assert (found["p"] is None) == (expected != "undecided")  # counts have none


def test_an_agent_that_diverged_is_left_out_of_the_fifth_claim():
    runs = agents()
    runs[0].rows[0]["failed_at"] = 900
    effects = judge("C5", runs)["effects"]
    assert effects["agents"]["mean"] == 47 and effects["groups"]["mean"] == 3
    # 23 agents of digits and of MLPs are too few.
    assert "weight_norm, observation digits" not in effects
    assert effects["weight_norm, optimiser adam"]["n"] == 47
    with pytest.raises(Missing, match="8 or more values of learner"):
        judge("C5", runs[:7])


def test_a_setting_that_diverged_in_all_seeds_is_left_out_of_the_fifth_claim():
    runs = agents()
    for row in runs[0].rows:
        row |= {"updates": 500, "failed_at": 400}  # and so it stopped
    effects = judge("C5", runs)["effects"]
    assert effects["agents"]["mean"] == 44
    assert effects["weight_norm, optimiser adam"]["n"] == 44


# C6

STEPS = np.array([0, 200, 400, 600, 800, 1000])
FRESH = [1.0, 0.5, 0.2, 0.21, 0.1, 0.1]
OLD = [1.0, 0.8, 0.9, 0.6, 0.4, 0.2]


def curves(folder, old=OLD, initial_loss=0.1):
    """A CNN's run with two equal targets, and the probe's curves at 0 and the end."""
    (folder / "arrays").mkdir()
    for updates, curve in ((0, FRESH), (1000, old)):
        np.savez(
            folder / "arrays" / f"plasticity_{updates:09d}.npz",
            curves=np.tile(curve, (8, 2, 1)), steps=np.tile(STEPS, (8, 1)),
        )  # fmt: skip
    end = {"probe/baseline": 0.5, "probe/initial_loss": initial_loss}
    return [made({0: end, 1000: end}, workdir=folder, network={"kind": "cnn"})]


def test_the_shape_of_a_curve(tmp_path):
    effects = judge("C6", curves(tmp_path))["effects"]
    # .25 is met between 200 and 400 (.5 -> .2), and between 800 and 1,000 (.4 -> .2).
    ratio = (800 + 200 * 0.15 / 0.2) / (200 + 200 * 0.25 / 0.3)
    assert effects["steps_ratio"]["mean"] == pytest.approx(ratio)
    assert effects["log_variation_ratio"]["mean"] == pytest.approx(np.log(0.1 / 0.01))
    assert effects["late_drop"]["mean"] == pytest.approx(0.5)
    assert effects["never_there"]["mean"] == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "holds"),
        ({"old": [1.0, 0.9, 0.95, 0.9, 0.8, 0.7]}, "holds"),  # never at b / 2
        ({"old": FRESH}, "does not hold"),
        ({"old": [1.0, 0.8, 0.6, 0.5, 0.4, 0.2]}, "undecided"),  # not noisier
        ({"initial_loss": 0.3}, "not testable"),
    ],
)
def test_verdicts_on_the_sixth_claim(tmp_path, options, expected):
    found = judge("C6", curves(tmp_path, **options))
    assert found["verdict"] == expected


def test_curves_that_never_get_there_count_as_the_budget():
    never = np.array([[[1.0, 0.9, 0.9, 0.9, 0.9, 0.9], FRESH]])
    reached = probe_curves.steps_to(never, STEPS, np.array([0.25]))
    np.testing.assert_allclose(reached, [(1000 + 200 + 200 * 0.25 / 0.3) / 2])


def test_curves_that_were_not_kept_are_asked_for(tmp_path):
    runs = curves(tmp_path)
    (tmp_path / "arrays" / "plasticity_000001000.npz").unlink()
    with pytest.raises(ValueError, match="probe `plasticity` at update 1000"):
        judge("C6", runs)


# C7


def widths(slope=-0.2, change=0.05, ratio=0.1, count=4):
    return [
        made(
            {1000: {
                "probe/rho": 0.9 + slope * index, "probe/plasticity_loss": change,
                "probe/initial_loss": 0.5 * ratio, "probe/baseline": 0.5,
            }},
            f"width {index}", learner__target_period=200,
            network={"kind": "mlp", "hidden": [32, 32], "width": 2.0**index},
        )
        for index in reversed(range(count))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "holds"),
        ({"slope": -0.03}, "undecided"),
        ({"slope": 0.0}, "does not hold"),
        ({"change": 0.0}, "does not hold"),
        ({"ratio": 0.6}, "not testable"),
    ],
)
def test_verdicts_on_the_seventh_claim(options, expected):
    found = judge("C7", widths(**options))
    assert found["verdict"] == expected
    slope = options.get("slope", -0.2)
    assert found["effects"]["slope"]["mean"] == pytest.approx(slope)
    assert found["effects"]["rho, 32"]["mean"] == pytest.approx(0.9)


def test_two_widths_are_too_few():
    with pytest.raises(Missing, match="3 or more values of network"):
        judge("C7", widths(count=2))


# C8


def interventions(**rho):
    """Final rho .4 without a method; cnn_none and cnn_reset of the other network."""
    rho = dict(
        none=0.4, two_hot=0.1, layer_norm=0.05, both=0.0, shrink_perturb=0.9,
        weight_decay=0.38, spectral=0.5, reset=0.3, cnn_none=0.4, cnn_reset=0.9,
    ) | rho  # fmt: skip
    support = {"network.support": [-2.0, 150.0]}
    changes = {
        "none": {},
        "two_hot": TWO_HOT | support,
        "layer_norm": LAYER_NORM,
        "both": TWO_HOT | LAYER_NORM,
        "shrink_perturb": method("shrink_perturb"),
        "weight_decay": method("weight_decay"),
        "spectral": {"network.spectral": ["first"]},
        "reset": method("reset_last_layer"),
        "cnn_none": {"network": {"kind": "cnn"}},
        "cnn_reset": {"network": {"kind": "cnn"}} | method("reset_last_layer"),
    }
    return {
        name: made(
            {1000: {
                "probe/rho": rho[name], "probe/baseline": 0.5,
                "probe/initial_loss": 0.01,
            }},
            name, **changed,
        )
        for name, changed in changes.items()
    }  # fmt: skip


def parts(runs):
    found = judge("C8", list(runs.values()))
    split = {p["claim"].removeprefix("C8 "): p["verdict"] for p in found["parts"]}
    return found, split


def test_the_split_of_the_eighth_claim():
    found, split = parts(interventions())
    assert found["verdict"] == "holds" and set(split.values()) == {"holds"}
    assert len(split) == 7
    found, split = parts(interventions(layer_norm=0.5, weight_decay=0.2))
    assert found["verdict"] == "does not hold"
    against = {name for name, said in split.items() if said == "does not hold"}
    assert against == {"layer norm", "weight decay"}
    text = table([found])
    assert "    C8 layer norm  DOES NOT HOLD  Layer norm lowers" in text


def test_seeds_are_paired_in_the_eighth_claim():
    """Methods that move every seed by -.1, however much seeds differ."""
    none = np.linspace(0.0, 0.7, 8)
    _, split = parts(interventions(none=none, two_hot=none - 0.1))
    assert split["two-hot"] == "holds"
    _, split = parts(interventions(two_hot=0.35 + np.tile([-0.1, 0.1], 4)))
    assert split["two-hot"] == "undecided"


def test_two_hot_that_starts_unsolved_is_not_testable():
    runs = interventions()
    for row in runs["two_hot"].rows:
        row["probe/initial_loss"] = 0.21  # the trials of [-2, 102], 51 bins
    found, split = parts(runs)
    assert split["two-hot"] == "not testable" and found["verdict"] == "undecided"


def test_resets_of_the_last_layer_need_two_architectures():
    runs = interventions()
    assert parts(runs)[1]["reset last layer"] == "holds"
    alike = interventions(cnn_reset=0.2)
    assert parts(alike)[1]["reset last layer"] == "does not hold"
    level = interventions(cnn_reset=0.43)
    assert parts(level)[1]["reset last layer"] == "undecided"
    del runs["cnn_reset"]
    assert parts(runs)[1]["reset last layer"] == "not testable"


def test_an_architecture_is_told_by_its_images_where_it_is_there_twice():
    runs = interventions()
    for name in ("none", "reset"):
        rho = 0.4 if name == "none" else 0.35
        end = {"probe/rho": rho, "probe/baseline": 0.5, "probe/initial_loss": 0.01}
        changed = {} if name == "none" else method("reset_last_layer")
        textures = {"dataset": {"kind": "textures"}, **changed}
        runs[f"textures {name}"] = made({1000: end}, f"textures {name}", **textures)
    effects = parts(runs)[0]["parts"][-1]["effects"]
    differences = {
        name.removeprefix("rho_difference, "): round(found["mean"], 6)
        for name, found in effects.items()
        if name.startswith("rho_difference")
    }
    assert differences == {
        "mlp on digits": -0.1, "mlp on textures": -0.05, "cnn": 0.5,
    }  # fmt: skip
    assert effects["architectures"]["mean"] == 2
    for name, run in interventions().items():  # and twice as wide
        if name in ("none", "reset"):
            assign(run.config, "network.width", 2.0)
            runs[f"wide {name}"] = run
    part = parts(runs)[0]["parts"][-1]
    assert part["verdict"] == "not judged"
    assert "expected each architecture once on its images" in part["reason"]


# C9


@pytest.mark.parametrize(
    ("none", "layer_norm", "expected"),
    [
        (20.0, 2.0, "holds"),
        (20.0, 3.5, "undecided"),
        (200.0, 6.0, "does not hold"),
        (3.0, 2.0, "does not hold"),
    ],
)
def test_verdicts_on_the_ninth_claim(none, layer_norm, expected):
    """Growth factors over 30 periods; what comes after is not looked at."""

    def grows(factor, **changes):
        sharpness = {0: 5.0, 30 * PERIOD: 5.0 * factor, 1000: 1e6}
        at = {time: {"hessian/lambda_max": x} for time, x in sharpness.items()}
        return made(at, str(changes), **changes)

    runs = [grows(none), grows(layer_norm, **LAYER_NORM)]
    found = judge("C9", runs)
    assert found["verdict"] == expected
    growth = found["effects"]["growth, none"]["mean"]
    assert growth == pytest.approx(np.log(none))
    runs[0].rows[:] = [row for row in runs[0].rows if row["updates"] != 300]
    with pytest.raises(ValueError, match=r"hessian/lambda_max of every seed at .* 300"):
        judge("C9", runs)


# C10, C11


def policy(between, at_copies=0.1, label="policy", errors=None, **changes):
    """Accuracy at copies of the target network and half-way; TD errors by row."""
    times = range(PERIOD // 2, 1001, PERIOD // 2)
    at = {
        t: {"eval/accuracy": between if t % PERIOD else at_copies, "eval/td_error": 1.0}
        for t in times
    }
    for time, error in zip(times, errors if errors is not None else (), strict=False):
        at[time]["eval/td_error"] = error
    return made(at, label, seeds=rule_of("C10")["seeds"], **changes)


@pytest.mark.parametrize(
    ("none", "shrink", "reset", "expected"),
    [
        (0.8, 0.1, 0.19, "holds"),
        (0.8, 0.1, 0.3, "undecided"),
        (0.8, 0.1, 0.5, "does not hold"),
        (0.4, 0.1, 0.1, "not testable"),
    ],
)
def test_verdicts_on_the_tenth_claim(none, shrink, reset, expected):
    """At a copy a method has just changed the weights: .1, which does not count."""
    hard = {"learner__environment": "hard"}
    runs = [
        policy(none, none, "none", **hard),
        policy(shrink, label="s&p", **hard, **method("shrink_perturb")),
        policy(reset, label="reset", **hard, **method("reset_last_layer")),
    ]
    assert verdict("C10", runs) == expected


def test_policies_seen_only_just_after_a_reset_are_refused():
    run = policy(0.5, **method("shrink_perturb"))
    run.rows[:] = [row for row in run.rows if row["updates"] % PERIOD == 0]
    with pytest.raises(ValueError, match="Let log_every be half that period"):
        policies.accuracy(run)


def stability(layer_norm=0.5, two_hot=0.5, accuracy=0.9):
    """log TD errors +-1 without a method, +-x with one, in two environments; at copies,
    every other row, anything."""
    signs = np.where(np.arange(200) // 2 % 2, 1.0, -1.0)
    jumps = np.where(np.arange(200) % 2, np.arange(200), 0.0)
    arms = (("none", 1.0, {}), ("layer norm", layer_norm, LAYER_NORM))
    return [
        policy(
            0.9 if name == "none" else accuracy, 0.9 if name == "none" else accuracy,
            f"{name}, {environment}", np.exp(size * signs + jumps / 50),
            learner__environment=environment, **changes,
        )
        for name, size, changes in (*arms, ("two-hot", two_hot, TWO_HOT))
        for environment in ("easy", "hard")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "holds"),
        ({"accuracy": 0.95}, "undecided"),  # better everywhere
        ({"two_hot": 1.0}, "undecided"),
        ({"two_hot": 1.2}, "does not hold"),
    ],
)
def test_verdicts_on_the_eleventh_claim(options, expected):
    found = judge("C11", stability(**options))
    assert found["verdict"] == expected
    # 90 rows of +-x between copies: the deviation with divisor 89.
    difference = found["effects"]["td_sd_difference, layer_norm, hard"]["mean"]
    assert difference == pytest.approx((0.5 - 1.0) * np.sqrt(90 / 89))


@pytest.mark.parametrize("claim", ["C12", "C13"])
def test_atari_is_not_testable_here(claim):
    found = judge(claim, [])
    assert found["verdict"] == "not testable" and "not at this scale" in found["reason"]


# Which runs


def test_the_studys_folder_tells_equal_arms_apart():
    runs = list(interventions().values())[:3]
    again = [made({}, run.label, "runs/interventions", total=5) for run in runs[:1]]
    again += [made({}, "two-hot", "runs/interventions", total=5, **TWO_HOT)]
    rule = load_rules()["C8"]
    part = rule["parts"]["C8 two-hot"]
    rule = {**rule, **part, "setting": rule["setting"] | part["setting"]}
    assert find("C8", rule, runs)["none"].label == "none"
    finished = [run for run in again if not run.seeds or run.updates == 0]
    found = find("C8", rule, runs + finished)["none"]
    assert found.workdir == Path("runs/interventions")
    elsewhere = [made({}, "default", "other", total=5)]
    elsewhere += [made({}, "two-hot", "other", total=5, **TWO_HOT)]
    with pytest.raises(ValueError, match=r"got 2: 'none', 'default'\. Name the one"):
        find("C8", rule, runs + elsewhere)


def test_runs_of_other_studies_change_no_verdict():
    """One more width, wherever it comes from, would be one more case."""
    there = [dataclasses.replace(r, workdir=Path("runs/width")) for r in widths()]
    other = widths(count=1, slope=0)[0]
    assign(other.config, "network.hidden", [8, 8])
    later = made({}, "later", interventions=[{"kind": "not_invented_yet"}])
    assert judge("C7", [*there, other, later]) == judge("C7", there)


def test_equal_numbers_are_one_setting():
    def grows(factor, **changes):
        at = {0: 1.0, 30 * PERIOD: factor, 1000: 1.0}
        at = {time: {"hessian/lambda_max": x} for time, x in at.items()}
        return made(at, str(changes), **changes)

    runs = [grows(20.0, learner__reward_scale=1), grows(2.0, **LAYER_NORM)]
    assert verdict("C9", runs) == "holds"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learner__discount": 0.9}, r"learner.discount \(expected 0.99, got 0.9\)"),
        (
            {"optimizer__learning_rate": 0.1},
            r"optimizer.learning_rate \(expected 0.001",
        ),
        ({"network__activation": "crelu"}, r"network.activation \(expected relu"),
        ({"learner__reward_scale": 2.0}, r"learner.reward_scale \(expected 1.0"),
        # The variant quick: every joint, no science.
        ({"learner__replay_capacity": 200}, r"replay_capacity \(expected 50000, got"),
    ],
)
def test_another_setting_is_refused(changed, message):
    runs = widths()
    for run in runs:
        for path, value in changed.items():
            assign(run.config, path.replace("__", "."), value)
    with pytest.raises(Missing, match=message):
        judge("C7", runs)


def test_arms_of_unlike_runs_are_refused():
    sharp = {"hessian/lambda_max": 1.0}
    runs = [made({0: sharp}, "none"), made({0: sharp}, "ln", total=7, **LAYER_NORM)]
    with pytest.raises(ValueError, match=r"total_updates \(1000 and 7\)"):
        judge("C9", runs)


def test_a_claim_named_twice_is_judged_once():
    assert [row["claim"] for row in named(["C7"] * 20, widths())] == ["C7"]


def test_what_runs_cannot_tell_comes_with_its_command():
    verdicts = {row["claim"]: row for row in every(widths())}
    assert list(verdicts) == list(load_rules())
    assert verdicts["C7"]["verdict"] == "holds"
    assert verdicts["C9"]["verdict"] == "not judged"
    assert "--config=configs/block_mdp/sharpness.py:cpu" in table([verdicts["C9"]])
    json.dumps(list(verdicts.values()), allow_nan=False)
    with pytest.raises(ValueError, match="Its runs: python -m experiments"):
        named(["C9"], widths())


SWEPT = [c for c in [*load_rules(), *trials()] if "sweep" in rule_of(c)]


@pytest.mark.parametrize("claim", SWEPT)
def test_a_claims_sweep_makes_its_arms(claim):
    """The configs that the command in the rules expands to, as runs of the rule's
    seeds."""
    rule = rule_of(claim)
    options = {"--grid": []}
    for flag in shlex.split(command(rule))[3:]:
        name, _, value = flag.partition("=")
        options[name] = [*options[name], value] if name == "--grid" else value
    first, count = grids.seeds(options["--seeds"])
    assert rule["seeds"] == list(range(first, first + count))
    module, names = grids.load(options["--config"])
    read = grids.read(module, names, options["--grid"])
    changes = [options["--set"]] if "--set" in options else []
    points, _ = grids.expand(module, names, read, changes)
    configs = json.loads(json.dumps([point.config for point in points]))
    runs = [Run(c["label"], Path(rule["study"]), c, [], [], []) for c in configs]
    for part in rule.get("parts", {"": {}}).values():
        setting = rule["setting"] | part.get("setting", {})
        arms = find(claim, {**rule, **part, "setting": setting}, runs)
        assert all(arms.values())


def test_what_else_was_tried_is_judged_on_its_own_folder():
    """C4's rule for the learning rate of 1e-2, on longer runs, beside the claim's."""
    seeds, runs = range(300, 308), landscape(share=(0.3, 0.1, 0.2))
    longer = [
        dataclasses.replace(run, workdir=Path("runs/landscape_longer/a"), rows=rows)
        for run in landscape(share=(0.115, 0.1, 0.1), rates=(0.01,))
        for rows in [[row | {"seed": row["seed"] + 200} for row in run.rows]]
    ]
    found = judge("C4 longer", [*runs, *longer])
    assert found["verdict"] == "undecided" and found["seeds"] == list(seeds)
    assert found["effects"]["share_difference, walk"]["mean"] == pytest.approx(0.015)
    assert judge("C4", runs)["verdict"] == "holds"
    with pytest.raises(Missing, match="C4 longer: expected one run"):
        judge("C4 longer", runs)
    with pytest.raises(ValueError, match="Did you mean 'C4 longer'"):
        judge("C4 longr", runs)
    (row,) = named(["C4 longer"], longer)
    assert row["p_holm"] is None and row["text"].startswith("At a learning rate")


def test_a_trial_differs_from_its_claim_in_what_it_says():
    for trial, claim in trials().items():
        rule, base = rule_of(trial), rule_of(claim)
        part = base | base.get("parts", {}).get(rule["effects"], {})
        assert rule["holds"] == part["holds"] and "tried" not in rule
        assert rule["study"].startswith(base["study"])
        if rule["study"] != base["study"]:  # else runs that the claim leaves aside
            assert not set(rule["seeds"]) & set(base["seeds"])
