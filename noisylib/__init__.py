"""noisylib: classifiers on frozen foundation-model features when the labels are wrong.

Words used everywhere: N samples, K classes, D feature width, R runs, S seeds. ``X`` (N, D) features,
``y_noisy`` (N,) observed labels, ``T[i, j] = P(noisy = j | true = i)``. Rates and accuracies are fractions.
"""

from __future__ import annotations

__version__ = "0.1.0"

from noisylib.citations import cite
from noisylib.comparison import compare_methods
from noisylib.data.catalog import DATASETS, dataset_info
from noisylib.data.simulate import GaussianBed
from noisylib.features.bank import BankMeta, FeatureBank, load_bank
from noisylib.methods import METHODS, make_method
from noisylib.noise import NoisyLabels, inject, transition_matrix
from noisylib.recipe import Recipe
from noisylib.training import RunResults, train_bank

__all__ = [
    "DATASETS",
    "METHODS",
    "BankMeta",
    "FeatureBank",
    "GaussianBed",
    "NoisyLabels",
    "Recipe",
    "RunResults",
    "cite",
    "compare_methods",
    "dataset_info",
    "inject",
    "load_bank",
    "make_method",
    "train_bank",
    "transition_matrix",
]
