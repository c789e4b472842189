"""neural-tangents, on the last jax it runs with; see `process.py`."""

import sys
import types

# Its TensorFlow corner would bring 2 GB that nothing here uses.
sys.modules["neural_tangents.experimental"] = types.ModuleType("experimental")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import neural_tangents as nt  # noqa: E402
from jax._src import source_info_util  # noqa: E402

from benchmarks.peers.process import serve  # noqa: E402

# Its structured derivatives read these in a public module, which has lost them.
jax.interpreters.ad.source_info_util = source_info_util
jax.interpreters.ad.config = jax.config


def gram(arrays: dict, convolutions):
    """Inner products of per-example gradients: the empirical NTK of the loss itself.

    Labels ride along as one-hot columns of a flat input, so the loss is a function of
    (params, x) with one output an example.
    """
    inputs, labels = arrays.pop("inputs"), jax.nn.one_hot(arrays.pop("labels"), 10)
    flat = jnp.concatenate([inputs.reshape(len(inputs), -1), labels], axis=1)
    shape = inputs.shape[1:]

    def loss(params, x):  # [N, D + 10] -> [N, 1]
        x, labels = x[:, :-10].reshape(-1, *shape), x[:, -10:]
        logits = apply(params, x, convolutions)
        return -jnp.sum(jax.nn.log_softmax(logits) * labels, axis=1, keepdims=True)

    kernel_fn = nt.empirical_ntk_fn(
        loss,
        trace_axes=(-1,),
        vmap_axes=0,
        implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES,
    )
    compiled = jax.jit(lambda params, x: kernel_fn(x, None, params))
    params = jax.tree.map(jnp.asarray, arrays)
    answer = {"gram": compiled(params, flat)}
    return lambda: compiled(params, flat).block_until_ready(), answer


def apply(params: dict, x, convolutions):
    """The Linen network's twin: convolutions (SAME), dense layers, relu between."""
    strides = iter(stride for stride, _ in convolutions)
    names = sorted({key.split("/")[0] for key in params})
    for name in names:
        kernel, bias = params[f"{name}/kernel"], params[f"{name}/bias"]
        if kernel.ndim == 4:
            x = jax.lax.conv_general_dilated(
                x, kernel, (next(strides),) * 2, "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )  # fmt: skip
        else:
            x = x.reshape(len(x), -1) @ kernel
        x = x + bias
        x = x if name == names[-1] else jax.nn.relu(x)
    return x


if __name__ == "__main__":
    serve({"gram": gram})
