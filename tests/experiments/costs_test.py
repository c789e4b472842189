"""What a sweep's runs cost an update, measured apart."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.figures import followups
from experiments.runs import find_runs

ROOT = Path(__file__).parents[2]


def run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{module}", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_costs_take_the_place_of_the_sweeps_own_timings(tmp_path):
    out = tmp_path / "sweep"
    found = run(
        "sweep", "--config=configs/block_mdp/dqn.py:quick", f"--out={out}",
        '--grid={"variants": ["", "layer_norm"]}',
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    runs = find_runs([out])
    own = [followups.seconds(run) for run in runs]
    found = run("costs", str(out), "--updates=20", "--rounds=2")
    assert found.returncode == 0, found.stderr
    costs = json.loads((out / "costs.json").read_text())
    assert costs.keys() == {run.workdir.name for run in runs} and len(costs) == 2
    assert all(0 < cost < 1 for cost in costs.values())
    apart = [followups.seconds(run) for run in runs]
    assert apart == [costs[run.workdir.name] for run in runs] != own


@pytest.mark.parametrize("arguments", [(), ("missing",)])
def test_what_is_no_sweep_is_refused_in_one_line(arguments):
    found = run("costs", *arguments)
    assert found.returncode == 1 and found.stderr.startswith("error: ")
    assert len(found.stderr.splitlines()) == 1
