"""The house rule: a module imports lower tiers or its own folder, nothing above."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "plasticity_jax"

TIERS = {
    "types": 0,
    "checks": 0,
    "trees": 1,
    "losses": 1,
    "statistics": 1,
    "networks": 2,
    "tasks": 2,
    "optimizers": 2,
    "probes": 3,
    "interventions": 3,
    "agents": 3,
    "learners": 4,
    "sharding": 4,
    "records": 4,
    "instruments": 5,
    "loop": 6,
}
# Third parties that have one place each, as a path prefix inside the package.
CONFINED = {
    "orbax": "records",
    "tensorboardX": "records",
    "ale_py": "learners/atari",
    "dopamine": "learners/atari",
    "gymnasium": "learners/atari",
    "pooch": "tasks/published.py",
    "tensorflow": "learners/atari",
}
NOWHERE = ("absl", "ml_collections", "matplotlib", "experiments", "pickle", "jinja2")


def modules():
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "plasticity_jax":
                yield from (f"plasticity_jax.{alias.name}" for alias in node.names)
            else:
                yield node.module


def unit(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    here = unit(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "plasticity_jax":
            there = rest.partition(".")[0]
            assert there == here or TIERS[there] < TIERS[here], (
                f"{path.name} (tier {TIERS[here]}) imports {name} (tier {TIERS[there]})"
            )
        assert top not in NOWHERE, f"{path.name} imports {name}"
        if top in CONFINED:
            where = path.relative_to(PACKAGE).as_posix()
            assert where.startswith(CONFINED[top]), f"{where} imports {name}"


def test_every_unit_has_a_tier():
    assert {unit(path) for path in modules()} <= set(TIERS)


def test_probes_import_nothing_heavy():
    code = (
        "import jax, flax, optax, sys; before = set(sys.modules);"
        "import plasticity_jax.probes; added = set(sys.modules) - before;"
        "print(sorted({name.split('.')[0] for name in added}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    heavy = (
        "tensorflow tensorstore orbax ml_collections matplotlib sklearn tensorboardX"
    )
    for name in heavy.split():
        assert f"'{name}'" not in found, f"plasticity_jax.probes imports {name}"
