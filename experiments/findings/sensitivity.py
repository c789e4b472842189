"""Does the ranking of methods survive another probe? What experiments.sensitivity
measured, as it is committed and shown."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from experiments import rankings
from experiments.figures import paper
from experiments.figures import sensitivity as figure
from experiments.findings.data import FIGURES, RESULTS, Kept
from experiments.findings.files import shrink, without_places, write_rows
from experiments.findings.markdown import Table
from experiments.findings.summaries import word
from experiments.tidy import PROVENANCE
from plasticity_jax.records.files import write_json

STUDY = "sensitivity"
MEANINGS = {"final_loss": "by final probe loss", "rho": "by share lost (rho)"}


def collect(folder: Path, root: Path) -> list[str]:
    """Writes results/sensitivity.csv and .json, and the figure.

    Returns:
      What is worth saying.
    """
    path = folder / figure.TABLE
    rows = rankings.read_rows(path)
    dropped = ("group", "label", *PROVENANCE)
    kept = [{n: v for n, v in row.items() if n not in dropped} for row in rows]
    (root / RESULTS).mkdir(parents=True, exist_ok=True)
    write_rows(root / RESULTS / f"{STUDY}.csv", kept)
    write_json(root / RESULTS / f"{STUDY}.json", _origin(rows, path))
    drawing = figure.figure(rankings.by_environment(rows))
    out = root / FIGURES / STUDY
    return shrink(*paper.write(drawing, figure.runs_of(rows, folder), out))


def _origin(rows: Sequence[dict], path: Path) -> dict:
    of = lambda name: list(dict.fromkeys(row[name] for row in rows))
    started = min(of("started"))
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    elapsed = written - datetime.fromisoformat(started)
    commands = [without_places(one, "interventions") for one in of("command")]
    return {
        "study": STUDY,
        "config": "experiments/sensitivity.py",
        "commands": [without_places(one, STUDY) for one in commands],
        "seeds": sorted(map(int, of("seed"))),
        "agents": len({(r["arm"], r["environment"], r["seed"]) for r in rows}),
        "programs": len({(r["group"], r["probe"]) for r in rows}),
        "commits": of("commit"),
        "dirty": "True" in of("dirty"),
        "started": started,
        "elapsed_seconds": round(elapsed.total_seconds()),
        "process_seconds": round(sum(float(row["seconds"]) for row in rows)),
        "devices": of("devices"),
        "python": of("python"),
        "jax": [],
        "unfinished": [],
    }


def tables(kept: Kept) -> list[Table]:
    """Returns how far each probe puts the methods in the order of the study's own."""
    texts = [
        {name: "" if value is None else word(value) for name, value in row.items()}
        for row in (*kept.rows, *kept.diverged)
    ]
    readings = rankings.by_environment(texts)
    rows = [
        [environment, probe]
        + [rankings.describe(rankings.agreement(found, probe, m)) for m in MEANINGS]
        for environment, found in readings.items()
        for probe in found.probes[1:]
    ]
    caption = (
        "Kendall's τ between the order of the methods under each probe and under the"
        " study's own, of means over seeds, with its 95 % interval over seeds: 1 is the"
        " same order. *other_targets* is the study's probe drawn anew, which none can"
        " be expected to beat."
    )
    header = ["environment", "probe", *MEANINGS.values()]
    return [Table(STUDY, caption, header, rows, keys=2)]
