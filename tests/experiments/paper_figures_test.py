"""The paper's figures, drawn from workdirs with known contents."""

import copy
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib import rc_context

from experiments.figures import (
    factors,
    fig01,
    fig02,
    fig03,
    fig03_all,
    fig04,
    fig05,
    fig06,
    fig08,
    fig09,
    fig10,
    fig11,
    fig12,
    fig13,
    fig14,
    fig15,
    fig16,
    fig17,
    fig18,
    followups,
    intervention_table,
    lines,
    next_task,
    paper,
    scatter,
    value_scale,
)
from experiments.figures.style import RC
from experiments.runs import find_runs
from plasticity_jax.statistics import mean_interval, spearman

PERIOD = 10
PROBED = (0, 100, 300, 1_000)  # iterations 0, 10, 30 and 100
CONFIG = {
    "label": "default",
    "learner": {"kind": "dqn", "environment": "easy", "target_period": PERIOD},
    "network": {"kind": "mlp", "hidden": [128, 128], "norm": "none"},
    "optimizer": {"kind": "adam", "learning_rate": 1e-3},
    "dataset": {"kind": "digits"},
    "total_updates": PROBED[-1],
}
CURVATURE = ("hessian", "gradients", "displaced")


def write(folder, name, *, loss=0.2, seeds=(100, 101, 102), probes=(), points=(), **to):
    """Writes a workdir as training would, the probe's loss rising from .01 by `loss`.

    Args:
        points: values of `learner.environment`, for a run with points.
        to: section__setting=value, or section=value, of the config.
    """
    path = folder / name
    (path / "arrays").mkdir(parents=True)
    config = copy.deepcopy(CONFIG) | {"label": name}
    for key, value in to.items():
        section, _, setting = key.partition("__")
        if setting:
            config.setdefault(section, {})[setting] = value
        else:
            config[section] = value
    if points:
        config["points"] = [{"learner.environment": point} for point in points]
    (path / "config.json").write_text(json.dumps(config))
    members = [(i, seed) for i in range(max(len(points), 1)) for seed in seeds]
    generator = np.random.default_rng(len(name))
    noise = generator.normal(size=len(members))
    rows = []
    for updates in range(0, PROBED[-1] + 1, 50):
        for (point, seed), z in zip(members, noise, strict=True):
            row = {"updates": updates, "seed": seed, "failed_at": None}
            row |= {"point": point} if points else {}
            rows.append(row | reading(updates, loss * (1 + 0.1 * z), z, point))
    _lines(path / "metrics.jsonl", rows)
    timing = {"phase": "advance", "updates": 100, "num_updates": 100, "seconds": 2.0}
    _lines(path / "timing.jsonl", [timing | {"first_call": False}])
    for updates in PROBED:
        for probe in probes:
            arrays = ARRAYS[probe](len(members), loss * updates / PROBED[-1])
            np.savez(path / "arrays" / f"{probe}_{updates:09d}.npz", **arrays)
    return path


def reading(updates, loss, z, point=0):
    """Every metric that a figure reads, at one time of one seed."""
    share = updates / PROBED[-1]
    row = {
        "eval/accuracy": 0.1 + (0.8 - 0.4 * point) * share,
        "eval/mean_abs_q": 9 + 100 * loss,
        "eval/td_error": 0.1 + 0.3 * share,
        "weights/norm": 10 + 5 * share + z,
        "weights/rank_0.01": 200 - 40 * loss,
        "representation/dead_fraction": loss * share,
        "representation/feature_rank": 40 - 30 * loss,
    }
    if updates in PROBED:
        row |= {
            "probe/final_loss": 0.01 + loss * share,
            "probe/initial_loss": 0.01,
            "probe/plasticity_loss": loss * share,
            "probe/baseline": 0.5,
            "probe/rho": loss * share / 0.49,
            "hessian/lambda_max": 4 * 100**share,
        }
    return row


def _curves(count, loss):
    steps = np.arange(0, 101, 5)
    curves = loss + 0.5 * np.exp(-steps / 20) + np.zeros((count, 2, 1))
    return {"curves": curves, "steps": np.tile(steps, (count, 1))}


