"""Tables of means: a row a kind of agent, a column a reading."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.findings.data import Kept, Row, column, grouped, mean
from experiments.findings.markdown import Table, change, estimate
from experiments.summary import number
from plasticity_jax.statistics import bootstrap_mean

Cell = Callable[[Sequence[Row]], str]
SHARPNESS = "hessian/lambda_max"


def at_end(metric: str) -> Cell:
    """Shows a metric's last value with its interval."""
    return lambda rows: estimate(mean(rows, metric))


def from_start(metric: str) -> Cell:
    """Shows a metric at update 0 and at the end."""
    return lambda rows: change(column(rows, f"{metric}@0"), column(rows, metric))


def growth(metric: str) -> Cell:
    """Shows by what a metric was multiplied: the geometric mean over seeds."""

    def show(rows):
        ratio = np.log(column(rows, metric) / column(rows, f"{metric}@0"))
        value, low, high = np.exp(bootstrap_mean(ratio)[:3])
        bounds = "" if np.isnan(low) else f" [{number(low)}, {number(high)}]"
        return "–" if np.isnan(value) else f"× {number(value)}{bounds}"

    return show


def probe(rows: Sequence[Row]) -> str:
    """Shows the probe's final loss from theta_0, and from the last network."""
    start = column(rows, "probe/initial_loss")
    return change(start, column(rows, "probe/final_loss"))


PROBE = {
    "probe loss": probe,
    "plasticity loss, 95 %": at_end("probe/plasticity_loss"),
    "share lost (rho)": at_end("probe/rho"),
}
ACCURACY = {"accuracy": at_end("eval/accuracy")}
EIGENVALUE = {"largest eigenvalue": from_start(SHARPNESS)}


def summary(
    name: str, caption: str, keys: Sequence[str], columns: Mapping[str, Cell]
) -> Callable[[Kept], list[Table]]:
    """Returns what makes a table of means of a study.

    Args:
      name: of the table.
      caption: what it shows.
      keys: columns of the data; a row for each combination of theirs.
      columns: what is shown of its agents, by header.
    """

    def make(kept):
        groups = grouped(kept.rows, *keys)
        rows = [
            [
                *map(word, key),
                *(show(rows) for show in columns.values()),
                str(len(rows)),
            ]
            for key, rows in groups.items()
        ]
        header = [*(key.replace("_", " ") for key in keys), *columns, "n"]
        return [Table(name, caption, header, rows, keys=len(keys))]

    return make


def word(value: str | float | None) -> str:
    """Writes what a row is called: a word, or a setting."""
    return f"{value:g}" if isinstance(value, float) else value or "–"
