"""Batches shared among threads, against the same step by one thread."""

import copy
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import BrokenBarrierError

import numpy as np
import pytest
import torch
from torch import nn

from skcnn import Augmentation, CNNClassifier, CNNRegressor, ResidualNetwork
from skcnn.datasets import load_digit_images
from skcnn.neural import _prediction, _team, _team_norm
from skcnn.neural._batches import Batch
from skcnn.neural._flat import FlatParameters
from skcnn.neural._modules import SeededDropout
from skcnn.neural._norm_kernel import gradient_sums, moments
from skcnn.neural._team import team_of, team_size
from skcnn.neural._training import LeanNet

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_teams(two_threads, monkeypatch):
    """Two threads that share even the smallest batches."""
    monkeypatch.setattr(_team, "_FEWEST_IMAGES", 2)
    monkeypatch.setattr(_team, "_FEWEST_VALUES", 1)
    monkeypatch.setattr(_prediction, "_SHARE_BYTES", 1)


@pytest.fixture
def steps(monkeypatch):
    """The sizes of the batches that teams have shared."""
    sizes = []
    step = _team.Team.step

    def counted(team, work, batch):
        sizes.append(len(batch.targets))
        return step(team, work, batch)

    monkeypatch.setattr(_team.Team, "step", counted)
    return sizes


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:150], y[:150]


def normalised():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(4 * 5 * 5, 6, bias=False),
        nn.BatchNorm1d(6, momentum=0.3, eps=1e-2),
        nn.Tanh(),
        nn.Linear(6, 5),
    )


def plain():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 5))


def residual():
    return ResidualNetwork(3, 12, 12, 5, channels=(4, 6))


NETWORKS = {"normalised": normalised, "plain": plain, "residual": residual}


def network_and_batch(name, n_images, weighted=False):
    """Return a network in float64, and images with a large mean."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NETWORKS[name]().double().train()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(layer.weight)
                nn.init.normal_(layer.bias)
        images = torch.randn(n_images, 12, 12, 3, dtype=torch.float64).permute(0, 3, 1, 2) + 100
        weights = torch.rand(n_images, dtype=torch.float64) if weighted else None
        return network, Batch(images, torch.arange(n_images) % 5, weights)


def add_gradient(network, batch, n_images):
    """Do what the engine does, in torch's words."""
    outputs = network(batch.inputs)
    losses = nn.functional.cross_entropy(outputs, batch.targets, reduction="none")
    if batch.weights is not None:
        losses = losses * batch.weights
    loss = losses.sum() / n_images
    loss.backward()
    return outputs.detach(), loss.detach()


def assert_equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


class TestStep:
    @pytest.mark.parametrize("size", [2, 3, 4])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("name", NETWORKS)
    def test_it_is_that_of_one_thread(self, name, weighted, size):
        network, batch = network_and_batch(name, 23, weighted)
        alone = copy.deepcopy(network)
        expected = add_gradient(alone, batch, 23)
        flat = FlatParameters(network)
        with team_of(network, flat, size) as team:
            found = team.step(add_gradient, batch)
        for ours, theirs in zip(found, expected, strict=True):
            assert_equal(ours, theirs)
        for ours, theirs in zip(network.parameters(), alone.parameters(), strict=True):
            assert_equal(ours.grad, theirs.grad)
        for ours, theirs in zip(network.buffers(), alone.buffers(), strict=True):
            assert_equal(ours, theirs)

    def test_a_second_one_begins_anew(self):
        network, batch = network_and_batch("normalised", 16)
        flat = FlatParameters(network)
        with team_of(network, flat, 2) as team:
            team.step(add_gradient, batch)
            first = flat.gradient.clone()
            team.step(add_gradient, batch)
        assert torch.equal(flat.gradient, first)

    def test_later_weights_are_everybodys(self):
        network, batch = network_and_batch("normalised", 16)
        flat = FlatParameters(network)
        with team_of(network, flat, 2) as team:
            team.step(add_gradient, batch)
            flat.values.mul_(1.5)
            outputs, _ = team.step(add_gradient, batch)
        assert_equal(outputs, network(batch.inputs))

    def test_frozen_weights_stay(self):
        network, batch = network_and_batch("normalised", 16)
        network[0].weight.requires_grad_(False)
        before = network[0].weight.clone()
        flat = FlatParameters(network)
        with team_of(network, flat, 2) as team:
            team.step(add_gradient, batch)
        assert network[0].weight.grad is None
        assert torch.equal(network[0].weight, before)

    def test_members_drop_other_units(self):
        layer = SeededDropout(0.5)
        layer.generator = torch.Generator().manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(9, 9), layer).train()
        nn.init.zeros_(network[1].weight)
        nn.init.ones_(network[1].bias)
        flat = FlatParameters(network)
        batch = Batch(torch.zeros(8, 1, 3, 3), torch.zeros(8), None)

        def work(member, share, n_images):
            outputs = member(share.inputs)
            outputs.sum().backward()
            return outputs.detach(), outputs.detach().sum()

        with team_of(network, flat, 2) as team:
            first, _ = team.step(work, batch)
            second, _ = team.step(work, batch)
        assert set(first.unique().tolist()) == {0.0, 2.0}
        assert not torch.equal(first[:4], first[4:])
        assert not torch.equal(first, second)


