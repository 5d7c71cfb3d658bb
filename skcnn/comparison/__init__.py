"""Fair comparison of pipelines: the same folds, a sound test, costs beside scores."""

from skcnn.comparison._compare import compare_pipelines
from skcnn.comparison._cost import count_parameters
from skcnn.comparison._fold import FoldError, FoldResult
from skcnn.comparison._pipelines import default_pipelines
from skcnn.comparison._plot import ComparisonDisplay
from skcnn.comparison._result import Comparison
from skcnn.comparison._statistics import TTestResult, corrected_resampled_ttest

__all__ = [
    "Comparison",
    "ComparisonDisplay",
    "FoldError",
    "FoldResult",
    "TTestResult",
    "compare_pipelines",
    "corrected_resampled_ttest",
    "count_parameters",
    "default_pipelines",
]
