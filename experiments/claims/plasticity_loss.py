"""What claims C7 and C8 compare: plasticity loss at the end of a run.

rho is the probe's loss of plasticity over what could be lost, (L_t - L_0) / (b - L_0).
"""

from collections.abc import Sequence

import numpy as np

from experiments.claims.measured import at_end, constant, initial_over_baseline
from experiments.runs import Run


def over_width(default: Sequence[Run]) -> dict[str, np.ndarray]:
    """Returns C7's effects, each [S], of one run a width, seeds paired.

    initial_loss_over_b: at the width where it is largest; slope: of rho on log2 W, by
    least squares; change_at_widest: L_t - L_0 there; rho: by width.
    """
    widths = np.array([_width(run) for run in default])
    order = np.argsort(widths)
    runs, log_width = [default[index] for index in order], np.log2(widths[order])
    rho = np.stack([at_end(run, "probe/rho") for run in runs])
    start = np.stack([initial_over_baseline(run) for run in runs])
    centred = log_width - log_width.mean()
    return {
        "initial_loss_over_b": start[start.mean(axis=1).argmax()],
        "slope": centred @ rho / (centred @ centred),
        "change_at_widest": at_end(runs[-1], "probe/plasticity_loss"),
        **{f"rho, {width:g}": of for width, of in zip(widths[order], rho, strict=True)},
    }


def difference(none: Run, method: Run) -> dict[str, np.ndarray]:
    """Returns a part of C8's effects, each [S], seeds paired.

    initial_loss_over_b and rho, of either arm; rho_difference: method minus none.
    """
    rho, plain = at_end(method, "probe/rho"), at_end(none, "probe/rho")
    return {
        "initial_loss_over_b, none": initial_over_baseline(none),
        "initial_loss_over_b, method": initial_over_baseline(method),
        "rho, none": plain,
        "rho, method": rho,
        "rho_difference": rho - plain,
    }


def by_architecture(none: Sequence[Run], method: Sequence[Run]) -> dict:
    """Returns the effects of `difference` for each architecture and its images, by
    name, and architectures, how many there are.

    Raises:
      ValueError: an architecture is there twice on the same images, as in two widths.
    """
    kinds = [run.config["network"]["kind"] for run in none]
    names = [
        f"{kind} on {run.config['dataset']['kind']}" if kinds.count(kind) > 1 else kind
        for kind, run in zip(kinds, none, strict=True)
    ]
    if len(set(names)) < len(names):
        raise ValueError(
            f"expected each architecture once on its images; got {', '.join(names)}: "
            f"{', '.join(repr(run.label) for run in none)}. Name the folders meant."
        )
    effects = {"architectures": constant(len(set(kinds)))}
    for name, *pair in zip(names, none, method, strict=True):
        for effect, values in difference(*pair).items():
            effects[f"{effect}, {name}"] = values
    return effects


def _width(run: Run) -> float:
    network = run.config["network"]
    return network["hidden"][0] * network["width"]