class TestTrouble:
    @pytest.mark.parametrize("who", ["Main", "Other"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_error_of_one_ends_the_step(self, who, when):
        network, batch = network_and_batch("normalised", 16)
        main = threading.current_thread()

        def fail(*arguments):
            mine = (threading.current_thread() is main) == (who == "Main")
            if mine and when == "before":
                raise ZeroDivisionError("on purpose")
            result = add_gradient(*arguments)
            if mine:
                raise ZeroDivisionError("on purpose")
            return result

        before = torch.get_num_threads()
        with (
            pytest.raises(ZeroDivisionError, match="on purpose"),
            team_of(network, FlatParameters(network), 3) as team,
        ):
            team.step(fail, batch)
        assert torch.get_num_threads() == before

    def test_nobody_waits_for_those_who_have_given_up(self):
        exchange = _team_norm.Exchange(2)
        exchange.abandon()
        with pytest.raises(BrokenBarrierError):
            exchange.of_all(0, "anybody there?")

    def test_ctrl_c_leaves_a_usable_network(self, digits, small_teams, monkeypatch):
        n_steps = 0
        add = LeanNet._add_gradient
        main = threading.current_thread()

        def press_ctrl_c(*arguments):
            nonlocal n_steps
            if threading.current_thread() is main:
                n_steps += 1
                if n_steps == 8:
                    raise KeyboardInterrupt
            return add(*arguments)

        monkeypatch.setattr(LeanNet, "_add_gradient", press_ctrl_c)
        network = CNNClassifier((4,), batch_size=32, max_iter=9, random_state=0)
        with pytest.warns(UserWarning, match="interrupted in epoch 2 of 9"):
            network.fit(*digits)
        assert network.predict(digits[0]).shape == (150,)
        assert torch.get_num_threads() == 2


class TestFit:
    PARAMETERS = {
        "conv_channels": (4, 6),
        "hidden_layer_sizes": (8,),
        "dropout": 0.0,
        "batch_size": 40,
        "max_iter": 3,
        "random_state": 0,
    }
    KINDS = {
        "defaults": (CNNClassifier, {}),
        "no normalisation": (CNNClassifier, {"batch_norm": False}),
        "dropout": (CNNClassifier, {"input_dropout": 0.1, "conv_dropout": 0.2, "dropout": 0.5}),
        "augmentation": (CNNClassifier, {"augment": Augmentation(shift=1)}),
        "early stopping": (CNNClassifier, {"early_stopping": True}),
        "numbers": (CNNRegressor, {}),
        "residual": (CNNClassifier, {"module": partial(ResidualNetwork, channels=(4, 4))}),
    }

    def make(self, kind, **parameters):
        network, options = self.KINDS[kind]
        return network(**{**self.PARAMETERS, **options, **parameters})

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_is_repeatable(self, kind, digits, small_teams, steps):
        first, second = (self.make(kind).fit(*digits) for _ in range(2))
        assert len(steps) >= 18
        for name, weights in first.weights_.items():
            assert np.array_equal(weights, second.weights_[name])

    @pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"dropout"}))
    def test_it_is_that_of_one_thread(self, kind, digits, small_teams, steps):
        sample_weight = np.linspace(0.5, 2, 150)
        network = self.make(kind, precision="float64").fit(*digits, sample_weight)
        assert steps
        del steps[:]
        torch.set_num_threads(1)
        alone = self.make(kind, precision="float64").fit(*digits, sample_weight)
        assert not steps
        for name, weights in network.weights_.items():
            np.testing.assert_allclose(weights, alone.weights_[name], rtol=1e-6, atol=1e-9)

    def test_two_in_two_threads_do_not_disturb_each_other(self, digits, small_teams):
        kinds = list(self.KINDS)
        expected = [self.make(kind).fit(*digits) for kind in kinds]
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda kind: self.make(kind).fit(*digits), kinds))
        for ours, theirs in zip(found, expected, strict=True):
            for name, weights in ours.weights_.items():
                assert np.array_equal(weights, theirs.weights_[name])

    def test_a_checkpoint_goes_on(self, digits, small_teams, tmp_path, monkeypatch):
        expected = self.make("dropout").fit(*digits)
        record = LeanNet._record_loss

        def die(net, name, loss):
            record(net, name, loss)
            if len(net.history) == 3:
                raise MemoryError("killed")

        monkeypatch.setattr(LeanNet, "_record_loss", die)
        with pytest.raises(MemoryError, match="killed"):
            self.make("dropout", checkpoint=tmp_path / "fit").fit(*digits)
        monkeypatch.setattr(LeanNet, "_record_loss", record)
        resumed = self.make("dropout", checkpoint=tmp_path / "fit").fit(*digits)
        for name, weights in resumed.weights_.items():
            assert np.array_equal(weights, expected.weights_[name])

    def test_a_small_last_batch_is_not_shared(self, digits, small_teams, steps):
        X, y = digits
        self.make("no normalisation").fit(X[:83], y[:83])
        assert steps == [40, 40] * 3


