"""What the chapter on cleaning trains and selects live: a linear probe's losses, and who is called clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from noisylib.comparison import noisy_labels
from noisylib.errors import ConfigError
from noisylib.methods.turn import above, class_posteriors
from noisylib.mixtures import low_posterior, scale_to_unit
from noisylib.noise import NoisyLabels, max_rate
from noisylib.recipe import Recipe
from noisylib.training import train_bank

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.cleaning_parameters import CleaningParameters
    from noisylib.features import FeatureBank


@dataclass(frozen=True, eq=False)
class Probed:
    """Linear probes that were trained with GCE, a run for each condition and seed.

    Attributes
    ----------
    bank : features and true labels.
    noisy : labels of the R runs, all seeds of a condition after each other.
    seeds : seed of each run.
    losses : (R, N) cross entropy in nats of each training sample on its observed label, without dropout or
        augmentation.
    accuracy : (R,) of the probe on the clean test split.
    """

    bank: FeatureBank
    noisy: tuple[NoisyLabels, ...]
    seeds: tuple[int, ...]
    losses: np.ndarray
    accuracy: np.ndarray

    @property
    def y(self) -> np.ndarray:
        """(R, N) observed labels."""
        return np.stack([labels.y_noisy for labels in self.noisy])

    @property
    def flipped(self) -> np.ndarray:
        """(R, N), whether the observed label is wrong."""
        return np.stack([labels.flipped for labels in self.noisy])

    @property
    def n_classes(self) -> int:
        """K."""
        return self.bank.n_classes

    def conditions(self) -> list[tuple[str, float]]:
        """Return noise type and rate of the conditions, in order."""
        return list(dict.fromkeys((labels.noise_type, labels.noise_rate) for labels in self.noisy))

    def of(self, noise_type: str, noise_rate: float) -> Probed:
        """Return the runs of one condition."""
        kept = [
            r
            for r, labels in enumerate(self.noisy)
            if (labels.noise_type, labels.noise_rate) == (noise_type, noise_rate)
        ]
        return replace(
            self,
            noisy=tuple(self.noisy[r] for r in kept),
            seeds=tuple(self.seeds[r] for r in kept),
            losses=self.losses[kept],
            accuracy=self.accuracy[kept],
        )

    def clean(self, tau: float) -> np.ndarray:
        """Return who is called clean, (R, N) bool, by one mixture per run and observed class."""
        return select(self.posterior, self.y, self.n_classes, tau)

    @cached_property
    def posterior(self) -> np.ndarray:
        """(R, N) probability in [0, 1] to be of the component of lower loss of the observed class."""
        return posteriors(self.losses, self.y, self.n_classes)


def conditions(bank: FeatureBank, params: CleaningParameters) -> list[tuple[str, float]]:
    """Return the trained conditions: symmetric and asymmetric noise at each rate, and the chosen one.

    Rates that a kind of noise cannot have are left out, and asymmetric noise where no class map is known.

    Raises
    ------
    ConfigError
        No rate is left.
    """
    from noisylib.data.catalog import DATASETS

    info = DATASETS.get(bank.meta.dataset)
    kinds = ["symmetric", *(["asymmetric"] if info is not None and info.class_maps else [])]
    swept = [(kind, rate) for kind in kinds for rate in params.rates if rate < max_rate(kind, bank.n_classes)]
    if not swept:
        raise ConfigError(
            f"rates={params.rates}: with K={bank.n_classes} classes symmetric noise must stay below "
            f"{max_rate('symmetric', bank.n_classes):g}. Give a lower rate."
        )
    return list(dict.fromkeys([*swept, (params.noise_type, params.noise_rate)]))


def train(bank: FeatureBank, params: CleaningParameters) -> Probed:
    """Train the linear probe of TURN's first phase on every condition and seed, all in one bank of heads."""
    wanted = conditions(bank, params)
    noisy = [labels for condition in wanted for labels in noisy_labels(bank, *condition, params.seeds)]
    seeds = list(params.seeds) * len(wanted)
    results = train_bank(
        bank.part("train")[0],
        np.stack([labels.y_noisy for labels in noisy]),
        *bank.part("test"),
        n_classes=bank.n_classes,
        method="gce",
        head="linear",
        seeds=seeds,
        recipe=Recipe(epochs=params.epochs, score_epochs=1),
        trace=True,
    )
    losses = results.trace["loss"][-1, 0].astype(np.float64)
    return Probed(bank, tuple(noisy), tuple(seeds), losses, results.accuracy)


def posteriors(losses: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the posterior (R, N) of the low-loss component, by one mixture per run and observed class."""
    return class_posteriors(torch.as_tensor(losses), torch.as_tensor(y), n_classes).numpy()


def select(posterior: np.ndarray, y: np.ndarray, n_classes: int, tau: float) -> np.ndarray:
    """Return who is called clean, (R, N) bool: above tau, or the likeliest of an observed class."""
    return above(torch.as_tensor(posterior), torch.as_tensor(y), n_classes, tau).numpy()


def select_globally(losses: np.ndarray, tau: float) -> np.ndarray:
    """Return who is called clean, (R, N) bool, by one mixture per run over the losses of all classes."""
    return (low_posterior(scale_to_unit(torch.as_tensor(losses))) > tau).numpy()


def counts(where: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how many of the samples `where` (R, N) carry each label, (R, K)."""
    return np.stack(
        [np.bincount(labels[kept], minlength=n_classes) for labels, kept in zip(y, where, strict=True)]
    )


def quality(clean: np.ndarray, flipped: np.ndarray, y: np.ndarray, n_classes: int) -> dict[str, np.ndarray]:
    """Return what a selection (R, N) is worth, each (R,).

    clean : samples called clean; n : that of the observed class with fewest; drawn : n of every observed
    class; share, lost : clean / N and 1 - drawn / clean; purity, purity_drawn : share of right labels in the
    clean set, and expected in a draw; recall_right : share of the right labels that are called clean.
    """
    per_class, right = counts(clean, y, n_classes), counts(clean & ~flipped, y, n_classes)
    observed = counts(np.ones_like(clean), y, n_classes) > 0
    n = np.where(observed, per_class, clean.shape[1]).min(1)
    total, drawn = clean.sum(1), n * observed.sum(1)
    class_purity = np.divide(right, per_class, out=np.zeros(right.shape), where=per_class > 0)
    return {
        "clean": total,
        "n": n,
        "drawn": drawn,
        "share": total / clean.shape[1],
        "lost": 1 - drawn / total,
        "purity": right.sum(1) / total,
        "purity_drawn": class_purity.sum(1) / observed.sum(1),
        "recall_right": right.sum(1) / (~flipped).sum(1),
    }


def sweep(probed: Probed, taus: Sequence[float]) -> pd.DataFrame:
    """Return noise_type, noise_rate, realised_rate, seed and tau, with the numbers of `quality`."""
    import pandas as pd

    runs = pd.DataFrame(
        {
            "noise_type": [labels.noise_type for labels in probed.noisy],
            "noise_rate": [labels.noise_rate for labels in probed.noisy],
            "realised_rate": [labels.realised_rate for labels in probed.noisy],
            "seed": probed.seeds,
        }
    )
    y, flipped = probed.y, probed.flipped
    parts = [runs.assign(tau=tau, **quality(probed.clean(tau), flipped, y, probed.n_classes)) for tau in taus]
    return pd.concat(parts, ignore_index=True)
