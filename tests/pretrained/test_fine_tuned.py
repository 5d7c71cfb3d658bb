"""Fine-tuning, against plain loops of torch and timm, and against scikit-learn."""

import copy

import numpy as np
import pytest
import timm
import torch
from sklearn.callback import ScoringMonitor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EpochScoring
from torch import nn

from skcnn import Augmentation, FineTunedClassifier, PretrainedExtractor
from skcnn.pretrained import _entry, _fine_tuned_backbone
from skcnn.pretrained._backbones import blank_network, find_backbone
from skcnn.pretrained._fine_tuned_network import TrainedPart, n_features, pooled_features
from skcnn.pretrained._trained_part import trained_modules
from tests.pretrained.fine_tuning import (
    AS_IT_IS,
    SIZE,
    images,
    make,
    normalised,
    timm_network,
    weights_file,
)


class FirstWeights(Callback):
    """Remember what training starts from."""

    def on_train_begin(self, net, **kwargs):
        self.weights = {k: v.clone() for k, v in net.module_.state_dict().items()}


class PlainLoop:
    """What a user of torch and timm writes to train a network further."""

    def __init__(self, name, head, learning, *, solver, rates, decay=0.0, max_norm=None):
        self.backbone, self.head = timm_network(name).double(), head
        self.backbone.reset_classifier(0)
        self.learning = [self.backbone.get_submodule(part) for part in learning]
        self.decay, self.max_norm = decay, max_norm
        groups = []
        self.backbone.requires_grad_(False)
        for part in self.learning:
            groups += self._groups(part.requires_grad_(True), rates[0])
        groups += self._groups(head, rates[1])
        self.optimizer = solver(groups)

    @staticmethod
    def _groups(part, rate):
        weights = [p for p in part.parameters() if p.ndim > 1]
        others = [p for p in part.parameters() if p.ndim <= 1]
        return [
            {"params": weights, "lr": rate, "penalised": True},
            {"params": others, "lr": rate, "penalised": False, "weight_decay": 0.0},
        ]

    def train(self, inputs, targets, *, batch_size, epochs):
        for start in [*range(0, len(inputs), batch_size)] * epochs:
            self.backbone.eval()
            for part in self.learning:
                part.train()
            batch, wanted = (v[start : start + batch_size] for v in (inputs, targets))
            for group in self.optimizer.param_groups:
                if group["penalised"]:
                    group["weight_decay"] = self.decay / len(batch)
            self.optimizer.zero_grad()
            outputs = self.head(self.backbone(batch))
            nn.functional.cross_entropy(outputs, wanted).backward()
            parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
            if self.max_norm is not None:
                nn.utils.clip_grad_norm_(parameters, self.max_norm)
            self.optimizer.step()

    def ensure_equal(self, classifier, **tolerance):
        state = {f"backbone.network.{k}": v for k, v in self.backbone.state_dict().items()}
        state |= {f"head.output.{k}": v for k, v in self.head.state_dict().items()}
        for name, value in classifier.weights_.items():
            np.testing.assert_allclose(value, state[name].numpy(), err_msg=name, **tolerance)


SOLVERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
    "adam": torch.optim.Adam,
}


