import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline

from skcnn import PixelExtractor, compare_pipelines

from .estimators import Failing


@pytest.fixture(scope="session")
def images():
    """200 digits of four classes, as images."""
    digits = load_digits(n_class=4)
    return digits.images[:200] / 16


@pytest.fixture(scope="session")
def labels():
    return np.array(["zero", "one", "two", "three"])[load_digits(n_class=4).target[:200]]


@pytest.fixture
def pipelines():
    return {
        "Bayes": GridSearchCV(
            make_pipeline(PixelExtractor(), GaussianNB()),
            {"gaussiannb__var_smoothing": [1e-9, 1e-2]},
            cv=2,
        ),
        "chance": make_pipeline(PixelExtractor(), DummyClassifier()),
        "centroid": make_pipeline(PixelExtractor(), NearestCentroid()),
    }


@pytest.fixture(scope="session")
def comparison(images, labels):
    """A comparison with a search, a failure, and names that are hostile to HTML and rich."""
    flat = make_pipeline(PixelExtractor(), GaussianNB())
    search = GridSearchCV(flat, {"gaussiannb__var_smoothing": [1e-9, 1e-2]}, cv=2)
    hostile = np.array([f"<i>{label}</i>" for label in labels])
    return compare_pipelines(
        {
            "chance": make_pipeline(PixelExtractor(), DummyClassifier()),
            "<script>alert('name')</script>": search,
            "[red]fails[/red] & $x$": Failing("<b>broken</b>\nsecond line"),
            "centroid": make_pipeline(PixelExtractor(), NearestCentroid()),
        },
        images,
        hostile,
        cv=3,
    )
