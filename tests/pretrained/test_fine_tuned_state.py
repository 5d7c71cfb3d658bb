"""What a fine-tuned classifier keeps: state, seeds, checkpoints, files of weights."""

import copy
import io
import pickle
import pickletools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from skcnn import Augmentation, FineTunedClassifier
from tests.pretrained.fine_tuning import AS_IT_IS, images, make, timm_network, weights_file

PARTS = ["head", "last_block", "all"]
CHANGES = Augmentation(shift=2, flip="horizontal")


class Classifier(nn.Module):
    """A network of the user's own that is no sequence."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(8, 5)

    def forward(self, images):
        return self.fc(self.drop(self.block(self.stem(images)).mean(dim=(2, 3))))


def own_network(kind=Classifier):
    torch.manual_seed(3)
    if kind is Classifier:
        return Classifier()
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def ensure_same(one, other):
    assert one.weights_.keys() == other.weights_.keys()
    for name, value in one.weights_.items():
        np.testing.assert_array_equal(value, other.weights_[name], err_msg=name)
    assert one.loss_curve_ == other.loss_curve_


def modules_in(pickled):
    """Return the modules whose classes a pickle names."""
    return {
        argument.split()[0].split(".")[0]
        for opcode, argument, _ in pickletools.genops(pickled)
        if opcode.name == "GLOBAL"
    }


class TestPickles:
    @pytest.mark.parametrize("trainable", PARTS)
    def test_they_say_the_same_and_hold_no_torch(self, trainable, tmp_path):
        X, y = images()
        fitted = make(weights=weights_file(tmp_path), trainable=trainable).fit(X, y)
        expected = fitted.predict_proba(X)
        pickled = pickle.dumps(fitted, protocol=2)  # with names in plain text
        assert "torch" not in modules_in(pickled)
        loaded = pickle.loads(pickled)
        np.testing.assert_array_equal(loaded.predict_proba(X), expected)
        assert loaded.summary() == fitted.summary()
        assert loaded.weights_digest_ == fitted.weights_digest_

    def test_of_the_head_they_are_small(self, tmp_path):
        X, y = images()
        path = weights_file(tmp_path)
        size = len(pickle.dumps(make(weights=path).fit(X, y)))
        assert size < 10_000 < path.stat().st_size
        embedded = len(pickle.dumps(make(weights=path, embed_weights=True).fit(X, y)))
        assert embedded > 1_000_000

    @pytest.mark.parametrize("trainable", ["head", "last_block"])
    def test_a_missing_file_is_named(self, trainable, tmp_path):
        X, y = images()
        path = weights_file(tmp_path)
        fitted = make(weights=path, trainable=trainable).fit(X, y)
        loaded = pickle.loads(pickle.dumps(fitted))
        path.unlink()
        forget_shared_networks()
        with pytest.raises(OSError, match=r"test_resnet\.pth"):
            loaded.predict(X)

    @pytest.mark.parametrize("trainable", ["head", "last_block"])
    def test_another_file_of_the_name_is_refused(self, trainable, tmp_path):
        X, y = images()
        fitted = make(weights=weights_file(tmp_path), trainable=trainable).fit(X, y)
        loaded = pickle.loads(pickle.dumps(fitted))
        weights_file(tmp_path, seed=1)
        forget_shared_networks()
        with pytest.raises(ValueError, match=r"test_resnet\.pth"):
            loaded.predict(X)

    @pytest.mark.parametrize(
        ("trainable", "embed"), [("head", True), ("last_block", True), ("all", False)]
    )
    def test_what_holds_all_weights_needs_no_file(self, trainable, embed, tmp_path):
        X, y = images()
        path = weights_file(tmp_path)
        fitted = make(weights=path, trainable=trainable, embed_weights=embed, warm_start=True)
        expected = fitted.fit(X, y).predict_proba(X)
        loaded = pickle.loads(pickle.dumps(fitted))
        path.unlink()
        forget_shared_networks()
        np.testing.assert_allclose(loaded.predict_proba(X), expected, rtol=1e-5, atol=1e-6)
        ensure_same(loaded.fit(X, y), fitted.fit(X, y))

    def test_random_weights_are_drawn_again(self):
        X, y = images()
        fitted = make(random_state=5).fit(X, y)
        loaded = pickle.loads(pickle.dumps(fitted))
        forget_shared_networks()
        np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
        assert fitted.weights_source_ is None
        assert fitted.weights_digest_ is None


def forget_shared_networks():
    """Drop the networks that this process still has in memory."""
    from skcnn.pretrained import _sharing

    _sharing._networks.clear()
    _sharing._latest.clear()


class TestRepeatability:
    OPTIONS = {"dropout": 0.3, "augment": CHANGES, "ema_decay": 0.9, "max_iter": 3}

    @pytest.mark.parametrize("trainable", PARTS)
    def test_the_same_seed_gives_the_same_bits(self, trainable):
        X, y = images()
        torch.manual_seed(7)
        before = torch.random.get_rng_state()
        once = make(trainable=trainable, **self.OPTIONS).fit(X, y)
        assert torch.equal(torch.random.get_rng_state(), before)
        torch.manual_seed(8)
        ensure_same(make(trainable=trainable, **self.OPTIONS).fit(X, y), once)
        ensure_same(clone(once).fit(X, y), once)
        other = make(trainable=trainable, **self.OPTIONS, random_state=1).fit(X, y)
        assert other.loss_curve_ != once.loss_curve_

    def test_threads_beside_it_change_nothing(self):
        X, y = images()
        with ThreadPoolExecutor(2) as pool:
            fits = list(pool.map(lambda part: make(trainable=part).fit(X, y), PARTS * 2))
        for one, other in zip(fits[:3], fits[3:], strict=True):
            ensure_same(one, other)

    @pytest.mark.parametrize("trainable", PARTS)
    def test_what_others_have_switched_changes_nothing(self, trainable, tmp_path):
        X, y = images()
        options = {"weights": weights_file(tmp_path), "trainable": trainable}
        expected = make(**options).fit(X, y)
        forget_shared_networks()
        torch.set_default_dtype(torch.float64)
        try:
            with torch.inference_mode():
                ensure_same(make(**options).fit(X, y), expected)
        finally:
            torch.set_default_dtype(torch.float32)


class CtrlC(Callback):
    def __init__(self, epoch=2):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


class TestGoingOn:
    @pytest.mark.parametrize("trainable", PARTS)
    def test_from_a_checkpoint_to_the_same_bits(self, trainable, tmp_path):
        X, y = images(40)
        options = {"trainable": trainable, "max_iter": 4, "early_stopping": True, "dropout": 0.2}
        options |= {"weights": weights_file(tmp_path), "checkpoint": tmp_path / "state"}
        expected = make(**{**options, "checkpoint": None}).fit(X, y)
        with pytest.warns(UserWarning, match="interrupted in epoch 3"):
            make(**options, callbacks=[CtrlC(3)]).fit(X, y)
        assert (tmp_path / "state").exists()
        ensure_same(make(**options).fit(X, y), expected)
        assert not (tmp_path / "state").exists()

    def test_a_checkpoint_of_other_weights_is_refused(self, tmp_path):
        X, y = images()
        path = weights_file(tmp_path)
        options = {"weights": path, "checkpoint": tmp_path / "state", "max_iter": 4}
        with pytest.warns(UserWarning, match="interrupted"):
            make(**options, callbacks=[CtrlC()]).fit(X, y)
        weights_file(tmp_path, seed=1)
        with pytest.raises(ValueError, match="first weights"):
            make(**options).fit(X, y)

    def test_a_checkpoint_of_what_is_trained_is_small(self, tmp_path):
        X, y = images()
        options = {"weights": weights_file(tmp_path), "checkpoint": tmp_path / "state"}
        with pytest.warns(UserWarning, match="interrupted"):
            make(**options, max_iter=3, callbacks=[CtrlC()]).fit(X, y)
        assert (tmp_path / "state").stat().st_size < 100_000

    @pytest.mark.parametrize("trainable", PARTS)
    def test_warm_start_goes_on_with_the_fitted_weights(self, trainable, tmp_path):
        X, y = images()
        options = {"weights": weights_file(tmp_path), "trainable": trainable, "warm_start": True}
        options |= {"solver": "sgd", "momentum": 0.0, "shuffle": False}
        twice = make(**options).fit(X, y).fit(X, y)
        at_once = make(**options, max_iter=4).fit(X, y)
        np.testing.assert_allclose(twice.loss_curve_, at_once.loss_curve_, rtol=1e-5)
        for name, value in at_once.weights_.items():
            np.testing.assert_allclose(twice.weights_[name], value, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize("trainable", PARTS)
    def test_a_stream_is_a_fit_in_pieces(self, trainable, tmp_path):
        X, y = images()
        options = {"weights": weights_file(tmp_path), "trainable": trainable, "shuffle": False}
        whole = make(**options, max_iter=3).fit(X, y)
        stream = make(**options)
        for part in range(3):
            stream.partial_fit(X, y, classes=[0, 1, 2])
            if part == 0:
                stream = pickle.loads(pickle.dumps(stream))
        np.testing.assert_allclose(stream.loss_curve_, whole.loss_curve_, rtol=1e-6)
        for name, value in whole.weights_.items():
            np.testing.assert_allclose(stream.weights_[name], value, rtol=1e-4, atol=1e-7)

    def test_only_with_the_network_that_there_is(self, tmp_path):
        X, y = images()
        fitted = make(warm_start=True).fit(X, y)
        for change in (
            {"backbone": "test_efficientnet"},
            {"trainable": "all"},
            {"weights": weights_file(tmp_path)},
            {"input_size": 64},
        ):
            with pytest.raises(ValueError, match=f"{next(iter(change))} was"):
                copy.copy(fitted).set_params(**change).fit(X, y)

    def test_parameters_that_are_set_after_fit_change_no_prediction(self):
        X, y = images()
        fitted = make(trainable="last_block").fit(X, y)
        expected = fitted.predict_proba(X)
        loaded = pickle.loads(pickle.dumps(fitted))
        loaded.set_params(backbone="vgg16", weights="nowhere.pth", trainable="head", input_size=8)
        np.testing.assert_array_equal(loaded.predict_proba(X), expected)


class TestNormalisationOfFrozenParts:
    def test_statistics_move_only_where_something_is_learnt(self, tmp_path):
        X, y = images()
        path = weights_file(tmp_path)
        before = timm_network("test_resnet").state_dict()
        for trainable, moved in (("head", ()), ("last_block", ("layer4",)), ("all", ("",))):
            fitted = make(weights=path, trainable=trainable).fit(X, y)
            after = fitted._blank_network().state_dict()
            fitted_state = {k.removeprefix("backbone.network."): v for k, v in after.items()}
            fitted_state |= {
                k.removeprefix("backbone.network."): torch.tensor(v)
                for k, v in fitted.weights_.items()
            }
            means = [name for name in before if name.endswith(("running_mean", "running_var"))]
            assert len(means) > 20
            for name in means:
                same = torch.equal(before[name], fitted_state[name])
                assert same != name.startswith(moved), name


class TestOwnNetworks:
    @pytest.mark.parametrize("trainable", PARTS)
    @pytest.mark.parametrize("kind", [Classifier, nn.Sequential])
    def test_it_is_trained_and_stays_as_it_was(self, kind, trainable):
        X, y = images(30)
        network = own_network(kind)
        before = copy.deepcopy(network.state_dict())
        classifier = make(
            weights=network, trainable=trainable, max_iter=15, learning_rate_init=0.05
        )
        fitted = classifier.fit(X, y)
        assert fitted.score(X, y) > 0.5
        assert network.training
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name])
        n_trained = sum(p.numel() for p in network.parameters()) - 45
        last = (
            sum(p.numel() for p in network.get_submodule("block").parameters())
            if kind is Classifier
            else 16
        )
        expected = {"head": 0, "last_block": last, "all": n_trained}[trainable]
        assert fitted.n_parameters_ == expected + 8 * 3 + 3

    @pytest.mark.parametrize("trainable", PARTS)
    def test_a_fitted_one_does_not_depend_on_the_network_any_more(self, trainable):
        X, y = images()
        network = own_network()
        fitted = make(weights=network, trainable=trainable).fit(X, y)
        expected = fitted.predict_proba(X)
        with torch.no_grad():
            for value in network.parameters():
                value.zero_()
        again = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_allclose(again.predict_proba(X), expected, rtol=1e-5, atol=1e-7)
        ensure_same(make(weights=own_network(), trainable=trainable).fit(X, y), fitted)

    def test_normalisation_is_trained_as_normalisation(self):
        X, y = images()
        fitted = make(weights=own_network(), trainable="all").fit(X, y)
        moved = [name for name in fitted.weights_ if name.endswith("running_mean")]
        assert len(moved) == 2
        assert all(fitted.weights_[name].any() for name in moved)

    def test_what_is_random_in_it_is_seeded(self):
        X, y = images()
        fits = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            state = torch.random.get_rng_state()
            classifier = make(weights=own_network(), trainable="all")
            torch.random.set_rng_state(state)
            fits.append(classifier.fit(X, y))
            assert torch.equal(torch.random.get_rng_state(), state)
        ensure_same(*fits)

    def test_it_wants_its_preprocessing(self):
        X, y = images()
        with pytest.raises(ValueError, match="preprocessing"):
            FineTunedClassifier(weights=own_network()).fit(X, y)


class TestBadInput:
    def test_unknown_networks_and_files(self, tmp_path):
        X, y = images()
        with pytest.raises(ValueError, match="Did you mean 'resnet50'"):
            FineTunedClassifier("resnet5o", weights=None).fit(X, y)
        with pytest.raises(OSError, match=r"nowhere\.pth"):
            make(weights=tmp_path / "nowhere.pth").fit(X, y)
        with pytest.raises(ValueError, match="trainable"):
            make(trainable="tail").fit(X, y)
        with pytest.raises(ValueError, match="backbone_learning_rate"):
            make(backbone_learning_rate=0).fit(X, y)

    def test_weights_of_another_network(self, tmp_path):
        X, y = images()
        path = weights_file(tmp_path, "test_efficientnet")
        with pytest.raises(ValueError, match=r"conv_stem|layer1|blocks"):
            make("test_resnet", weights=path).fit(X, y)

    def test_an_alpha_channel(self):
        X, y = images(channels=4)
        with pytest.raises(ValueError, match="1 or 3 channels, got 4"):
            make().fit(X, y)

    def test_before_fit(self):
        X, _ = images()
        with pytest.raises(NotFittedError):
            make().predict(X)
        assert not hasattr(make(), "backbone_")


def test_a_search_over_rates_and_parts():
    X, y = images(24)
    grid = {"trainable": ["head", "last_block"], "backbone_learning_rate": [1e-4, 1e-3]}
    search = GridSearchCV(make(), grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["mean_test_score"]) == 4
    buffer = io.BytesIO()
    pickle.dump(search, buffer)
    assert search.predict(X).shape == (24,)
    assert search.best_estimator_.preprocessing_ == AS_IT_IS