class TestThreads:
    def test_members_have_one_each_and_others_what_they_had(self, two_threads):
        network, batch = network_and_batch("plain", 16)
        seen, all_have_begun = [], threading.Barrier(3)

        def work(*arguments):
            all_have_begun.wait()
            seen.append(torch.get_num_threads())
            return add_gradient(*arguments)

        with ThreadPoolExecutor(1) as old, team_of(network, FlatParameters(network), 3) as team:
            team.step(work, batch)
            assert old.submit(torch.get_num_threads).result() == 2
            with ThreadPoolExecutor(1) as new:
                assert new.submit(torch.get_num_threads).result() == 2
        assert seen == [1, 1, 1]
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as new:
            assert new.submit(torch.get_num_threads).result() == 2

    def test_torch_starts_none_beside_them(self):
        # Those spin while they wait for the next operation, which takes a core from the team.
        program = """
import threading, time
import numpy as np, torch
from skcnn.neural import _team
from skcnn import CNNClassifier

times = []
run = _team.Team._run
def timed(*arguments):
    before = time.thread_time()
    result = run(*arguments)
    times.append(time.thread_time() - before)
    return result
_team.Team._run = timed
torch.set_num_threads(2)
X, y = np.random.default_rng(0).random((1280, 28, 28), np.float32), np.arange(1280) % 10
network = CNNClassifier((16, 32), batch_size=128, batch_norm=False, ema_decay=None, max_iter=8)
network.fit(X, y)
del times[:]
before = time.process_time(), time.thread_time()
network.fit(X, y)
whole = time.process_time() - before[0]
main = time.thread_time() - before[1]
own = sum(times) / 2
print((whole - main) / own)
"""
        environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
        output = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env=environment, check=True, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert float(output.stdout) < 1.4


