"""Named Optax chains, with the fields' published settings as defaults."""

import optax


def adam(learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0):
    """Adam. `eps_root` sits inside the square root, `eps` outside."""
    return optax.adam(learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)


def rmsprop(learning_rate=2.5e-4, decay=0.95, eps=0.01 / 32**2, centered=True):
    """RMSProp; the defaults are DQN Zoo's."""
    return optax.rmsprop(
        learning_rate, decay=decay, eps=eps, centered=centered, eps_in_sqrt=True
    )


def sgd(learning_rate=1e-3, momentum=0.0):
    """Gradient descent, with heavy-ball momentum where it is not 0."""
    return optax.sgd(learning_rate, momentum=momentum or None)
