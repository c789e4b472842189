"""Fills prose with numbers from the data, so that none is typed by hand.

A placeholder is {NAME} or {NAME:FORMAT}, FORMAT as in Python (default .3g):

  {C8 layer norm.verdict}                  verdict, n, p_holm of a claim (or verdict, n
                                           and p of a part)
  {C8 layer norm.rho_difference.mean:.2f}  an effect's mean, lo or hi
  {width.agents}                           an entry of results/width.json
  {width[width=32; period=200].probe/rho.mean}
                                           of the agents of results/width.csv with these
                                           words: mean, lo, hi, median, min, max, n or
                                           spearman (with plasticity loss, of the agents
                                           that could learn the probe at the start)
  {ranking, MLP, digits[redo].cost}        a cell of a table of RESULTS.md, as it stands
                                           there, by the table's name, the row's and the
                                           column's

An unknown name is refused with the nearest one there is.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.findings.data import Kept, Row, column, mean, solved
from experiments.findings.markdown import Table
from experiments.findings.summaries import word
from plasticity_jax import checks
from plasticity_jax.statistics import spearman

PLACEHOLDER = re.compile(r"\{([^{}]+?)(?::([^{}:\s]*))?\}")
SELECTION = re.compile(r"(?P<head>[^\[\]]+)\[(?P<inside>[^\]]*)\]\.(?P<rest>.+)")
LOSS = "probe/plasticity_loss"
STATISTICS = {
    "mean": lambda rows, metric: mean(rows, metric).value,
    "lo": lambda rows, metric: mean(rows, metric).low,
    "hi": lambda rows, metric: mean(rows, metric).high,
    "median": lambda rows, metric: np.nanmedian(column(rows, metric)),
    "min": lambda rows, metric: np.nanmin(column(rows, metric)),
    "max": lambda rows, metric: np.nanmax(column(rows, metric)),
    "n": lambda rows, metric: np.isfinite(column(rows, metric)).sum(),
    "spearman": lambda rows, metric: _spearman(solved(rows), metric),
}


class Known(NamedTuple):
    """All that prose may refer to."""

    verdicts: Mapping[str, Mapping]  # claims and parts
    studies: Mapping[str, Kept]
    tables: Mapping[str, Table]


def known(
    verdicts: Sequence[Mapping], studies: Mapping[str, Kept], tables: Sequence[Table]
) -> Known:
    """Puts together what prose may refer to."""
    everyone = [part for row in verdicts for part in (row, *row.get("parts", ()))]
    return Known(
        {row["claim"]: row for row in everyone},
        studies,
        {table.name: table for table in tables},
    )


def read(text: str) -> dict[str, str]:
    """Splits prose by its headings `## name`; before the first stand notes."""
    pieces = re.split(r"^## +(.+?) *$", text, flags=re.MULTILINE)[1:]
    return {
        name: body.strip() for name, body in zip(pieces[::2], pieces[1::2], strict=True)
    }


def fill(text: str, there: Known) -> str:
    """Puts values in the place of placeholders.

    Raises:
      ValueError: a name that is not there, or a format that does not fit its value.
    """

    def put(match):
        name, form = match.groups()
        value = look_up(name.strip(), there)
        if isinstance(value, str):
            return value
        if not isinstance(value, int | float) or np.isnan(value):
            raise ValueError(f"{match[0]}: expected a number or a word; got {value}.")
        try:
            return format(value, form if form else ".3g")
        except ValueError as error:
            raise ValueError(f"{match[0]}: {error} ({value!r})") from error

    return PLACEHOLDER.sub(put, text)


def look_up(name: str, there: Known) -> str | float:
    """Returns what a placeholder's name stands for."""
    if match := SELECTION.fullmatch(name):
        head, inside, rest = match.group("head", "inside", "rest")
        checks.one_of(f"{{{name}}}", head, [*there.studies, *there.tables])
        if head in there.studies:
            return _statistic(name, there.studies[head].rows, inside, rest)
        return _cell(name, there.tables[head], inside, rest)
    head, _, rest = name.partition(".")
    checks.one_of(f"{{{name}}}", head, [*there.verdicts, *there.studies])
    if head in there.verdicts:
        return _of_verdict(name, there.verdicts[head], rest)
    return _get(name, there.studies[head].origin, rest)


def _of_verdict(name: str, row: Mapping, rest: str) -> str | float:
    if "." not in rest:
        own = {"verdict": row["verdict"], "n": len(row["seeds"])}
        own |= {key: row[key] for key in ("p", "p_holm") if row.get(key) is not None}
        return _get(name, own, rest)
    effect, _, bound = rest.rpartition(".")
    found = _get(name, row["effects"], effect)
    return _get(name, {key: found[key] for key in ("mean", "lo", "hi")}, bound)


def _statistic(name: str, rows: Sequence[Row], inside: str, rest: str) -> float:
    for condition in filter(None, map(str.strip, inside.split(";"))):
        key, _, value = condition.partition("=")
        checks.one_of(f"{{{name}}}", key, rows[0])
        checks.one_of(f"{{{name}}}: {key}", value, {word(row[key]) for row in rows})
        rows = [row for row in rows if word(row[key]) == value]
    metric, _, statistic = rest.rpartition(".")
    checks.one_of(f"{{{name}}}", metric, rows[0])
    return float(_get(name, STATISTICS, statistic)(rows, metric))


def _cell(name: str, table: Table, inside: str, rest: str) -> str:
    rows = {", ".join(row[: table.keys]).replace("`", ""): row for row in table.rows}
    row = _get(name, rows, inside)
    return _get(name, dict(zip(table.header, row, strict=True)), rest)


def _get(name: str, there: Mapping, key: str):
    checks.one_of(f"{{{name}}}", key, there)
    return there[key]


def _spearman(rows: Sequence[Row], metric: str) -> float:
    return spearman(column(rows, metric), column(rows, LOSS), num_resamples=1).value
