"""noisylib: classifiers on frozen foundation-model features when the labels are wrong.

Words used everywhere: N samples, K classes, D feature width, R runs, S seeds. ``X`` (N, D) features,
``y_noisy`` (N,) observed labels, ``T[i, j] = P(noisy = j | true = i)``. Rates and accuracies are fractions.
"""

from __future__ import annotations

__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

from noisylib.citations import cite
from noisylib.comparison import compare_methods
from noisylib.data.catalog import DATASETS, dataset_info
from noisylib.data.simulate import GaussianBed
from noisylib.errors import NoisylibError
from noisylib.features.bank import BankMeta, FeatureBank, load_bank
from noisylib.methods import METHODS, make_method
from noisylib.noise import NoisyLabels, inject, transition_matrix
from noisylib.recipe import Recipe
from noisylib.recommendation import Recommendation, recommend
from noisylib.trained import TrainedHead, load_head, train_head
from noisylib.training import RunResults, train_bank

if TYPE_CHECKING:
    from noisylib.estimators import NoisyLabelClassifier

__all__ = [
    "DATASETS",
    "METHODS",
    "BankMeta",
    "FeatureBank",
    "GaussianBed",
    "NoisyLabelClassifier",
    "NoisyLabels",
    "NoisylibError",
    "Recipe",
    "Recommendation",
    "RunResults",
    "TrainedHead",
    "cite",
    "compare_methods",
    "dataset_info",
    "inject",
    "load_bank",
    "load_head",
    "make_method",
    "recommend",
    "train_bank",
    "train_head",
    "transition_matrix",
]


def __getattr__(name: str) -> Any:
    """Import the scikit-learn face when it is asked for: scikit-learn takes longer to load than all else."""
    if name == "NoisyLabelClassifier":
        from noisylib.estimators import NoisyLabelClassifier

        return NoisyLabelClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