class TestAgainstAPlainLoop:
    @pytest.mark.parametrize("solver", SOLVERS)
    @pytest.mark.parametrize(
        ("name", "trainable", "learning"),
        [
            ("test_resnet", "last_block", ["layer4"]),
            ("test_resnet", "all", [""]),
            ("test_efficientnet", "last_block", ["blocks.4", "conv_head", "bn2"]),
        ],
    )
    def test_the_same_weights(self, name, trainable, learning, solver, tmp_path):
        X, y = images()
        first = FirstWeights()
        rates = (1e-3, 1e-2)
        classifier = make(
            name,
            weights=weights_file(tmp_path, name),
            trainable=trainable,
            backbone_learning_rate=rates[0],
            learning_rate_init=rates[1],
            solver=solver,
            alpha=0.1,
            max_grad_norm=1.0,
            shuffle=False,
            precision="float64",
            callbacks=[first],
        ).fit(X, y)
        inputs, targets = normalised(X).double(), torch.from_numpy(y)
        head = nn.Linear(timm_network(name).num_features, 3).double()
        start = first.weights
        head.load_state_dict({k: start[f"head.output.{k}"] for k in ("weight", "bias")})
        loop = PlainLoop(
            name, head, learning, solver=SOLVERS[solver], rates=rates, decay=0.1, max_norm=1.0
        )
        before = copy.deepcopy(loop.backbone.state_dict())
        loop.train(inputs, targets, batch_size=8, epochs=2)
        loop.ensure_equal(classifier, rtol=1e-5, atol=1e-8)
        # The loop moved what it should, and what is not kept did not move.
        trained = {k.removeprefix("backbone.network.") for k in classifier.weights_}
        for key, value in loop.backbone.state_dict().items():
            if key.endswith("running_mean") or value.ndim > 1:
                assert torch.equal(value, before[key]) == (key not in trained), key
        loop.backbone.eval()
        with torch.no_grad():
            expected = loop.head(loop.backbone(inputs)).softmax(1)
        np.testing.assert_allclose(classifier.predict_proba(X), expected, rtol=1e-3, atol=1e-5)

    def test_a_network_without_batch_normalisation(self, tmp_path):
        X, y = images(12, size=(160, 160))
        first = FirstWeights()
        how = find_backbone("test_vit").preprocessing
        path = weights_file(tmp_path, "test_vit")
        classifier = make(
            "test_vit",
            weights=path,
            preprocessing=type(how)(160, crop=1.0, mean=AS_IT_IS.mean, std=AS_IT_IS.std),
            trainable="last_block",
            shuffle=False,
            alpha=0.0,
            precision="float64",
            callbacks=[first],
        ).fit(X, y)
        head = nn.Linear(64, 3).double()
        head.load_state_dict({k: first.weights[f"head.output.{k}"] for k in ("weight", "bias")})
        rates = 1e-4, 1e-3
        loop = PlainLoop(
            "test_vit", head, ["blocks.5", "norm"], solver=torch.optim.Adam, rates=rates
        )
        targets = torch.from_numpy(y)
        loop.train(normalised(X).double(), targets, batch_size=8, epochs=2)
        loop.ensure_equal(classifier, rtol=1e-5, atol=1e-8)


class TestHead:
    def test_it_is_logistic_regression_on_the_features(self, tmp_path):
        X, y = images(30)
        path = weights_file(tmp_path)
        features = PretrainedExtractor("test_resnet", weights=path, preprocessing=AS_IT_IS)
        rows = StandardScaler().fit_transform(features.fit_transform(X).astype(np.float64))
        expected = LogisticRegression(C=0.1, tol=1e-10).fit(rows, y)
        classifier = make(
            weights=path,
            alpha=10.0,  # of a batch of all images: C is its inverse
            batch_size=30,
            learning_rate_init=0.05,
            learning_rate="cosine",
            max_iter=600,
            tol=0.0,
            n_iter_no_change=np.inf,
        ).fit(X, y)
        np.testing.assert_allclose(
            classifier.predict_proba(X), expected.predict_proba(rows), atol=2e-4
        )

    def test_features_are_those_of_timm(self, tmp_path):
        X, y = images()
        classifier = make(weights=weights_file(tmp_path), standardize=False).fit(X, y)
        network = timm_network("test_resnet")
        network.reset_classifier(0)
        with torch.no_grad():
            rows = network(normalised(X)).numpy()
        weights = classifier.weights_
        logits = rows @ weights["head.output.weight"].T + weights["head.output.bias"]
        np.testing.assert_allclose(classifier.decision_function(X), logits, rtol=1e-4, atol=1e-5)

    def test_standardised_features_have_the_statistics_of_the_training_images(self, tmp_path):
        X, y = images(40)
        path = weights_file(tmp_path)
        weights = np.arange(40) % 4 * 1.0
        classifier = make(weights=path, early_stopping=True).fit(X, y, weights)
        rows = PretrainedExtractor("test_resnet", weights=path, preprocessing=AS_IT_IS)
        rows = rows.fit_transform(X).astype(np.float64)
        without = make(weights=path).fit(X, y, weights)
        mean = np.average(rows, axis=0, weights=weights)
        scale = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weights))
        np.testing.assert_allclose(without.feature_mean_, mean, rtol=1e-4, atol=1e-6)
        varies = scale > 0
        np.testing.assert_allclose(without.feature_scale_[varies], scale[varies], rtol=1e-3)
        assert (without.feature_scale_[~varies] == 1).all()
        assert abs(classifier.feature_mean_ - mean).max() > 1e-4  # those of fewer images

    def test_hidden_layers_and_dropout(self):
        X, y = images()
        classifier = make(
            hidden_layer_sizes=(7, 5), dropout=0.1, learning_rate_init=0.01, max_iter=60
        )
        classifier.fit(X, y)
        assert classifier.weights_["head.dense2.weight"].shape == (5, 7)
        assert classifier.score(X, y) > 0.9
        sampled = classifier.set_params(n_dropout_samples=5).predict_proba(X)
        assert abs(sampled - classifier.set_params(n_dropout_samples=0).predict_proba(X)).max() > 0


