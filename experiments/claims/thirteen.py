"""Several claims: p-values over all thirteen, and what is not judged, and why."""

from collections.abc import Sequence

import numpy as np

from experiments.claims.arms import Missing
from experiments.claims.judge import judge, outcome
from experiments.claims.rules import command, load_rules, rule_of
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
            making = command(rule_of(claim))
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
    those without a p as if theirs were 1. Trials, which decide nothing, have none."""
    claims = list(load_rules())
    known = {found["claim"]: found["p"] for found in verdicts if found["p"] is not None}
    adjusted = holm(np.array([known.get(claim, 1.0) for claim in claims]))
    p_holm = {
        claim: float(p)
        for claim, p in zip(claims, adjusted, strict=True)
        if claim in known
    }
    return [found | {"p_holm": p_holm.get(found["claim"])} for found in verdicts]


def not_judged(claim: str, reason: str) -> dict:
    """Returns the row of a claim that was not judged."""
    rule = rule_of(claim)
    row = {"claim": claim, "text": rule["claim"]} | outcome("not judged", reason)
    return row | {"command": command(rule)}
