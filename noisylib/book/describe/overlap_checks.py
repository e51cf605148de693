"""Estimates against closed forms on made features: overlap, Bayes error, agreement, and sampling bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.closed_forms import (
    bed_agreement,
    bed_balanced_error,
    bed_error,
    bed_loss_overlap,
    identical_overlap,
    overlap_auc,
)
from noisylib.analysis.metrics import balanced_accuracy, recall_per_class
from noisylib.analysis.overlap import loss_histogram, overlap
from noisylib.analysis.overlap_bootstrap import bootstrap_overlap
from noisylib.data.catalog import dataset_info
from noisylib.data.simulate import GaussianBed
from noisylib.noise import inject, transition_matrix
from noisylib.seeding import derive_seed, numpy_generator

if TYPE_CHECKING:
    import pandas as pd

SEPARATIONS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
RATES = (0.1, 0.2, 0.4)
SIZES = (100, 200, 500, 1000, 2000, 5000, 10_000)
CLEAN_PER_FLIPPED = 1.5  # as at a noise rate of 40 %
RATE = 0.4


def bed_curve(n: int = 50_000, draws: int = 200) -> pd.DataFrame:
    """Return one row per separation and noise rate: the estimated overlap of losses under Bayes' rule.

    Two equally frequent Gaussian classes, symmetric noise, n samples each. Columns separation, noise_rate,
    truth (2 Phi(-separation / 2), whatever the rate), corrected, low, high, se, z, n.
    """
    import pandas as pd

    records = []
    for separation in SEPARATIONS:
        bed = GaussianBed.simplex(2, 1, separation)
        for rate in RATES:
            seed = derive_seed("overlap-bed-curve", separation, rate)
            X, y = bed.sample(n, seed)
            noise = inject(y, "symmetric", rate, n_classes=2, seed=seed, dataset="bed")
            losses = -np.log(bed.posterior(X)[np.arange(n), noise.y_noisy])
            found = bootstrap_overlap(losses, noise.flipped, draws=draws, seed=seed)
            truth = bed_loss_overlap(bed, transition_matrix("symmetric", rate, 2))
            numbers = {name: getattr(found, name) for name in ("corrected", "low", "high", "se")}
            records.append({"separation": separation, "noise_rate": rate, "truth": truth, "n": n, **numbers})
    frame = pd.DataFrame(records)
    return frame.assign(z=(frame["corrected"] - frame["truth"]) / frame["se"])


def beds() -> dict[str, tuple[GaussianBed, dict[int, int]]]:
    """Return the beds of `bed_checks` with their maps of asymmetric noise."""
    correlated = 0.6 ** np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    isic = GaussianBed.isic2019(10, 3.0)
    lookalikes = dataset_info("isic2019").map_indices(classes=isic.class_names)
    tailed = GaussianBed.long_tailed(5, 10, 2.5, 20).with_covariance(correlated)
    return {
        "2 classes, D = 2": (GaussianBed.simplex(2, 2, 2.0), {0: 1}),
        "5 classes, D = 2.5, imbalance 20, correlated": (tailed, {c: (c + 1) % 5 for c in range(5)}),
        "8 classes of ISIC 2019, D = 3": (isic, lookalikes),
    }


def bed_checks(n: int = 25_331, seeds: int = 20) -> pd.DataFrame:
    """Return one row per bed and quantity: closed form, mean over samples, and their distance.

    Quantities are the error and balanced error of Bayes' rule, and under noise of `RATE` the rate at which it
    says the observed label and the share of these labels that is right. Columns bed, quantity, truth, mean,
    relative_error = (mean - truth) / truth, se (sd / sqrt(seeds)), z, n, seeds. The default n is the size of
    ISIC 2019, so that its classes have their published counts.
    """
    import pandas as pd

    records = []
    for name, (bed, class_map) in beds().items():
        samples = [_bed_sample(bed, class_map, n, derive_seed("bed-checks", name, s)) for s in range(seeds)]
        for quantity, truth in _bed_truths(bed, class_map).items():
            values = np.array([sample[quantity] for sample in samples])
            mean, se = values.mean(), values.std(ddof=1) / np.sqrt(seeds)
            found = {"truth": truth, "mean": mean, "relative_error": (mean - truth) / truth}
            found |= {"se": se, "z": (mean - truth) / se, "n": n, "seeds": seeds}
            records.append({"bed": name, "quantity": quantity, **found})
    return pd.DataFrame(records)


def _bed_truths(bed: GaussianBed, class_map: dict[int, int]) -> dict[str, float]:
    truths = {"error": bed_error(bed), "balanced error": bed_balanced_error(bed)}
    for noise_type in ("symmetric", "asymmetric"):
        T = transition_matrix(noise_type, RATE, len(bed.priors), class_map)
        names = f"agreement rate, {noise_type}", f"agreement precision, {noise_type}"
        truths |= dict(zip(names, bed_agreement(bed, T), strict=True))
    return truths


def _bed_sample(bed: GaussianBed, class_map: dict[int, int], n: int, seed: int) -> dict[str, float]:
    """Return the quantities of `_bed_truths` as counted in one sample."""
    X, y = bed.sample(n, seed)
    predicted, K = bed.bayes_predict(X), len(bed.priors)
    recall = recall_per_class(predicted, y, K)
    counted = {
        "error": float((predicted != y).mean()),
        "balanced error": 1 - float(balanced_accuracy(recall)),
    }
    for noise_type in ("symmetric", "asymmetric"):
        noise = inject(y, noise_type, RATE, n_classes=K, seed=seed, dataset="bed", class_map=class_map)
        agrees = predicted == noise.y_noisy
        counted[f"agreement rate, {noise_type}"] = float(agrees.mean())
        counted[f"agreement precision, {noise_type}"] = float((~noise.flipped)[agrees].mean())
    return counted


def bias_frame(seeds: int = 20) -> pd.DataFrame:
    """Return the estimates for two samples of one distribution, whose overlap is 1, by number of flips.

    Log-losses are standard normal, with 1.5 clean samples for each flipped one. Columns n_flipped; expected,
    the mean of the plain estimate by `identical_overlap`; value and corrected, means over seeds; se of value.
    """
    import pandas as pd

    records = []
    for n_flipped in SIZES:
        n_clean = round(CLEAN_PER_FLIPPED * n_flipped)
        flipped = np.arange(n_clean + n_flipped) < n_flipped
        plain, corrected, shares = [], [], []
        for seed in range(seeds):
            generator = numpy_generator("overlap-bias", n_flipped, seed)
            losses = np.exp(generator.standard_normal(len(flipped)))
            counts = loss_histogram(losses, flipped)
            shares.append(_normal_shares(counts.edges))
            plain.append(overlap(losses, flipped))
            corrected.append(bootstrap_overlap(losses, flipped, draws=100, seed=seed).corrected)
        expected = identical_overlap(np.mean(shares, axis=0), n_clean, n_flipped)
        found = {"value": np.mean(plain), "corrected": np.mean(corrected)}
        error = np.std(plain, ddof=1) / np.sqrt(seeds)
        records.append({"n_flipped": n_flipped, "expected": expected, **found, "se": error})
    return pd.DataFrame(records)


def _normal_shares(edges: np.ndarray) -> np.ndarray:
    """Return the probability of each cell, overflow included, of a standard normal."""
    from scipy.special import ndtr

    return np.diff(np.r_[0.0, ndtr(edges), 1.0])


def distance_of(share: float) -> float:
    """Return the distance, in deviations, of two normals of equal variance with overlap `share` > 0."""
    from scipy.special import ndtri

    return float(abs(2 * ndtri(share / 2)))


def normal_case(overlaps: Sequence[float]) -> pd.DataFrame:
    """Return what an overlap would mean if log-losses were normal with equal variances.

    Columns overlap; distance in standard deviations; auc; best balanced accuracy of a threshold, 1 - overlap
    / 2, which holds for any distribution with one crossing; and bayes_error, overlap / 2, that of two equally
    frequent Gaussian classes on which Bayes' rule has losses that overlap so.
    """
    import pandas as pd

    records = []
    for share in overlaps:
        distance = distance_of(share)
        found = {"overlap": share, "distance": distance, "auc": overlap_auc(share)}
        records.append({**found, "balanced_accuracy": 1 - share / 2, "bayes_error": share / 2})
    return pd.DataFrame(records)
