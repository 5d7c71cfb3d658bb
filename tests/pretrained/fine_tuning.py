"""Images, weights and settings for the tests of fine-tuning."""

import numpy as np
import timm
import torch
from torch import nn

from skcnn import FineTunedClassifier, Preprocessing

SIZE = 32
# Images of this size go into the network as they are, but for the scale of their values.
AS_IT_IS = Preprocessing(size=SIZE, crop=1.0, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def images(n=24, channels=3, seed=0, size=(SIZE, SIZE), n_classes=3):
    """Return float images whose class is a colour or a corner that is bright, and the classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    X = rng.uniform(0, 0.5, (n, *size, channels)).astype(np.float32)
    half = size[0] // 2, size[1] // 2
    X[y == 0, : half[0]] += 0.4
    X[y == 1, :, : half[1]] += 0.4
    return X, y


def timm_network(name, seed=0):
    """Return a network of timm whose moving statistics are those of a network that has learnt."""
    torch.manual_seed(seed)
    network = timm.create_model(name).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


def weights_file(folder, name="test_resnet", seed=0):
    path = folder / f"{name}.pth"
    torch.save(timm_network(name, seed).state_dict(), path)
    return path


def make(name="test_resnet", **parameters):
    options = {"preprocessing": AS_IT_IS, "batch_size": 8, "max_iter": 2, "random_state": 0}
    return FineTunedClassifier(name, **{"weights": None, **options, **parameters})


def normalised(X):
    """Return what the network sees of images of its size, channels last in memory."""
    values = (X - np.float32(AS_IT_IS.mean)) / np.float32(AS_IT_IS.std)
    return torch.from_numpy(values.astype(np.float32)).permute(0, 3, 1, 2)
