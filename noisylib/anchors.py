"""Anchors: samples whose class looks certain, so that a label which says otherwise is probably wrong.

Where classes overlap, held-out predictions contradict labels that are right, just as they contradict wrong
ones; over all samples the two cannot be told apart. But overlap fades with confidence, wrong labels do not:
among the samples that a head is most sure of, those of a class whose label is contradicted show the noise
of that class. Three looks at them stay apart from overlap to different degrees:

- the floor: the classes whose anchors are contradicted least. Noise that no class escapes lifts it, overlap
  of some classes does not;
- the excess of the other classes over the floor, less where their anchors lie among samples that are
  predicted to be of other classes: there the contradiction is overlap, elsewhere it is noise of that class;
- the plain mean over all classes.

The idea of anchors: Liu and Tao, "Classification with noisy labels by importance reweighting", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHARE = 0.2  # of the samples predicted to be of a class, the most confident are its anchors ...
LEAST = 20  # ... but no fewer than these; classes predicted less often have no anchors
PRIOR = 5  # samples' worth of the mean over classes in each class's share, so that few anchors say little
FLOOR = 0.25  # of all samples are in the classes that make the floor
OVERLAP = 0.1  # at this share of strange neighbours the excess of a class counts 1/e


@dataclass(frozen=True, eq=False)
class Anchors:
    """The labels at the anchors of each class.

    Attributes
    ----------
    labels : (K, K) share of the anchors of class c, by row, that carry each label; 0 for a class without.
    counts : (K,) anchors of each class.
    weights : (K,) predicted share of each class among those that have anchors; sums to 1.
    contradicted : (K,) share of a class's anchors that carry another label, drawn to the mean as by `PRIOR`.
    overlap : (K,) share of the anchors' neighbours that are predicted to be of another class.
    """

    labels: np.ndarray
    counts: np.ndarray
    weights: np.ndarray
    contradicted: np.ndarray
    overlap: np.ndarray

    @property
    def disagreement(self) -> float:
        """Mean share of contradicted labels at the anchors of all classes, in [0, 1]."""
        return float(self.weights @ self.contradicted)

    @property
    def floor(self) -> float:
        """The same over the classes with the smallest shares, which hold a quarter of the samples."""
        order = np.argsort(self.contradicted, kind="stable")
        held = np.clip(FLOOR - (np.cumsum(self.weights[order]) - self.weights[order]), 0, self.weights[order])
        return float(held @ self.contradicted[order] / FLOOR)

    @property
    def class_excess(self) -> np.ndarray:
        """(K,) how far each class lies above the floor, discounted where its anchors overlap, in [0, 1]."""
        return np.clip(self.contradicted - self.floor, 0, None) * np.exp(-self.overlap / OVERLAP)

    @property
    def excess(self) -> float:
        """Mean of the excess over all classes, in [0, 1]."""
        return float(self.weights @ self.class_excess)

    @property
    def flips(self) -> np.ndarray:
        """(K,) share of labels of each class that are wrong: floor and excess, but no more than contradicted.

        A class without anchors has the mean of the others.
        """
        share = np.minimum(self.contradicted, self.floor + self.class_excess)
        return np.where(self.counts > 0, share, self.weights @ share)

    @property
    def mean_overlap(self) -> float:
        """Mean share of neighbours predicted to be of another class than the anchor, in [0, 1]."""
        return float(self.weights @ self.overlap)


def find_anchors(y: np.ndarray, probabilities: np.ndarray, neighbours: np.ndarray) -> Anchors:
    """Return what the labels at the anchors of each predicted class are.

    If no class is predicted for 20 samples, the one predicted most often has anchors all the same.

    Parameters
    ----------
    y : (N,) int64 observed labels in 0..K-1.
    probabilities : (N, K) from heads that did not see the sample's label.
    neighbours : (N, k) positions of the nearest other samples.
    """
    K = probabilities.shape[1]
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    strange = (predicted[neighbours] != predicted[:, None]).mean(1)
    sizes = np.bincount(predicted, minlength=K)
    least = min(LEAST, int(sizes.max()))
    labels, counts, overlap = np.zeros((K, K)), np.zeros(K, dtype=np.int64), np.zeros(K)
    for c in np.flatnonzero(sizes >= least):
        members = np.flatnonzero(predicted == c)
        count = max(least, int(np.ceil(SHARE * len(members))))
        chosen = members[np.argsort(-confidence[members], kind="stable")[:count]]
        labels[c] = np.bincount(y[chosen], minlength=K) / count
        counts[c], overlap[c] = count, strange[chosen].mean()
    weights = np.where(counts > 0, sizes, 0) / sizes[counts > 0].sum()
    share = np.where(counts > 0, 1 - np.diag(labels), 0.0)
    drawn = (counts * share + PRIOR * (weights @ share)) / (counts + PRIOR)
    return Anchors(labels, counts, weights, np.where(counts > 0, drawn, 0.0), overlap)
