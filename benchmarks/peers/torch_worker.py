"""PyTorch and PyHessian, in an environment of their own; see `process.py`."""

import warnings

import numpy as np
import torch
from torch import nn

from benchmarks.peers.process import serve

torch.set_num_threads(1)
warnings.filterwarnings("ignore", message="Using backward")  # PyHessian does


def _eig(matrix, eigenvectors):
    """The removed `torch.eig`, which PyHessian 0.1 calls with symmetric matrices:
    returns (eigenvalues [M, 2]: real and imaginary parts, eigenvectors [M, M])."""
    assert eigenvectors
    values, vectors = torch.linalg.eigh(matrix)
    return torch.stack([values, torch.zeros_like(values)], dim=1), vectors


torch.eig = _eig

from pyhessian import hessian  # noqa: E402


def network(arrays: dict, convolutions=()) -> nn.Sequential:
    """Builds the twin of a Linen network with the same weights.

    Args:
      arrays: kernels and biases by Linen's paths, layers in alphabetical order.
      convolutions: (stride, padding) of each convolution; they come first.
    """
    layers, convolutions, depth = [], iter(convolutions), 0
    for name in sorted({key.split("/")[0] for key in arrays if "/" in key}):
        kernel = torch.from_numpy(arrays[f"{name}/kernel"])
        bias = torch.from_numpy(arrays[f"{name}/bias"])
        if kernel.ndim == 4:  # [height, width, in, out]
            stride, padding = next(convolutions)
            size, _, inputs, depth = kernel.shape
            layer = nn.Conv2d(inputs, depth, size, stride, padding)
            kernel = kernel.permute(3, 2, 0, 1)
        else:
            if depth:  # the flattened pixels of a convolution: channels first here
                layers.append(nn.Flatten())
                kernel = kernel.unflatten(0, (-1, depth)).transpose(0, 1).flatten(0, 1)
                depth = 0
            layer = nn.Linear(*kernel.shape)
            kernel = kernel.T
        with torch.no_grad():
            layer.weight.copy_(kernel)
            layer.bias.copy_(bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def spectrum(arrays: dict, num_steps: int, convolutions):
    """One draw of stochastic Lanczos quadrature, as PyHessian's readme does it."""
    model = network(arrays, convolutions)
    inputs = torch.from_numpy(arrays["inputs"])
    if inputs.ndim == 4:
        inputs = inputs.permute(0, 3, 1, 2).contiguous()
    data = inputs, torch.from_numpy(arrays["labels"])
    torch.manual_seed(0)

    def run():
        model.zero_grad()
        probed = hessian(model, nn.CrossEntropyLoss(), data=data, cuda=False)
        nodes, _ = probed.density(iter=num_steps, n_v=1)
        return nodes[0]

    return run, {"nodes": run()}


def learner(arrays: dict, batch_size: int, updates_per_task: int, num_updates: int):
    """A plain training loop on fresh random labels a task, Adam, one seed."""
    images = torch.from_numpy(arrays["images"])
    labels = torch.from_numpy(arrays["labels"])

    def train(num_updates, rows_of=None):
        torch.manual_seed(0)
        model, targets = network(arrays), labels
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        criterion = nn.CrossEntropyLoss()
        for update in range(num_updates):
            if update and update % updates_per_task == 0:
                targets = torch.randint(0, 10, labels.shape)
            if rows_of is None:
                rows = torch.randint(0, len(labels), (batch_size,))
            else:
                rows = rows_of[update]
            optimizer.zero_grad()
            criterion(model(images[rows]), targets[rows]).backward()
            optimizer.step()
        return model

    rows_of = torch.from_numpy(arrays["rows"])
    model = train(len(rows_of), rows_of)
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    kernels = [layer.weight.detach().numpy().T.ravel() for layer in layers]
    answer = {"kernels": np.concatenate(kernels)}
    return lambda: train(num_updates), answer


if __name__ == "__main__":
    serve({"spectrum": spectrum, "learner": learner})
