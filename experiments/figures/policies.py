"""Figures 12, 13, 15, 16: what the interventions do to the policy and its TD error."""

from experiments.figures import factors, lines
from experiments.figures.paper import MEAN, PaperFigure

SHOWN = {
    "eval/accuracy": (
        "Accuracy of the greedy policy",
        "accuracy (share correct)",
        "Share of training images at which the greedy action is the label; dotted,"
        " chance: one of ten actions.",
    ),
    "eval/td_error": (
        "TD error",
        "squared TD error",
        "Squared TD error of the expected values on held-out transitions, so that"
        " two-hot heads and regression compare; the scale is logarithmic.",
    ),
}


def figure(number: int, environment: str, metric: str) -> PaperFigure:
    """Describes the figure of a metric in an environment, a line an intervention."""
    title, label, caption = SHOWN[metric]

    def select(runs):
        found = factors.of_paper(lines.with_metric(runs, metric))
        return [run for run in found if factors.environment(run) == environment]

    def draw(runs):
        is_share = metric == "eval/accuracy"
        scale = {"chance": 0.1} if is_share else {"log": True}
        return lines.draw_lines(
            runs, metric, label, factors.setting, factors.arm, between_copies=True,
            **scale,
        )  # fmt: skip

    return PaperFigure(
        title=f"Figure {number}. {title} by intervention ({environment})",
        caption=f"{caption} {MEAN}",
        alt=f"{title} against iterations, a line an intervention, a panel a network.",
        config="configs/block_mdp/policies.py",
        select=select,
        draw=draw,
    )
