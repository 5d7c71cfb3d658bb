"""What a network is made of: layer, output shape, weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from skcnn.neural._modules import count_parameters

if TYPE_CHECKING:
    import pandas as pd


class LayerRow(NamedTuple):
    """One layer: its name, the shape of its output without the batch, its number of weights."""

    layer: str
    output_shape: tuple[int, ...]
    n_weights: int


class NetworkSummary(tuple[LayerRow, ...]):
    """The layers of a network, one row each; prints as a table.

    Examples
    --------
    >>> from skcnn import CNNClassifier, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> cnn = CNNClassifier((8,), hidden_layer_sizes=(), batch_norm=False, max_iter=1)
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


def summarize(network: nn.Sequential, image_shape: tuple[int, int, int]) -> NetworkSummary:
    """Send the shape of an image (height, width, channels) through layers without memory."""
    height, width, channels = image_shape
    values = torch.zeros(1, channels, height, width, device="meta")
    rows = [LayerRow("input", tuple(values.shape[1:]), 0)]
    with torch.no_grad():
        for name, layer in network.eval().named_children():
            values = layer(values)
            rows.append(LayerRow(name, tuple(values.shape[1:]), count_parameters(layer)))
    return NetworkSummary(rows)
