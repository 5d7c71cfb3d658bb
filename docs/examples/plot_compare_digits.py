"""
Compare pipelines on digits
===========================

Text.
"""

# %%
# Images

import matplotlib.pyplot as plt

from skcnn import load_digit_images

X, y = load_digit_images(return_X_y=True)
_, axes = plt.subplots(1, 8, figsize=(8, 1.2))
for ax, image in zip(axes, X, strict=False):
    ax.imshow(image, cmap="Greys")
    ax.axis("off")
