"""RESULTS.md: made again from what is committed, and from a sweep that is run here."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from experiments.findings import (
    correlations,
    prose,
    ranking,
    sensitivity,
    studies,
    verdicts,
)
from experiments.findings.collect import collect
from experiments.findings.collect import read as read_sweep
from experiments.findings.data import FIGURES, RESULTS, Kept, read
from experiments.findings.files import without_places
from experiments.findings.markdown import Table
from experiments.findings.page import page
from experiments.findings.predictions import NEXT, at_boundaries
from experiments.runs import Run

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"/(tmp|home|root|work|mnt|Users)/")


# What is committed.


def test_the_page_is_what_the_data_says():
    assert page(ROOT) == (ROOT / "RESULTS.md").read_text(), (
        "stale: run `python -m experiments.results`"
    )


def test_what_is_committed_is_small_and_names_no_place():
    for path in (ROOT / RESULTS).iterdir():
        assert path.stat().st_size < 300_000, path
        assert not PLACE.search(path.read_text()), path
    for path in (ROOT / FIGURES).glob("*.png"):
        assert path.stat().st_size <= 250_000, path


def test_every_figure_shown_is_there():
    shown = re.findall(r"docs/figures/\w+\.\w+", (ROOT / "RESULTS.md").read_text())
    assert shown and all((ROOT / path).is_file() for path in shown)


# From a sweep to the page.


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two environments by two seeds, in the folder of a study."""
    folder = tmp_path_factory.mktemp("sweeps") / "policies"
    flags = [
        "--config=configs/block_mdp/dqn.py:quick",
        '--grid={"learner.environment": ["easy", "hard"]}',
        '--set=probes={"weights": {"every": 30}}',
        "--seeds=3:5",
        f"--out={folder}",
    ]
    command = [sys.executable, "-m", "experiments.sweep", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def collected(swept, tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    assert collect(swept, root) == []
    return root


def test_the_table_is_the_sweeps_cut_and_named(swept, collected):
    with open(swept / "runs.csv", newline="") as file:
        whole = list(csv.DictReader(file))
    with open(collected / RESULTS / "policies.csv", newline="") as file:
        kept = list(csv.DictReader(file))
    assert len(kept) == 4
    shared = {"learner.environment", "eval/accuracy", "weights/norm", "weights/norm@0"}
    assert shared < set(whole[0]) & set(kept[0])
    for ours, theirs in zip(kept, whole, strict=True):
        for name in set(ours) & set(theirs):
            try:
                expected = float(theirs[name])
            except ValueError:
                assert ours[name] == theirs[name], name
            else:
                assert float(ours[name]) == pytest.approx(expected, rel=5e-6), name
    named = [(r["arm"], r["environment"], r["architecture"], r["seed"]) for r in kept]
    assert named == [
        ("none", environment, "MLP", seed)
        for environment in ("easy", "hard")
        for seed in ("3", "4")
    ]
    assert "weights/finite" not in kept[0] and "command" not in kept[0]


def test_where_it_came_from(swept, collected):
    origin = json.loads((collected / RESULTS / "policies.json").read_text())
    assert origin["agents"] == 4 and origin["programs"] == 1
    assert origin["seeds"] == [3, 4] and origin["unfinished"] == []
    (command,) = origin["commands"]
    assert "--out=runs/policies" in command and "--seeds=3:5" in command
    assert not PLACE.search(json.dumps(origin))
    rows = (next(swept.glob("01-*")) / "timing.jsonl").read_text().splitlines()
    seconds = sum(json.loads(row)["seconds"] for row in rows)
    assert origin["process_seconds"] == round(seconds) <= origin["elapsed_seconds"] + 1


def test_its_figures_are_drawn_small(collected):
    names = [f"fig{n}.{suffix}" for n in (12, 13, 15, 16) for suffix in ("png", "svg")]
    assert sorted(p.name for p in (collected / FIGURES).iterdir()) == sorted(names)
    for path in (collected / FIGURES).glob("*.png"):
        assert path.stat().st_size <= 250_000


def test_the_page_of_it_and_a_stale_one(swept, collected):
    """Claims that these seeds cannot judge keep what was known of them."""
    earlier = {"claim": "C10", "text": "it does", "verdict": "holds", "reason": "so"}
    earlier |= {"p": 0.01, "seeds": [1], "effects": {}, "runs": {}, "command": ""}
    (collected / verdicts.FILE).write_text(json.dumps([earlier]))
    notes = verdicts.update([swept], collected)
    assert any(note.startswith("C11: not judged: ") for note in notes)
    kept = {row["claim"]: row for row in verdicts.read(collected)}
    assert kept["C10"]["verdict"] == "holds" and kept["C11"]["verdict"] == "not judged"
    assert kept["C12"]["verdict"] == "not testable"
    assert kept["C10"]["p_holm"] == pytest.approx(13 * 0.01)

    text, path = page(collected), collected / "RESULTS.md"
    assert "**holds**: C10; **not testable**: C12, C13; **not judged**: C1, " in text
    rows = read("policies", collected).rows
    accuracy = np.mean([row["eval/accuracy"] for row in rows[:2]])
    line = next(line for line in text.splitlines() if line.startswith("| easy | none"))
    assert line.split(" | ")[2].startswith(f"{accuracy:.3f} [")
    path.write_text(text.replace("| easy | none", "| easy | nothing"))
    command = [sys.executable, "-m", "experiments.results", "--check"]
    command += [f"--root={collected}"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1 and f"+{line}" in found.stdout.splitlines()


def test_a_folder_of_another_name_is_refused(swept, tmp_path):
    folder = tmp_path / "polices"
    folder.symlink_to(swept)
    with pytest.raises(ValueError, match="Did you mean 'policies'"):
        collect(folder, tmp_path)


def test_a_claim_over_settings_waits_for_the_whole_sweep(swept, tmp_path):
    """One of two programs has not been started; C10 needs no other than its own."""
    folder = tmp_path / "policies"
    shutil.copytree(swept, folder)
    path = folder / "sweep.json"
    described = json.loads(path.read_text())
    described["groups"] = [[0], [1]]
    path.write_text(json.dumps(described))
    (tmp_path / RESULTS).mkdir()
    notes = {
        note.partition(":")[0]: note for note in verdicts.update([folder], tmp_path)
    }
    assert "expected the whole sweep" in notes["C11"]
    assert "expected one run with interventions" in notes["C10"]


def test_a_run_whose_seeds_all_diverged_has_ended(swept, tmp_path):
    folder = tmp_path / "policies"
    shutil.copytree(swept, folder)
    path = next(folder.glob("01-*")) / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [row for row in rows if row["updates"] < 60]
    for row in kept:
        row["failed_at"] = row["failed_at"] or (9 if row["point"] else None)
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    finished, unfinished = read_sweep(folder)
    assert [run.point for run in finished] == [1] and len(unfinished) == 1


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("x --out=/tmp/a/width --seeds=1:2", "x --out=runs/width --seeds=1:2"),
        ("x --out ../width", "x --out runs/width"),
        ("x /a/width --out=b", "x runs/width --out=b"),
        ("x --workdir=/a/width/01-all", "x --workdir=runs/width/01-all"),
        ("x --config=configs/width.py", "x --config=configs/width.py"),
        ("python -m experiments.width b", "python -m experiments.width b"),
        ("x /tmp/a/b --out=/c/d", "x runs/b --out=runs/d"),
    ],
)
def test_commands_name_no_place(command, told):
    assert without_places(command, "width") == told


# Verdicts.


def part(claim, verdict, p=None):
    return {"claim": claim, "verdict": verdict, "p": p, "effects": {}, "seeds": []}


def test_parts_that_were_not_judged_keep_what_they_had():
    earlier = {"parts": [part("C8 a", "holds", 0.01), part("C8 b", "holds", 0.02)]}
    parts = [part("C8 a", "not judged"), part("C8 b", "holds", 0.3)]
    row = {"claim": "C8", "parts": parts}
    merged = verdicts.merge(earlier, row)
    assert merged["verdict"] == "holds" and merged["p"] == 0.3
    assert [one["p"] for one in merged["parts"]] == [0.01, 0.3]


def test_a_verdict_shows_what_decided():
    effects = {"perturbed_accuracy, reset": {"mean": 0.5, "lo": 0.45, "hi": 0.6}}
    effects |= {"perturbed_accuracy, shrink": {"mean": 0.1, "lo": 0.1, "hi": 0.1}}
    row = part("C10", "does not hold", 0.01) | {"effects": effects, "seeds": [1, 2]}
    row |= {"reason": "lo any perturbed_accuracy 0.45, 0.1 >= 0.4", "p_holm": 0.13}
    line = verdicts.in_numbers([row]).splitlines()[-1]
    assert "perturbed accuracy, reset 0.500 [0.450, 0.600]<br>" in line
    assert "any: lo ≥ 0.400 ✓<br>any: lo ≥ 0.400 ✗ | 2 seeds | 0.13 |" in line


def test_a_trial_is_a_study_of_its_own_or_part_of_one():
    assert studies.named("interventions") in studies.STUDIES
    longer = studies.named("correlations_longer")
    assert longer.config == studies.named("correlations").config and not longer.figures


def test_what_else_was_tried_stands_apart():
    effects = {"one_signed_median, dead units": {"mean": 0.4, "lo": 0.4, "hi": 0.4}}
    row = part("C5 longer", "does not hold") | {"effects": effects, "text": "Longer."}
    row |= {"reason": "mean any one_signed_median 0.4 >= 0.3"}
    lines = verdicts.what_else([row, part("C5 wider", "not judged")]).splitlines()
    assert len(lines) == 3 and "| C5: Longer. | does not hold | one signed" in lines[2]
    assert 'python -m experiments.reproduce "C5 longer"' in lines[2]
    assert verdicts.what_else([part("C5 wider", "not judged")]) == ""


# Tables, against numbers known beforehand.


def agent(arm="none", environment="easy", seed=0, loss=0.1, **more):
    words = {"arm": arm, "environment": environment, "seed": float(seed)}
    words |= {"architecture": "MLP", "observations": "digits", "failed_at": None}
    probe = {"probe/final_loss": loss, "probe/initial_loss": 0.01}
    probe |= {"probe/baseline": 0.5, "probe/plasticity_loss": loss - 0.01}
    return words | probe | {"seconds_an_update": 2.0} | more


def test_methods_are_ranked_by_their_loss():
    rows = [
        agent(arm, environment, seed, loss + 0.01 * seed, seconds_an_update=cost)
        for arm, loss, cost in (("none", 0.3, 2.0), ("redo", 0.1, 3.0))
        for environment in ("easy", "hard")
        for seed in range(4)
    ]
    lost = [agent("redo", seed=9), agent("infer", seed=9)]
    (table,) = ranking.rankings(Kept(rows, lost, {}, []))
    found = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert list(found) == ["redo", "none", "infer"]
    # Each value twice: the interquartile mean of 0, 0, 1, 1, 2, 2, 3, 3 is 1.5.
    assert found["redo"]["final probe loss (IQM)"].startswith("0.115 [")
    assert found["redo"]["P(better)"] == "1.00 [1.00, 1.00]"
    assert found["none"]["P(better)"] == "–" and found["redo"]["cost"] == "1.50"
    assert found["redo"]["hard: probe loss"] == "0.010 → 0.115"
    assert [found[arm]["diverged"] for arm in found] == ["1", "0", "1"]


def test_an_arm_whose_probe_diverged_is_counted_and_ranks_nowhere():
    rows = [agent(seed=seed) for seed in range(2)]
    rows += [agent("redo", seed=seed, loss=0.2) for seed in range(2)]
    rows += [agent("noise", seed=seed) | {"probe/final_loss": None} for seed in (0, 1)]
    (table,) = ranking.rankings(Kept(rows, [], {}, []))
    told = [(row[0], row[1][:5], row[-1]) for row in table.rows]
    assert told == [("none", "0.100", "0"), ("redo", "0.200", "0"), ("noise", "–", "2")]


def test_the_papers_number_stands_beside_ours():
    more = {"head": "two-hot", "method": "layer norm"}
    rows = [agent("layer norm + two-hot", seed=seed, **more) for seed in range(2)]
    (table,) = ranking.beside_the_paper(Kept(rows, [], {}, []))
    assert table.rows == [
        ["MLP, digits", "layer norm + two-hot", "0.090 [0.090, 0.090]", "0.07 ± 0.07"]
    ]


def test_signs_of_correlations():
    generator = np.random.default_rng(0)
    rows = []
    for place in range(60):
        environment, loss = ("easy", "hard")[place % 2], generator.normal() * 0.1
        flipped = loss if environment == "easy" else -loss
        metrics = {"weights/norm": loss, "hessian/trace": flipped, "updates/one": 1.0}
        metrics |= {"gradients/noise": generator.normal()}
        optimizer = f"optimiser {place // 6}"  # three seeds a setting
        rows.append(
            agent("none", environment, place, loss, optimizer=optimizer, **metrics)
        )
    found = correlations.correlate(rows)
    assert found.metrics == ["weights/norm", "hessian/trace", "gradients/noise"]
    # An optimiser has two settings: too few to resample.
    assert found.groups == ["all (60)", "easy (30)", "hard (30)"]
    said = [found.verdict(place) for place in range(3)]
    assert said == ["+ in all groups", "both signs", "nowhere sure"]
    families, shown, every = correlations.tables(Kept(rows, [], {}, []))
    counts = dict(zip(families.header, families.rows[0], strict=True))
    assert counts["of"] == "weights" and counts["+ in all groups"] == "1"
    assert shown.rows[0][:2] == ["weight norm", "+ in all groups"]
    assert every.rows[0][3:] == ["**+1.00**", "**+1.00**"]


def test_another_probes_order(tmp_path):
    """Six networks by two probes that disagree, as experiments.sensitivity writes."""
    folder = tmp_path / "sensitivity"
    folder.mkdir()
    origin = {"command": f"x /tmp/interventions --out={folder}", "commit": "c"}
    origin |= {"dirty": False, "started": "2026-01-01T00:00:00+00:00", "group": "01"}
    origin |= {"python": "3", "devices": "cpu cpu", "failed_at": None, "updates": 9}
    rows = [
        {"probe": probe, "arm": arm, "environment": "easy", "seed": seed}
        | {"final_loss": loss + 0.01 * seed, "rho": loss / 10, "unsolved_at_init": 0.0}
        | {"seconds": 1.5, "label": "a"}
        | origin
        for probe, losses in (("reference", (1, 2, 3)), ("half_pool", (3, 2, 1)))
        for arm, loss in zip("abc", losses, strict=True)
        for seed in range(2)
    ]
    with open(folder / "sensitivity.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    assert collect(folder, tmp_path) == []
    kept = read("sensitivity", tmp_path)
    assert kept.origin["agents"] == 6 and kept.origin["process_seconds"] == 18
    assert kept.origin["commands"] == ["x runs/interventions --out=runs/sensitivity"]
    assert (tmp_path / FIGURES / "sensitivity.png").is_file()
    (found,) = sensitivity.tables(kept)
    opposite = "-1.00 [-1.00, -1.00], 3 arms"
    assert found.rows == [["easy", "half_pool", opposite, opposite]]


def test_a_boundary_is_paired_with_the_task_that_begins_there():
    """The row at 20 ends the task that begins at 10."""
    config = {"learner": {"updates_per_task": 10}, "optimizer": {"kind": "adam"}}
    config |= {"network": {"kind": "mlp"}, "probes": {"plasticity": {}}}
    rows = [
        {
            "updates": time,
            "seed": 7,
            "eval/accuracy": time / 100,
            "probe/final_loss": 1.0,
        }
        for time in (0, 5, 10, 15, 20)
    ]
    found = at_boundaries([Run("a", Path(), config, [], rows, [])])
    assert [(row["boundary"], row[NEXT]) for row in found] == [(0, 0.1), (1, 0.2)]
    assert found[1]["eval/accuracy"] == 0.1 and found[1]["seed"] == 7


# Prose.

ROWS = [
    agent(seed=seed, loss=loss, width=width) | {"probe/rho": loss, "probe/auc": None}
    for seed, (loss, width) in enumerate([(0.1, 32.0), (0.3, 32.0), (0.9, 64.0)])
]
KNOWN = prose.known(
    [
        part("C8", "holds")
        | {"parts": [part("C8 x", "holds", 0.012) | {"seeds": [1, 2]}]}
        | {"effects": {"growth, none": {"mean": 1.26, "lo": 1.0, "hi": 2.0}}}
    ],
    {"width": Kept(ROWS, [], {"agents": 3, "commits": ["a", "b"]}, [])},
    [Table("ranking, MLP", "", ["method", "cost"], [["control: fresh", "1.5 [1, 2]"]])],
)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("It {C8.verdict}: {C8 x.n} seeds.", "It holds: 2 seeds."),
        ("{C8 x.p:.2f}", "0.01"),
        ("{C8.growth, none.mean}", "1.26"),
        ("{C8.growth, none.hi:.1f}", "2.0"),
        ("{width.agents:d}", "3"),
        ("{width[width=32].probe/rho.mean:.2f}", "0.20"),
        ("{width[width=32; seed=1].probe/rho.max:.1f}", "0.3"),
        ("{width[].probe/rho.median:.1f} of {width[].probe/rho.n:.0f}", "0.3 of 3"),
        ("{width[].probe/rho.spearman:.0f}", "1"),
        ("{ranking, MLP[control: fresh].cost}", "1.5 [1, 2]"),
        ("no braces", "no braces"),
    ],
)
def test_placeholders(text, filled):
    assert prose.fill(text, KNOWN) == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{C8 y.verdict}", "expected one of .* Did you mean 'C8 x'"),
        ("{C8.growth, non.mean}", "Did you mean 'growth, none'"),
        ("{C8.growth, none.median}", "expected one of mean, lo, hi"),
        ("{widht[].probe/rho.mean}", "Did you mean 'width'"),
        ("{width[widht=32].probe/rho.mean}", "Did you mean 'width'"),
        ("{width[width=33].probe/rho.mean}", "expected one of .*got '33'"),
        ("{width[].probe/roh.mean}", "Did you mean 'probe/rho'"),
        ("{width[].probe/rho.average}", "expected one of mean, lo"),
        ("{width.agent}", "Did you mean 'agents'"),
        ("{ranking, MLP[control: frsh].cost}", "Did you mean 'control: fresh'"),
        ("{ranking, MLP[control: fresh].costs}", "Did you mean 'cost'"),
        ("{C8.growth, none.mean:.2q}", "format"),
        ("{width.commits}", "expected a number or a word; got"),
        ("{width[].probe/auc.mean}", "expected a number or a word; got nan"),
    ],
)
def test_wrong_placeholders_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        prose.fill(text, KNOWN)


def test_a_heading_of_no_study_is_refused(tmp_path):
    (tmp_path / RESULTS).mkdir()
    (tmp_path / RESULTS / "reading.md").write_text("## widht\n\nLost.\n")
    with pytest.raises(ValueError, match=r"reading\.md.* Did you mean 'width'"):
        page(tmp_path)


def test_prose_is_split_by_its_headings():
    text = "For authors.\n\n## verdicts\n\nOne {x}.\n\n## width  \n\n## tuning\nTwo.\n"
    assert prose.read(text) == {"verdicts": "One {x}.", "width": "", "tuning": "Two."}
