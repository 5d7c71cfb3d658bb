"""Batches shared among threads, against the same step by one thread."""

import copy
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from functools import partial
from threading import BrokenBarrierError

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from skcnn import Augmentation, CNNClassifier, CNNRegressor, ResidualNetwork
from skcnn._torch_threads import one_thread_here
from skcnn.datasets import load_digit_images
from skcnn.neural import _prediction, _team, _team_norm, _training
from skcnn.neural._batches import Batch
from skcnn.neural._flat import FlatParameters
from skcnn.neural._kinds import torch_is_altered
from skcnn.neural._losses import CrossEntropy
from skcnn.neural._modules import SeededDropout
from skcnn.neural._nets import make_net
from skcnn.neural._targets import ClassTargets
from skcnn.neural._team import team_of, team_size
from skcnn.neural._training import LeanNet, TrainingPlan

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


@pytest.fixture
def ctrl_c():
    """Python's own handling of Ctrl-C, which is switched off where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


def add_gradient(network, batch, rows):
    """Do what the engine does, in torch's words."""
    n_images = len(batch.targets)
    batch = batch.of(rows)
    outputs = network(batch.inputs)
    losses = nn.functional.cross_entropy(outputs, batch.targets, reduction="none")
    if batch.weights is not None:
        losses = losses * batch.weights
    loss = losses.sum() / n_images
    loss.backward()
    return outputs.detach(), loss.detach()


def engine():
    """Return skcnn's own, for classes."""
    plan = TrainingPlan(CrossEntropy(), "sgd", 0.1, 1)
    return make_net(
        plain(),
        plan,
        targets=ClassTargets(np.arange(5), np.arange(5)),
        device=torch.device("cpu"),
        batch_size=9,
        callbacks=[],
    )


def assert_equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


class TestStep:
    @pytest.mark.parametrize("size", [2, 3, 4])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("name", NETWORKS)
    def test_it_is_that_of_one_thread(self, name, weighted, size):
        network, batch = network_and_batch(name, 23, weighted)
        alone = copy.deepcopy(network)
        expected = add_gradient(alone, batch, slice(0, 23))
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

    @pytest.mark.parametrize("used_twice", [False, True])
    @pytest.mark.parametrize("spatial", [False, True])
    def test_members_drop_the_units_that_one_thread_drops(self, spatial, used_twice):
        def build():
            first, second = SeededDropout(0.3, spatial=spatial), SeededDropout(0.5)
            first.generator = second.generator = torch.Generator().manual_seed(0)
            maps = [first, nn.ReLU(), first if used_twice else nn.Identity()]
            network = nn.Sequential(*maps, nn.Flatten(), second, nn.Linear(27, 5)).double()
            with torch.no_grad():
                network[-1].weight.copy_(torch.linspace(-1, 1, 135).view(5, 27))
                network[-1].bias.zero_()
            return network.train()

        alone, network = build(), build()
        flats = FlatParameters(alone), FlatParameters(network)
        batch = Batch(torch.ones(11, 3, 3, 3, dtype=torch.float64), torch.zeros(11), None)
        batch = Batch(batch.inputs, torch.arange(11) % 5, None)
        net = engine()
        with team_of(network, flats[1], 3) as team:
            for _ in range(2):
                flats[0].gradient.zero_()
                expected, _ = net._add_gradient(alone, batch, slice(0, 11))
                found, _ = team.step(net._add_gradient, batch)
                assert_equal(found, expected)
                assert_equal(flats[1].gradient, flats[0].gradient)
        assert len(expected.unique()) > 20

    def test_a_norm_may_be_used_twice(self):
        def build():
            norm = nn.BatchNorm2d(3)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                layers = [nn.Conv2d(3, 3, 3), norm, nn.ReLU(), nn.Conv2d(3, 3, 3), norm]
                return nn.Sequential(*layers, nn.Flatten(), nn.Linear(192, 5)).double().train()

        _, batch = network_and_batch("plain", 16)
        alone, network = build(), build()
        expected, _ = add_gradient(alone, batch, slice(0, 16))
        with team_of(network, FlatParameters(network), 2) as team:
            found, _ = team.step(add_gradient, batch)
        assert_equal(found, expected)
        for ours, theirs in zip(network.parameters(), alone.parameters(), strict=True):
            assert_equal(ours.grad, theirs.grad)
        for ours, theirs in zip(network.buffers(), alone.buffers(), strict=True):
            assert_equal(ours, theirs)


