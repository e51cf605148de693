"""Several methods on one bank under one noise condition: the small sibling of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.data.catalog import DATASETS
from noisylib.noise import NoisyLabels, inject, told
from noisylib.recipe import Recipe
from noisylib.training import train_bank

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.features import FeatureBank


def noisy_labels(
    bank: FeatureBank,
    noise_type: str,
    noise_rate: float,
    seeds: Sequence[int],
    class_map: Mapping[int, int] | None = None,
) -> list[NoisyLabels]:
    """Return the training labels of a bank with noise, once per seed.

    Parameters
    ----------
    noise_type, noise_rate, class_map : as `noisylib.noise.inject`, on the training split only; the
        default map of a catalogued data set is its own.
    """
    dataset = bank.meta.dataset
    if noise_type == "asymmetric" and class_map is None and dataset in DATASETS:
        class_map = DATASETS[dataset].map_indices(classes=bank.class_names)
    y, condition = bank.part("train")[1], (noise_type, noise_rate)
    return [
        inject(y, *condition, n_classes=bank.n_classes, seed=seed, dataset=dataset, class_map=class_map)
        for seed in seeds
    ]


def compare_methods(
    bank: FeatureBank,
    methods: Sequence[str],
    noise_type: str,
    noise_rate: float,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    head: str = "adapter",
    class_map: Mapping[int, int] | None = None,
    recipe: Recipe | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Return one row per method and seed, with the score columns of a study.

    All methods see the same wrong labels and the same batches, so their differences are paired. A
    seed sets the noise as well as the training.

    Parameters
    ----------
    noise_type, noise_rate, class_map : as `noisy_labels`.
    recipe : optimisation settings; the default is that of `train_bank`.

    Raises
    ------
    NoisylibError
        As `inject` and `train_bank`.
    """
    import pandas as pd

    noisy = noisy_labels(bank, noise_type, noise_rate, seeds, class_map)
    X, (X_test, y_test) = bank.part("train")[0], bank.part("test")
    records = []
    for method in methods:
        run = train_bank(
            X,
            np.stack([labels.y_noisy for labels in noisy]),
            X_test,
            y_test,
            n_classes=bank.n_classes,
            method=method,
            head=head,
            seeds=list(seeds),
            **told(noisy),
            views=bank.training_views(),
            recipe=recipe,
            device=device,
        )
        records += [
            {
                "study": "comparison",
                "dataset": bank.meta.dataset,
                "backbone": bank.meta.backbone,
                "noise_type": noise_type,
                "noise_rate": float(noise_rate),
                "realised_rate": noisy[r].realised_rate,
                "method": method,
                "head": head,
                "seed_noise": seed,
                "seed_train": seed,
                "accuracy": float(run.accuracy[r]),
                "balanced_accuracy": float(run.balanced_accuracy[r]),
                "dead_classes": int(run.dead_classes[r]),
                "recall": run.recall[r].tolist(),
                "seconds": run.seconds / len(seeds),
            }
            for r, seed in enumerate(seeds)
        ]
    return pd.DataFrame(records)
