"""How many observed labels are wrong, and which flips made them, estimated without a clean label.

The rate is a linear rule on three descriptors of the anchors, see :mod:`noisylib.anchors`, fitted to
conditions whose rate is known. The transition matrix starts from the labels at the anchors of each class,
and is then scaled so that its flips add up to the rate and explain the observed labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisylib.anchors import Anchors, find_anchors
from noisylib.confident_joint import confident_joint
from noisylib.descriptors import Descriptors, describe_labels
from noisylib.evidence import Evidence
from noisylib.noise_rate import shipped_rule

STEPS = 100  # of the estimate of class shares; each raises the likelihood of the observed labels
PLAIN = 1e-3  # of plain noise is in a matrix that is brought to another rate
TRACE = 1e-6  # of a plain pattern is in every pattern, so that any rate can be reached by scaling


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """An estimate of the noise in the labels of a data set.

    Attributes
    ----------
    rate : share of wrong labels, in [0, (K - 1) / K).
    low, high : 90 % interval of the rate: how far estimates were off on kinds of images left out of the fit.
    confident_rate : what confident learning estimates; it counts overlap of classes as noise.
    T : (K, K) P(observed = j | true = i); rows sum to 1. The identity where the rate is 0.
    class_shares : (K,) of the true classes; T's flips, weighted by them, are the rate.
    purity : (K,) P(true = c | observed = c); 0 for a class that nobody is labelled with.
    """

    rate: float
    low: float
    high: float
    confident_rate: float
    T: np.ndarray
    class_shares: np.ndarray
    purity: np.ndarray


def estimate_noise(evidence: Evidence, descriptors: Descriptors | None = None) -> NoiseEstimate:
    """Return the estimated noise of the labels of one data set.

    Noise and overlap of classes cannot be told apart in general. This takes the labels of the most
    confident samples for clean but for noise, which fails where even these overlap in every class, and
    where one class alone is noisy and overlaps; the interval is from data that fail so, too.

    Parameters
    ----------
    evidence : what features and observed labels say of each other.
    descriptors : of the same evidence, if they are there already.
    """
    found = descriptors or describe_labels(evidence, n_features=1)
    rate, low, high = shipped_rule().interval(found.scalars())
    if (found.class_counts > 0).sum() == 1:
        rate = low = 0.0  # no flip can be told from what it would have been
    anchors = find_anchors(evidence.y, evidence.held_out, evidence.neighbours)
    observed = found.class_counts / found.n_samples
    flips = flip_pattern(anchors, confident_joint(evidence.y, evidence.held_out))
    joint = joint_at_rate(flips, observed, rate)
    shares = joint.sum(0)
    T = np.divide(joint.T, shares[:, None], out=np.eye(len(joint)), where=shares[:, None] > 0)
    purity = np.divide(np.diag(joint), observed, out=np.zeros(len(joint)), where=observed > 0)
    return NoiseEstimate(rate, low, high, found.confident_rate, T, shares, purity)


def flip_pattern(anchors: Anchors, confident: np.ndarray) -> np.ndarray:
    """Return a transition matrix (K, K) that is yet to be scaled, positive off the diagonal.

    The flips of a class go where the labels of its anchors go; those of a class without anchors where
    `confident`, the joint distribution (observed, true) of confident learning, sends them; and to all other
    classes alike if no label is contradicted.
    """
    K, off = len(confident), 1.0 - np.eye(len(confident))
    pattern = np.where(anchors.counts[:, None] > 0, anchors.labels, confident.T) * off
    totals = pattern.sum(1, keepdims=True)
    pattern = np.divide(pattern, totals, out=off / (K - 1), where=totals > 0)
    pattern = ((1 - TRACE) * pattern + TRACE * off / (K - 1)) * np.maximum(anchors.flips, TRACE)[:, None]
    return pattern + np.diag(1.0 - pattern.sum(1))


def joint_at_rate(flips: np.ndarray, observed: np.ndarray, rate: float) -> np.ndarray:
    """Return the joint distribution (K, K) of observed labels (rows) and true ones (columns) at a noise rate.

    Its rows sum to the shares of the observed labels, and its off-diagonal entries to `rate`. These keep the
    pattern that the transition matrix `flips` makes of the most likely class shares, all scaled alike; but
    no observed class gets fewer right labels than 1 / K^2 of its own, the others then take what is left.

    Parameters
    ----------
    flips : (K, K) transition matrix, positive off the diagonal.
    observed : (K,) shares of the observed labels; sums to 1.
    rate : share of wrong labels, in [0, (K - 1) / K).
    """
    K = len(flips)
    off = (class_shares(flips, observed)[:, None] * flips).T * (1.0 - np.eye(K))
    totals, most = off.sum(1), (1.0 - 1.0 / K**2) * observed
    free, factor, left = totals > 0, np.zeros(K), rate
    while free.any():
        factor[free] = left / totals[free].sum()
        over = free & (factor * totals > most)
        if not over.any():
            break
        factor[over], free = most[over] / totals[over], free & ~over
        left = max(left - most[over].sum(), 0.0)
    wrong = off * factor[:, None]
    return wrong + np.diag(observed - wrong.sum(1))


def transition_at_rate(T: np.ndarray, observed: np.ndarray, rate: float) -> np.ndarray:
    """Return the transition matrix (K, K) with the pattern of `T` at another noise rate; see `joint_at_rate`.

    A class of no share keeps its labels. Any rate can be reached, also from a `T` without noise, whose
    wrong labels are then spread evenly.
    """
    K = len(T)
    joint = joint_at_rate((1 - PLAIN) * T + PLAIN / K, observed, rate)
    shares = joint.sum(0)
    return np.divide(joint.T, shares[:, None], out=np.eye(K), where=shares[:, None] > 0)


def class_shares(T: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the shares (K,) of the true classes that make `observed` (K,) most likely under `T` (K, K).

    By expectation maximisation from the observed shares, which cannot leave the simplex as the inverse of
    T can. A class that is not observed keeps the share 0.
    """
    shares = observed.astype(np.float64)
    for _ in range(STEPS):
        made = shares @ T
        shares = shares * (T @ np.divide(observed, made, out=np.zeros_like(shares), where=made > 0))
    return shares / shares.sum()
