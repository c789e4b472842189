"""The studies: where their runs come from, and how they are shown."""

import ast
import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.claims.rules import rule_of, trials
from experiments.figures import factors, followups, next_task
from experiments.figures.paper import PaperFigure
from experiments.findings import correlations, predictions, ranking, sensitivity
from experiments.findings.data import Kept
from experiments.findings.markdown import Table
from experiments.findings.summaries import (
    ACCURACY,
    EIGENVALUE,
    PROBE,
    SHARPNESS,
    at_end,
    from_start,
    growth,
    summary,
)
from experiments.runs import Run
from plasticity_jax import checks


class Study(NamedTuple):
    """A study: the folder of its runs is called as it is."""

    name: str
    config: str
    figures: tuple[str, ...] = ()  # shown, modules of experiments/figures
    more_figures: tuple[str, ...] = ()  # linked
    tables: tuple[Callable[[Kept], list[Table]], ...] = ()
    arms: Callable[[Sequence[Run]], list[str]] = lambda runs: list(
        map(factors.arm, runs)
    )
    series: Callable[[Sequence[Run]], list[dict]] | None = None
    every_metric: bool = False  # kept; otherwise those that tables are made of

    @property
    def question(self) -> str:
        """What it asks: the first line of its config file."""
        text = Path(__file__).parents[2].joinpath(self.config).read_text()
        line = ast.get_docstring(ast.parse(text)).splitlines()[0]
        return re.match(r".*?[.?](?= |$)|.*", line)[0]  # its first sentence


def figure(name: str) -> PaperFigure:
    """Returns a figure by its module's name."""
    module = importlib.import_module(f"experiments.figures.{name}")
    # That of a table, not of runs, is made of it; its words need none.
    return module.FIGURE if hasattr(module, "FIGURE") else module.figure({})


def named(name: str) -> Study:
    """Returns a study by name, or what else was tried in one: its table alone.

    Raises:
      ValueError: there is none of that name.
    """
    there = {study.name: study for study in STUDIES}
    for trial, claim in trials().items():
        study, base = rule_of(trial)["study"], there[rule_of(claim)["study"]]
        there.setdefault(study, Study(study, base.config))
    checks.one_of("study (the folder's name)", name, there)
    return there[name]


def _with_settings(runs: Sequence[Run]) -> list[str]:
    """Names runs by method, and by every other setting in which they differ."""
    result = [""] * len(runs)
    places = {}
    for place, run in enumerate(runs):
        places.setdefault(factors.environment(run), []).append(place)
    for here in places.values():
        names = factors.names([runs[place] for place in here], factors.arm)
        for place, name in zip(here, names, strict=True):
            result[place] = name
    return result


def _streams(runs: Sequence[Run]) -> list[str]:
    return list(map(next_task.arm, runs))


_MDP, _SUPERVISED = "configs/block_mdp", "configs/supervised"
_SETTING = ("architecture", "observations", "environment")
_DEAD = {"dead units": at_end("representation/dead_fraction")}
_SHARE = {"share of cosines < -.1": from_start("gradients/interference_share")}
_DISPLACED = {
    "eigenvalue, as far at random": at_end("displaced/lambda_max"),
    "cosines, as far at random": at_end("displaced/interference_share"),
}
_TD = {"TD error": at_end("eval/td_error")}
_VALUES = {"mean size of Q": at_end("eval/mean_abs_q")}
_GROWTH = {"growth": growth(SHARPNESS)}
_RATE = {"effective learning rate": at_end("updates/effective_learning_rate")}

