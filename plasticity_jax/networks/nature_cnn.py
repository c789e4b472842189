"""The Nature network for Atari (Mnih et al. 2015)."""

import flax.linen as nn

from plasticity_jax.networks.blocks import Conv, activate


class NatureCNN(nn.Module):
    """32@8x8/4, 64@4x4/2, 64@3x3/1, FC 512, linear head.

    `padding`: SAME is Dopamine's (4.0 M parameters), VALID is DQN Zoo's and the
    paper's (1.7 M). Inputs are pixels from 0 to 255, any dtype.
    """

    num_outputs: int
    norm: str = "none"
    padding: str = "SAME"
    width: float = 1.0
    conv_impl: str = "auto"

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
            x = activate(self, x, index, self.norm)
        x = x.reshape(len(x), -1)
        x = nn.Dense(max(1, round(512 * self.width)), name="dense_3")(x)
        x = activate(self, x, 3, self.norm)
        return nn.Dense(self.num_outputs, name="head")(x)
