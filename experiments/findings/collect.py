"""From a sweep's folder to what is committed: a table, its origin, its figures."""

import csv
import re
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from experiments.figures import factors, followups, paper
from experiments.findings import sensitivity, studies
from experiments.findings.data import FIGURES, RESULTS
from experiments.findings.files import shrink, without_places, write_rows
from experiments.runs import Run, find_runs
from experiments.sweeps import folder as sweeps
from experiments.tidy import PROVENANCE, write_tidy
from plasticity_jax.records.files import read_json, write_json

BORING = re.compile(
    r".*(/finite|_by_layer|/num_\w+|/rank_limited|/residual_max)(@0)?|probe/plasticity"
)
CORE = (
    "eval/", "train/", "displaced/", "probe/initial_loss", "probe/final_loss",
    "probe/plasticity_loss", "probe/rho", "probe/baseline", "probe/fresh_loss",
    "probe/auc", "probe/unsolved_at_init", "hessian/lambda_max", "hessian/trace",
    "gradients/interference_share", "gradients/mean_abs_cosine",
    "gradients/effective_rank", "representation/dead_fraction",
    "representation/dormant_fraction_0.025", "representation/feature_rank",
    "representation/srank", "weights/norm", "weights/rank_0.01",
    "weights/distance_from_init", "updates/effective_learning_rate",
    "updates/output_churn", "updates/update_norm",
)  # fmt: skip
CORE_AT_START = (
    "hessian/lambda_max@0", "gradients/interference_share@0", "weights/norm@0",
    "representation/dead_fraction@0", "representation/feature_rank@0",
)  # fmt: skip


def collect(folder: Path, root: Path) -> list[str]:
    """Writes results/<study>.csv and .json and docs/figures of one sweep.

    Args:
      folder: the sweep's, or one of workdirs, called as the study.
      root: of the repository.

    Returns:
      What is worth saying: runs left out, figures not drawn.

    Raises:
      ValueError: no study of that name; no finished run.
    """
    study = studies.named(folder.name)
    if study.name == sensitivity.STUDY:
        return sensitivity.collect(folder, root)
    finished, unfinished = read(folder)
    if not finished:
        raise ValueError(f"{folder}: expected finished runs; none of them is.")
    (root / RESULTS).mkdir(parents=True, exist_ok=True)
    write_rows(root / RESULTS / f"{study.name}.csv", _rows(study, folder, finished))
    shown = [run for run in finished if run.seeds]
    if study.series:
        series = study.series(shown)
        write_rows(root / RESULTS / f"{study.name}_series.csv", series)
    origin = _origin(study, folder, finished) | {"unfinished": unfinished}
    write_json(root / RESULTS / f"{study.name}.json", origin)
    notes = [f"{label}: not finished, left out" for label in unfinished]
    for name in (*study.figures, *study.more_figures):
        notes += _draw(name, shown, root / FIGURES / name)
    return notes


def read(folder: Path) -> tuple[list[Run], list[str]]:
    """Returns a folder's finished runs (one whose seeds have all diverged is), and the
    names of what is not finished, which its sweep may not even have started."""
    runs = find_runs([folder])
    ended = [not r.seeds or r.updates >= r.config["total_updates"] for r in runs]
    finished = [run for run, has in zip(runs, ended, strict=True) if has]
    others = [run.label for run, has in zip(runs, ended, strict=True) if not has]
    there = {run.workdir.name for run in runs}
    return finished, others + [
        g.slug for g in sweeps.groups(folder) if g.slug not in there
    ]


def _rows(study: studies.Study, folder: Path, runs: Sequence[Run]) -> list[dict]:
    """Returns the sweep's table, cut: words, factors, seed, metrics."""
    named = zip(study.arms(runs), runs, _factors(folder, runs), strict=True)
    words = [{"arm": arm} | _words(run) | own for arm, run, own in named]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / sweeps.TABLE
        write_tidy(runs, path, words)
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    kept = [name for name in rows[0] if _is_kept(name, study.every_metric)]
    return [{name: row[name] for name in kept} for row in rows]


def _is_kept(name: str, every_metric: bool) -> bool:
    if name in ("group", "label", "seconds", *PROVENANCE) or BORING.fullmatch(name):
        return False
    if "/" not in name or every_metric:
        return True
    return name in CORE_AT_START if "@" in name else name.startswith(CORE)


def _words(run: Run) -> dict[str, str | float | None]:
    """Says what a run is, in the words of the figures."""
    learner, optimizer = run.config["learner"], run.config["optimizer"]
    usual = {"discount": None, "reward_scale": 1.0, "reward_offset": 0.0}
    return {
        "environment": learner.get("environment"),
        "observations": factors.observations(run),
        "architecture": factors.architecture(run),
        "width": factors.width(run),
        "head": factors.head(run),
        "method": factors.method(run),
        "optimizer": factors.optimizer(run),
        "learning_rate": optimizer.get("learning_rate"),
        "period": factors.period(run),
        **{name: learner.get(name, value) for name, value in usual.items()},
        "seconds_an_update": followups.seconds(run),
    }


def _factors(folder: Path, runs: Sequence[Run]) -> list[dict]:
    """Returns the sweep's factors of each run; none of runs that no sweep made."""
    factors_of = {
        (group.slug, place): point.factors
        for group in sweeps.groups(folder)
        for place, point in enumerate(group.points)
    }
    return [factors_of.get((run.workdir.name, run.point or 0), {}) for run in runs]


def _origin(study: studies.Study, folder: Path, runs: Sequence[Run]) -> dict:
    """Says how, when and on what the runs were made, without places."""
    whole = {run.workdir: run for run in runs}.values()  # one a launch
    launches = [launch for run in whole for launch in run.launches]
    commands = [run.launches[0]["command"] for run in whole]
    if (folder / sweeps.DESCRIPTION).is_file():
        commands = [read_json(folder / sweeps.DESCRIPTION, dict)["command"]]
    started = min(launch["started"] for launch in launches)
    written = max((run.workdir / "timing.jsonl").stat().st_mtime for run in whole)
    elapsed = datetime.fromtimestamp(written, UTC) - datetime.fromisoformat(started)
    of = lambda name: list(dict.fromkeys(launch[name] for launch in launches))
    return {
        "study": study.name,
        "config": study.config,
        "commands": [without_places(one, study.name) for one in commands],
        "seeds": sorted({seed for run in runs for seed in run.all_seeds}),
        "agents": sum(len(run.all_seeds) for run in runs),
        "programs": len(whole),
        "commits": of("commit"),
        "dirty": any(of("dirty")),
        "started": started,
        "elapsed_seconds": round(elapsed.total_seconds()),
        "process_seconds": round(sum(t["seconds"] for r in whole for t in r.timings)),
        "devices": list(dict.fromkeys(d for x in launches for d in x["devices"])),
        "python": of("python"),
        "jax": list(dict.fromkeys(launch["versions"]["jax"] for launch in launches)),
    }


def _draw(name: str, runs: Sequence[Run], out: Path) -> list[str]:
    """Draws a figure; says so if it cannot, and removes what an earlier one left."""
    try:
        return shrink(*paper.write(studies.figure(name), runs, out))
    except ValueError as error:
        for suffix in ("png", "svg"):
            out.with_suffix(f".{suffix}").unlink(missing_ok=True)
        return [f"{name}: not drawn: {str(error).partition(';')[0]}"]
