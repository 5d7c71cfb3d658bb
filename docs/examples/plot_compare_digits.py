"""
Compare pipelines on handwritten digits
=======================================

Which pipeline should one use for small images of handwritten digits, and what does each cost?
Eleven answers, from template matching to a convolutional network, on the same folds.
"""

# %%
# The images
# ----------
# scikit-learn's digits: 1797 grey images of 8 x 8 pixels, ten classes.

import matplotlib.pyplot as plt

from skcnn import load_digit_images

X, y = load_digit_images(return_X_y=True)

_, axes = plt.subplots(1, 10, figsize=(9, 1.3), layout="constrained")
for ax, image, label in zip(axes, X, y, strict=False):
    ax.imshow(image, cmap="Greys")
    ax.set_title(label)
    ax.axis("off")

# %%
# The pipelines
# -------------
# ``default_pipelines`` gives a dict of named scikit-learn estimators, to which one adds and from
# which one removes at will. ``quick=True`` leaves out the parameter searches, so that this page
# builds in a short time; leave it out for a serious comparison.

from skcnn import default_pipelines

pipelines = default_pipelines(quick=True, random_state=0)
print("\n".join(pipelines))

# %%
# The comparison
# --------------
# All pipelines are fitted and measured on the same three folds.

from sklearn.model_selection import StratifiedKFold

from skcnn import compare_pipelines

folds = StratifiedKFold(3, shuffle=True, random_state=0)
comparison = compare_pipelines(pipelines, X, y, cv=folds)
comparison

# %%
# Scores per fold above; below, the score against what it costs to get there. The filled blue point
# is the best pipeline, open blue points are those that the folds do not tell apart from it, the
# grey ones are behind. ``cost="predict_time_per_image"`` would show the cost that matters once the
# model is in use.

# sphinx_gallery_thumbnail_number = 2
_, axes = plt.subplots(2, 1, figsize=(8, 8.5), layout="constrained")
display = comparison.plot(cost="fit_time", axes=axes)

# %%
# Is it better than the simplest thing?
# -------------------------------------
# The p values come from the corrected resampled t-test of Nadeau and Bengio (2003), which accounts
# for training sets that overlap. They are not adjusted for the number of pipelines.

ranking = comparison.ranking(baseline="template matching")
ranking[["pipeline", "mean_score", "difference_to_baseline", "p_value_to_baseline"]].round(4)

# %%
# What the best one gets wrong
# ----------------------------
# Every image is classified by a model that was not trained on it.

from sklearn.model_selection import cross_val_predict

predicted = cross_val_predict(pipelines[comparison.best_name], X, y, cv=folds)
wrong = (predicted != y).nonzero()[0]
print(f"{comparison.best_name}: {len(wrong)} of {len(y)} images wrong")

_, axes = plt.subplots(1, 8, figsize=(9, 1.6), layout="constrained")
for ax, i in zip(axes, wrong, strict=False):
    ax.imshow(X[i], cmap="Greys")
    ax.set_title(f"{y[i]} taken\nfor {predicted[i]}", fontsize=9)
for ax in axes:
    ax.axis("off")
