"""The examples run as they stand, and print what a person can believe."""

import math
import runpy
from collections import defaultdict
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {"linen": "flax", "nnx": "flax", "equinox": "equinox", "haiku": "haiku"}


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_measures_its_model(name, capsys):
    pytest.importorskip(NEEDS[name], reason=f"the example needs {NEEDS[name]}")
    runpy.run_path(str(EXAMPLES / f"probe_{name}.py"), run_name="__main__")
    found = defaultdict(list)
    for line in capsys.readouterr().out.splitlines():
        scalar, value = line.split()
        found[scalar].append(float(value))
    assert all(math.isfinite(value) for values in found.values() for value in values)
    # Fits of sin(1e5 f): variance near 1/2, and a fresh network fits part of it.
    (baseline,), (fresh,) = found["probe/baseline"], found["probe/fresh_loss"]
    assert 0.4 < baseline < 0.55
    assert fresh < baseline
    # A new task has noise of variance 1 to fit; the trained-on labels are half learned.
    this, new = found["hessian/lambda_max"]
    assert 0 < this < new
    assert found["representation/num_examples"] == [128]
    assert 10 < found["representation/feature_rank"][0] <= 32
    assert -1 <= found["gradients/min_cosine"][0] < found["gradients/mean_cosine"][0]


def test_examples_are_short_and_all_tested():
    paths = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in paths] == sorted(f"probe_{name}" for name in NEEDS)
    for path in paths:
        assert len(path.read_text().splitlines()) < 60, path.name
