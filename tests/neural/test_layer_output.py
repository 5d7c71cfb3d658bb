"""The output of every layer, against torch's hooks, NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from sklearn.base import clone
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from skcnn import (
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    NetworkFeatures,
    ResidualNetwork,
    load_digit_images,
)
from skcnn.neural._layer_output import LayerOutput, up_to_layer
from skcnn.neural._prediction import rebuild
from tests.images.containers import SliceOnly

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")
QUICK = {"max_iter": 2, "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def cnn(digits):
    return CNNClassifier((4, 6), hidden_layer_sizes=(10,), **QUICK).fit(*digits)


class Refined(nn.Module):
    """A module that works in place, calls a layer twice and has weights of its own."""

    def __init__(self, channels, height, width, n_outputs):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.relu = nn.ReLU(inplace=True)
        self.refine = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.factor = nn.Parameter(torch.full((4, 1, 1), 0.5))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.fc = nn.Linear(4 * height * width, n_outputs)

    def forward(self, images):
        values = self.relu(self.stem(images))
        values = self.relu(self.norm(self.refine(values)).add_(self.factor * values))
        tokens = values.flatten(2).mT
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        return self.fc(torch.flatten(tokens, 1))


def sequence(channels, height, width, n_outputs):
    block = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), block, nn.Flatten(), nn.LazyLinear(n_outputs)
    )


def residual(*sizes):
    return ResidualNetwork(*sizes, channels=(4, 6))


NETWORKS = {
    "MLPClassifier": MLPClassifier((12, 8), batch_norm=True, dropout=0.2, **QUICK),
    "MLPRegressor": MLPRegressor(hidden_layer_sizes=(9,), activation="elu", **QUICK),
    "CNNClassifier": CNNClassifier(((3, 4), 5), conv_dropout=0.1, **QUICK),
    "CNNRegressor": CNNRegressor((4,), kernel_size=4, pool="average", global_pool=True, **QUICK),
    "own module": CNNClassifier(module=Refined, **QUICK),
    "own sequence": CNNClassifier(module=sequence, **QUICK),
    "residual": CNNRegressor(module=residual, **QUICK),
}


def standardised(estimator, X):
    """Return images (n, channels, height, width) as the network sees them."""
    images = X if X.ndim == 4 else X[..., np.newaxis]
    return np.moveaxis((images - estimator.input_mean_) / estimator.input_scale_, -1, 1)


def hooked(estimator, X):
    """Return the first output, and the last input, of every module that is called, as torch tells.

    It is copied where it arises, before the next layer works on it in place.
    """
    network = rebuild(estimator, torch.float64).eval()
    outputs, inputs = {}, {}

    def note(module, arguments, output):
        output = output[0] if isinstance(output, tuple) else output
        outputs.setdefault(names[module], output.clone())

    names = {module: name for name, module in network.named_modules()}
    for module in names:
        module.register_forward_pre_hook(
            lambda module, arguments: inputs.update({names[module]: arguments[0].clone()})
        )
        module.register_forward_hook(note)
    with torch.no_grad():
        network(torch.from_numpy(standardised(estimator, X)).contiguous())
    return outputs, inputs


def as_rows(values):
    values = values.permute(0, 2, 3, 1) if values.ndim == 4 else values
    return values.flatten(1).numpy()


@pytest.mark.parametrize("estimator", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_layer_gives_what_torchs_hooks_see(estimator, channels, digits):
    X, y = digits[0][:150].astype(np.float64), digits[1][:150]
    X = X if channels == 1 else np.stack([X, np.sqrt(X)], axis=-1)
    estimator = clone(estimator).fit(X, y)
    outputs, inputs = hooked(estimator, X)
    rows = {row.layer for row in estimator.summary()} - {"input", "Refined"}
    assert rows <= outputs.keys()
    for name in outputs.keys() - {""}:
        features = estimator.as_transformer(name)
        seen = features.transform(X)
        np.testing.assert_allclose(seen, as_rows(outputs[name]), rtol=1e-8, atol=1e-10)
        assert len(features.get_feature_names_out()) == seen.shape[1]
    last = "fc" if "fc" in outputs else "3" if "3" in outputs else "output"
    seen = estimator.as_transformer().transform(X)
    np.testing.assert_allclose(seen, as_rows(inputs[last]), rtol=1e-8, atol=1e-10)
    seen = estimator.as_transformer("input").transform(X)
    expected = as_rows(torch.from_numpy(standardised(estimator, X)))
    np.testing.assert_allclose(seen, expected, rtol=1e-12)


def test_all_names_of_the_summary_are_layers(digits):
    for estimator in NETWORKS.values():
        estimator = clone(estimator).fit(digits[0][:30], digits[1][:30])
        for row in estimator.summary():
            values = estimator.as_transformer(row.layer).transform(digits[0][:2])
            assert values.shape == (2, np.prod(row.output_shape)), row.layer


def test_convolution_normalisation_and_activation_against_scipy(digits, cnn):
    X = digits[0][:20].astype(np.float64)
    weights = {name: value.astype(np.float64) for name, value in cnn.weights_.items()}
    images = standardised(cnn, X)[:, 0]
    kernels = weights["conv1.weight"][:, 0]
    maps = np.stack(
        [correlate(images, kernel[np.newaxis], mode="same") for kernel in kernels], axis=-1
    )
    scale = weights["conv1_norm.weight"] / np.sqrt(weights["conv1_norm.running_var"] + 1e-5)
    normal = (maps - weights["conv1_norm.running_mean"]) * scale + weights["conv1_norm.bias"]
    pooled = normal.reshape(20, 4, 2, 4, 2, 4).max(axis=(2, 4))
    assert (normal < 0).any()
    for layer, expected in [
        ("conv1", maps),
        ("conv1_norm", normal),
        ("pool1", pooled),
        ("conv1_relu", np.maximum(pooled, 0)),
    ]:
        features = cnn.as_transformer(layer)
        assert features.output_shape_ == expected.shape[1:]
        seen = features.transform(X)
        np.testing.assert_allclose(seen, expected.reshape(20, -1), rtol=1e-7, atol=1e-9)
        names = features.get_feature_names_out()
        assert names[0] == f"{layer}_0_0_0"
        place = tuple(map(int, names[37].removeprefix(f"{layer}_").split("_")))
        np.testing.assert_allclose(seen[:, 37], expected[(slice(None), *place)], 1e-7, 1e-9)
        for pool in ("average", "max"):
            features = cnn.as_transformer(layer, pool=pool)
            over = np.mean if pool == "average" else np.max
            pixels = over(expected, axis=(1, 2))
            np.testing.assert_allclose(features.transform(X), pixels, rtol=1e-7, atol=1e-9)
            assert features.get_feature_names_out()[3] == f"{layer}_3"


@pytest.mark.parametrize("network", [CNNClassifier((4,)), MLPClassifier((10,))])
def test_by_default_it_is_what_the_output_layer_sees(network, digits):
    X, y = digits
    features = NetworkFeatures(network.set_params(max_iter=2, dropout=0.3), random_state=0)
    seen = features.fit_transform(X, y)
    weights = features.estimator_.weights_
    logits = seen @ weights["output.weight"].T + weights["output.bias"]
    np.testing.assert_allclose(logits, features.estimator_.decision_function(X), 1e-4, 1e-4)
    assert features.get_feature_names_out()[-1] == f"networkfeatures_{seen.shape[1] - 1}"


def test_the_output_layer_may_compute_its_weights(digits):
    X, y = digits

    def network(in_channels, height, width, n_outputs):
        linear = nn.Linear(4 * (height - 2) * (width - 2), n_outputs)
        return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.Flatten(), weight_norm(linear))

    cnn = CNNClassifier(module=network, **QUICK).fit(X, y)
    features = cnn.as_transformer()
    lengths, directions, bias = (
        cnn.weights_[name]
        for name in (
            "2.parametrizations.weight.original0",
            "2.parametrizations.weight.original1",
            "2.bias",
        )
    )
    weights = lengths * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    logits = features.transform(X) @ weights.T + bias
    np.testing.assert_allclose(logits, cnn.decision_function(X), 1e-4, 1e-4)


def test_without_hidden_layers_the_output_layer_sees_the_images(digits):
    X, y = digits
    mlp = MLPClassifier((), **QUICK).fit(X, y)
    np.testing.assert_array_equal(
        mlp.as_transformer().transform(X), mlp.as_transformer("input").transform(X)
    )


def test_pooling_leaves_rows_as_they_are(digits, cnn):
    rows, pooled = (cnn.as_transformer("dense1", pool=pool) for pool in (None, "max"))
    np.testing.assert_array_equal(pooled.transform(digits[0]), rows.transform(digits[0]))


def test_nothing_is_dropped_and_no_image_changed(digits, cnn):
    varied = clone(cnn).set_params(dropout=0.5, n_dropout_samples=3).fit(*digits)
    plain = rebuild(varied, torch.float32)
    part = LayerOutput(up_to_layer(plain, (8, 8, 1), "dense1_dropout"), None)
    images = torch.from_numpy(standardised(varied, digits[0][:50]).astype(np.float32))
    seen = varied.as_transformer("dense1_dropout").transform(digits[0][:50])
    np.testing.assert_allclose(seen, part(images).detach().numpy(), rtol=1e-4, atol=1e-5)


class Awkward(nn.Module):
    """A layer without a tensor, one without a row for each image, and one that rests sometimes."""

    def __init__(self, channels, height, width, n_outputs):
        super().__init__()
        self.nothing, self.one_row, self.sometimes = nn.Identity(), nn.Identity(), nn.Identity()
        self.weight = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, images):
        self.nothing(None)
        self.one_row(images[:1])
        if (images <= images.mean()).all():
            self.sometimes(images)
        return images.mean(dim=(1, 2, 3)).unsqueeze(1) + self.weight


def test_layers_that_give_no_features_are_refused(digits):
    X, y = digits
    network = CNNClassifier(module=Awkward, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="row for each image; got no tensor for 2 images"):
        network.as_transformer("nothing")
    with pytest.raises(ValueError, match=r"got shape \(1, 1, 8, 8\) for 2 images"):
        network.as_transformer("one_row")
    with pytest.raises(ValueError, match=r"Name a layer of its summary\(\)"):
        network.as_transformer()
    with pytest.raises(ValueError, match="'sometimes' was not called"):
        network.as_transformer("sometimes").transform(X)


@pytest.mark.parametrize("layer", ["conv1", "dense1"])
def test_images_are_read_in_chunks(layer, cnn):
    images = np.random.default_rng(0).integers(0, 256, (1000, 8, 8), dtype=np.uint8)
    source = SliceOnly(images)
    features = cnn.as_transformer(layer)
    seen = features.transform(source)
    assert max(stop - start for start, stop in source.reads) <= 128
    assert source.rows_read == 1000
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, features.transform(images), rtol=1e-6)


def test_large_maps_are_computed_for_few_images_at_a_time():
    X = np.zeros((9, 256, 256), np.uint8)
    X[4:, ::2] = 255
    cnn = CNNClassifier((32,), pool=None, global_pool=True, hidden_layer_sizes=(), max_iter=1)
    cnn.set_params(batch_size=2).fit(X[3:5], [0, 1])
    source = SliceOnly(X)
    cnn.as_transformer("conv1_relu", pool="average").transform(source)
    # A map takes 8 MiB an image: those before and after a layer, twice, fill 64 MiB with two.
    assert max(stop - start for start, stop in source.reads) == 2