def _spectrum(count, loss):
    nodes = np.tile([-0.5, 0.0, 0.1, 4 + 1_000 * loss], (count, 2, 1))
    return {"nodes": nodes, "weights": np.full(nodes.shape, 0.25)}


def _gradients(count, loss):
    cosine = np.tile((1 - loss) * np.eye(6), (count, 1, 1))
    return {"cosine": cosine, "order": np.tile(np.arange(6)[::-1], (count, 1))}


ARRAYS = {
    "plasticity": _curves,
    "hessian": _spectrum,
    "gradients": _gradients,
    "displaced": lambda count, loss: _spectrum(count, 0) | _gradients(count, 0),
}


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


METHODS = {
    "default": (0.18, {}),
    "layer norm": (0.02, {"network__norm": "layer"}),
    "two-hot": (0.04, {"network__head": "two_hot"}),
    "ReDo": (0.12, {"interventions": [{"kind": "redo", "tau": 0.1}]}),
    "S&P": (0.5, {"interventions": [{"kind": "shrink_perturb"}]}),
    "tuned": (0.1, {"optimizer__learning_rate": 3e-4}),
}
STREAM = {"kind": "supervised", "stream": "random_labels", "updates_per_task": 100}
FIGURES = {
    "interventions": (
        *(fig04, fig06, fig09, fig10, fig11, fig12, fig13, fig14, fig15, fig16),
        *(fig17, fig18, followups),
    ),
    "textures": (fig08,),
    "landscape": (fig02,),
    "correlations": (fig03, fig03_all, value_scale),
    "width": (fig05,),
    "stream": (fig01, next_task),
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The runs of each study."""
    folder = tmp_path_factory.mktemp("studies")
    environments = ("easy", "hard")
    for name, (loss, settings) in METHODS.items():
        write(
            folder / "interventions", name, loss=loss, points=environments,
            probes=("plasticity",), **settings,
        )  # fmt: skip
    write(folder / "textures", "cnn", dataset__kind="textures", network__kind="cnn")
    sgd = {"optimizer": {"kind": "sgd", "learning_rate": 0.01}}
    walk = [{"kind": "random_walk"}]
    write(folder / "landscape", "descent", probes=CURVATURE, **sgd)
    write(
        folder / "landscape", "walk", loss=0.01, probes=CURVATURE[:2],
        interventions=walk, **sgd,
    )  # fmt: skip
    for kind in ("mlp", "cnn"):
        for place, data in enumerate(("digits", "textures")):
            write(
                folder / "correlations", f"{kind} {data}", loss=0.1 + 0.2 * place,
                seeds=range(8), network__kind=kind, dataset__kind=data,
                learner__discount=0.99 - 0.09 * place,
            )  # fmt: skip
    for width in (1.0, 2.0, 4.0):
        write(folder / "width", f"{width}", loss=0.2 / width, network__width=width)
    for control in ("none", "fresh"):
        write(
            folder / "stream", control, learner=STREAM | {"control": control},
            probes__plasticity={"family": "sine"},
        )  # fmt: skip
    return {name: find_runs([folder / name]) for name in FIGURES}


def draw(module, runs):
    """Draws as the command does, without writing files."""
    with rc_context(RC):
        figure = module.FIGURE.draw(module.FIGURE.select(runs))
    figure.draw_without_rendering()
    return figure


def altered(run, change, *args):
    """Returns the run with each row updated by change(row, *args)."""
    rows = [row | change(row, *args) for row in run.rows]
    return dataclasses.replace(run, rows=rows)


def by_label(axes):
    return {line.get_label(): line for line in axes.lines}


@pytest.mark.parametrize(
    ("study", "module"), [(s, module) for s, m in FIGURES.items() for module in m]
)
def test_each_draws_its_runs_and_says_what_it_needs(studies, study, module):
    figure = draw(module, studies[study])
    assert figure.axes
    for text in (module.FIGURE.title, module.FIGURE.caption, module.FIGURE.alt):
        assert text
    assert module.FIGURE.config in module.__doc__
    assert "--out=docs/figures/" + module.__name__.split(".")[-1] in module.__doc__


def test_accuracy_is_the_mean_over_seeds_against_iterations(studies):
    hard = [
        run for run in studies["interventions"] if factors.environment(run) == "hard"
    ]
    plain = next(run for run in hard if run.label.startswith("default"))
    (axes,) = draw(fig13, studies["interventions"]).axes
    line = by_label(axes)["none"]
    updates, values = plain.series("eval/accuracy")
    np.testing.assert_allclose(line.get_xdata(), updates / PERIOD)
    np.testing.assert_allclose(line.get_ydata(), values.mean(axis=0))
    assert line.get_ydata()[-1] == pytest.approx(0.5)  # point 1, hard; easy ends at .9
    assert set(by_label(axes)) >= {"layer norm", "two-hot", "shrink perturb"}
    assert "ReDo" not in by_label(axes)  # not one of the paper's


def test_probe_curves_are_means_over_targets_and_seeds(studies):
    panels = draw(fig17, studies["interventions"]).axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [
        f"{name}\nMLP, digits" for name in ("none", "layer norm", "two-hot")
    ]
    curve = by_label(panels[0])["100"]
    expected = 0.18 + 0.5 * np.exp(-np.arange(0, 101, 5) / 20)
    np.testing.assert_allclose(curve.get_ydata(), expected)
    assert by_label(panels[0]).keys() >= {"0", "10", "30", "100"}  # iterations


def test_interventions_stand_beside_what_the_paper_prints(studies):
    runs = studies["interventions"]
    texts = {
        module: [text.get_text() for text in draw(module, runs).axes[0].texts]
        for module in (fig06, fig10, fig11)
    }
    plain = next(run for run in fig06.FIGURE.select(runs) if factors.arm(run) == "none")
    mean, low, high = mean_interval(factors.last(plain, "probe/plasticity_loss"))
    assert f"{mean:.2f} [{low:.2f}, {high:.2f}]" in texts[fig06]
    # MNIST, MLP: none .34 +- .24, from .25 to .59; layer norm from .17 to .60.
    assert "0.34 ± 0.24" in texts[fig06]
    assert {"0.25", "0.17"} <= set(texts[fig10])
    assert {"0.59", "0.60"} <= set(texts[fig11])
    (textures,) = studies["textures"]
    assert intervention_table.of_paper(textures)["probe_loss_change"] == 0.31
    assert len(intervention_table.printed()) == 80


def test_regression_lines_and_correlations_are_those_of_the_solved_agents(studies):
    runs = studies["correlations"]
    panel = draw(fig03, runs).axes[2]  # dead units, which are set to plasticity loss
    slopes = [line for line in panel.lines if line.get_linewidth() == 2]
    assert len(slopes) == 2  # one an architecture
    for line in slopes:
        np.testing.assert_allclose(line.get_xdata(), line.get_ydata(), atol=1e-9)
    points = scatter.collect(runs, "weights/norm")
    # A setting's seeds are drawn together.
    units = [unit for unit, run in enumerate(runs) for _ in run.seeds]
    value, low, high, _ = spearman(points.x, points.y, np.array(units))
    assert f"ρ {value:+.2f} [{low:+.2f}, {high:+.2f}], n 32" == scatter.describe(points)


def test_sign_table_says_where_a_sign_is_sure(studies):
    name = "representation/feature_rank"
    flipped = {"MLP": 1, "CNN": -1}  # in CNNs it rises where plasticity is lost
    runs = [
        altered(run, lambda row, sign: {name: sign * row[name]}, factor)
        for run in studies["correlations"]
        for factor in [flipped[factors.architecture(run)]]
    ]
    found = fig03_all.table(runs)
    told = {name: found.verdict(row) for row, name in enumerate(found.metrics)}
    assert told["representation/dead_fraction"] == "+"
    assert told["weights/rank_0.01"] == "−"
    assert told["representation/feature_rank"] == "both signs"
    assert set(found.groups) == {"digits", "textures", "MLP", "CNN"}


def test_unsolved_agents_are_hollow_and_do_not_count(studies):
    def unsolve(row, seed):  # b = .5: above a fifth of it
        there = row["seed"] == seed and "probe/initial_loss" in row
        return {"probe/initial_loss": 0.3} if there else {}

    run = altered(studies["correlations"][0], unsolve, 0)
    assert factors.was_solved(run).tolist() == [False] + [True] * 7
    points = scatter.collect([run], "weights/norm")
    assert scatter.describe(points).endswith("n 7")


def test_width_axis_has_units_and_the_values_of_each_width(studies):
    figure = draw(fig05, studies["width"])
    line = figure.axes[0].lines[0]
    expected = [
        factors.last(run, "probe/plasticity_loss").mean() for run in studies["width"]
    ]
    assert list(line.get_xdata()) == [128, 256, 512]
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_landscape_draws_start_descent_and_both_twins(studies):
    figure = draw(fig02, studies["landscape"])
    density, *matrices = [
        axes for axes in figure.axes if axes.get_label() != "<colorbar>"
    ]
    assert list(by_label(density)) == [
        "at the start, all",
        "descent, iteration 100",
        "random walk, iteration 100",
        "random, as far, iteration 100",
    ]
    nodes, heights = by_label(density)["descent, iteration 100"].get_data()
    outlier = heights > 1e-3
    assert nodes[outlier].max() > 200 > nodes[outlier & (nodes < 100)].max()
    shown = matrices[1].images[0].get_array()
    np.testing.assert_allclose(shown, 0.8 * np.eye(6))  # 1 - loss, in the order stored


def test_followups_are_sorted_and_the_tuned_baseline_is_named(studies):
    panels = draw(followups, studies["interventions"]).axes
    rows = [label.get_text() for label in panels[0].get_yticklabels()]
    assert rows == [
        "layer norm", "two-hot", followups.TUNED, "ReDo", "none", "shrink perturb",
    ]  # fmt: skip
    run = studies["interventions"][0]
    # 100 updates of 2 points x 3 seeds in 2 s.
    assert followups.seconds(run) == pytest.approx(2 / 100 / 6)


def test_next_task_pairs_a_boundary_with_the_end_of_the_task_after_it(studies):
    run = studies["stream"][0]
    points = next_task.pairs(run)
    _, losses = run.series("probe/final_loss")
    expected = [  # probed at 0, 100 and 300; at 1,000 no task follows
        (loss, 0.1 + 0.8 * (time + 100) / 1_000)
        for time, column in zip(PROBED[:3], losses.T[:3], strict=True)
        for loss in column
    ]
    np.testing.assert_allclose(np.stack(points[:2], axis=1), expected)
    assert points.units.tolist() == [100, 101, 102] * 3


def test_names_tell_equal_arms_apart_by_what_differs(studies):
    plain = [run for run in studies["interventions"] if factors.arm(run) == "none"]
    assert set(factors.names(plain, factors.arm)) == {
        "none, learning rate 0.001",
        "none, learning rate 0.0003",
    }
    assert {factors.arm(run) for run in lines.with_curves(plain)} == {"none"}
    assert len(lines.with_curves(plain)) == 2  # the tuned one is another arm


def test_missing_runs_are_named_with_config_and_command(studies, tmp_path):
    with pytest.raises(ValueError) as refused:
        paper.write(fig14.FIGURE, studies["stream"], tmp_path / "fig14")
    message = str(refused.value)
    assert message.startswith("fig14: expected runs of configs/block_mdp/sharpness.py;")
    assert "got 'none', 'fresh'" in message or "got 'fresh', 'none'" in message
    assert "-m experiments.sweep --config=configs/block_mdp/sharpness.py:cpu" in message


def test_both_files_are_written_and_the_same_again(studies, tmp_path):
    outs = [tmp_path / "new" / "fig05", tmp_path / "again" / "fig05"]
    pairs = [paper.write(fig05.FIGURE, studies["width"], out) for out in outs]
    png, svg = (path.read_bytes() for path in pairs[0])
    assert png.startswith(b"\x89PNG") and b"</svg>" in svg
    assert svg == pairs[1][1].read_bytes()


def test_command_refuses_in_one_line(tmp_path):
    command = [sys.executable, "-m", "experiments.figures.fig05", tmp_path]
    refused = subprocess.run([*command, "--out=x"], capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1


def test_caption_counts_seeds_and_what_diverged(studies):
    run = studies["width"][0]
    assert paper.describe_seeds([run]) == "3 seeds a run (100–102)."
    rows = [row | {"failed_at": 50 if row["seed"] == 101 else None} for row in run.rows]
    failed = dataclasses.replace(run, rows=rows)
    told = paper.describe_seeds([failed])
    assert told == "3 seeds a run (100–102); 1 that diverged left out."
