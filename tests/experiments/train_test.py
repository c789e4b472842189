"""The command line, as a person gives it: in processes of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.build import build
from plasticity_jax.records import DiskRecords

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "dqn": "configs/block_mdp/dqn.py:quick",
    "supervised": "configs/supervised/adam_instability.py:quick",
    "atari": "configs/atari/double_dqn.py:rainbow,redo,quick",
    "dopamine": "configs/atari/dopamine.py:quick",
}
HOSTS = pytest.mark.parametrize(
    "host",
    [
        "dqn",
        "supervised",
        "atari",
        pytest.param("dopamine", marks=pytest.mark.dopamine),
    ],
)


def command(config, workdir, *flags):
    train = [sys.executable, "-m", "experiments.train", f"--config={config}"]
    return [*train, f"--workdir={workdir}", *flags]


def launch(config, workdir, *flags):
    return subprocess.run(
        command(config, workdir, *flags),
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def needs_extra(host):
    if host == "dopamine":
        pytest.importorskip("dopamine")


def final_state(workdir):
    records = DiskRecords(workdir)
    found = records.restore()
    records.close()
    return found


def assert_same_run(a, b):
    assert (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()
    (updates, one), (other_updates, other) = final_state(a), final_state(b)
    assert updates == other_updates
    flat = lambda tree: {
        "/".join(map(str, path)): leaf for path, leaf in _leaves(tree, ())
    }
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def _leaves(tree, path):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Each host's uninterrupted run, made when first asked for."""
    made = {}

    def get(host):
        needs_extra(host)
        if host not in made:
            made[host] = tmp_path_factory.mktemp(host) / "run"
            found = launch(CONFIGS[host], made[host])
            assert found.returncode == 0, found.stderr
            made[host, "stderr"] = found.stderr
        return made[host]

    get.stderr = lambda host: made[host, "stderr"]
    return get


@HOSTS
def test_quick_leaves_a_whole_record(whole, host):
    workdir = whole(host)
    rows = [json.loads(s) for s in (workdir / "metrics.jsonl").read_text().splitlines()]
    seeds = {row["seed"] for row in rows}
    assert len(rows) == len(seeds) * len({row["updates"] for row in rows})
    last = rows[-1]
    assert last["updates"] == 60
    assert last["finite"]
    for name in (
        "probe/plasticity_loss", "hessian/lambda_max", "gradients/mean_cosine",
        "representation/dead_fraction", "weights/norm", "train/loss",
    ):  # fmt: skip
        assert name in last, name
    launches = json.loads((workdir / "environment.json").read_text())
    assert launches[0]["versions"]["jax"]
    assert "experiments.train" in launches[0]["command"]
    timing = (workdir / "timing.jsonl").read_text()
    assert '"probe/hessian"' in timing
    assert list((workdir / "tensorboard").rglob("events*"))
    with np.load(workdir / "arrays" / "gradients_000000060.npz") as arrays:
        assert arrays["cosine"].shape[0] == len(seeds)
    # No terminal: plain lines, with the newest plasticity figure.
    assert "60/60 updates" in whole.stderr(host)
    assert "probe loss" in whole.stderr(host)


@pytest.mark.parametrize("host", ["dqn", "supervised"])
def test_a_seed_repeats_to_the_byte(whole, host, tmp_path):
    found = launch(CONFIGS[host], tmp_path / "again")
    assert found.returncode == 0, found.stderr
    assert_same_run(whole(host), tmp_path / "again")


def kill_and_continue(host, workdir, moments):
    """Kills the run at each moment, then lets it end.

    A moment is a number of lines in timing.jsonl, one a phase: so kills fall before,
    in and after compiling, updating, probing, saving and restoring.

    Returns:
      How many kills hit a run that was still going.
    """
    hits = 0
    for moment in moments:
        process = subprocess.Popen(
            command(CONFIGS[host], workdir), cwd=ROOT, stderr=subprocess.DEVNULL
        )
        launched = time.time()
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            if _changed_since(workdir / "environment.json", launched) and (
                _read(workdir / "timing.jsonl").count("\n") >= moment
            ):
                break
            time.sleep(0.001)
        hits += process.poll() is None
        process.kill()
        process.wait()
    found = launch(CONFIGS[host], workdir)
    assert found.returncode == 0, found.stderr
    return hits


