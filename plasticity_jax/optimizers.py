"""Named Optax chains, with the field's published settings as defaults."""

import optax

from plasticity_jax import checks


def adam(
    learning_rate: float = 1e-3,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> optax.GradientTransformation:
    """Adam. `eps_root` sits inside the square root, `eps` outside."""
    checks.above_zero(learning_rate=learning_rate)
    checks.below_one(b1=b1, b2=b2)
    checks.at_least(0, eps=eps, eps_root=eps_root)
    return optax.adam(learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)


def rmsprop(
    learning_rate: float = 2.5e-4,
    decay: float = 0.95,
    eps: float = 0.01 / 32**2,
    centered: bool = True,
) -> optax.GradientTransformation:
    """RMSProp; the defaults are DQN Zoo's."""
    checks.above_zero(learning_rate=learning_rate, eps=eps)
    checks.below_one(decay=decay)
    return optax.rmsprop(
        learning_rate, decay=decay, eps=eps, centered=centered, eps_in_sqrt=True
    )


def sgd(
    learning_rate: float = 1e-3, momentum: float = 0.0
) -> optax.GradientTransformation:
    """Gradient descent, with heavy-ball momentum where it is not 0."""
    checks.above_zero(learning_rate=learning_rate)
    checks.below_one(momentum=momentum)
    return optax.sgd(learning_rate, momentum=momentum or None)


OPTIMIZERS = {"adam": adam, "rmsprop": rmsprop, "sgd": sgd}
