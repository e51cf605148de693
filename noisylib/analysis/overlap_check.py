"""The estimators of overlap on losses whose overlap is known in closed form.

An estimate from a sample has three distances from the overlap of the distributions: chance, which the
standard error measures and more seeds reduce; sampling bias, which more samples reduce; and what the
estimator measures instead of the overlap (its cells are finite, a kernel widens both groups, 1 - KS is only
a bound). The last two follow from the distribution functions without any sample, see
`noisylib.analysis.overlap_expected`. So each row has two references: `overlap`, that of the distributions,
and `truth`, the mean this estimator must have at this sample size. A row agrees if its mean is within three
standard errors of `truth`; how far `truth` is from `overlap` is what to know of the estimator, and it is no
tolerance: it is computed before a sample is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.closed_forms import (
    bed_loss_overlap,
    exponential_overlap,
    normal_overlap,
    overlap_of_normals,
)
from noisylib.analysis.overlap import ESTIMATORS, overlap
from noisylib.analysis.overlap_bootstrap import bootstrap_overlap
from noisylib.analysis.overlap_expected import Law, TwoLaws, bed_law, exponential_law, normal_law
from noisylib.data.simulate import GaussianBed
from noisylib.errors import NoisylibError
from noisylib.noise import inject, transition_matrix
from noisylib.seeding import derive_seed, numpy_generator

if TYPE_CHECKING:
    import pandas as pd

RATE = 0.4  # share of flipped samples where nothing else fixes it
CORRECTED = "histogram, corrected"
Draw = Callable[[int, int], tuple[np.ndarray, np.ndarray]]  # (n, seed) -> losses (n,), flipped (n,)


@dataclass(frozen=True, eq=False)
class Case:
    """Two distributions of losses: their overlap in closed form, their laws, and a sample of n."""

    name: str
    overlap: float
    clean: Law
    flipped: Law
    rate: float
    draw: Draw

    def expected(self, n: int) -> dict[str, float]:
        """Return the mean each estimator must have on `n` samples."""
        n_flipped = round(self.rate * n)
        laws = TwoLaws(self.clean, self.flipped, n - n_flipped, n_flipped)
        plain = {name: getattr(laws, name)() for name in ESTIMATORS}
        return {CORRECTED: laws.histogram_corrected(), **plain}


def estimator_checks(n: int = 50_000, seeds: int = 20, seed: int = 0, draws: int = 100) -> pd.DataFrame:
    """Return one row per case and estimator: known values, estimates of `seeds` samples, their distance.

    Parameters
    ----------
    n : samples in each draw, clean and flipped together.
    seeds : independent samples per case, >= 2.
    draws : bootstrap draws behind each corrected value.

    Returns
    -------
    case, estimator;
    overlap : of the distributions, in closed form.
    truth : mean of the estimator at this n, from the distribution functions.
    mean : of the estimates; bias = mean - truth; relative_error = bias / truth.
    sd, se : standard deviation of one estimate, and of their mean, sd / sqrt(seeds).
    z : bias / se; off = (mean - overlap) / se.
    n, seeds : as given.
    """
    import pandas as pd

    if seeds < 2 or n < 1000:
        raise NoisylibError(f"n={n}, seeds={seeds}: at least 1000 samples and 2 seeds are needed.")
    rows = []
    for case in cases():
        expected = case.expected(n)
        estimates = [
            _estimates(*case.draw(n, derive_seed(case.name, seed, i)), draws, i) for i in range(seeds)
        ]
        for name, truth in expected.items():
            values = np.array([e[name] for e in estimates])
            mean, sd = values.mean(), values.std(ddof=1)
            rows.append(
                {"case": case.name, "estimator": name, "overlap": case.overlap, "truth": truth}
                | {"mean": mean, "bias": mean - truth, "relative_error": (mean - truth) / truth}
                | {"se": sd / np.sqrt(seeds), "sd": sd, "n": n, "seeds": seeds}
            )
    table = pd.DataFrame(rows)
    return table.assign(z=table.bias / table.se, off=(table["mean"] - table.overlap) / table.se)


def _estimates(losses: np.ndarray, flipped: np.ndarray, draws: int, seed: int) -> dict[str, float]:
    headline = bootstrap_overlap(losses, flipped, draws=draws, seed=seed)
    others = {name: overlap(losses, flipped, name) for name in ESTIMATORS if name != "histogram"}
    return {CORRECTED: headline.corrected, "histogram": headline.value, **others}


def cases() -> list[Case]:
    """Return the cases, those of the Gaussian bed last."""
    table = [_normals(0, 1, d, 1, f"normals, d = {d:g}", normal_overlap(d)) for d in (0.5, 1, 2, 3)]
    table.append(_normals(1, 1, 2, 2, "N(1, 1) and N(2, 4)", overlap_of_normals(1, 1, 2, 2)))
    table.append(_exponentials(1, 3))
    table.append(_normals(0, 1, 0, 1, "identical normals", 1.0))
    table += [_bed(0.5, "symmetric", rate) for rate in (0.2, 0.4)]
    return [*table, _bed(0.5, "asymmetric", 0.4), _bed(0.8, "asymmetric", 0.4)]


def _normals(m_f: float, s_f: float, m_g: float, s_g: float, name: str, known: float) -> Case:
    """Return normal log-losses: the loss is their exponential."""

    def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        flipped = np.arange(n) < round(RATE * n)
        z = numpy_generator("overlap-check", seed).standard_normal(n)
        return np.exp(np.where(flipped, m_g + s_g * z, m_f + s_f * z)), flipped

    return Case(name, known, normal_law(m_f, s_f), normal_law(m_g, s_g), RATE, draw)


def _exponentials(rate_f: float, rate_g: float) -> Case:
    """Return losses that are themselves exponentially distributed."""

    def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        flipped = np.arange(n) < round(RATE * n)
        z = numpy_generator("overlap-check", seed).standard_exponential(n)
        return z / np.where(flipped, rate_g, rate_f), flipped

    name = f"exponentials, rates {rate_f:g} and {rate_g:g}"
    laws = exponential_law(rate_f), exponential_law(rate_g)
    return Case(name, exponential_overlap(rate_f, rate_g), *laws, RATE, draw)


def _bed(prior: float, noise_type: str, noise_rate: float, separation: float = 2.0) -> Case:
    """Return the losses of Bayes' rule on two Gaussian classes, class 0 having probability `prior`."""
    bed = GaussianBed.simplex(2, 1, separation, priors=[prior, 1 - prior])
    class_map = {0: 1} if noise_type == "asymmetric" else None
    T = transition_matrix(noise_type, noise_rate, 2, class_map)

    def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        X, y = bed.sample(n, seed)
        noise = inject(y, noise_type, noise_rate, n_classes=2, seed=seed, class_map=class_map)
        return -np.log(bed.posterior(X)[np.arange(n), noise.y_noisy]), noise.flipped

    # Log-odds of class 1 are N(+-D^2/2 + log-ratio of the priors, D^2); those of class 0, their negative.
    shift = np.log((1 - prior) / prior)
    ahead, behind = separation**2 / 2, -(separation**2) / 2
    kept, lost = bed.priors * T.diagonal(), bed.priors * (1 - T.diagonal())
    clean = bed_law(list(kept / kept.sum()), [ahead - shift, ahead + shift], separation)
    flipped = bed_law(list(lost / lost.sum()), [behind + shift, behind - shift], separation)
    name = f"bed, priors {prior:g} and {1 - prior:.2g}, {noise_type} {noise_rate:g}"
    return Case(name, bed_loss_overlap(bed, T), clean, flipped, float(lost.sum()), draw)
