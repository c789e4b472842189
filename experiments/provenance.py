"""Where and when a run happened: what goes into environment.json at each launch."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jax

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "ale-py",
    "dopamine-rl",
    "scikit-learn",
)


def describe() -> dict:
    """Returns command, start, commit, Python, platform, devices and versions."""
    return {
        "command": shlex.join(["python", "-m", "experiments.train", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [f"{d.platform} {d.device_kind}" for d in jax.devices()],
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
    }


def _git(*arguments: str) -> str | None:
    """The output of git in this checkout; None outside one, or without git."""
    root = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
