"""The Nature network for Atari (Mnih et al. 2015)."""

import flax.linen as nn

from plasticity_jax import checks
from plasticity_jax.networks.blocks import Conv, Network


class NatureCNN(Network):
    """32@8x8/4, 64@4x4/2, 64@3x3/1, FC 512, linear head.

    `padding`: SAME is Dopamine's (4.0 M parameters), VALID is DQN Zoo's and the
    paper's (1.7 M). Inputs are pixels from 0 to 255, any dtype.
    """

    padding: str = "SAME"
    width: float = 1.0
    conv_impl: str = "auto"

    def __post_init__(self):
        checks.above_zero(width=self.width)
        checks.one_of("padding", self.padding, ("SAME", "VALID"))
        super().__post_init__()

    @nn.compact
    def __call__(self, x):  # [N, 84, 84, 4] -> [N, O]
        x = x.astype("float32") / 255.0
        for index, (features, kernel, stride) in enumerate(
            [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
        ):
            features = max(1, round(features * self.width))
            x = Conv(
                features, kernel, stride, self.padding, self.conv_impl,
                name=f"conv_{index}",
            )(x)  # fmt: skip
            x = self.activate(x, index)
        x = x.reshape(len(x), -1)
        x = nn.Dense(max(1, round(512 * self.width)), name="dense_3")(x)
        x = self.activate(x, 3)
        return nn.Dense(self.num_outputs, name="head")(x)