STUDIES = (
    Study(
        "adam_instability",
        f"{_SUPERVISED}/adam_instability.py",
        figures=("fig01",),
        tables=(
            summary(
                "collapse",
                "At the end of the stream, means over seeds.",
                ("arm",),
                ACCURACY | _DEAD | PROBE | EIGENVALUE,
            ),
        ),
        arms=_streams,
        every_metric=True,
    ),
    Study(
        "landscape",
        f"{_MDP}/landscape.py",
        figures=("fig02",),
        tables=(
            summary(
                "landscape",
                "From the start to the end; *as far at random*: a random point as far"
                " from the start as the run's end.",
                ("learning_rate", "arm"),
                EIGENVALUE | _GROWTH | _SHARE | _DISPLACED,
            ),
        ),
    ),
    Study(
        "correlations",
        f"{_MDP}/correlations.py",
        figures=("fig03", "fig03_all"),
        tables=(correlations.tables,),
        every_metric=True,
    ),
    Study(
        "probe_curves",
        f"{_MDP}/probe_curves.py",
        figures=("fig04",),
        more_figures=("fig17", "fig18"),
        tables=(
            summary(
                "curves",
                "What the curves end at, and what that costs the policy.",
                (*_SETTING, "arm"),
                PROBE | ACCURACY,
            ),
        ),
    ),
    Study(
        "width",
        f"{_MDP}/width.py",
        figures=("fig05",),
        tables=(
            summary(
                "by width",
                "By network, target period and width (units, or channels).",
                ("architecture", "observations", "period", "width"),
                PROBE | ACCURACY | _VALUES,
            ),
        ),
    ),
    Study(
        "interventions",
        f"{_MDP}/interventions.py",
        figures=("fig06", "followups"),
        more_figures=("fig08", "fig09", "fig10", "fig11"),
        tables=(ranking.rankings, ranking.beside_the_paper),
        arms=followups.arms,
    ),
    Study(
        "policies",
        f"{_MDP}/policies.py",
        figures=("fig12", "fig13"),
        more_figures=("fig15", "fig16"),
        tables=(
            summary(
                "policies",
                "At the end of training.",
                ("environment", "arm"),
                ACCURACY | _TD | PROBE,
            ),
        ),
    ),
    Study(
        "sharpness",
        f"{_MDP}/sharpness.py",
        figures=("fig14",),
        tables=(
            summary(
                "sharpness",
                "Largest eigenvalue of the Hessian of a new task's loss; growth: its"
                " last value over its first, the geometric mean over seeds.",
                (*_SETTING, "arm"),
                EIGENVALUE | _GROWTH | PROBE,
            ),
        ),
    ),
    Study(
        "value_scale",
        f"{_MDP}/value_scale.py",
        figures=("value_scale",),
        tables=(
            summary(
                "value scale",
                "By discount, and what rewards are multiplied and shifted by.",
                ("discount", "reward_scale", "reward_offset"),
                _VALUES | PROBE | ACCURACY | EIGENVALUE,
            ),
        ),
    ),
    Study(
        "layer_norm",
        f"{_MDP}/layer_norm.py",
        tables=(
            summary(
                "layer norm",
                "Kinds and places of norms, and learning rates.",
                ("environment", "arm"),
                PROBE | ACCURACY | _RATE | EIGENVALUE,
            ),
        ),
        arms=_with_settings,
    ),
    Study(
        "tuning",
        f"{_MDP}/tuning.py",
        tables=(
            summary(
                "tuning",
                "Settings of Adam for the plain network; looked at on these seeds, so"
                " nothing here is a verdict.",
                ("environment", "learning_rate", "optimizer.eps", "optimizer.b2"),
                PROBE | ACCURACY,
            ),
        ),
    ),
    Study(
        "next_task",
        f"{_SUPERVISED}/next_task.py",
        figures=("next_task",),
        tables=(predictions.predictors,),
        arms=_streams,
        series=predictions.at_boundaries,
    ),
    Study(
        "boundaries",
        f"{_SUPERVISED}/boundaries.py",
        figures=("boundaries",),
        tables=(predictions.boundaries,),
        arms=_streams,
        series=predictions.around_changes,
    ),
    Study(
        sensitivity.STUDY,
        "experiments/sensitivity.py",
        figures=("sensitivity",),
        tables=(sensitivity.tables,),
    ),
)
