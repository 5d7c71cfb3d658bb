"""One fit of a network: the way from X and y to fitted attributes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import Callback
from torch import nn

from skcnn._compat import check_sample_weight
from skcnn._devices import out_of_memory, training_device
from skcnn.images import ImageBatch, check_images
from skcnn.neural._batches import Augmenter, Standardizer, TrainingBatches
from skcnn.neural._callbacks import EpochPrinter, Patience, TaskReporter
from skcnn.neural._checkpoint import Checkpoint
from skcnn.neural._fingerprint import digest, fingerprint
from skcnn.neural._modules import count_parameters, lay_out, normalises_batches, to_arrays
from skcnn.neural._nets import make_net
from skcnn.neural._prediction import rebuild
from skcnn.neural._schedules import PLANS
from skcnn.neural._split import validation_split
from skcnn.neural._team import team_size
from skcnn.neural._training import LeanNet, TrainingPlan
from skcnn.neural._validation_score import ValidationScore

# Images in files and data sets are read once if they take no more than this, else every epoch.
_HELD_BYTES = 256 * 2**20


class NetworkFit:
    """A fit under way.

    Parameters
    ----------
    estimator : NeuralEstimator
        Whose parameters say how.

    go_on : bool
        Start from its fitted network instead of from scratch.

    in_stream : bool
        Train for one epoch, and keep what the next call needs to go on as if there were no break.
    """

    def __init__(self, estimator: Any, *, go_on: bool, in_stream: bool) -> None:
        self.estimator, self.go_on, self.in_stream = estimator, go_on, in_stream
        self.max_iter = 1 if in_stream else estimator.max_iter
        self.context = estimator._init_callback_context(max_subtasks=self.max_iter)

    # Others may have switched gradients off around the fit.
    @torch.inference_mode(False)
    @torch.enable_grad()
    def run(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: tuple[Any, Any, Any] = (None, None, None),
        classes: Any = None,
    ) -> LeanNet:
        """Train, and give the estimator its fitted attributes."""
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        task = {"estimator": self.estimator, "X": X, "y": y, "metadata": metadata}
        self.context.call_on_fit_task_begin(**task)
        with _keeping_shape(self.estimator):
            self._check(X, y, sample_weight, classes)
            self._start_generators()
            self._set_aside(*validation)
            self._standardize()
            self._build()
            net = self._make_net(task)
            self._train(net)
        vars(self.estimator).pop("_stream", None)
        vars(self.estimator).update(self.attributes(net))
        if self.in_stream:
            self.estimator._stream = self._stream_state(net)
        self.context.call_on_fit_task_end(**task, reconstruction_attributes={})
        return net

    def _check(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> None:
        """Refuse what cannot be trained on, before any work is done."""
        estimator = self.estimator
        self.checkpoint = None
        if estimator.checkpoint is not None and not self.in_stream:
            self.checkpoint = Checkpoint(estimator.checkpoint)
        self.images = check_images(estimator, X, reset=not self.go_on)
        self.shape = self.images.shape[1:]
        n_images = len(self.images)
        self.weights = _checked_weights(sample_weight, n_images)
        if self.go_on:
            estimator._refuse_another_network()
            self.targets = estimator._known_targets(y, n_images, in_stream=self.in_stream)
        else:
            self.targets = estimator._first_targets(y, n_images, classes)
        # Classes are weighed in training only: scores are what `score` would say.
        self.given_weights = self.weights
        with _of("class_weight"):
            weights = estimator._weigh(self.weights, self.targets)
            self.weights = _checked_weights(weights, n_images)
        self.device = training_device(estimator.device)
        self.dtype = estimator._training_type(self.images.dtype, self.device)
        estimator._blank_layers(self.shape, self.targets.n_outputs)
        self.images.ensure_finite()
        self.images = self.images.held(_HELD_BYTES)

    def _start_generators(self) -> None:
        """Seed the order of images, the weights, dropout and augmentation."""
        self.stream = getattr(self.estimator, "_stream", None) if self.in_stream else None
        self.masks, self.draws = torch.Generator(self.device), torch.Generator()
        if self.stream is None:
            self.rng = check_random_state(self.estimator.random_state)
            if self.checkpoint is not None and self.rng is check_random_state(None):
                self.rng = self.checkpoint.seeded(self.rng)
            self.weights_seed, *seeds = self.rng.randint(2**31, size=3).tolist()
            for generator, seed in zip((self.masks, self.draws), seeds, strict=True):
                generator.manual_seed(seed)
        else:
            self.rng, self.weights_seed = self.stream["rng"], 0
            if self.stream["device"] == self.device.type:
                self.masks.set_state(torch.from_numpy(self.stream["masks"]))
            else:  # the generators of two kinds of device have nothing in common
                self.masks.manual_seed(int(self.rng.randint(2**31)))
            self.draws.set_state(torch.from_numpy(self.stream["draws"]))

    def _set_aside(self, X_val: Any, y_val: Any, weights_val: Any) -> None:
        """Choose the images to train on and those to watch."""
        estimator, n_images = self.estimator, len(self.images)
        usable = np.arange(n_images) if self.weights is None else np.flatnonzero(self.weights)
        self.train, self.validation = usable, None
        valid = None
        if X_val is None and (y_val is not None or weights_val is not None):
            raise ValueError("y_val and sample_weight_val need X_val.")
        if X_val is None and estimator.early_stopping and not self.in_stream:
            self.train, valid = validation_split(
                usable,
                self.targets.strata,
                estimator.validation_fraction,
                self.rng,
                least=self.targets.least_to_score,
            )
        if not self.go_on:
            self.targets.learn_scale(self.train, self.weights)
        if valid is not None:
            self.validation = self.images, valid, self.targets.values, self.given_weights
            self.validation_y = self.targets.y[valid]
        elif X_val is not None:
            self.validation = self._checked_validation(X_val, y_val, weights_val)

    def _checked_validation(self, X_val: Any, y_val: Any, weights_val: Any) -> tuple:
        with _of("X_val"):
            images = check_images(self.estimator, X_val, reset=False)
            images.ensure_finite()
        with _of("y_val"):
            values = self.targets.encode(self.estimator, y_val, len(images))
            self.validation_y = self.targets.checked(self.estimator, y_val, len(images))
        with _of("sample_weight_val"):
            weights = _checked_weights(weights_val, len(images))
        return images, np.arange(len(images)), values, weights

    def _standardize(self) -> None:
        """Learn mean and scale, unless they are known."""
        estimator = self.estimator
        if self.go_on:
            self.standardizer = estimator._standardizer()
        elif estimator.standardize:
            self.standardizer = Standardizer.learn(self.images, self.train, self.weights)
        else:
            self.standardizer = Standardizer.nothing(self.shape[2])

    def _build(self) -> None:
        """Make the network, ready to be trained."""
        network = self._first_network()
        lay_out(network)
        try:
            self.network = network.to(self.device, self.dtype)
        except torch.OutOfMemoryError as error:
            n_weights = count_parameters(network)
            tried = f"a network of {n_weights} weights"
            raise out_of_memory(self.device, tried, "a smaller network, or ") from error
        self.estimator._draw_from(network, self.masks)

    def _first_network(self) -> nn.Module:
        """Return the network with new weights, or those of the earlier fit."""
        if self.go_on:
            return rebuild(self.estimator, self.dtype)
        return self.estimator._drawn_network(self.shape, self.targets.n_outputs, self.weights_seed)

    def _make_net(self, task: dict[str, Any]) -> LeanNet:
        estimator = self.estimator
        self.batch_size = estimator._batch_size(
            len(self.train), several=normalises_batches(self.network)
        )
        self.patience = Patience(
            estimator.n_iter_no_change,
            estimator.tol,
            watch="valid_score" if estimator.early_stopping else "train_loss",
            adaptive=estimator._adapts(),
            **({} if self.stream is None else {"so_far": self.stream["patience"]}),
        )
        callbacks: list[Callback] = [*(estimator.callbacks or ()), self.patience]
        if estimator.verbose:
            callbacks.append(EpochPrinter())
        callbacks.append(TaskReporter(self.context, task, self.attributes))
        if self.checkpoint is not None:
            self.checkpoint.ensure_same(fingerprint(self))
            callbacks.append(self.checkpoint.of(self.rng, [self.masks, self.draws]))
        return make_net(
            self.network,
            self._plan(),
            targets=self.targets,
            device=self.device,
            batch_size=self.batch_size,
            callbacks=callbacks,
        )

    def _plan(self) -> TrainingPlan:
        estimator = self.estimator
        sgd = estimator.solver == "sgd"
        return TrainingPlan(
            loss=self.targets.loss(estimator),
            solver=estimator.solver,
            solver_options=estimator._solver_options(),
            learning_rate=float(estimator.learning_rate_init),
            max_iter=self.max_iter,
            alpha=float(estimator.alpha),
            # scikit-learn's schedules are those of "sgd"; its "adam" keeps the rate.
            schedule=estimator.learning_rate
            if sgd or estimator.learning_rate in PLANS
            else "constant",
            power_t=float(estimator.power_t),
            max_grad_norm=estimator.max_grad_norm,
            ema_decay=estimator.ema_decay,
            low_precision=estimator.precision == "bfloat16",
            team_size=self._team_size(),
            score=self._score(),
            n_images_seen=estimator.t_ if self.go_on else 0,
            state=self.stream,
        )

    def _score(self) -> ValidationScore | None:
        if self.validation is None:
            return None
        return ValidationScore(self.estimator, self.targets, self.validation_y)

    def _team_size(self) -> int:
        if self.estimator.precision == "bfloat16":  # NumPy has no such type
            return 1
        return team_size(self.network, self.shape, self.batch_size)

    def _train(self, net: LeanNet) -> None:
        estimator = self.estimator
        augment = estimator.augment
        training = self._batches(
            self.images,
            self.train,
            self.targets.values,
            self.weights,
            rng=self.rng if estimator.shuffle else None,
            augmenter=None if augment is None else Augmenter(augment, self.draws),
            least=max(2, self.batch_size // 2) if normalises_batches(self.network) else 2,
        )
        validating = None if self.validation is None else self._batches(*self.validation)
        try:
            net.train(
                training, validating, None if self.checkpoint is None else self.checkpoint.resume
            )
        except torch.OutOfMemoryError as error:
            raise out_of_memory(
                self.device,
                f"batches of {self.batch_size} images of {self.images.image_shape}",
                f"a batch_size below {self.batch_size}, a smaller network, or ",
            ) from error
        if self.checkpoint is not None and not net.interrupted_:
            self.checkpoint.remove()

    def _batches(
        self,
        images: ImageBatch,
        indices: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        **options: Any,
    ) -> TrainingBatches:
        """Return the images at `indices` as the network is to see them."""
        return TrainingBatches(
            images,
            indices,
            targets,
            weights,
            batch_size=self.batch_size,
            device=self.device,
            dtype=self.dtype,
            **{"entry": self.standardizer, **options},
        )

    def first_weights(self) -> str:
        """Return what training starts from, as a text that two fits can be compared by."""
        return digest(self.estimator.weights_.values()) if self.go_on else "drawn"

    def attributes(self, net: LeanNet) -> dict[str, Any]:
        """Return what was learnt so far as NumPy arrays, numbers and lists."""
        estimator, rows = self.estimator, [row for row in net.history if "train_loss" in row]
        earlier = self.go_on and (self.in_stream or estimator.warm_start)
        losses = (estimator.loss_curve_ if earlier else []) + [row["train_loss"] for row in rows]
        new_scores, scores = [row["valid_score"] for row in rows if "valid_score" in row], None
        if self.validation is not None:
            scores = ((estimator.validation_scores_ if earlier else None) or []) + new_scores
        watched = estimator.early_stopping and scores is not None
        return {
            **self.targets.attributes(),
            "architecture_": estimator._architecture_now(),
            "input_mean_": self.standardizer.mean,
            "input_scale_": self.standardizer.scale,
            "weights_": to_arrays(net.module_),
            "n_parameters_": count_parameters(net.module_),
            "loss_curve_": losses,
            "loss_": losses[-1] if losses else float("nan"),
            "best_loss_": None if watched else min(losses, default=float("nan")),
            "validation_scores_": scores,
            "best_validation_score_": max(new_scores, default=None),
            "n_iter_": len(losses) if self.in_stream else len(rows),
            "t_": net.n_images_seen_,
        }

    def _stream_state(self, net: LeanNet) -> dict[str, Any]:
        return net.training_state() | {
            "patience": (self.patience.best_, self.patience.epochs_without_),
            "rng": self.rng,
            "device": self.device.type,
            "masks": self.masks.get_state().numpy(),
            "draws": self.draws.get_state().numpy(),
        }


def _checked_weights(sample_weight: Any, n_images: int) -> np.ndarray | None:
    """Return the weights as float64, None if there are none; raise ValueError if they are wrong."""
    if sample_weight is None:
        return None
    return check_sample_weight(sample_weight, n_images)


@contextmanager
def _keeping_shape(estimator: Any) -> Iterator[None]:
    """Let a fit that fails leave the shape of images as it was: that of the fitted network."""
    names = ("image_shape_", "n_features_in_", "feature_names_in_")
    before = {name: vars(estimator)[name] for name in names if name in vars(estimator)}
    try:
        yield
    except BaseException:
        for name in names:
            vars(estimator).pop(name, None)
        vars(estimator).update(before)
        raise


@contextmanager
def _of(argument: str) -> Iterator[None]:
    """Say in an error which argument it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from error
