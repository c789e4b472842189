"""How each probe of a config reads a learner's view.

Each factory takes `frozen_pool` (whether the view's inputs stay the same all run) and
the config's settings, and returns (measure, prepare) as `types.Probe` wants them.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import checks, probes, trees, types
from plasticity_jax.agents.q_learning import td_errors
from plasticity_jax.probes.fit import predictor
from plasticity_jax.probes.result import report

DISPLACED = (  # what `displaced` keeps of the two probes that it runs
    "hessian/lambda_max", "hessian/lambda_min", "hessian/trace",
    "hessian/negative_energy", "hessian/residual_max", "gradients/mean_cosine",
    "gradients/mean_abs_cosine", "gradients/negative_share",
    "gradients/interference_share", "gradients/effective_rank",
)  # fmt: skip


def plasticity(
    frozen_pool: bool,
    *,
    family: str = "sine",
    num_inputs: int = 256,
    num_targets: int = 10,
    num_steps: int = 2_000,
    batch_size: int = 256,
    opt_state: str = "fresh",
    fit: str = "head",
):
    """The paper's probe task; theta_0 and the fresh network once if the pool allows.

    `opt_state`: fresh, or carry, the optimiser's own as it is. `fit`, of a head with
    atoms: by the head's own loss, or by the reported one, the squared error of values.
    """
    budget = dict(num_targets=num_targets, num_steps=num_steps, batch_size=batch_size)
    checks.at_least(2, num_inputs=num_inputs)
    checks.at_least(1, **budget)
    checks.one_of("family", family, probes.families.FAMILIES)
    checks.one_of("opt_state", opt_state, ("fresh", "carry"))
    checks.one_of("fit", fit, ("head", "reported"))
    how = functools.partial(_fitted_by, family=family, fit=fit)

    def prepare(view, key):
        return probes.plasticity_reference(
            view.apply_fn, view.init_fn, view.tx, view.initial_params,
            _first(view.inputs, num_inputs), key, **how(view), **budget,
        )  # fmt: skip

    def measure(view, reference, key):
        against = {"reference_params": view.initial_params}
        if frozen_pool:
            against = {"reference": reference}
        return probes.plasticity(
            view.apply_fn, view.init_fn, view.tx, view.params,
            _first(view.inputs, num_inputs), key, **how(view), **against, **budget,
            opt_state=view.opt_state if opt_state == "carry" else "fresh",
        )  # fmt: skip

    return measure, prepare if frozen_pool else None


def hessian(
    frozen_pool: bool,
    *,
    loss: str = "landscape",
    only: str = "",
    num_examples: int = 256,
    num_steps: int = 90,
    num_draws: int = 4,
    passes: int = 1,
    epsilon: float = 1e-2,
):
    """The Hessian's spectrum: how sharp is a new task (or the training loss) here?

    `only`: the start of a parameter's path, such as dense_0: its block alone.
    """
    options = dict(num_steps=num_steps, num_draws=num_draws, passes=passes)
    checks.at_least(1, **options)
    options |= dict(epsilon=epsilon, where=_starting_with(only))
    return _on_loss(probes.hessian_spectrum, loss, num_examples, options), None


def eigenpairs(
    frozen_pool: bool,
    *,
    loss: str = "landscape",
    only: str = "",
    num_examples: int = 256,
    k: int = 10,
    which: str = "largest",
):
    """The Hessian's extreme eigenvalues; their vectors are not kept."""
    checks.at_least(1, k=k)
    checks.one_of("which", which, ("largest", "smallest", "magnitude"))
    options = dict(k=k, which=which, where=_starting_with(only))

    def values(*args, **options):
        scalars, arrays = probes.top_eigenpairs(*args, **options)
        kept = {name: arrays[name] for name in ("values", "residuals")}
        return types.ProbeResult(scalars, kept)

    return _on_loss(values, loss, num_examples, options), None


def trace(
    frozen_pool: bool,
    *,
    loss: str = "landscape",
    only: str = "",
    num_examples: int = 256,
    num_draws: int = 100,
    relative_error: float = 0.0,
):
    """The Hessian's trace, with its standard error."""
    checks.at_least(2, num_draws=num_draws)
    options = dict(num_draws=num_draws, relative_error=relative_error)
    options["where"] = _starting_with(only)
    return _on_loss(probes.hessian_trace, loss, num_examples, options), None


def gradients(
    frozen_pool: bool,
    *,
    loss: str = "training",
    only: str = "",
    num_examples: int = 256,
    num_clusters: int = 10,
):
    """Interference between examples, on the training loss (or a new task's)."""
    options = dict(num_clusters=num_clusters, where=_starting_with(only))
    return _on_loss(probes.gradient_covariance, loss, num_examples, options), None


