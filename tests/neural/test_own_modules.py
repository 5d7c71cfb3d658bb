"""Networks that the user brings: repeatable, isolated, checked before training."""

import copy
import pickle
import threading
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional as F  # noqa: N812

from skcnn import CNNClassifier, CNNRegressor, load_digit_images
from skcnn.neural import ResidualNetwork
from skcnn.neural._own_modules import build_module


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:120], y[:120]


def convolution(channels, *layers, out=10):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *layers,
        nn.Flatten(),
        nn.LazyLinear(out),
    )


class Convolutional(nn.Module):
    """A module as tutorials write it, with normalisation of its own, dropout and ``view``."""

    def __init__(self, channels, height, width, n_outputs):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.batch_norm = nn.BatchNorm2d(4)
        self.layer_norm = nn.LayerNorm([4, height, width])
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(4 * height * width, n_outputs)

    def forward(self, images):
        maps = self.layer_norm(self.batch_norm(self.conv(images)).relu())
        return self.output(self.dropout(maps.view(-1, maps.shape[1:].numel())))


def function(channels, height, width, n_outputs):
    return Convolutional(channels, height, width, n_outputs)


def with_width(channels, height, width, n_outputs, n_units=7):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, n_units),
        nn.Dropout(0.2),
        nn.Linear(n_units, n_outputs),
    )


class Attention(nn.Module):
    """A module that is random in ways that torch has no layer for."""

    def __init__(self, channels, height, width, n_outputs):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(
            width, 2, dim_feedforward=8, dropout=0.3, batch_first=True
        )
        self.output = nn.Linear(height * width, n_outputs)

    def forward(self, images):
        values = self.encoder(images.mean(1)).flatten(1)
        values = F.dropout(values, 0.2, self.training)
        if self.training:
            values = values + 0.1 * torch.randn_like(values)
        return self.output(values)


MODULES = {
    "class": Convolutional,
    "function": function,
    "partial": partial(with_width, n_units=5),
    "lambda": lambda channels, height, width, n: convolution(channels, nn.Dropout2d(0.2), out=n),
    "alpha dropout": lambda channels, *_: convolution(channels, nn.AlphaDropout(0.2)),
    "attention": Attention,
    "residual": partial(ResidualNetwork, channels=(4, 6), dropout=0.2),
}


@pytest.fixture(params=MODULES)
def module(request):
    return MODULES[request.param]


def cnn(module, **parameters):
    return CNNClassifier(module=module, **{"max_iter": 2, "random_state": 0} | parameters)


def ensure_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_a_fit_repeats_whatever_the_global_generator_says(module, digits):
    torch.manual_seed(0)
    first = cnn(module).fit(*digits)
    torch.manual_seed(1)
    torch.rand(5)
    ensure_same(first.weights_, cnn(module).fit(*digits).weights_)
    other = cnn(module, random_state=1).fit(*digits).weights_
    assert any(not np.array_equal(value, other[name]) for name, value in first.weights_.items())
    np.testing.assert_allclose(first.predict_proba(digits[0]).sum(axis=1), 1, rtol=1e-5)


def global_state():
    numpy_state = np.random.get_state()  # noqa: NPY002 - the generator that must not be touched
    return torch.get_rng_state().tolist(), numpy_state[1].tolist(), torch.get_num_threads()


def test_global_generators_are_not_touched(module, digits, monkeypatch):
    X, y = digits
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = global_state()
    network = cnn(module, early_stopping=True).fit(X, y)
    assert global_state() == before
    network.predict(X)
    network.summary()
    pickle.dumps(network.weights_)
    assert global_state() == before
    assert seeded == []  # nor those of accelerators


