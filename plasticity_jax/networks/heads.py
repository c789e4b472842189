"""What a network's outputs mean: values as they are, or a distribution over atoms."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax import checks
from plasticity_jax.losses import categorical, quantile

LINEAR = ("linear", "shared_bias")
CATEGORICAL = ("two_hot", "hl_gauss", "c51")
KINDS = (*LINEAR, *CATEGORICAL, "quantile")


@dataclasses.dataclass(frozen=True)
class Head:
    """How outputs become values, and how they are fitted to targets.

    Outputs are [N, O], the values, of a linear head (`linear`, or `shared_bias`: one
    bias for all outputs); else [N, O, atoms]: logits over the atoms of a support
    (`two_hot`, `hl_gauss`, `c51`), or quantiles of the return (`quantile`). Targets
    beyond the support are clipped to its ends.
    """

    kind: str = "linear"
    support: tuple[float, float] = (-2.0, 102.0)  # first and last atom
    num_atoms: int = 51  # of the support, or quantiles
    sigma: float = 0.75  # of hl_gauss, in distances between atoms

    def __post_init__(self):
        checks.one_of("head", self.kind, KINDS)
        checks.at_least(2, num_atoms=self.num_atoms)
        checks.above_zero(sigma=self.sigma)
        low, high = self.support if len(self.support) == 2 else (math.nan, math.nan)
        if not -math.inf < low < high < math.inf:
            raise ValueError(
                f"support: expected (low, high), low < high; got {self.support}."
            )
        if self.is_categorical and not low < 0 < high:
            raise ValueError(
                "support: expected low < 0 < high, because a network's values start at "
                f"0; got {self.support}. A low a little below 0 will do."
            )

    @property
    def is_linear(self) -> bool:
        """Whether outputs are the values themselves."""
        return self.kind in LINEAR

    @property
    def is_categorical(self) -> bool:
        """Whether outputs are logits over the atoms of a support."""
        return self.kind in CATEGORICAL

    @property
    def atoms_per_output(self) -> int:
        """The numbers that a network gives for one value."""
        return 1 if self.is_linear else self.num_atoms

    def initial_bias(self) -> np.ndarray:
        """Returns the bias of one output, [atoms_per_output] float32, with which values
        start at 0.

        Of all distributions over the support with expectation 0 the logits are those of
        the one with the largest entropy, exp(tilt z); other heads start with zeros.
        """
        if not self.is_categorical:
            return np.zeros(self.atoms_per_output, np.float32)
        atoms = np.linspace(*self.support, self.num_atoms)

        def log_probs(tilt):
            logits = tilt * atoms
            return logits - np.logaddexp.reduce(logits)

        # The expectation rises with the tilt: bisection.
        steepest = 60 / (atoms[1] - atoms[0])
        below, above = -steepest, steepest
        for _ in range(100):
            tilt = (below + above) / 2
            if np.exp(log_probs(tilt)) @ atoms < 0:
                below = tilt
            else:
                above = tilt
        return log_probs(tilt).astype(np.float32)

    def predict(self, outputs: jax.Array) -> jax.Array:
        """Returns values [N, O] of outputs: expectations of a distribution."""
        if self.is_linear:
            return outputs
        if self.kind == "quantile":
            return jnp.mean(outputs, axis=-1)
        return categorical.expectation(outputs, self._atoms)

    def losses(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Returns losses [N] of outputs against target values [N, O], averaged over
        outputs: squared error; cross-entropy to the targets' code (of `c51` the
        two-hot one); quantile Huber loss."""
        if self.is_linear:
            return jnp.mean(jnp.square(outputs - targets), axis=-1)
        if self.kind == "quantile":
            loss = jax.vmap(jax.vmap(quantile.quantile_huber))
            return jnp.mean(loss(outputs, targets[..., None]), axis=-1)
        codes = self._encode(targets)
        return jnp.mean(optax.softmax_cross_entropy(outputs, codes), axis=-1)

    def td_losses(
        self, outputs_tm1, r_t, discount_t, outputs_t, error_fn=jnp.square
    ) -> jax.Array:
        """Returns losses [N] of the outputs of the action taken, [N] or [N, atoms],
        against r_t + discount_t * (those of the next action); gradient stopped there.

        `two_hot` and `hl_gauss` bootstrap from the expectation, `c51` and `quantile`
        from the distribution; `error_fn` makes a linear head's TD errors losses.
        """
        if self.kind == "quantile":
            loss = jax.vmap(quantile.quantile_td_loss)
            return loss(outputs_tm1, r_t, discount_t, outputs_t)
        if self.kind == "c51":
            loss = jax.vmap(categorical.c51_loss, in_axes=(0, 0, 0, 0, None))
            return loss(outputs_tm1, r_t, discount_t, outputs_t, self._atoms)
        target_tm1 = jax.lax.stop_gradient(r_t + discount_t * self.predict(outputs_t))
        if self.is_linear:
            return error_fn(target_tm1 - outputs_tm1)
        return optax.softmax_cross_entropy(outputs_tm1, self._encode(target_tm1))

    def require_logits(self) -> None:
        """Refuses, by a ValueError, a head that a classifier cannot use."""
        if not self.is_linear:
            raise ValueError(
                f"head: expected one of {', '.join(LINEAR)} for a classifier, whose "
                f"outputs are one logit a class; got {self.kind!r}, which gives "
                f"{self.num_atoms} numbers an output."
            )

    def require_support(
        self, discount: float, rewards: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        """Refuses a support that cannot hold the returns of rewards between two."""
        if not self.is_categorical:
            return
        if discount >= 1:
            raise ValueError(
                f"discount: expected below 1 with a {self.kind} head, for no support "
                f"holds undiscounted returns; got {discount:g}. Use a linear or a "
                "quantile head, or discount."
            )
        smallest, largest = (reward / (1 - discount) for reward in rewards)
        slack = 1e-6 * max(abs(smallest), abs(largest))  # 1 / (1 - .9) is above 10
        if self.support[0] > smallest + slack or self.support[1] < largest - slack:
            raise ValueError(
                f"support: expected one that holds {smallest:g} to {largest:g}, the "
                f"returns r / (1 - discount) of rewards from {rewards[0]:g} to "
                f"{rewards[1]:g} at discount {discount:g}; got {self.support}. Widen "
                "the support or discount more."
            )

    @property
    def _atoms(self) -> np.ndarray:
        return categorical.support_grid(*self.support, self.num_atoms)

    def _encode(self, targets: jax.Array) -> jax.Array:
        if self.kind == "hl_gauss":
            low, high = self.support
            sigma = self.sigma * (high - low) / (self.num_atoms - 1)
            return categorical.hl_gauss(targets, self._atoms, sigma)
        return categorical.two_hot(targets, self._atoms)
