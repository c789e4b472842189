"""What a run is, in the paper's words: its environment, observations and method."""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.runs import Run, flatten

# The spelling of ours, and what the paper's observations are stood in for by.
ARCHITECTURES = {"mlp": "MLP", "cnn": "CNN", "resnet18": "ResNet", "vit": "ViT"}
TWINS = {"mnist": "mnist", "digits": "mnist", "cifar10": "cifar10"}
TWINS |= {"cifar100": "cifar10", "textures": "cifar10"}
SIDES = {"digits": 8, "textures": 32}  # pixels, of the data sets that can shrink
USUAL_NORM = {"resnet18": "group", "vit": "layer"}
HEADS = {
    "linear": "regression",
    "shared_bias": "regression",
    "two_hot": "two-hot",
    "hl_gauss": "HL-Gauss",
}
PERTURBERS = ("shrink perturb", "shrink perturb literal", "shrink perturb gaussian")
# The paper's methods, in the order in which they are drawn.
METHODS = (
    "none",
    "layer norm",
    "weight decay",
    "spectral norm",
    "reset last layer",
    *PERTURBERS,
    "optimizer reset",
)
PAPER_HEADS = ("regression", "two-hot")
SPELLING = {"crelu": "CReLU", "redo": "ReDo", "infer": "InFeR", "nap": "NaP"}
SPELLING |= {"l2_penalty": "L2", "l2_init": "L2 init"}
SOLVED = 0.2  # of the baseline b: what the probe loss must reach at the start
HOLLOW = "Hollow: the probe could not be learned at the start (loss above 0.2 b)."
NOT_A_SETTING = ("label", "seeds.", "dataset.", "learner.environment")


def is_q_learning(run: Run) -> bool:
    """Whether a run is of the block MDP's learner, with a target network."""
    return run.config.get("learner", {}).get("kind") == "dqn"


def period(run: Run) -> int:
    """Updates of one iteration: a target period, or a task of a stream."""
    learner = run.config["learner"]
    return learner.get("target_period") or learner["updates_per_task"]


def environment(run: Run) -> str:
    """Returns easy, hard or sparse."""
    return run.config["learner"]["environment"]


def observations(run: Run) -> str:
    """Returns the data set, with its side in pixels where that is a choice."""
    dataset = {"kind": "digits", **run.config.get("dataset", {})}
    kind, shrunk = dataset["kind"], dataset.get("downscale", 1)
    side = SIDES.get(kind, 0) // shrunk
    return f"{kind} {side}x{side}" if shrunk > 1 else kind


def twin(run: Run) -> str | None:
    """Returns the paper's data set whose place a run's takes: mnist or cifar10."""
    return TWINS.get(observations(run).split()[0])


def architecture(run: Run) -> str:
    """Returns the network's kind as the paper spells it."""
    kind = run.config["network"]["kind"]
    return ARCHITECTURES.get(kind, kind)


def width(run: Run) -> int:
    """Returns the units of an MLP's first layer, or another's channels, multiplied."""
    network = run.config["network"]
    first = network.get("channels") or network.get("hidden") or [1]
    return round(first[0] * network.get("width", 1.0))


def optimizer(run: Run) -> str:
    """Returns the optimiser's kind."""
    return run.config["optimizer"]["kind"].replace("_", " ")


def head(run: Run) -> str:
    """Returns regression, two-hot, or the head's own name."""
    kind = run.config["network"].get("head", "linear")
    return HEADS.get(kind, kind.replace("_", " "))


def methods(run: Run) -> tuple[str, ...]:
    """Returns what is done to the plain network: its options, then interventions."""
    network = run.config["network"]
    usual = USUAL_NORM.get(network["kind"], "none")
    norm, activation = network.get("norm", usual), network.get("activation", "relu")
    found = [] if norm == usual else [f"{norm}_norm"]
    found += ["spectral_norm"] if network.get("spectral") else []
    found += [] if activation == "relu" else [activation]
    found += [section["kind"] for section in run.config.get("interventions", ())]
    return tuple(found)


def method(run: Run) -> str:
    """Names the methods of a run, without its head: `none`, `layer norm + redo`."""
    spelt = (SPELLING.get(name, name.replace("_", " ")) for name in methods(run))
    return " + ".join(spelt) or "none"


def arm(run: Run) -> str:
    """Names the methods of a run and its head, if that is not regression."""
    names = [] if method(run) == "none" else [method(run)]
    names += [] if head(run) == "regression" else [head(run)]
    return " + ".join(names) or "none"


def setting(run: Run) -> str:
    """Names the network and what it sees."""
    return f"{architecture(run)}, {observations(run)}"


def of_paper(runs: Sequence[Run]) -> list[Run]:
    """Returns the runs with one of the paper's methods and heads, in their order."""
    found = [
        run
        for run in usual(runs)
        if method(run) in METHODS and head(run) in PAPER_HEADS
    ]
    return sorted(found, key=place)


def place(run: Run) -> tuple[int, int]:
    """Returns what runs of the paper are sorted by: their head, then their method."""
    return PAPER_HEADS.index(head(run)), METHODS.index(method(run))


def usual(runs: Sequence[Run]) -> list[Run]:
    """Returns the runs with the optimiser of most: a tuned baseline is another arm."""
    sections = [json.dumps(run.config["optimizer"], sort_keys=True) for run in runs]
    most = max(sections, key=sections.count, default=None)
    return [run for run, s in zip(runs, sections, strict=True) if s == most]


def names(runs: Sequence[Run], name_of: Callable[[Run], str]) -> list[str]:
    """Names runs; to those named alike it adds the settings in which they differ."""
    plain = [name_of(run) for run in runs]
    flat = [_settings(run.config) for run in runs]
    result = []
    for name, own in zip(plain, flat, strict=True):
        alike = [other for other, n in zip(flat, plain, strict=True) if n == name]
        keys = [k for k in own if any(other.get(k) != own[k] for other in alike)]
        told = [f"{key.rsplit('.', 1)[-1]} {own[key]}" for key in keys]
        result.append(", ".join([name, *told]).replace("_", " "))
    return result


def _settings(config: Mapping) -> dict[str, str]:
    """Every setting by its path, as text; interventions by their place."""
    listed = dict(enumerate(config.get("interventions", ())))
    named = {str(place): section for place, section in listed.items()}
    flat = flatten(dict(config) | {"interventions": named})
    return {k: str(v) for k, v in flat.items() if not k.startswith(NOT_A_SETTING)}


def last(run: Run, metric: str) -> np.ndarray:
    """Returns a metric's last values [S], NaN where a seed has none."""
    _, values = run.series(metric)
    return values[:, -1] if values.size else np.full(len(run.seeds), np.nan)


def was_solved(run: Run) -> np.ndarray:
    """Says for each seed [S] whether the probe could be learned at the start."""
    limit = SOLVED * last(run, "probe/baseline")
    return ~(last(run, "probe/initial_loss") > limit)  # unknown: taken as solved


def hollow(run: Run) -> dict:
    """Returns the style of the marker of a run with little plasticity to lose."""
    return {} if was_solved(run).mean() > 0.5 else {"markerfacecolor": "white"}
