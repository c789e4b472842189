"""The main job: plasticity lost and kept, in about two minutes on two cores.

  python -m experiments.demo --out=runs/demo

DQN on the easy block MDP over digits: the default network, the same with layer norm,
and the default without bootstrapping. Each arm is an ordinary launch of
`experiments.train`, two at a time; the page and the table come from
`experiments.report`. Run again, it continues whatever was interrupted.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags

ARMS = {
    "default": "configs/block_mdp/dqn.py",
    "layer_norm": "configs/block_mdp/dqn.py:layer_norm",
    "no_bootstrap": "configs/block_mdp/dqn.py:no_bootstrap",
}
AT_ONCE = 2  # a process keeps one core busy

_OUT = flags.DEFINE_string("out", "runs/demo", "Folder of the runs and the report.")


def main(argv: list[str]) -> int:
    """Launches the arms, then the report."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only; got {argv[1:]}.")
    out, start = Path(_OUT.value), time.monotonic()
    waiting, running, free = list(ARMS), {}, list(range(AT_ONCE))
    while waiting or running:
        while waiting and free:
            name, core = waiting.pop(0), free.pop(0)
            running[name] = core, _launch(ARMS[name], out / name, core)
        for name, (core, process) in list(running.items()):
            if (code := process.poll()) is not None:
                del running[name]
                free.append(core)
                if code:
                    return _abandon(running, name, code)
        time.sleep(0.1)
    page = out / "report.html"
    report = ["experiments.report", *(str(out / name) for name in ARMS), "--table"]
    code = subprocess.call([sys.executable, "-m", *report, f"--out={page}"])
    print(f"{time.monotonic() - start:.0f} s in all")
    return code


def _launch(config: str, workdir: Path, core: int) -> subprocess.Popen:
    command = ["experiments.train", f"--config={config}", f"--workdir={workdir}"]
    return subprocess.Popen(
        [sys.executable, "-m", *command], preexec_fn=lambda: _pin(core)
    )


def _pin(core: int) -> None:
    """Keeps the child on one core: these matrices are small, and sharing costs 1.4x."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def _abandon(running: dict, name: str, code: int) -> int:
    for _, process in running.values():
        process.terminate()
    for _, process in running.values():
        process.wait()
    print(
        f"error: the arm {name!r} ended with exit code {code}; its message is above. "
        "The others have saved: the same command continues.",
        file=sys.stderr,
    )
    return code


if __name__ == "__main__":
    app.run(main)
