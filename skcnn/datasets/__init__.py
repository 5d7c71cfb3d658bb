"""Labelled images to try things on."""

from skcnn.datasets._digits import load_digit_images

__all__ = ["load_digit_images"]
