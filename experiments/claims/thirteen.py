"""Several claims: p-values over all thirteen, and what is not judged, and why."""

from collections.abc import Sequence

import numpy as np

from experiments.claims.arms import Missing
from experiments.claims.judge import command, judge, load_rules, outcome
from experiments.runs import Run
from plasticity_jax.statistics import holm


def named(claims: Sequence[str], runs: Sequence[Run]) -> list[dict]:
    """Judges these claims.

    Raises:
      ValueError: one that cannot be judged; if its runs are missing, with the command
        that makes them.
    """
    verdicts = []
    for claim in dict.fromkeys(claims):
        try:
            verdicts.append(judge(claim, runs))
        except Missing as error:
            making = command(load_rules()[claim])
            raise ValueError(f"{error} Its runs: {making}") from error
    return adjust(verdicts)


def every(runs: Sequence[Run]) -> list[dict]:
    """Judges all claims; those that cannot be are `not judged`, with the reason."""
    verdicts = []
    for claim in load_rules():
        try:
            verdicts.append(judge(claim, runs))
        except ValueError as error:
            verdicts.append(not_judged(claim, str(error)))
    return adjust(verdicts)


def adjust(verdicts: Sequence[dict]) -> list[dict]:
    """Returns the verdicts with `p_holm`: p after Holm over all the claims there are,
    those without a p as if theirs were 1."""
    p_values = np.ones(len(load_rules()))
    for index, found in enumerate(verdicts):
        p_values[index] = 1.0 if found["p"] is None else found["p"]
    adjusted = holm(p_values)
    return [
        found | {"p_holm": None if found["p"] is None else float(adjusted[index])}
        for index, found in enumerate(verdicts)
    ]


def not_judged(claim: str, reason: str) -> dict:
    """Returns the row of a claim that was not judged."""
    rule = load_rules()[claim]
    row = {"claim": claim, "text": rule["claim"]} | outcome("not judged", reason)
    return row | {"command": command(rule)}