class TestTrouble:
    @pytest.mark.parametrize("who", [0, 1, 2])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_error_of_one_ends_the_step(self, who, when):
        network, batch = network_and_batch("normalised", 15)

        def fail(*arguments):
            mine = arguments[2].start == 5 * who
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

    def test_a_thread_that_cannot_start_ends_the_step(self, monkeypatch):
        lock, n_started = threading.Lock(), 0

        def fail():
            nonlocal n_started
            with lock:
                n_started += 1
                if n_started == 2:
                    raise RuntimeError("can't start new thread")

        monkeypatch.setattr(_team, "have_one_thread", fail)
        network, batch = network_and_batch("normalised", 16)
        with (
            pytest.raises(BrokenThreadPool),
            team_of(network, FlatParameters(network), 3) as team,
        ):
            team.step(add_gradient, batch)

    def test_ctrl_c_leaves_a_usable_network(self, digits, small_teams, monkeypatch, ctrl_c):
        n_shares, lock = 0, threading.Lock()
        add = LeanNet._add_gradient

        def press_ctrl_c(*arguments):
            nonlocal n_shares
            with lock:
                n_shares += 1
                pressed = n_shares == 15
            if pressed:
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.2)  # the others wait for this one's statistics
            return add(*arguments)

        monkeypatch.setattr(LeanNet, "_add_gradient", press_ctrl_c)
        network = CNNClassifier((4,), batch_size=32, max_iter=9, random_state=0)
        n_threads = threading.active_count()
        with pytest.warns(UserWarning, match="interrupted in epoch 2 of 9"):
            network.fit(*digits)
        assert network.predict(digits[0]).shape == (150,)
        assert torch.get_num_threads() == 2
        assert threading.active_count() == n_threads


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

    @pytest.mark.parametrize("kind", KINDS)
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

    def test_masks_do_not_depend_on_parts_of_large_batches(self, digits, small_teams, monkeypatch):
        network = self.make("dropout", batch_norm=False, precision="float64", batch_size=75)
        expected = clone(network).fit(*digits)
        monkeypatch.setattr(_training, "_PART", 16)
        in_parts_of_shares = clone(network).fit(*digits)
        torch.set_num_threads(1)
        in_parts = clone(network).fit(*digits)
        for name, weights in expected.weights_.items():
            np.testing.assert_allclose(weights, in_parts.weights_[name], rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(
                weights, in_parts_of_shares.weights_[name], rtol=1e-6, atol=1e-9
            )

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

    def test_ctrl_c_while_one_starts_leaves_none_behind(self, two_threads, monkeypatch):
        start = threading.Thread.start

        def press_ctrl_c(thread):
            start(thread)
            raise KeyboardInterrupt

        n_threads = threading.active_count()
        monkeypatch.setattr(threading.Thread, "start", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt), one_thread_here():
            pass
        monkeypatch.undo()
        time.sleep(0.2)
        assert threading.active_count() == n_threads
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
run = _team._Member.run
def timed(*arguments):
    before = time.thread_time()
    result = run(*arguments)
    times.append(time.thread_time() - before)
    return result
_team._Member.run = timed
torch.set_num_threads(2)
X, y = np.random.default_rng(0).random((1280, 28, 28), np.float32), np.arange(1280) % 10
network = CNNClassifier((16, 32), batch_size=128, batch_norm=False, ema_decay=None, max_iter=8)
network.fit(X, y)
del times[:]
before = time.process_time(), time.thread_time()
network.fit(X, y)
whole = time.process_time() - before[0]
main = time.thread_time() - before[1]
own = sum(times)
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
        assert size(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.BatchNorm1d(4))) == 1

    def test_altered_networks_are_not_shared(self, small_teams):
        def with_own(name, method):
            network = plain()
            setattr(network[0], name, method)
            return network

        def with_hook(register, of=lambda network: network[0]):
            network = plain()
            getattr(of(network), register)(lambda *arguments: None)
            return network

        size = partial(team_size, image_shape=(12, 12, 3), batch_size=64)
        assert size(with_own("forward", lambda inputs: inputs)) == 1
        assert size(with_own("train", lambda mode=True: None)) == 1
        assert size(with_own("lock", threading.Lock())) == 1
        assert size(with_hook("register_full_backward_pre_hook")) == 1
        assert size(with_hook("register_hook", lambda network: network[0].weight)) == 1
        after = "register_post_accumulate_grad_hook"
        assert size(with_hook(after, lambda network: network[0].weight)) == 1
        with torch.autocast("cpu", torch.bfloat16):
            assert size(plain()) == 1
        everywhere = nn.modules.module.register_module_forward_hook(lambda *arguments: None)
        assert size(plain()) == 1
        everywhere.remove()
        assert size(plain()) == 2

    def test_a_dispatch_mode_matters_in_its_own_thread_only(self):
        def within():
            with TorchDispatchMode():
                seen.append(torch_is_altered())
                begun.set()
                to_end.wait()

        seen: list[bool] = []
        begun, to_end = threading.Event(), threading.Event()
        other = threading.Thread(target=within)
        other.start()
        begun.wait()
        seen.append(torch_is_altered())
        to_end.set()
        other.join()
        assert seen == [True, False]

    def test_what_a_callback_hangs_on_a_network_is_no_trouble(self, digits, small_teams, steps):
        class Hangs(Callback):
            def on_train_begin(self, net, **kwargs):
                net.module_.note = threading.Lock()

        CNNClassifier((4,), batch_size=50, max_iter=1, callbacks=[Hangs()]).fit(*digits)
        assert not steps

    def test_hooks_of_callbacks_are_called_once_a_batch(self, digits, small_teams, steps):
        class Hooked(Callback):
            n_images = ()

            def on_train_begin(self, net, **kwargs):
                norm = next(m for m in net.module_.modules() if isinstance(m, nn.BatchNorm2d))
                norm.register_forward_hook(self.count)

            def count(self, module, inputs, outputs):
                self.n_images = (*self.n_images, len(outputs))

        hooked = Hooked()
        CNNClassifier((4,), batch_size=50, max_iter=1, callbacks=[hooked]).fit(*digits)
        assert hooked.n_images == (50, 50, 50)
        assert not steps

    def test_who_watches_batches_has_the_network_alone(self, digits, small_teams, steps):
        class Silent(Callback):
            def on_batch_begin(self, net, **kwargs):
                net.module_.dense1_dropout.p = 0.0

        network = CNNClassifier((4,), batch_size=50, max_iter=1, dropout=0.5, random_state=0)
        watched = clone(network).set_params(callbacks=[Silent()]).fit(*digits)
        assert not steps
        dense = clone(network).set_params(dropout=0.0).fit(*digits)
        assert steps
        assert watched.loss_ == pytest.approx(dense.loss_, rel=1e-5)

    def test_torchs_default_device_has_no_influence(self, digits, small_teams, steps):
        network = CNNClassifier((4,), batch_size=50, max_iter=1, dropout=0.5, random_state=0)
        expected = clone(network).fit(*digits)
        with torch.device("meta"):
            network.fit(*digits)
        assert len(steps) == 6
        assert network.loss_ == expected.loss_

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
        assert len(threads) == 2
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
