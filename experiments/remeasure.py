"""Measures a saved state again: other probes, other settings, another view."""

import ast
import contextlib
import inspect
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.build import WHEN, probe
from experiments.readings import READINGS
from experiments.schema import refuse_unknown
from plasticity_jax.instruments import Instruments
from plasticity_jax.tasks.datasets import to_inputs
from plasticity_jax.types import Learner, Probe


class Request(NamedTuple):
    """One probe to run."""

    name: str
    settings: dict  # all of them, defaults included
    probe: Probe
    as_in_run: bool  # the settings are those of the run's config

    def __str__(self):
        settings = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.name}: {settings}" if settings else self.name


class Result(NamedTuple):
    """What one probe found."""

    request: Request
    rows: list[dict]  # one a seed, as in metrics.jsonl
    arrays: dict  # {name: [S, ...]}
    reference: str | None  # what it compares with: "of the run", "measured anew", None


def make_request(config: Mapping, text: str, updates: int) -> Request:
    """Builds what one --probe asks for.

    Args:
      config: the run's; its settings of this probe hold where `text` names no other.
      text: `name` or `name:setting=value,...`.
      updates: when to measure.

    Raises:
      ValueError: an unknown probe or setting, or a value that does not fit.
    """
    where = f"--probe={text}"
    name, given = parse_call(where, text)
    refuse_unknown("--probe", name, list(READINGS))
    section = config.get("probes", {}).get(name, {})
    own = {key: value for key, value in section.items() if key not in WHEN}
    chosen = probe(config, where, name, own | given, (updates,))
    parameters = inspect.signature(READINGS[name]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    settings = _plain(defaults | own | given)
    return Request(name, settings, chosen, settings == _plain(defaults | own))


def _plain(settings: dict) -> dict:
    return json.loads(json.dumps(settings))  # tuples become lists, as in config.json


def parse_call(where: str, text: str) -> tuple[str, dict]:
    """Reads `name:setting=value,...`; a value is a Python literal, or else a word.

    Raises:
      ValueError: the text is not of this form.
    """
    name, _, settings = text.partition(":")
    source = f"_({settings})"
    try:
        call = ast.parse(source, mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "_" or call.args:
            raise SyntaxError
        found = {word.arg: _value(word.value, source) for word in call.keywords}
        if None in found or len(found) < len(call.keywords):  # `**x`, or a name twice
            raise SyntaxError
        return name, found
    except SyntaxError:
        raise ValueError(
            f"{where}: expected NAME or NAME:SETTING=VALUE,SETTING=VALUE."
        ) from None


def _value(node: ast.expr, source: str):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.get_source_segment(source, node)


def alter(learner: Learner, *, key: int | None = None, **changes) -> Learner:
    """Returns the learner with another view, and no metrics of its own.

    Args:
      learner: any.
      key: folded into the probes' keys, for other draws; None: the run's own.
      **changes: fields of `ProbeView` that take the place of its own.
    """

    def measure(fn):
        def altered(view, *args):
            *args, probe_key = args
            if key is not None:
                probe_key = jax.random.fold_in(probe_key, key)
            return fn(view._replace(**changes), *args, probe_key)

        return learner.measure(altered)

    return learner._replace(measure=measure, metrics=lambda state: ({}, state))


def members(
    learner: Learner, references: Mapping, chosen: Sequence[tuple[int | None, int]]
) -> tuple[Learner, dict]:
    """Returns a learner that shows only some of its members, and their references.

    Args:
      learner: any; its `snapshot` and `failed_at` are of those members.
      references: {probe: leaves [S, ...]}.
      chosen: (point, seed) of each; point None in a run without points.

    Raises:
      ValueError: a member that is not there.
    """
    points = learner.points or (None,) * len(learner.seeds)
    there = list(zip(points, learner.seeds, strict=True))
    if missing := [member for member in chosen if member not in there]:
        raise ValueError(
            f"expected members among (point, seed) {there}; got {missing[0]}."
        )
    places = np.array([there.index(member) for member in chosen])
    take = lambda tree: jax.tree.map(lambda x: x[places], tree)
    shown = learner._replace(
        seeds=tuple(learner.seeds[place] for place in places),
        points=tuple(learner.points[place] for place in places if learner.points),
        snapshot=lambda state: take(learner.snapshot(state)),
        failed_at=lambda state: learner.failed_at(state)[places],
    )
    return shown, take(dict(references))


def load_images(path: str, learner: Learner, state) -> jax.Array:
    """Reads `images` from an NPZ file as the learner's network takes them, [N, ...].

    Raises:
      ValueError: no such file or array, or a shape or dtype unlike the probe pool's.
    """
    pool = jax.eval_shape(
        learner.measure(lambda view: view.inputs), learner.snapshot(state)
    )
    where, shape = f"--inputs={path}", pool.shape[2:]  # behind seeds and examples
    images = _read_images(where, path)
    if images.shape[1:] != shape or len(images) < 2:
        wanted = ", ".join(map(str, ("N", *shape)))
        raise ValueError(
            f"{where}: expected images of shape [{wanted}], N at least 2; got "
            f"{list(images.shape)}."
        )
    if images.dtype == np.uint8:
        images = jnp.asarray(images)
        return images if pool.dtype == np.uint8 else to_inputs(images)
    if pool.dtype == np.uint8 or not np.issubdtype(images.dtype, np.floating):
        wanted = "uint8" if pool.dtype == np.uint8 else "uint8 or floating point"
        raise ValueError(f"{where}: expected {wanted} images; got {images.dtype}.")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"{where}: expected floating point images in [0, 1], as the run's own; got "
            f"[{images.min():g}, {images.max():g}]. Give pixels up to 255 as uint8."
        )
    return jnp.asarray(images, pool.dtype)


def _read_images(where: str, path: str) -> np.ndarray:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{where}: expected an NPZ file; there is none of that name.")
    with np.load(path, allow_pickle=False) as stored:
        if "images" not in stored.files:
            names = ", ".join(stored.files) or "nothing"
            raise ValueError(f"{where}: expected an array `images`; it holds {names}.")
        return stored["images"]


def run_probe(
    learner: Learner, state, request: Request, references: Mapping, say: Callable
) -> Result:
    """Runs one probe as the loop does.

    Args:
      learner: what shows the view.
      state: the learner's, at the update count of the request.
      request: the probe.
      references: {probe: what it measured at update 0}, used where the settings are
        the run's; elsewhere the probe measures its own.
      say: told of what takes its time.
    """
    name = request.name
    (updates,) = request.probe.times

    @contextlib.contextmanager
    def watch(phase, updates):
        if phase.startswith("prepare/"):
            say("  first what it compares with: targets, theta_0, a fresh network")
        yield

    instruments = Instruments(learner, {name: request.probe}, watch)
    if request.as_in_run and name in references:
        instruments.references[name] = references[name]
    reused = name in instruments.references
    instruments.prepare(state)
    rows, arrays, _ = instruments.read(state, updates)
    if request.probe.prepare is None:
        return Result(request, rows, arrays[name], None)
    return Result(
        request, rows, arrays[name], "of the run" if reused else "measured anew"
    )


def table(rows: list[dict]) -> str:
    """Aligns one probe's scalars: mean and range over seeds, or the single value.

    Args:
      rows: one a seed, as in metrics.jsonl.
    """
    healthy = [row for row in rows if row["failed_at"] is None]
    lines = [("", "mean", "lowest", "highest") if len(healthy) > 1 else ("", "value")]
    for name in (name for name in rows[0] if "/" in name):
        values = [row[name] for row in healthy if row[name] is not None]
        if len(values) < len(healthy):
            cells = [f"finite in {len(values)} of {len(healthy)} seeds"]
        elif len(values) > 1:
            cells = [f"{f(values):.5g}" for f in (np.mean, min, max)]
        else:
            cells = [f"{value:.5g}" for value in values]
        lines.append((name, *cells))
    width = max(len(line[0]) for line in lines)
    text = [
        f"  {name:{width}}" + "".join(f"{cell:>14}" for cell in cells)
        for name, *cells in lines
    ]
    text += [
        f"  seed {row['seed']} is left out: it diverged at update {row['failed_at']}"
        for row in rows
        if row not in healthy
    ]
    return "\n".join(text)
