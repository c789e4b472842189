"""Every study's config: what it names exists and can be built, and is the paper's."""

import functools
import importlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import build, presets
from experiments.sweeps import grids
from plasticity_jax.tasks import datasets

ROOT = Path(__file__).parents[2]
STUDIES = {
    path.stem: importlib.import_module(f"configs.{path.parent.name}.{path.stem}")
    for path in sorted((ROOT / "configs").glob("*/*.py"))
    if "def get_grids" in path.read_text()
}
SCALES = ("", "cpu", "quick")


def stand_in(shape):
    """A published data set's shapes and split, without its pixels."""
    num_test, num_examples = 10_000, 15_000
    images = jnp.zeros((num_examples, *shape), jnp.uint8)
    labels = jnp.arange(num_examples, dtype=jnp.int32) % 10
    return datasets.Dataset(images, labels, 10, num_test)


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    own = dict(datasets.DATASETS)
    once = functools.cache
    cached = {name: functools.wraps(f)(once(f)) for name, f in own.items()}
    cached["mnist"] = functools.cache(lambda: stand_in((28, 28, 1)))
    cached["cifar10"] = functools.cache(lambda: stand_in((32, 32, 3)))
    datasets.DATASETS.update(cached)
    yield
    datasets.DATASETS.update(own)


@functools.cache
def points(study, scale):
    module = STUDIES[study]
    return grids.expand(module, scale, grids.read(module, scale, []), [])[0]


def built(config):
    config["seeds"] |= {"count": 1, "axis": "map"}  # `auto` would run it
    return build.build(config)


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_builds_at_every_scale(study):
    for scale in SCALES:  # at `cpu`, whose runs are committed, every point
        of_scale = points(study, scale)
        for point in of_scale if scale == "cpu" else (of_scale[0], of_scale[-1]):
            experiment = built(point.config)
            assert experiment.probes and experiment.counts["log_every"] > 0
    total = {scale: points(study, scale)[0].config["total_updates"] for scale in SCALES}
    assert total["quick"] <= 60 < total["cpu"] <= total[""]


@pytest.mark.parametrize("name", presets.table("quick"))
def test_a_shared_variant_builds_and_is_named(name):
    module = STUDIES["interventions"]
    config = module.get_config(f"{name},quick")
    plain = module.get_config("quick")
    as_before = ("easy", "digits", "mlp")  # what the plain config is
    changed = config.to_dict() != plain.to_dict() | {"label": config.label}
    assert changed == (name not in as_before)
    assert (config.label == "default") == (name == "easy")
    if name not in ("mnist", "cifar10"):  # quick ones see few examples; built above
        built(config.to_dict())


@pytest.mark.parametrize("study", STUDIES)
def test_no_two_points_of_a_grid_share_a_name_by_mistake(study):
    """Where variants differ, labels do: figures and reports tell arms by them."""
    for scale in SCALES:
        named = {}
        for point in points(study, scale):
            names = point.factors.get("variants") or ""
            label = point.config["label"]
            assert named.setdefault(names, label) == label
        assert len(set(named.values())) == len(named)


def test_the_order_of_scale_and_variants_does_not_matter():
    get_config = STUDIES["interventions"].get_config
    one = get_config("cpu,cnn,textures,layer_norm,two_hot,hard").to_dict()
    two = get_config("hard,two_hot,layer_norm,textures,cnn,cpu").to_dict()
    assert one | {"label": ""} == two | {"label": ""}
    assert one["network"]["channels"] == (16, 16)
    assert one["network"]["norm"] == "layer" and one["network"]["head"] == "two_hot"


def test_a_network_that_comes_with_norms_keeps_its_own():
    get_config = STUDIES["interventions"].get_config
    assert get_config("resnet18").network.norm == "group"
    assert get_config("vit").network.activation == "gelu"


def test_the_default_is_the_papers():
    config = STUDIES["interventions"].get_config()
    assert config.total_updates == 100.5 * config.learner.target_period == 100_500
    assert config.network.hidden == (512, 512) and config.learner.batch_size == 512
    probe = config.probes.plasticity
    assert (probe.num_steps, probe.num_targets, probe.batch_size) == (2_000, 10, 256)
    assert np.all(np.diff(probe.at) == 5_000) and probe.at[-1] == config.total_updates
    assert probe.at[0] == 5_500  # the reference tells of theta_0
    assert config.probes.hessian.num_examples == 4_096
    assert config.probes.gradients.num_examples == 512

    later = STUDIES["interventions"].get_config("paper_a2")
    assert later.learner.target_period == 10_000 and later.total_updates == 1_005_000
    assert later.probes.plasticity.at == tuple(10 * t for t in probe.at)

    cnn = STUDIES["probe_curves"].get_config()
    assert cnn.network.channels == (64, 64) and cnn.network.kernels == (5, 3)
    assert [t // 1_000 for t in cnn.probes.plasticity.at] == [0, 10, 20, 50, 100, 150]

    walk = STUDIES["landscape"].get_config("random_walk")
    assert walk.optimizer.kind == "sgd" and walk.optimizer.learning_rate == 1e-3
    assert walk.learner.target_period == 5_000 and walk.learner.batch_size == 512
    assert [t // 5_000 for t in walk.probes.hessian.at] == [0, 1, 5, 20]


def test_grids_have_the_agents_that_the_claims_need():
    assert 4 * len(points("correlations", "cpu")) == 144
    paper = points("width", "")
    widths = {round(16 * p.factors["network.width"]) for p in paper}
    assert widths == {16, 32, 64, 128, 192, 256}
    arms = {p.factors["variants"] for p in points("interventions", "cpu")}
    assert len(arms) == 26 + 9  # the paper's own nine on a CNN too, in easy alone
    assert len(points("interventions", "cpu")) == 2 * 26 + 9


def test_probes_take_no_more_examples_than_there_are():
    config = STUDIES["interventions"].get_config("digits")
    assert config.dataset.num_held_out == 360
    assert config.probes.plasticity.num_inputs == 360
    assert config.probes.hessian.num_examples == 360
    assert STUDIES["interventions"].get_config().probes.plasticity.num_inputs == 10_000


def test_two_scales_are_refused():
    with pytest.raises(ValueError, match="expected one scale of paper, cpu, quick"):
        STUDIES["tuning"].get_config("cpu,quick")
    with pytest.raises(ValueError, match="Did you mean 'layer_norm'"):
        STUDIES["tuning"].get_config("layer_nrm")
