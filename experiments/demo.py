"""The main job: plasticity lost and kept, in about two minutes on two cores.

  python -m experiments.demo --out=runs/demo

DQN on the easy block MDP over digits: the default network, the same with layer norm,
and the default without bootstrapping. Each arm is an ordinary launch of
`experiments.train`, all at once; the page and the table come from
`experiments.report`. Run again, it continues whatever was interrupted.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags

from experiments.threads import SIDE_BY_SIDE

ARMS = {
    "default": "configs/block_mdp/dqn.py",
    "layer_norm": "configs/block_mdp/dqn.py:layer_norm",
    "no_bootstrap": "configs/block_mdp/dqn.py:no_bootstrap",
}

_OUT = flags.DEFINE_string("out", "runs/demo", "Folder of the runs and the report.")


def main(argv: list[str]) -> int:
    """Launches the arms, then the report."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only; got {argv[1:]}.")
    out, start = Path(_OUT.value), time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    running = {name: _launch(config, out / name) for name, config in ARMS.items()}
    try:
        while running:
            for name, process in list(running.items()):
                if (code := process.poll()) is not None:
                    del running[name]
                    if code:
                        return _abandon(running, name, code)
            time.sleep(0.1)
    except KeyboardInterrupt:
        _stop(running)
        print("stopped and saved; the same command continues", file=sys.stderr)
        return 130
    page = out / "report.html"
    report = ["experiments.report", *(str(out / name) for name in ARMS), "--table"]
    report.append(f"--csv={out / 'main_job.csv'}")
    code = subprocess.call([sys.executable, "-m", *report, f"--out={page}"])
    print(f"{time.monotonic() - start:.0f} s in all")
    return code


def _launch(config: str, workdir: Path) -> subprocess.Popen:
    command = ["experiments.train", f"--config={config}", f"--workdir={workdir}"]
    environment = SIDE_BY_SIDE | os.environ
    return subprocess.Popen([sys.executable, "-m", *command], env=environment)


def _stop(running: dict) -> None:
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.wait()


def _abandon(running: dict, name: str, code: int) -> int:
    _stop(running)
    print(
        f"error: the arm {name!r} ended with exit code {code}; its message is above. "
        "The others have saved: the same command continues.",
        file=sys.stderr,
    )
    return code


if __name__ == "__main__":
    app.run(main)
