"""What claims C3, C4 and C9 compare: how sharp the loss of a *new* task becomes, and
whether examples pull the parameters apart.

The walk is the learner's twin that takes Gaussian steps as long as its own; it ends
where it has barely moved. So there is a second twin, which the probe `displaced`
measures along the learner's own run: theta_0 plus a Gaussian displacement as long as
theta_t - theta_0.
"""

import numpy as np

from experiments.claims.measured import at, at_end, last
from experiments.runs import Run

SHARPNESS = "hessian/lambda_max"
PERIODS = 30  # of the target network, after which C9 looks


def growth(descent: Run, walk: Run) -> dict[str, np.ndarray]:
    """Returns C3's effects, each [S], from update 0 to the end.

    td_loss_change: |log ratio| of the learner's TD loss on held-out transitions;
    growth: of lambda_max, natural log, by arm (descent, walk, displaced);
    growth_difference: descent minus each twin.
    """
    td_loss = at(descent, "eval/td_loss", [0, last(descent)])
    learner, walker = (log_growth(run, last(run)) for run in (descent, walk))
    start = at(descent, SHARPNESS, [0])[:, 0]
    displaced = np.log(at_end(descent, "displaced/lambda_max") / start)
    return {
        "td_loss_change": np.abs(np.log(td_loss[:, 1] / td_loss[:, 0])),
        "growth, descent": learner,
        "growth, walk": walker,
        "growth, displaced": displaced,
        "growth_difference, walk": learner - walker,
        "growth_difference, displaced": learner - displaced,
    }


def interference(descent: Run, walk: Run) -> dict[str, np.ndarray]:
    """Returns C4's effects, each [S], at the end.

    share: of pairs of examples whose gradients of the TD loss have a cosine below -.1,
    by arm; share_difference: descent minus each twin.
    """
    learner, walker = (
        at_end(run, "gradients/interference_share") for run in (descent, walk)
    )
    displaced = at_end(descent, "displaced/interference_share")
    return {
        "share, descent": learner,
        "share, walk": walker,
        "share, displaced": displaced,
        "share_difference, walk": learner - walker,
        "share_difference, displaced": learner - displaced,
    }


def flat_with_layer_norm(none: Run, layer_norm: Run) -> dict[str, np.ndarray]:
    """Returns C9's effects, each [S]: growth of lambda_max over the first 30 target
    periods, natural log, by arm; growth_difference, none minus layer norm."""
    end = PERIODS * none.config["learner"]["target_period"]
    plain, normalised = (log_growth(run, end) for run in (none, layer_norm))
    return {
        "growth, none": plain,
        "growth, layer_norm": normalised,
        "growth_difference": plain - normalised,
    }


def log_growth(run: Run, end: int) -> np.ndarray:
    """Returns log(lambda_max at `end` / lambda_max at update 0), [S]."""
    sharpness = at(run, SHARPNESS, [0, end])
    return np.log(sharpness[:, 1] / sharpness[:, 0])