def _changed_since(path, moment):
    return path.exists() and path.stat().st_mtime >= moment


@HOSTS
def test_kill_nine_loses_and_doubles_nothing(whole, host, tmp_path):
    moments = {"dqn": (9, 16, 21), "supervised": (12, 19)}.get(host, (15,))
    want = whole(host)
    assert kill_and_continue(host, tmp_path / "killed", moments) == len(moments)
    assert_same_run(want, tmp_path / "killed")


@pytest.mark.long
@HOSTS
def test_kill_nine_at_ten_random_moments(whole, host, tmp_path):
    want = whole(host)
    rng = np.random.default_rng(int(os.environ.get("KILL_SEED", 0)))
    moments = np.sort(rng.integers(0, 26, size=10))
    assert kill_and_continue(host, tmp_path / "killed", moments) >= 8
    assert_same_run(want, tmp_path / "killed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_says_so_and_exits_cleanly(tmp_path, number):
    flags = ["--config.total_updates=2000000", "--config.save_every=2000000"]
    args = command(CONFIGS["supervised"], tmp_path, *flags)
    process = subprocess.Popen(
        args, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while '"advance"' not in _read(tmp_path / "timing.jsonl"):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopped and saved" in out
    saved, _ = final_state(tmp_path)
    assert saved > 0


def _read(path):
    return path.read_text() if path.exists() else ""


def test_another_configuration_is_refused_and_a_fork_goes_on(whole, tmp_path):
    source = whole("supervised")
    before = (source / "metrics.jsonl").read_bytes()
    found = launch(CONFIGS["supervised"], source, "--config.total_updates=80")
    assert found.returncode == 1
    assert "total_updates: 60 there, 80 asked for" in found.stderr
    assert "Traceback" not in found.stderr
    found = launch(
        CONFIGS["supervised"], tmp_path / "fork", "--config.total_updates=80",
        f"--fork_from={source}",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert (source / "metrics.jsonl").read_bytes() == before
    assert (tmp_path / "fork" / "metrics.jsonl").read_bytes().startswith(before)
    assert final_state(tmp_path / "fork")[0] == 80


def test_a_forks_probes_compare_like_with_like(whole, tmp_path):
    """theta_0 is measured again with the new settings: it equals a run that had them
    from the start, whose networks and probe keys at update 0 are the same."""
    flags = ["--config.probes.plasticity.num_steps=40", "--config.total_updates=80"]
    flags += ["--config.probes.plasticity.at=(0,80)"]
    source = whole("supervised")
    for name, more in (("fork", [f"--fork_from={source}"]), ("fresh", [])):
        found = launch(CONFIGS["supervised"], tmp_path / name, *flags, *more)
        assert found.returncode == 0, found.stderr
    last = [
        _read(tmp_path / n / "metrics.jsonl").splitlines()[-1]
        for n in ("fork", "fresh")
    ]
    fork, fresh = map(json.loads, last)
    assert fork["probe/initial_loss"] == fresh["probe/initial_loss"]
    assert fork["probe/plasticity_loss"] == fresh["probe/plasticity_loss"]


def test_a_fork_that_does_not_fit_leaves_nothing(whole, tmp_path):
    flags = ["--config.network.hidden=(8,8)", f"--fork_from={whole('supervised')}"]
    found = launch(CONFIGS["supervised"], tmp_path / "fork", *flags)
    assert found.returncode == 1
    assert "saved state is of another network" in found.stderr
    assert not (tmp_path / "fork").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.learner.batch_sise=3", "Did you mean 'batch_size'"),
        ("--config.leaner.x=3", "Did you mean 'learner'"),
        ("--config.learner.batch_size=many", "invalid literal for int"),
        ("--config.learner.batch_size=0", "config.learner: batch_size: expected at"),
        ("--config.optimizer.learning_rate=inf", "expected a number above 0; got inf"),
        ("--config=configs/none.py", "configs/none.py"),
        ("--workdir=", "--workdir: expected a folder; got an empty name"),
    ],
)
def test_bad_flags_give_one_clear_line(tmp_path, flag, message):
    found = launch(CONFIGS["supervised"], tmp_path / "run", flag)
    assert found.returncode == 1
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "run").exists()


