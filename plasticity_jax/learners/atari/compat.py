"""The one module that imports Dopamine, and what it takes to import it today."""

import contextlib
import functools
import importlib
import importlib.util
import itertools
import os
import sys
import types
from typing import NamedTuple

INSTALL = "pip install 'plasticity-jax[dopamine]'"


class Dopamine(NamedTuple):
    """The modules of Dopamine that this library uses."""

    atari_lib: types.ModuleType
    dqn_agent: types.ModuleType
    rainbow_agent: types.ModuleType
    full_rainbow_agent: types.ModuleType
    quantile_agent: types.ModuleType
    implicit_quantile_agent: types.ModuleType
    accumulator: types.ModuleType
    elements: types.ModuleType
    replay_buffer: types.ModuleType
    samplers: types.ModuleType


@functools.cache
def load() -> Dopamine:
    """Imports Dopamine, mended; the first call takes about ten seconds (TensorFlow).

    Raises:
      ImportError: without the `dopamine` extra.
    """
    try:
        with _quiet():
            importlib.import_module("dopamine")
            _stub_baselines()
            _lend_aval_mappings()
            found = _import_all()
    except ImportError as error:
        raise ImportError(
            f"The Dopamine agents need TensorFlow and Dopamine ({error}). "
            f"Install them: {INSTALL}"
        ) from error
    _keep_tensorflow_off_the_gpu()
    return found


def _import_all() -> Dopamine:
    return Dopamine(
        atari_lib=importlib.import_module("dopamine.discrete_domains.atari_lib"),
        **{
            name: importlib.import_module(f"dopamine.jax.{path}.{name}")
            for name, path in {
                "dqn_agent": "agents.dqn",
                "rainbow_agent": "agents.rainbow",
                "full_rainbow_agent": "agents.full_rainbow",
                "quantile_agent": "agents.quantile",
                "implicit_quantile_agent": "agents.implicit_quantile",
                "accumulator": "replay_memory",
                "elements": "replay_memory",
                "replay_buffer": "replay_memory",
                "samplers": "replay_memory",
            }.items()
        },
    )


def _stub_baselines() -> None:
    # Dopamine 4.1.2 imports `baselines` without declaring it (dopamine issue 227) and
    # uses it in its PPO preprocessing only. Goes when atari_lib imports without it.
    if "baselines" in sys.modules or importlib.util.find_spec("baselines"):
        return
    names = ("baselines", "baselines.common", "baselines.common.atari_wrappers")
    modules = [types.ModuleType(name) for name in names]
    for parent, child in itertools.pairwise(modules):
        setattr(parent, child.__name__.rpartition(".")[2], child)
    sys.modules.update(zip(names, modules, strict=True))


def _lend_aval_mappings() -> None:
    # TensorFlow Probability 0.25, Dopamine's, reads a table that left this public
    # module with jax 0.7. Goes with TensorFlow Probability 0.26 or Dopamine without it.
    from jax._src import core
    from jax.interpreters import xla

    if not hasattr(xla, "pytype_aval_mappings"):
        xla.pytype_aval_mappings = core.pytype_aval_mappings


def _keep_tensorflow_off_the_gpu() -> None:
    # It computes nothing here, and would take all the memory of a GPU from JAX.
    tensorflow = importlib.import_module("tensorflow")
    with contextlib.suppress(RuntimeError):  # the caller has used TensorFlow before
        tensorflow.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def _quiet():
    """Drops what TensorFlow and gym print while they load; failures still raise.

    TensorFlow 2.21 logs its first lines from C++ before it reads its log level, hence
    the file descriptor. TF_CPP_MIN_LOG_LEVEL=0 shows everything.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    # `sys.stderr` itself stays: absl's log handler keeps what it finds.
    os.dup2(null, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