@pytest.fixture
def seen(monkeypatch):
    """Count what goes through a frozen network, and what is preprocessed at a time."""
    counts = {"images": 0, "batches": [], "preprocessed": []}
    optimized, preprocessed = _fine_tuned_backbone.optimized, _entry.preprocessed

    def counting(network, example):
        compute = optimized(network, example)

        def count(inputs):
            counts["images"] += len(inputs)
            counts["batches"].append(len(inputs))
            return compute(inputs)

        return count

    def preprocessing(batch, how):
        counts["preprocessed"].append(len(batch))
        return preprocessed(batch, how)

    monkeypatch.setattr(_fine_tuned_backbone, "optimized", counting)
    monkeypatch.setattr(_entry, "preprocessed", preprocessing)
    return counts


class TestHowOftenFeaturesAreComputed:
    # Networks are shared within the process: a seed of its own is a network that is counted.
    def test_once_an_image_however_many_epochs(self, seen):
        X, y = images(40)
        X_val, y_val = images(18, seed=1)
        make(max_iter=7, random_state=101).fit(X, y, X_val=X_val, y_val=y_val)
        assert seen["images"] == 58
        assert max(seen["batches"]) <= 16
        assert max(seen["preprocessed"]) <= 16
        assert sum(seen["preprocessed"]) == 58

    def test_once_for_what_early_stopping_sets_aside(self, seen):
        X, y = images(40)
        make(max_iter=5, random_state=102, early_stopping=True).fit(X, y)
        assert seen["images"] == 40

    def test_images_of_weight_0_are_left_out(self, seen):
        X, y = images(40)
        make(max_iter=5, random_state=103).fit(X, y, np.arange(40) % 4 == 0)
        assert seen["images"] == 10

    def test_in_every_epoch_where_images_change(self, seen):
        X, y = images(40)
        X_val, y_val = images(18, seed=1)
        classifier = make(max_iter=7, random_state=104, augment=Augmentation(shift=2))
        classifier.fit(X, y, X_val=X_val, y_val=y_val)
        # Statistics are those of the images themselves.
        assert seen["images"] == 40 + 7 * 40 + 18
        assert max(seen["batches"]) <= 16

    def test_changed_images_change_what_is_learnt_and_validation_is_on_the_images(self):
        X, y = images(40)
        fits = [
            make(augment=augment, max_iter=3).fit(X, y, X_val=X, y_val=y)
            for augment in (None, lambda batch, generator: batch, Augmentation(shift=8))
        ]
        np.testing.assert_allclose(
            fits[0].weights_["head.output.weight"],
            fits[1].weights_["head.output.weight"],
            rtol=1e-4,
            atol=1e-5,
        )
        assert fits[1].loss_curve_ != fits[2].loss_curve_
        for fitted in fits:
            assert fitted.validation_scores_[-1] == fitted.score(X, y)

    def test_a_large_batch_size_is_no_large_batch_of_images(self, seen):
        X, y = images(60)
        make(batch_size=60, random_state=105, augment=Augmentation(shift=1)).fit(X, y)
        assert max(seen["batches"]) <= 16
        assert max(seen["preprocessed"]) <= 16


