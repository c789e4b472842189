"""Lets a saved Atari agent play, without learning: returns, and an episode to look at.

  python -m experiments.play --workdir=runs/pong --episodes=10 --gif=runs/pong.gif

The agent is that of the newest checkpoint, or of --updates; the games are shown and
played as in its config (no-ops, sticky actions), --epsilon in place of exploration.
Prints the mean return with its interval, and the human-normalised score. The run's
folder is not touched. The GIF is of the first episode, every --every-th frame.
"""

import json
import sys
from pathlib import Path

from absl import app, flags, logging
from PIL import Image

from experiments import atari57
from experiments.build import build
from plasticity_jax import checks
from plasticity_jax.learners.atari.emulator import game_id
from plasticity_jax.records import RecordsError, read_checkpoint
from plasticity_jax.records.files import read_json
from plasticity_jax.statistics import bootstrap_mean

MILLISECONDS = 67  # an agent step: 4 frames of 60 a second

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder.")
_UPDATES = flags.DEFINE_integer("updates", None, "Of the checkpoint; the newest.")
_EPISODES = flags.DEFINE_integer("episodes", 10, "How many, all at once.")
_EPSILON = flags.DEFINE_float("epsilon", None, "Of uniform actions; the config's.")
_CHANCE = flags.DEFINE_integer("chance", 0, "Another number, other episodes.")
_GIF = flags.DEFINE_string("gif", None, "Path of the first episode's picture.")
_EVERY = flags.DEFINE_integer("every", 2, "Agent steps between pictures.")


def main(argv: list[str]) -> int:
    """Plays, and turns every expected failure into one clear line."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only; got {argv[1:]}.")
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every file
    try:
        _play(Path(_WORKDIR.value))
    except (ValueError, OSError, RecordsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _play(workdir: Path) -> None:
    gif = _check_gif()
    checks.at_least(1, episodes=_EPISODES.value, every=_EVERY.value)
    updates, tree = read_checkpoint(workdir, _UPDATES.value)
    config = read_json(workdir / "config.json", dict)
    if (kind := config["learner"].get("kind")) != "atari":
        raise ValueError(
            f"--workdir={workdir}: expected a run of an atari learner; got {kind!r}."
        )
    if _EPSILON.value is not None:
        config["learner"]["eval_epsilon"] = _EPSILON.value
    session = build(config).learner.restore(tree["learner"])
    played = session.evaluate(_EPISODES.value, _CHANCE.value)
    print(json.dumps(_report(config, updates, played), indent=1))
    if gif:
        _write(gif, played.frames[:: _EVERY.value])
        print(gif)


def _check_gif() -> Path | None:
    path = Path(_GIF.value) if _GIF.value else None
    if path and (path.suffix != ".gif" or not path.parent.is_dir()):
        raise ValueError(
            f"--gif={path}: expected the name of a GIF in a folder that exists."
        )
    return path


def _report(config: dict, updates: int, played) -> dict:
    mean, low, high = map(float, bootstrap_mean(played.returns)[:3])
    game = game_id(config["learner"]["game"])
    report = {"game": game, "updates": updates, "return": mean, "interval": [low, high]}
    if game in atari57.scores():
        report["human_normalized"] = atari57.human_normalized(game, mean)
    return report | {
        "returns": played.returns.tolist(),
        "episode_steps": played.steps.tolist(),
    }


def _write(path: Path, frames) -> None:
    first, *others = (Image.fromarray(frame).resize((252, 252)) for frame in frames)
    duration = MILLISECONDS * _EVERY.value
    first.save(path, save_all=True, append_images=others, duration=duration, loop=0)


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    app.run(main)