def test_unknown_variant_and_help(tmp_path):
    found = launch("configs/supervised/adam_instability.py:quik", tmp_path / "run")
    assert found.returncode != 0
    assert "Did you mean 'quick'?" in found.stderr
    assert len(found.stderr.splitlines()) == 1
    found = launch(CONFIGS["supervised"], tmp_path / "run", "--help")
    assert "--workdir" in found.stdout
    assert "experiments.report" in found.stdout


# Without processes: what `build` refuses.

GOOD = {
    "learner": {"kind": "supervised", "num_examples": 32},
    "network": {"kind": "mlp", "hidden": [8]},
    "optimizer": {"kind": "adam"},
    "seeds": {"count": 1},
    "total_updates": 10,
    "log_every": 5,
    "save_every": 5,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total_update": 1}, r"config has no key 'total_update'. Did you mean"),
        ({"total_updates": "9"}, "config.total_updates: expected a whole number"),
        ({"total_updates": 0}, "total_updates: expected at least 1"),
        ({"learner": {"kind": "superviced"}}, "Did you mean 'supervised'"),
        (
            {"learner": {}},
            "config.learner.kind: expected one of supervised, dqn, atari",
        ),
        ({"network": {"kind": "mlp", "hidden": [8, "x"]}}, "expected a whole number"),
        ({"network": {"kind": "mlp", "name": "x"}}, "has no key 'name'"),
        ({"network": {"kind": "mlp", "num_outputs": 3}}, "no key 'num_outputs'"),
        ({"optimizer": {"kind": "adam", "b2": True}}, "b2: expected a number"),
        (
            {"optimizer": {"kind": "adam", "b2": 2}},
            "b2: expected 0 or more, below 1; got 2",
        ),
        ({"probes": {"hesian": {}}}, "Did you mean 'hessian'"),
        ({"probes": {"hessian": None}}, "config.probes.hessian: expected a Mapping"),
        ({"optimizer": {"kind": "adam", "b1": 1.0}}, "b1: expected 0 or more, below 1"),
        ({"probes": {"hessian": {"every": -1}}}, "every: expected at least 0"),
        ({"probes": {"hessian": {"los": "x"}}}, "Did you mean 'loss'"),
        (
            {"probes": {"gradients": {"loss": "x"}}},
            "expected one of training, landscape",
        ),
        ({"seeds": {"count": 0}}, "config.seeds: count: expected at least 1"),
        ({"seeds": {"axis": "pmap"}}, "axis: expected one of vmap, map"),
        ({"dataset": {"kind": "digit"}}, "Did you mean 'digits'"),
        ({"log_every": None}, "config.log_every: expected a whole number; got None"),
    ],
)
def test_build_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        build(GOOD | change)


def test_build_names_a_missing_key():
    with pytest.raises(ValueError, match=r"config\.save_every: expected a value"):
        build({k: v for k, v in GOOD.items() if k != "save_every"})


def test_build_reads_times():
    probes = {"weights": {"at": [3, 99], "every": 4}}
    with pytest.warns(UserWarning, match=r"probe times \[99\] lie after the end"):
        built = build(GOOD | {"probes": probes})
    assert built.probes["weights"].times == (0, 3, 4, 8, 10)
