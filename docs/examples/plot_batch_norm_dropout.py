"""
What batch normalisation and dropout do
=======================================

Batch normalisation trains faster and dropout generalises better: so the lecture says. Learning
curves with and without them, on images that training does not see.
"""

# %%
# The images
# ----------
# scikit-learn's digits: 1000 to learn from, 797 to watch. ``fit`` takes those as ``X_val`` and
# keeps their score after every epoch in ``validation_scores_``.

import warnings

import numpy as np
from sklearn.model_selection import train_test_split

from skcnn import CNNClassifier, MLPClassifier, load_digit_images

warnings.filterwarnings("ignore", "Stochastic Optimizer")  # all fits end when they are told to
X, y = load_digit_images(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, train_size=1000, stratify=y, random_state=0)


def curves(network, labels, seeds=4):
    """Return the validation accuracy (seeds, epochs) of networks that differ in their seed."""
    return np.array(
        [
            network.set_params(random_state=seed)
            .fit(X_train, labels, X_val=X_val, y_val=y_val)
            .validation_scores_
            for seed in range(seeds)
        ]
    )


# %%
# Every picture below shows the mean over four seeds, and as a band the smallest and the largest.

import matplotlib.pyplot as plt


def draw(ax, accuracy, label):
    epochs = np.arange(1, accuracy.shape[1] + 1)
    ax.plot(epochs, accuracy.mean(axis=0), label=label)
    ax.fill_between(epochs, accuracy.min(axis=0), accuracy.max(axis=0), alpha=0.2, lw=0)
    ax.set_xlabel("epoch")


# %%
# Batch normalisation
# -------------------
# Three blocks of convolutions, trained by plain gradient descent with momentum. How fast that goes
# depends on the learning rate, so a fair comparison looks at several.

rates = [0.01, 0.03, 0.1]
normalised = {True: "with batch normalisation", False: "without"}
_, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True, layout="constrained")
for ax, rate in zip(axes, rates, strict=True):
    for batch_norm, label in normalised.items():
        cnn = CNNClassifier(
            (16, 32, 32),
            hidden_layer_sizes=(64,),
            batch_norm=batch_norm,
            dropout=0.0,
            ema_decay=None,
            solver="sgd",
            learning_rate_init=rate,
            batch_size=50,
            max_iter=10,
        )
        accuracy = curves(cnn, y_train)
        draw(ax, accuracy, label)
        print(f"rate {rate}, {label}: {accuracy.mean(axis=0)[[0, 1, 4, 9]].round(3)}")
    ax.set_title(f"learning rate {rate}")
axes[0].set_ylabel("validation accuracy")
_ = axes[0].legend(loc="lower right")

# %%
# The printed numbers are the accuracies after 1, 2, 5 and 10 epochs. After two epochs the
# normalised network is about as far as the other one after five, or further, at each of these
# rates. It also minds the rate less: at 0.1 the other network goes up and down, and its seeds
# differ widely. With the rate that suits it, and time, it comes within two points.
#
# Dropout
# -------
# A perceptron of 256 hidden units has 19 000 weights for 1000 digits, and can learn each of them by
# heart. On clean digits that does little harm. So the same is done once more with every fifth label
# wrong: now there is something that should not be learnt. The labels of the images to watch are
# right.

# sphinx_gallery_thumbnail_number = 2
rng = np.random.default_rng(0)
wrong = rng.permutation(len(y_train))[: len(y_train) // 5]
y_noisy = y_train.copy()
y_noisy[wrong] = (y_noisy[wrong] + rng.integers(1, 10, len(wrong))) % 10

dropouts = {
    "no dropout": {},
    "half of the hidden units": {"dropout": 0.5},
    "and a fifth of the pixels": {"dropout": 0.5, "input_dropout": 0.2},
}
_, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, labels, title in zip(
    axes, [y_train, y_noisy], ["all labels right", "a fifth of the labels wrong"], strict=True
):
    for label, parameters in dropouts.items():
        mlp = MLPClassifier(
            (256,),
            learning_rate_init=0.003,
            batch_size=50,
            max_iter=40,
            n_iter_no_change=np.inf,
            **parameters,
        )
        accuracy = curves(mlp, labels)
        draw(ax, accuracy, label)
        print(f"{title}, {label}: {accuracy.mean(axis=0)[[4, 9, 39]].round(3)}")
    ax.set_title(title)
axes[0].set(ylabel="validation accuracy", ylim=(0.8, 1))
_ = axes[0].legend(loc="lower right")

# %%
# After 5, 10 and 40 epochs: with a fifth of the labels wrong, the network without dropout is at its
# best early on and then learns the wrong labels too, epoch by epoch. With hidden units dropped it
# loses little of what it knew; with pixels dropped as well it goes on improving.
#
# On clean labels all three end within a point of each other. Dropping slows the first epochs down,
# and there is little to be saved from. It pays where a network can learn what it should not.
