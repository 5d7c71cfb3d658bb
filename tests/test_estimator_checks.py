"""scikit-learn's own checks, for every public estimator."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from tests.estimators import ESTIMATORS, OF_NUMBERS, with_defaults

# Name of the estimator -> check -> why scikit-learn's own estimators of that kind fail it too.
WEIGHTS_NEED_FULL_BATCHES = (
    "an image of weight 2 is two images to the loss, but one to batch normalisation and to the "
    "order of mini-batches; without both it holds, see tests/neural/test_weights.py"
)
EXPECTED_FAILURES: dict[str, dict[str, str]] = {
    name: {"check_sample_weight_equivalence_on_dense_data": WEIGHTS_NEED_FULL_BATCHES}
    for name in ("CNNClassifier", "CNNRegressor", "FineTunedClassifier")
}


def expected_failures(estimator):
    return EXPECTED_FAILURES.get(type(estimator).__name__, {})


def ids(estimator):
    return estimator.__name__


@parametrize_with_checks(
    [with_defaults(estimator) for estimator in OF_NUMBERS], expected_failed_checks=expected_failures
)
def test_scikit_learns_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it the check of array API input is skipped
    check(estimator)


@pytest.mark.parametrize("estimator", OF_NUMBERS, ids=ids)
def test_input_tags_switch_no_check_off(estimator):
    checks = list(estimator_checks_generator(with_defaults(estimator)))
    assert len(checks) > 40


def test_expected_failures_name_estimators_and_checks_that_exist():
    by_name = {estimator.__name__: estimator for estimator in ESTIMATORS}
    for name, reasons in EXPECTED_FAILURES.items():
        checks = estimator_checks_generator(by_name[name]())
        names = {getattr(check, "func", check).__name__ for _, check in checks}
        assert reasons.keys() <= names
        assert all(reasons.values())


def test_only_readers_of_paths_are_without_checks():
    assert {estimator.__name__ for estimator in ESTIMATORS} - {
        estimator.__name__ for estimator in OF_NUMBERS
    } == {"ImageReader"}
