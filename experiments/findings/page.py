"""RESULTS.md, from what is committed alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.claims.rules import load_rules, rule_of
from experiments.findings import prose, verdicts
from experiments.findings.data import FIGURES, RESULTS, Kept, read
from experiments.findings.markdown import render
from experiments.findings.studies import STUDIES, Study, figure
from plasticity_jax import checks

PROSE = f"{RESULTS}/reading.md"
TOP = "verdicts"  # the heading of prose that is no study's
SHOWN = 3  # names of runs that are left out
HEAD = """# Results: which claims of the paper hold?

Thirteen claims of *Understanding Plasticity in Neural Networks* (Lyle et al. 2023,
[arXiv 2303.01486](https://arxiv.org/abs/2303.01486)), judged at a scale that two CPU
cores finish: small images, narrow networks, rules fixed before the runs.
"""
FOOT = """## How this page is made

`python -m experiments.results` writes it from `results/` and `docs/figures/`; no number
is typed by hand. `python -m experiments.reproduce C5` runs again what a verdict needs
and sets the row beside the one here. After a study's runs, `python -m
experiments.results collect runs/width` renews its part. See
[results/README.md](results/README.md)."""


def page(root: Path) -> str:
    """Returns RESULTS.md.

    Raises:
      ValueError: prose that refers to what is not there.
    """
    found, tried = verdicts.read(root), verdicts.read_trials(root)
    kept = {study.name: read(study.name, root) for study in STUDIES}
    kept = {name: one for name, one in kept.items() if one is not None}
    tables = {
        study.name: [table for make in study.tables for table in make(kept[study.name])]
        for study in STUDIES
        if study.name in kept
    }
    everything = [table for listed in tables.values() for table in listed]
    there = prose.known([*found, *tried], kept, everything)
    written = _prose(root)

    def reading(name):
        return [prose.fill(written[name], there)] if written.get(name) else []

    parts = [HEAD, verdicts.tally(found), verdicts.at_once(found), *reading(TOP)]
    parts += ["## What decided", verdicts.FEW_SEEDS, verdicts.in_numbers(found)]
    parts += _tried(tried, root)
    for study in STUDIES:
        if study.name in kept:
            parts += _section(study, kept[study.name], found, root)
            parts += [*reading(study.name), *map(render, tables[study.name])]
    parts += _missing([study for study in STUDIES if study.name not in kept], tried)
    return "\n\n".join(part.strip() for part in [*parts, FOOT]) + "\n"


def _tried(tried: Sequence[Mapping], root: Path) -> list[str]:
    """Says what else was tried, and where its runs came from."""
    if not (told := verdicts.what_else(tried)):
        return []
    parts = ["### What else was tried", verdicts.TRIED, told]
    for row in tried:
        study = rule_of(row["claim"])["study"]
        if kept := read(study, root):
            parts.append(f"{row['claim']}:\n\n{_origin(kept)}")
    return parts


def _prose(root: Path) -> dict[str, str]:
    path = root / PROSE
    written = prose.read(path.read_text()) if path.is_file() else {}
    for name in written:
        checks.one_of(f"{PROSE}, headings", name, [TOP, *(s.name for s in STUDIES)])
    return written


def _section(study: Study, kept: Kept, found: Sequence, root: Path) -> list[str]:
    """Returns a study's heading, where it came from, and its figures."""
    heading = f"## {study.question.removesuffix('.')}"
    return [heading, _judged(study, found), _origin(kept), *_figures(study, root)]


def _judged(study: Study, found: Sequence) -> str:
    """Says which claims the study was judged for."""
    rules = load_rules()
    told = [
        f"{row['claim']} {row['verdict']}"
        for row in found
        if rules[row["claim"]].get("study") == study.name
    ]
    return f"Claims: {', '.join(told)}." if told else "Beyond the paper."


def _origin(kept: Kept) -> str:
    """Says what was run, when, on what and how long."""
    origin = kept.origin
    commits = ", ".join(f"`{str(commit)[:10]}`" for commit in origin["commits"])
    dirty = " with uncommitted changes" if origin["dirty"] else ""
    lines = [
        "\n".join(["```", *origin["commands"], "```"]),
        f"{origin['agents']} agents (programs: {origin['programs']}), seeds"
        f" {_seeds(origin['seeds'])}; {_time(origin['process_seconds'])} in processes,"
        f" {_time(origin['elapsed_seconds'])} from the first start to the last row;"
        f" {origin['started'][:10]}, commit {commits}{dirty}; on"
        f" {_device(origin['devices'])}, Python"
        f" {', '.join([*origin['python'], *(f'jax {v}' for v in origin['jax'])])}.",
    ]
    if kept.diverged:
        lines.append(f"{len(kept.diverged)} agents diverged and are left out.")
    if origin["unfinished"]:
        names = origin["unfinished"]
        shown = "; ".join([*names[:SHOWN], *["..."] * (len(names) > SHOWN)])
        lines.append(f"{len(names)} not finished, left out: {shown}.")
    return "\n\n".join(lines)


def _seeds(seeds: Sequence[int]) -> str:
    whole = seeds == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 2
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _time(seconds: float) -> str:
    hours = seconds >= 5_400
    return f"{seconds / 3600:.1f} hours" if hours else f"{seconds / 60:.0f} minutes"


def _device(devices: Sequence[str]) -> str:
    """Names platform and kind, once where they are the same word."""
    return ", ".join(" ".join(dict.fromkeys(device.split())) for device in devices)


def _figures(study: Study, root: Path) -> list[str]:
    """Shows the figures that are there, and links the others."""
    there = lambda name, kind="png": (root / FIGURES / f"{name}.{kind}").is_file()
    suffix = lambda name: "svg" if there(name, "svg") else "png"
    lines = [
        f"[![{figure(name).alt}]({FIGURES}/{name}.png)]({FIGURES}/{name}.{suffix(name)})"
        for name in study.figures
        if there(name)
    ]
    more = [
        f"[{figure(name).title}]({FIGURES}/{name}.png)"
        for name in study.more_figures
        if there(name)
    ]
    return lines + ([f"Also: {'; '.join(more)}."] if more else [])


def _missing(studies: Sequence[Study], tried: Sequence[Mapping]) -> list[str]:
    """Says which studies, and which trials, have no data."""
    named = ", ".join(f"{study.name} (`{study.config}`)" for study in studies)
    untried = [row["claim"] for row in tried if row["verdict"] == "not judged"]
    told = []
    if studies:
        told.append(f"Studies without data in `results/`: {named}.")
    if untried:
        told.append(f"To be tried, and not run yet: {', '.join(untried)}.")
    return ["## Not here yet", *told] if told else []
