"""What a network is made of: layer, output shape, weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

if TYPE_CHECKING:
    import pandas as pd


class LayerRow(NamedTuple):
    """One layer: its name, the shape of its output without the batch, its number of weights.

    Weights are what training changes: neither frozen ones nor moving statistics count.
    """

    layer: str
    output_shape: tuple[int, ...]
    n_weights: int


class NetworkSummary(tuple[LayerRow, ...]):
    """The layers of a network, one row each; prints as a table.

    Examples
    --------
    >>> from skcnn import CNNClassifier, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> cnn = CNNClassifier((8,), hidden_layer_sizes=(), batch_norm=False, dropout=0, max_iter=1)
    >>> print(cnn.fit(X[:100], y[:100]).summary())
    layer        output shape  weights
    input        1 x 8 x 8           0
    conv1        8 x 8 x 8          80
    pool1        8 x 4 x 4           0
    conv1_relu   8 x 4 x 4           0
    flatten      128                 0
    output       10               1290
    total                         1370
    """

    def __str__(self) -> str:
        rows = [(r.layer, " x ".join(map(str, r.output_shape)), str(r.n_weights)) for r in self]
        rows = [("layer", "output shape", "weights"), *rows]
        rows.append(("total", "", str(sum(r.n_weights for r in self))))
        name, shape, weights = (max(len(row[i]) for row in rows) for i in range(3))
        return "\n".join(f"{a:<{name}}   {b:<{shape}}  {c:>{weights}}" for a, b, c in rows)

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(list(self), columns=list(LayerRow._fields))


def summarize(network: nn.Module, image_shape: tuple[int, int, int]) -> NetworkSummary:
    """Send one shape (height, width, channels) through a network and write down what comes out.

    The rows are the modules at work, by their dotted names, in the order in which they finish:
    those that call no other module, and those that call others but have weights besides theirs. A
    module that is called again has no second row, and weights that two modules share are counted
    where they are first used, so the numbers add up to the weights of the network. Weights that no
    called module owns belong to the module around them; the network itself goes by the name of its
    class.

    Parameters
    ----------
    network : nn.Module
        A network, with memory or on the meta device. Its weights, its statistics and the mode of
        each of its modules stay as they are.

    image_shape : (int, int, int)
        Height, width and channels of an image.

    Returns
    -------
    summary : NetworkSummary
        The rows, an "input" first.
    """
    height, width, channels = image_shape
    shapes = output_shapes(network, image_shape)
    names = {module: name for name, module in network.named_modules()}
    rows = [LayerRow("input", (channels, height, width), 0)]
    counted: set[int] = set()
    for module, shape in shapes.items():
        # Modules finish after those that they call: what is left is the module's own.
        sizes = {id(w): w.numel() for w in module.parameters() if w.requires_grad}
        n_weights = sum(size for weight, size in sizes.items() if weight not in counted)
        counted |= sizes.keys()
        calls_others = any(part in shapes for part in module.modules() if part is not module)
        if n_weights or not calls_others:
            rows.append(LayerRow(names[module] or type(network).__name__, shape, n_weights))
    return NetworkSummary(rows)


def output_shapes(
    network: nn.Module, image_shape: tuple[int, int, int]
) -> dict[nn.Module, tuple[int, ...]]:
    """Return the output shape of every module that is called, in the order of their first ends.

    Images are of a shape (height, width, channels).
    """
    height, width, channels = image_shape
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def remember(module: nn.Module, _: Any, output: Any) -> None:
        # A shape is taken at once: the next module may work in place.
        first = next(tensors(output), None)
        shapes.setdefault(module, () if first is None else tuple(first.shape[1:]))

    hooks = [module.register_forward_hook(remember) for module in _layers(network)]
    try:
        with _prediction_mode(network), torch.no_grad():
            network(_images_for(network, (channels, height, width)))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a network, without those that compute a weight, such as its norm."""
    modules = list(network.modules())
    lists = [module for module in modules if isinstance(module, ParametrizationList)]
    of_weights = {part for of_weight in lists for part in of_weight.modules()}
    return (module for module in modules if module not in of_weights)


def _images_for(network: nn.Module, image_shape: tuple[int, int, int]) -> torch.Tensor:
    """Return black images of the network's device and type."""
    inside = chain(network.parameters(), network.buffers())
    like = next((value for value in inside if value.is_floating_point()), None)
    if like is None:
        like = torch.empty(0, device="meta")
    # Two of them: normalisation without moving statistics has none of a single image.
    return torch.zeros(2, *image_shape, device=like.device, dtype=like.dtype)


@contextmanager
def _prediction_mode(network: nn.Module) -> Iterator[None]:
    """Put all modules in prediction mode, and each back into its own afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def tensors(output: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of what a module returned: a tensor, or tensors in tuples or dicts."""
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors(list(output.values()))
    elif isinstance(output, tuple | list):
        for part in output:
            yield from tensors(part)
