"""The multilayer perceptron."""

import flax.linen as nn

from plasticity_jax.networks.blocks import activate


class MLP(nn.Module):
    """Dense layers with relu and a linear head; inputs [N, ...] are flattened.

    The paper's: hidden (512, 512); (1024, 1024) in its figure 1.
    """

    num_outputs: int
    hidden: tuple[int, ...] = (512, 512)
    norm: str = "none"

    @nn.compact
    def __call__(self, x):  # [N, ...] -> [N, O]
        x = x.reshape(len(x), -1)
        for index, width in enumerate(self.hidden):
            x = nn.Dense(width, name=f"dense_{index}")(x)
            x = activate(self, x, index, self.norm)
        return nn.Dense(self.num_outputs, name="head")(x)