def test_two_fits_at_once_are_as_each_alone(module, digits):
    X, y = digits
    networks = [cnn(module, random_state=seed, max_iter=4, early_stopping=True) for seed in (0, 1)]
    alone = [copy.deepcopy(network).fit(X, y).weights_ for network in networks]
    barrier, together = threading.Barrier(2), {}

    def fit(number):
        barrier.wait()
        together[number] = networks[number].fit(X, y).weights_

    threads = [threading.Thread(target=fit, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (0, 1):
        ensure_same(together[number], alone[number])


def test_a_stream_repeats_and_goes_on(module, digits):
    X, y = digits
    streams = [cnn(module, shuffle=False) for _ in range(2)]
    for _ in range(3):
        for stream in streams:
            stream.partial_fit(X, y)
    ensure_same(streams[0].weights_, streams[1].weights_)
    whole = cnn(module, shuffle=False, max_iter=3).fit(X, y)
    for name, value in whole.weights_.items():
        np.testing.assert_allclose(streams[0].weights_[name], value, rtol=1e-5, atol=1e-6)


class Dies(Callback):
    """Ends a fit as if it had been killed, when its third epoch begins."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            raise ArithmeticError("on purpose")


def test_a_fit_that_died_goes_on_from_its_checkpoint(module, digits, tmp_path):
    network = cnn(module, max_iter=4)
    expected = network.fit(*digits).weights_
    network.set_params(checkpoint=tmp_path / "state", callbacks=[Dies()])
    with pytest.raises(ArithmeticError):
        network.fit(*digits)
    resumed = cnn(module, max_iter=4, checkpoint=tmp_path / "state").fit(*digits)
    ensure_same(resumed.weights_, expected)


def test_warm_start_goes_on(module, digits):
    network = cnn(module, warm_start=True, learning_rate_init=1e-30)
    first = network.fit(*digits).weights_
    for name, value in network.fit(*digits).weights_.items():
        if is_learnt(name):
            np.testing.assert_allclose(value, first[name], atol=1e-20, err_msg=name)
    with pytest.raises(ValueError, match="can only go on with the network that it has: module"):
        network.set_params(module=ResidualNetwork).fit(*digits)


def is_learnt(name):
    return not any(word in name for word in ("running", "num_batches"))


def test_warm_start_with_sizes_in_an_array(digits):
    network = CNNClassifier((), hidden_layer_sizes=np.array([5, 4]), warm_start=True, max_iter=1)
    network.fit(*digits).fit(*digits)
    with pytest.raises(ValueError, match="hidden_layer_sizes was"):
        network.set_params(hidden_layer_sizes=np.array([5])).fit(*digits)


def test_a_fit_is_a_plain_torch_loop(digits):
    X, y = digits
    options = {"batch_size": 40, "shuffle": False, "alpha": 0.0, "solver": "adam"}
    options |= {"precision": "float64", "max_iter": 3, "ema_decay": None}

    def factory(channels, height, width, n_outputs):
        module = Convolutional(channels, height, width, n_outputs)
        module.dropout = nn.Identity()
        return module

    start = cnn(factory, learning_rate_init=1e-30, **options).fit(X, y)
    plain = factory(1, 8, 8, 10).double().train()
    state = {name: torch.tensor(value) for name, value in start.weights_.items()}
    # Moving statistics have moved already.
    state |= {k: v for k, v in plain.state_dict().items() if not is_learnt(k)}
    plain.load_state_dict(state)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.001)
    inputs = torch.tensor((X - X.mean()) / X.std())[:, None].double()
    for _ in range(3):
        for rows in torch.arange(len(X)).split(40):
            optimizer.zero_grad()
            F.cross_entropy(plain(inputs[rows]), torch.tensor(y)[rows]).backward()
            optimizer.step()
    fitted = cnn(factory, **options).fit(X, y)
    for name, value in plain.state_dict().items():
        np.testing.assert_allclose(fitted.weights_[name], value, atol=1e-9, err_msg=name)
    with torch.no_grad():
        expected = plain.eval()(inputs)
    np.testing.assert_allclose(fitted.decision_function(X.astype(float)), expected, atol=1e-8)


def test_a_fitted_classifier_pickles(digits):
    X, y = digits
    network = cnn(Convolutional).fit(X, y)
    for loaded in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        np.testing.assert_array_equal(loaded.predict_proba(X), network.predict_proba(X))
        ensure_same(loaded.set_params(warm_start=True).fit(X, y).weights_, loaded.weights_)
    assert len(pickle.dumps(network)) < sum(v.nbytes for v in network.weights_.values()) + 5000


def test_summary(digits):
    summary = cnn(Convolutional).fit(*digits).summary()
    assert [(row.layer, row.output_shape) for row in summary] == [
        ("input", (1, 8, 8)),
        ("conv", (4, 8, 8)),
        ("batch_norm", (4, 8, 8)),
        ("layer_norm", (4, 8, 8)),
        ("dropout", (256,)),
        ("output", (10,)),
    ]
    assert sum(row.n_weights for row in summary) == sum(
        p.numel() for p in Convolutional(1, 8, 8, 10).parameters()
    )


def test_a_residual_network_learns(digits):
    X, y = digits
    network = cnn(partial(ResidualNetwork, channels=(8, 16)), max_iter=15, learning_rate_init=0.01)
    assert network.fit(X, y).score(X, y) > 0.95


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_regressors_take_modules_too(n_outputs, digits):
    X, y = digits
    numbers = np.column_stack([y, -y])[:, :n_outputs]
    network = CNNRegressor(module=Convolutional, max_iter=2, random_state=0).fit(X, numbers)
    assert network.predict(X).shape == ((120,) if n_outputs == 1 else (120, 2))


def test_frozen_layers_stay_as_they_are(digits):
    def factory(channels, height, width, n_outputs):
        module = Convolutional(channels, height, width, n_outputs)
        module.conv.requires_grad_(False)
        with torch.no_grad():
            module.conv.weight.fill_(0.1)
        return module

    network = cnn(factory).fit(*digits)
    np.testing.assert_array_equal(network.weights_["conv.weight"], np.float32(0.1))
    n_frozen = sum(p.numel() for p in nn.Conv2d(1, 4, 3).parameters())
    total = sum(p.numel() for p in Convolutional(1, 8, 8, 10).parameters())
    assert network.n_parameters_ == total - n_frozen


def scripted(in_channels, height, width, n_outputs):
    linear = nn.Linear(in_channels * height * width, n_outputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated as a whole
        return torch.jit.script(nn.Sequential(nn.Flatten(), linear))


def partly_scripted(in_channels, height, width, n_outputs):
    return nn.Sequential(
        scripted(in_channels, height, width, 5), nn.ReLU(), nn.Linear(5, n_outputs)
    )


@pytest.fixture
def _no_training(monkeypatch):
    def train(self, *args, **kwargs):
        raise AssertionError("training has begun")

    monkeypatch.setattr("skcnn.neural._training.LeanNet.train", train)


@pytest.mark.usefixtures("_no_training")
@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        (lambda *shape: None, TypeError, r"returned NoneType"),
        (lambda *shape: nn.Linear, TypeError, r"returned type"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), TypeError, r"is a module already: Seq"),
        (scripted, TypeError, r"TorchScript module, such as Recursive.*Return the torch.nn.Module"),
        (partly_scripted, TypeError, r"TorchScript module, such as Recursive"),
        (lambda *shape: nn.Flatten(), ValueError, r"no parameter that could be trained"),
        (
            lambda c, h, w, n: nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, n + 1)),
            ValueError,
            r"10 outputs an image, shape \(2, 10\) for two images of 1 x 8 x 8; got shape \(2, 11",
        ),
        (
            lambda c, h, w, n: nn.Conv2d(c, n, 8),
            ValueError,
            r"10 outputs an image, .* got shape \(2, 10, 1, 1\)",
        ),
        (lambda c, h, w, n: Tuple(c * h * w, n), ValueError, r"10 outputs an image.* got tuple"),
    ],
    ids=[
        "none",
        "a class",
        "a module",
        "TorchScript",
        "partly TorchScript",
        "no weights",
        "too many",
        "maps",
        "a tuple",
    ],
)
def test_what_cannot_be_trained_is_refused_before(factory, error, message, digits):
    with pytest.raises(error, match=message):
        cnn(factory).fit(*digits)


class Tuple(nn.Linear):
    def forward(self, images):
        return super().forward(images.flatten(1)), images


@pytest.mark.usefixtures("_no_training")
def test_an_error_of_the_module_itself_says_with_which_images(digits):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
        cnn(lambda c, h, w, n: nn.Sequential(nn.Flatten(), nn.Linear(63, n))).fit(*digits)
    assert caught.value.__notes__ == [
        "That was module with two images of 1 x 8 x 8, as in training."
    ]


def test_an_error_in_training_gives_the_global_generator_back(digits):
    class Failing(Attention):
        def forward(self, images):
            if self.training:
                torch.rand(3)
                raise ArithmeticError("on purpose")
            return super().forward(images)

    before = global_state()
    for _ in range(2):  # the second would wait for ever if the first kept the generator
        with pytest.raises(ArithmeticError, match="on purpose"):
            cnn(Failing).fit(*digits)
    assert global_state() == before


def test_weights_are_drawn_as_torch_draws_them():
    torch.manual_seed(7)
    expected = Convolutional(1, 8, 8, 10).state_dict()
    torch.manual_seed(0)
    drawn = build_module(Convolutional, (8, 8, 1), 10, 7).state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(drawn[name], value, rtol=0, atol=0)