def displaced(
    frozen_pool: bool,
    *,
    num_examples: int = 256,
    num_steps: int = 90,
    num_draws: int = 4,
    num_clusters: int = 10,
):
    """What `hessian` and `gradients` find as far from theta_0 in a random direction: is
    it the distance, or the descent? The network there is its own target network.
    """
    checks.at_least(1, num_steps=num_steps, num_draws=num_draws)
    spectrum = dict(num_steps=num_steps, num_draws=num_draws)
    clusters = dict(num_clusters=num_clusters)
    curve = _on_loss(probes.hessian_spectrum, "landscape", num_examples, spectrum)
    pull = _on_loss(probes.gradient_covariance, "training", num_examples, clusters)

    def measure(view, reference, key):
        start = view.initial_params
        distance = trees.norm(trees.sub(view.params, start))
        noise = optax.tree.random_like(trees.named_key(key, "direction"), start)
        share = distance / trees.norm(noise)
        params = jax.tree.map(lambda x, step: x + share * step, start, noise)
        there = view._replace(params=params, loss_fn=_own_target_loss(view, params))
        results = [probe(there, reference, key) for probe in (curve, pull)]
        found, arrays = (a | b for a, b in zip(*results, strict=True))
        scalars = {name.partition("/")[2]: found[name] for name in DISPLACED}
        scalars |= {"distance": distance}
        return report("displaced", scalars, arrays, tuple(scalars.values()))

    return measure, None


def ntk(
    frozen_pool: bool,
    *,
    only: str = "",
    num_examples: int = 256,
    outputs: str = "trace",
):
    """The empirical tangent kernel of the network's values."""
    checks.at_least(2, num_examples=num_examples)
    checks.one_of("outputs", outputs, ("trace", "full"))

    def measure(view, reference, key):
        return probes.empirical_ntk(
            _values_fn(view), view.params, _first(view.inputs, num_examples),
            outputs=outputs, where=_starting_with(only),
        )  # fmt: skip

    return measure, None


def representation(
    frozen_pool: bool, *, activation: str = "relu", inputs: str = "pool"
):
    """Dormant and dead units, ranks of the penultimate features.

    `inputs`: pool, or training, the observations of the training-loss batch.
    """
    checks.one_of("inputs", inputs, ("pool", "training"))

    def measure(view, reference, key):
        shown = view.inputs if inputs == "pool" else view.batch[0]
        return probes.representation(
            view.features_fn, view.params, shown, activation=activation
        )

    return measure, None


def weights(frozen_pool: bool):
    """Norms and ranks of the parameters, and their way from theta_0."""

    def measure(view, reference, key):
        return probes.weights(view.params, view.initial_params)

    return measure, None


def updates(frozen_pool: bool, *, num_examples: int = 64):
    """One more update of the optimiser, measured and thrown away; how far it moves the
    values on the probe pool."""
    checks.at_least(1, num_examples=num_examples)

    def measure(view, reference, key):
        return probes.updates(
            view.loss_fn, view.tx, view.params, view.opt_state,
            _first(view.batch, num_examples), key,
            apply_fn=_values_fn(view), inputs=view.inputs,
        )  # fmt: skip

    return measure, None


READINGS = {
    reading.__name__: reading
    for reading in (
        plasticity, hessian, eigenpairs, trace, gradients, displaced, ntk,
        representation, weights, updates,
    )
}  # fmt: skip


def _starting_with(path: str):
    return (lambda name: name.startswith(path)) if path else None


def _on_loss(probe, loss: str, num_examples: int, options: dict):
    checks.one_of("loss", loss, ("training", "landscape"))
    checks.at_least(2, num_examples=num_examples)

    def measure(view, reference, key):
        if loss == "training":
            loss_fn, batch = view.loss_fn, _first(view.batch, num_examples)
        else:
            inputs = _first(view.inputs, num_examples)
            values_fn = _values_fn(view)
            loss_fn, batch = probes.landscape(values_fn, view.params, inputs, key)
        return probe(loss_fn, view.params, batch, key, **options)

    return measure


def _own_target_loss(view, params):
    """Returns the training loss or, where there is a target network, the squared TD
    error with `params` as such."""
    if not isinstance(view.batch, types.Transition):
        return view.loss_fn

    error = functools.partial(td_errors, "dqn", _values_fn(view))
    return lambda online, batch, key: jnp.square(error(online, params, batch))


def _fitted_by(view, family: str, fit: str) -> dict:
    """Returns what the plasticity probe fits the network's outputs to, and how."""
    fit_loss_fn = view.fit_loss_fn if fit == "head" else None
    if fit_loss_fn is not None and family == "random_labels":
        raise ValueError(
            "family: expected one whose targets are values, which the network's head "
            "fits distributions of; got 'random_labels', whose targets are classes. "
            "fit='reported' takes the values as logits."
        )
    return dict(family=family, predict_fn=view.predict_fn, fit_loss_fn=fit_loss_fn)


def _values_fn(view):
    """Returns (params, inputs) -> values [N, O], whatever the head."""
    return predictor(view.apply_fn, view.predict_fn)


def _first(batch, count: int):
    available = len(jax.tree.leaves(batch)[0])
    if count > available:
        raise ValueError(
            f"a probe asks for {count} examples (num_inputs or num_examples); the "
            f"learner shows {available}."
        )
    return jax.tree.map(lambda x: x[:count], batch)
