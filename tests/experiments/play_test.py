"""The command that lets a saved agent play."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def run(module, *flags):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{module}", *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atari") / "run"
    config = "--config=configs/atari/double_dqn.py:quick"
    found = run("train", config, f"--workdir={folder}", "--config.total_updates=20")
    assert found.returncode == 0, found.stderr
    return folder


def test_a_saved_agent_plays(workdir, tmp_path):
    gif = tmp_path / "episode.gif"
    found = run("play", f"--workdir={workdir}", "--episodes=2", f"--gif={gif}")
    assert found.returncode == 0 and found.stderr == "", found.stderr
    report = json.loads(found.stdout.removesuffix(f"{gif}\n"))
    assert report["game"] == "pong" and report["updates"] == 20
    assert len(report["returns"]) == 2 and report["episode_steps"] == [100, 100]
    expected = (report["return"] + 20.7) / (14.6 + 20.7)
    assert report["human_normalized"] == pytest.approx(expected)
    with Image.open(gif) as picture:
        assert 20 < picture.n_frames <= 50  # equal ones are shown longer


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--gif=episode.png", "--gif=episode.png: expected the name of a GIF"),
        ("--episodes=0", "episodes: expected at least 1; got 0"),
        ("--updates=7", "has no checkpoint at update 7"),
    ],
)
def test_bad_flags_are_refused_in_one_line(workdir, flag, message):
    found = run("play", f"--workdir={workdir}", flag)
    assert found.returncode == 1 and found.stderr.startswith("error: ")
    assert message in found.stderr and len(found.stderr.splitlines()) == 1
