"""Random numbers for a batch of images."""

from __future__ import annotations

import torch


class Draws:
    """Random numbers, some for each image of a batch, on the images' device and of their type.

    With `alike` all images get those of one.

    They are drawn in single precision where the generator is, usually on the CPU: images of either
    type and on any device then get the same.
    """

    def __init__(
        self, generator: torch.Generator, images: torch.Tensor, *, alike: bool = False
    ) -> None:
        self._generator, self._images = generator, images
        self._n_drawn = 1 if alike else len(images)

    def uniform(self, low: float, high: float) -> torch.Tensor:
        """Return one number an image, between `low` and `high`."""
        return self._uniform().to(self._images) * (high - low) + low

    def uniform_around_0(self, limit: float) -> torch.Tensor:
        """Return one number an image, between minus `limit` and `limit`."""
        return self.uniform(-limit, limit)

    def integers(self, low: int, high: int) -> torch.Tensor:
        """Return one integer an image; `low` and `high` are among them."""
        numbers = torch.randint(
            low,
            high + 1,
            (self._n_drawn,),
            generator=self._generator,
            device=self._generator.device,
        )
        return self._for_all(numbers).to(self._images.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Return standard normal numbers, `shape` of them an image."""
        numbers = torch.randn(self._n_drawn, *shape, **self._source())
        return self._for_all(numbers).to(self._images)

    def flips(self, axes: str | None) -> torch.Tensor:
        """Return whether each image is upside down and left to right, shape (m, 2)."""
        coins = self._uniform(2) < 0.5
        allowed = torch.tensor(
            [axes in ("vertical", "both"), axes in ("horizontal", "both")], device=coins.device
        )
        return (coins & allowed).to(self._images.device)

    def _uniform(self, *shape: int) -> torch.Tensor:
        return self._for_all(torch.rand(self._n_drawn, *shape, **self._source()))

    def _for_all(self, numbers: torch.Tensor) -> torch.Tensor:
        return numbers.expand(len(self._images), *numbers.shape[1:])

    def _source(self) -> dict:
        device = self._generator.device
        return {"generator": self._generator, "device": device, "dtype": torch.float32}
