"""What claim C5 compares: what a statistic of the network says of its plasticity loss,
in one kind of setting and in another.

An agent is one seed of one combination of images, network, reward and optimiser, at the
end of its training. A group is all agents of one level of one of these factors.
"""

from collections.abc import Sequence

import numpy as np

from experiments.claims.measured import at_end, constant, initial_over_baseline
from experiments.runs import Run, flatten
from plasticity_jax.statistics import sign_consistency, spearman

FACTORS = {
    "observation": "dataset.kind",
    "architecture": "network.kind",
    "reward": "learner.environment",
    "optimiser": "optimizer.kind",
}
METRICS = {
    "weight_norm": "weights/norm",
    # The numerical rank is full, hence constant; the paper does not say which it is.
    "weight_rank": "weights/rank_0.01",
    "dead_units": "representation/dead_fraction",
    "feature_rank": "representation/feature_rank",
}
SOLVED = 0.2  # of b: an agent that starts above has little plasticity to lose
SMALLEST = 24  # agents in a group


def signs(default: Sequence[Run]) -> dict[str, dict]:
    """Returns C5's effects, numbers of groups and agents rather than one a seed.

    agents (that did not diverge), unsolved_agents (those left out: L_0 above .2 b),
    groups (of 24 agents and more); for each metric: its Spearman correlation with
    plasticity loss in each group, with interval, n, and p, two-sided and after Holm
    over groups; in how many groups it is surely positive and surely negative;
    one_signed_median, the median of its size over groups if it has one sign in all of
    them, else 0.
    """
    found = [_agents(run) for run in default if run.seeds]
    if not found:
        return {"groups": constant(0)}
    agents = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    solved = agents["start"] <= SOLVED
    groups = {
        f"{factor} {level}": solved & (agents[factor] == level)
        for factor in FACTORS
        for level in dict.fromkeys(agents[factor])
    }
    groups = {name: rows for name, rows in groups.items() if rows.sum() >= SMALLEST}
    effects = {
        "agents": constant(len(solved)),
        "unsolved_agents": constant(int((~solved).sum())),
        "groups": constant(len(groups)),
    }
    for metric in METRICS if groups else ():
        effects |= _of_metric(metric, agents, groups)
    return effects


def _agents(run: Run) -> dict[str, np.ndarray]:
    """Returns a run's agents, [S] a column."""
    config, count = flatten(run.config), len(run.seeds)
    return {
        **{name: np.full(count, config[path]) for name, path in FACTORS.items()},
        **{name: at_end(run, metric) for name, metric in METRICS.items()},
        "start": initial_over_baseline(run),
        "loss": at_end(run, "probe/plasticity_loss"),
    }


def _of_metric(metric: str, agents: dict, groups: dict) -> dict[str, dict]:
    estimates = [
        spearman(agents[metric][rows], agents["loss"][rows]) for rows in groups.values()
    ]
    found, p_values = sign_consistency(estimates)
    values = np.array([estimate.value for estimate in estimates])
    known = values[~np.isnan(values)]  # a metric that is constant in a group has none
    effects = {}
    for index, (name, rows) in enumerate(groups.items()):
        if not np.isnan(values[index]):
            value, low, high = map(float, estimates[index][:3])
            sure = {"p": float(p_values[index]), "n": int(rows.sum())}
            effects[f"{metric}, {name}"] = {"mean": value, "lo": low, "hi": high} | sure
    for sign, which in ((1, "positive"), (-1, "negative")):
        p = np.min(p_values, where=np.sign(values) == sign, initial=1.0)
        count = int((found == sign).sum())
        effects[f"{which}_groups, {metric}"] = constant(count, p=float(p))
    one_sign = len(known) and abs(np.sign(known).sum()) == len(known)
    median = float(np.median(np.abs(known))) if one_sign else 0.0
    return effects | {f"one_signed_median, {metric}": constant(median)}