def last_stage(name, size):
    features = pooled_features(blank_network(find_backbone(name)), (size, size))
    return {
        name.removeprefix("network.")
        for name in trained_modules(features, "last_block", (size, size))
    }


class TestWhichPartIsTrained:
    @pytest.mark.parametrize(
        ("name", "inside", "outside"),
        [
            ("resnet50", {"layer4.0.conv1", "layer4"}, {"layer3.5.conv3", "conv1"}),
            ("vgg16", {"features.24", "features.28"}, {"features.21", "features.22"}),
            ("inception_v3", {"Mixed_7a", "Mixed_7c"}, {"Mixed_6e", "Conv2d_1a_3x3"}),
            ("efficientnet_b0", {"blocks.6", "conv_head", "bn2"}, {"blocks.5", "conv_stem"}),
            ("tf_efficientnet_lite0", {"blocks.6", "conv_head", "bn2"}, {"blocks.5"}),
            ("convnext_atto", {"stages.3"}, {"stages.2", "stem"}),
            ("densenet121", {"features.denseblock4", "features.norm5"}, {"features.denseblock3"}),
        ],
    )
    def test_the_last_stage(self, name, inside, outside):
        stage = last_stage(name, 96 if name == "inception_v3" else 64)
        assert inside <= stage
        assert not outside & stage

    @pytest.mark.parametrize("name", ["vgg11", "mobilenetv3_small_050", "test_vit", "test_resnet"])
    def test_the_width_is_that_of_the_features(self, name):
        backbone = find_backbone(name)
        features = pooled_features(blank_network(backbone), backbone.preprocessing.size)
        with torch.no_grad():
            width = features(torch.zeros(1, 3, *backbone.preprocessing.size)).shape[1]
        assert n_features(features, backbone.preprocessing.size) == width

    def test_hidden_layers_of_the_classifier_are_not_kept(self):
        features = pooled_features(blank_network(find_backbone("vgg11")), (64, 64))
        n_weights = sum(p.numel() for p in features.parameters())
        of_convolutions = timm.create_model("vgg11", features_only=True)
        assert n_weights == sum(p.numel() for p in of_convolutions.parameters())

    def test_numbers_of_weights(self, tmp_path):
        X, y = images()
        network = timm_network("test_resnet")
        head = 96 * 3 + 3
        last = sum(p.numel() for p in network.layer4.parameters())
        whole = sum(p.numel() for p in network.parameters()) - 96 * 1000 - 1000
        for trainable, expected in (("head", 0), ("last_block", last), ("all", whole)):
            fitted = make(trainable=trainable, max_iter=1).fit(X, y)
            assert fitted.n_parameters_ == expected + head

    def test_a_part_that_has_no_influence_is_no_part_of_the_training(self):
        # The hidden layer between this network's maps and its classes.
        X, y = images(8)
        fitted = make("mobilenetv3_small_050", trainable="all", max_iter=1).fit(X, y)
        assert not any("conv_head" in name for name in fitted.weights_)


def test_what_is_frozen_in_front_records_no_gradient():
    size = SIZE, SIZE
    features = pooled_features(timm_network("test_resnet"), size)
    part = TrainedPart(features, nn.Linear(96, 3), "last_block", size).train()
    recorded = {}
    for name in ("layer1", "layer3", "layer4"):
        layer = part.get_submodule(f"backbone.network.{name}")
        layer.register_forward_hook(
            lambda module, inputs, output, name=name: recorded.update({name: output.requires_grad})
        )
        assert layer[0].bn1.training == (name == "layer4")
    part(torch.zeros(2, 3, *size)).sum().backward()
    assert recorded == {"layer1": False, "layer3": False, "layer4": True}
    assert features.network.conv1[0].weight.grad is None
    assert not part.eval().backbone.network.layer4[0].bn1.training


