"""One fit of a pre-trained network with a new head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from skcnn.images import ImageBatch
from skcnn.neural._batches import Standardizer, TrainingBatches
from skcnn.neural._fingerprint import digest
from skcnn.neural._fit import NetworkFit
from skcnn.neural._modules import FlattenImages, initialise, named_sequence, to_arrays
from skcnn.neural._training import LeanNet, TrainingPlan
from skcnn.pretrained._entry import FrozenFeatures, PreprocessedImages, learn_scale
from skcnn.pretrained._fine_tuned_backbone import frozen_features, load_features
from skcnn.pretrained._fine_tuned_network import (
    TrainedPart,
    load_arrays_of,
    n_features,
    named_below,
)
from skcnn.pretrained._layers import computing_images_of
from skcnn.pretrained._preprocessing import warn_of_scale

# Images that show what scale all are of.
_N_SEEN = 8


class FineTuning(NetworkFit):
    """A fit under way: that of any network, but for what it starts from and what enters it.

    Where only the head learns, it is all that is trained, and its images are features: computed
    once, or with augmentation in every epoch. Otherwise backbone and head are trained together on
    preprocessed images.
    """

    def _standardize(self) -> None:
        """Load the backbone; learn mean and scale of the features that stay as they are."""
        estimator = self.estimator
        self.head_only = estimator.trainable == "head"
        warn_of_scale(self.images.take(self.train[:_N_SEEN], checked=False))
        self._find_backbone()
        with computing_images_of(self.origin.preprocessing.size):
            self._load_backbone()
        self.rows: ImageBatch | None = None
        if self.go_on:
            self.standardizer = Standardizer(estimator.feature_mean_, estimator.feature_scale_)
        elif estimator.standardize and self.head_only:
            self.rows = self._frozen().of_batch(self.images, self.train)
            weights = None if self.weights is None else self.weights[self.train]
            self.standardizer = learn_scale(self.rows, weights)
        else:
            self.standardizer = Standardizer.nothing(self.width)

    def _find_backbone(self) -> None:
        """Find out where the backbone is from, and which of its weights are at hand."""
        estimator = self.estimator
        if self.go_on:
            self.origin, self.kept_weights = estimator._origin, estimator.backbone_weights_
        else:
            self.origin = estimator._find_origin(np.random.RandomState(self.weights_seed))
            self.kept_weights = None
        module = estimator._own_module()
        self.keeps_weights = estimator.embed_weights or module is not None
        if self.head_only and self.keeps_weights and self.kept_weights is None:
            self.kept_weights = named_below(
                "backbone", to_arrays(load_features(self.origin, module))
            )

    def _load_backbone(self) -> None:
        """Load what computes features before training."""
        estimator = self.estimator
        self.backbone: nn.Module | None = None
        if self.head_only:
            loaded = frozen_features(
                estimator, self.origin, self.device, estimator._own_module(), self.kept_weights
            )
            self.compute, (self.width,) = loaded.compute, loaded.output_shape
            return
        if self.go_on:
            self.backbone = estimator._fitted_features()
        else:
            self.backbone = load_features(self.origin, estimator._own_module())
        self.width = n_features(self.backbone, self.origin.preprocessing.size)

    def _frozen(self, scale: Standardizer | None = None) -> FrozenFeatures:
        return FrozenFeatures(self.origin.preprocessing, self.compute, self.device, scale)

    def _first_network(self) -> nn.Module:
        """Return what is trained: the head, or backbone and head."""
        estimator = self.estimator
        head = estimator._blank_head(self.width, self.targets.n_outputs)
        if self.go_on:
            load_arrays_of(head, estimator.weights_, "head")
        else:
            initialise(head, torch.Generator().manual_seed(self.weights_seed))
        if self.backbone is None:
            return named_sequence([("flatten", FlattenImages()), *head.named_children()])
        size = self.origin.preprocessing.size
        with computing_images_of(size):
            network = TrainedPart(self.backbone, head, estimator.trainable, size)
        if self.keeps_weights:
            self.kept_weights = named_below("backbone", to_arrays(self.backbone))
            for name in network.kept & self.kept_weights.keys():
                del self.kept_weights[name]
        return network

    def _plan(self) -> TrainingPlan:
        plan, estimator = super()._plan(), self.estimator
        if self.head_only:
            return plan
        factor = float(estimator.backbone_learning_rate) / plan.learning_rate
        return replace(plan, slow_part="backbone", slow_factor=factor)

    def _batches(
        self,
        images: ImageBatch,
        indices: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        **options: Any,
    ) -> TrainingBatches:
        if not self.head_only:
            options["entry"] = PreprocessedImages(self.origin.preprocessing)
        elif options.get("augmenter") is not None:
            options["entry"] = self._frozen(self.standardizer)
        else:
            known = self.rows if indices is self.train else None
            images = self._frozen().of_batch(images, indices) if known is None else known
            targets, weights = targets[indices], None if weights is None else weights[indices]
            indices = np.arange(len(indices))
        return super()._batches(images, indices, targets, weights, **options)

    def first_weights(self) -> str:
        """Return what training starts from, as a text that two fits can be compared by."""
        own = self.estimator._own_module()
        backbone = self.origin if own is None else digest(*to_arrays(own).values())
        return f"{super().first_weights()} on {backbone}"

    def attributes(self, net: LeanNet) -> dict[str, Any]:
        """Return what was learnt so far as NumPy arrays, numbers and lists."""
        learnt = super().attributes(net)
        weights = learnt["weights_"]
        mean, scale = learnt.pop("input_mean_"), learnt.pop("input_scale_")
        return {
            **learnt,
            "feature_mean_": mean,
            "feature_scale_": scale,
            "weights_": named_below("head", weights) if self.head_only else weights,
            "backbone_weights_": self.kept_weights,
            "_origin": self.origin,
        }
