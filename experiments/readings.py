"""How each probe of a config reads a learner's view.

Each factory takes `frozen_pool` (whether the view's inputs stay the same all run) and
the config's settings, and returns (measure, prepare) as `types.Probe` wants them.
"""

import jax

from plasticity_jax import checks, probes


def plasticity(
    frozen_pool: bool,
    *,
    num_inputs: int = 256,
    num_targets: int = 10,
    num_steps: int = 2_000,
    batch_size: int = 256,
):
    """The paper's probe task; theta_0 and the fresh network once if the pool allows."""
    budget = dict(num_targets=num_targets, num_steps=num_steps, batch_size=batch_size)
    checks.at_least(2, num_inputs=num_inputs)

    def prepare(view, key):
        return probes.plasticity_reference(
            view.apply_fn, view.init_fn, view.tx, view.initial_params,
            _first(view.inputs, num_inputs), key, **budget,
        )  # fmt: skip

    def measure(view, reference, key):
        if frozen_pool:
            against = {"reference": reference}
        else:
            against = {"reference_params": view.initial_params}
        return probes.plasticity(
            view.apply_fn, view.init_fn, view.tx, view.params,
            _first(view.inputs, num_inputs), key, **against, **budget,
        )  # fmt: skip

    return measure, prepare if frozen_pool else None


def hessian(
    frozen_pool: bool,
    *,
    loss: str = "landscape",
    num_examples: int = 256,
    num_steps: int = 90,
    num_draws: int = 4,
):
    """The Hessian's spectrum: how sharp is a new task (or the training loss) here?"""
    options = dict(num_steps=num_steps, num_draws=num_draws)
    checks.at_least(1, **options)
    return _on_loss(probes.hessian_spectrum, loss, num_examples, options), None


def gradients(
    frozen_pool: bool,
    *,
    loss: str = "training",
    num_examples: int = 256,
    num_clusters: int = 10,
):
    """Interference between examples, on the training loss (or a new task's)."""
    options = dict(num_clusters=num_clusters)
    return _on_loss(probes.gradient_covariance, loss, num_examples, options), None


def representation(frozen_pool: bool):
    """Dormant and dead units, ranks of the penultimate features."""

    def measure(view, reference, key):
        return probes.representation(view.features_fn, view.params, view.inputs)

    return measure, None


def weights(frozen_pool: bool):
    """Norms and ranks of the parameters, and their way from theta_0."""

    def measure(view, reference, key):
        return probes.weights(view.params, view.initial_params)

    return measure, None


READINGS = {
    "plasticity": plasticity,
    "hessian": hessian,
    "gradients": gradients,
    "representation": representation,
    "weights": weights,
}


def _on_loss(probe, loss: str, num_examples: int, options: dict):
    checks.one_of("loss", loss, ("training", "landscape"))
    checks.at_least(2, num_examples=num_examples)

    def measure(view, reference, key):
        if loss == "training":
            loss_fn, batch = view.loss_fn, _first(view.batch, num_examples)
        else:
            inputs = _first(view.inputs, num_examples)
            loss_fn, batch = probes.landscape(view.apply_fn, view.params, inputs, key)
        return probe(loss_fn, view.params, batch, key, **options)

    return measure


def _first(batch, count: int):
    available = len(jax.tree.leaves(batch)[0])
    if count > available:
        raise ValueError(
            f"a probe asks for {count} examples (num_inputs or num_examples); the "
            f"learner shows {available}."
        )
    return jax.tree.map(lambda x: x[:count], batch)