class TestSize:
    def test_it_is_that_of_torch(self):
        before = torch.get_num_threads()
        try:
            for n_threads, size in [(1, 1), (2, 2), (4, 4), (5, 1)]:
                torch.set_num_threads(n_threads)
                assert team_size(ResidualNetwork(3, 32, 32, 10), (32, 32, 3), 128) == size
        finally:
            torch.set_num_threads(before)

    def test_little_work_is_not_shared(self, two_threads):
        network = ResidualNetwork(3, 32, 32, 10)
        assert team_size(network, (32, 32, 3), 63) == 1
        assert team_size(normalised(), (12, 12, 3), 128) == 1
        assert team_size(normalised(), (12, 12, 3), 2000) == 2

    def test_only_known_networks_are_shared(self, small_teams):
        class OfTheUser(nn.Sequential):
            pass

        def hooked():
            network = plain()
            network[0].register_forward_hook(lambda *_: None)
            return network

        size = partial(team_size, image_shape=(12, 12, 3), batch_size=64)
        assert size(plain()) == 2
        assert size(OfTheUser(*plain())) == 1
        assert size(hooked()) == 1
        assert size(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), *plain())) == 1
        assert size(nn.Sequential(nn.BatchNorm2d(3, affine=False), *plain())) == 1
        assert size(nn.Sequential(nn.BatchNorm2d(3, momentum=None), *plain())) == 1
        assert size(nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (-1, 3, 12, 12)), *plain())) == 1

    def test_modules_of_the_users_train_as_before(self, digits, small_teams, steps):
        class OfTheUser(nn.Sequential):
            def __init__(self, in_channels, height, width, n_outputs):
                super().__init__(nn.Flatten(), nn.Linear(in_channels * height * width, n_outputs))

        CNNClassifier(module=OfTheUser, batch_size=40, max_iter=1).fit(*digits)
        assert not steps


class TestPredictions:
    def test_they_are_those_of_one_thread(self, digits, small_teams, monkeypatch):
        monkeypatch.setattr(_prediction, "_PREDICT_BATCH", 16)
        X, y = digits
        network = CNNClassifier((4, 6), max_iter=1, random_state=0).fit(X, y)
        threads = set()
        outputs = _prediction.Predictor._outputs

        def watched(*arguments):
            threads.add(threading.get_ident())
            time.sleep(0.002)  # so that one thread does not take them all
            return outputs(*arguments)

        monkeypatch.setattr(_prediction.Predictor, "_outputs", watched)
        shared = network.predict_proba(X)
        assert len(threads - {threading.get_ident()}) == 2
        threads.clear()
        torch.set_num_threads(1)
        assert np.array_equal(network.predict_proba(X), shared)
        assert threads == {threading.get_ident()}

    def test_what_draws_is_not_shared(self, digits, small_teams, monkeypatch):
        monkeypatch.setattr(_prediction, "_PREDICT_BATCH", 16)
        X, y = digits
        network = CNNClassifier((4,), dropout=0.5, augment=Augmentation(shift=1), max_iter=1)
        network.set_params(random_state=0, n_dropout_samples=2, n_augmentations=2).fit(X, y)
        shared = network.predict_proba(X)
        torch.set_num_threads(1)
        np.testing.assert_allclose(network.predict_proba(X), shared, rtol=1e-5, atol=1e-6)

    def test_an_error_in_a_thread_is_told(self, digits, small_teams, monkeypatch):
        monkeypatch.setattr(_prediction, "_PREDICT_BATCH", 16)
        X, y = digits
        network = CNNClassifier((4,), max_iter=1, random_state=0).fit(X, y)
        outputs = _prediction.Predictor._outputs

        def fail(predictor, images, rows, change):
            if rows.start == 64:
                raise ZeroDivisionError("on purpose")
            return outputs(predictor, images, rows, change)

        monkeypatch.setattr(_prediction.Predictor, "_outputs", fail)
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            network.predict(X)


class TestSums:
    @pytest.mark.parametrize("n", [1, 63, 64, 1000])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_moments_are_numpys(self, n, dtype):
        rows = np.random.default_rng(0).normal(1000, 3, (n, 5)).astype(dtype)
        mean, squares = moments(rows)
        exact = rows.astype(np.float64)
        rtol = 1e-5 if dtype == np.float32 else 1e-11
        np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-9)
        np.testing.assert_allclose(squares, n * exact.var(0), rtol=rtol, atol=1e-20)

    def test_what_is_not_a_number_stays(self):
        rows = np.ones((70, 3), np.float32)
        rows[69, 1] = np.nan
        assert np.isnan(moments(rows)).any(0).tolist() == [False, True, False]

    def test_gradient_sums_are_numpys(self):
        rng = np.random.default_rng(0)
        rows, gradients = rng.normal(5, 2, (200, 4)), rng.normal(size=(200, 4))
        mean, inverse = rows.mean(0), 1 / rows.std(0)
        expected = (gradients * (rows - mean) * inverse).sum(0), gradients.sum(0)
        np.testing.assert_allclose(gradient_sums(rows, gradients, mean, inverse), expected)