class TestInTheCompanyOfSkcnn:
    @pytest.mark.parametrize("trainable", ["head", "last_block", "all"])
    def test_callbacks_of_scikit_learn_see_every_epoch(self, trainable):
        X, y = images()
        monitor = ScoringMonitor(scoring="neg_log_loss")
        make(trainable=trainable, max_iter=3).set_callbacks(monitor).fit(X, y)
        rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
        for row in rows:
            stage = make(trainable=trainable, max_iter=row["task_id"] + 1).fit(X, y)
            assert row["neg_log_loss"] == -log_loss(y, stage.predict_proba(X))
        assert len(rows) == 3

    def test_callbacks_of_skorch_predict_on_what_is_trained_on(self):
        X, y = images()
        scores = EpochScoring("accuracy", on_train=True, lower_is_better=False)
        fitted = make(max_iter=4, callbacks=[scores]).fit(X, y)
        assert scores.best_score_ >= 0
        assert fitted.callbacks[0] is scores

    def test_any_size_and_grey_images(self):
        grey, y = images(channels=1, size=(20, 27))
        classifier = make(preprocessing=None, input_size=SIZE)
        in_three = np.repeat(grey, 3, axis=3)
        expected = classifier.fit(in_three, y).predict_proba(in_three)
        for X in (grey, grey[..., 0]):
            fitted = make(preprocessing=None, input_size=SIZE).fit(X, y)
            np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("trainable", ["head", "all"])
    def test_a_warning_of_images_up_to_255(self, trainable, recwarn):
        X, y = images()
        make(trainable=trainable).fit(X, y)
        assert not recwarn
        with pytest.warns(UserWarning, match=r"X holds numbers from 0 to .*X / 255"):
            make(trainable=trainable).fit(np.floor(255 * X), y)

    @pytest.mark.parametrize("trainable", ["head", "all"])
    @pytest.mark.parametrize("name", ["vgg11", "inception_v3"])
    def test_images_that_are_too_small_for_the_network(self, name, trainable):
        X, y = images(4, n_classes=2)
        classifier = make(name, preprocessing=None, input_size=16, trainable=trainable)
        with pytest.raises(ValueError, match=r"cannot compute images of 16 x 16.*input_size"):
            classifier.fit(X, y)

    def test_layers_are_features_and_rows_of_a_summary(self):
        X, y = images()
        classifier = make(trainable="last_block").fit(X, y)
        pooled = classifier.as_transformer().transform(X)
        weights = classifier.weights_
        logits = pooled @ weights["head.output.weight"].T + weights["head.output.bias"]
        np.testing.assert_allclose(classifier.decision_function(X), logits, rtol=1e-3, atol=1e-4)
        maps = classifier.as_transformer("backbone.network.layer4", pool="average").transform(X)
        np.testing.assert_allclose(maps, pooled, rtol=1e-3, atol=1e-4)
        rows = {row.layer: row for row in classifier.summary()}
        assert rows["head.output"].n_weights == 96 * 3 + 3
        assert rows["preprocess"].output_shape == (3, SIZE, SIZE)

    def test_sample_weights_count_as_repetition(self):
        X, y = images(12)
        twice = np.concatenate([X, X[:4]]), np.concatenate([y, y[:4]])
        options = {"shuffle": False, "solver": "sgd", "standardize": False, "max_iter": 5}
        weighted = make(batch_size=12, **options).fit(X, y, np.r_[np.full(4, 2.0), np.ones(8)])
        repeated = make(batch_size=16, **options).fit(*twice)
        np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-3)

    def test_defaults(self):
        parameters = FineTunedClassifier().get_params()
        assert parameters["backbone"] == "resnet50"
        assert parameters["weights"] == "default"
        assert parameters["trainable"] == "head"
