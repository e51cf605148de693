"""How well a set of samples, or a ranking of them, finds those whose observed label is right.

A detector either names a set (classifier and label agree) or gives a score, higher for a label that looks
right. Two detectors are comparable only if they keep the same number m of samples: a smaller set is purer
almost by itself. `take_best` cuts a ranking at the m of a set ("matched") or at any other m.

- precision: share of the kept samples whose label is right. Keeping at random gives 1 - noise rate.
- recall: share of the samples with a right label that are kept. precision * m = recall * #clean, so at equal
  m the two order detectors alike, and one of them is enough.
- class precision: the same share among the kept samples that carry label c.
- class recall: how many of the rightly labelled samples of class c are kept.
- class share: how much of the kept set carries label c; a rare class with a small share is being starved.
- AUROC: probability that a sample with a right label scores higher than one with a wrong label, ties count
  half. It needs no m, and says nothing of a detector that is a set but one point of its curve.

Scores may be infinite (a loss that overflowed is one way to be certain) but not NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisylib.errors import NoisylibError


@dataclass(frozen=True)
class Detection:
    """What a kept set is worth, in fractions; see the text of the module.

    Attributes
    ----------
    m : number of kept samples.
    precision : NaN if nothing is kept.
    recall : NaN if no label is right.
    class_precision : (K,) by observed label; NaN where no kept sample carries it.
    class_recall : (K,) by true class, of the rightly labelled samples; NaN where the class has none.
    class_share : (K,) by observed label, sums to 1; NaN if nothing is kept.
    """

    m: int
    precision: float
    recall: float
    class_precision: np.ndarray
    class_recall: np.ndarray
    class_share: np.ndarray


def take_best(scores: np.ndarray, m: np.ndarray | int) -> np.ndarray:
    """Return (..., N) bool, the `m` highest scores of each run.

    Parameters
    ----------
    scores : (..., N), higher is more likely clean; infinite scores are allowed.
    m : how many to keep, 0 to N: one number, or one per run (...).

    Notes
    -----
    Of equal scores the sample at the smaller position is kept. With constant scores the set is the first m
    samples, which is no random set if the samples are in any order.

    Raises
    ------
    NoisylibError
        A score is NaN, or m is not a whole number from 0 to N, or there is not one m per run.
    """
    scores = _scores(scores)
    m = np.asarray(m)
    n = scores.shape[-1]
    if not np.issubdtype(m.dtype, np.integer) or (m < 0).any() or (m > n).any():
        raise NoisylibError(f"m={m.tolist()}: needs whole numbers of samples from 0 to N={n}.")
    if m.ndim and m.shape != scores.shape[:-1]:
        raise NoisylibError(
            f"m has shape {m.shape} and scores {scores.shape}: needs one number, or one for each of the "
            f"runs {scores.shape[:-1]}."
        )
    order = np.argsort(-scores, axis=-1, kind="stable")
    selected = np.zeros(scores.shape, bool)
    np.put_along_axis(selected, order, np.arange(n) < m[..., None], axis=-1)
    return selected


def measure_detection(
    selected: np.ndarray, flipped: np.ndarray, y_noisy: np.ndarray, n_classes: int
) -> Detection:
    """Return precision and recall of a kept set, overall and per class.

    Parameters
    ----------
    selected : (N,) bool, the kept samples.
    flipped : (N,) bool, True where the observed label is wrong.
    y_noisy : (N,) int, the observed labels. A clean sample's is also its true class.

    Raises
    ------
    NoisylibError
        There is no sample, the shapes differ, a mask is not bool, or a label is not in 0 .. K-1.
    """
    y_noisy = as_labels("y_noisy", y_noisy, n_classes)
    selected, flipped = _mask("selected", selected), _mask("flipped", flipped)
    if not selected.shape == flipped.shape == y_noisy.shape or selected.ndim != 1 or not len(selected):
        raise NoisylibError(
            f"selected has shape {selected.shape}, flipped {flipped.shape} and y_noisy {y_noisy.shape}: "
            "needs (N,) each, of one run with at least one sample."
        )
    good = selected & ~flipped
    kept, right, clean = (
        np.bincount(y_noisy[members], minlength=n_classes) for members in (selected, good, ~flipped)
    )
    m = int(kept.sum())
    return Detection(
        m=m,
        precision=float(_ratio(right.sum(), m)),
        recall=float(_ratio(right.sum(), clean.sum())),
        class_precision=_ratio(right, kept),
        class_recall=_ratio(right, clean),
        class_share=_ratio(kept, np.full(n_classes, m)),
    )


def auroc(scores: np.ndarray, flipped: np.ndarray) -> np.ndarray | float:
    """Return the probability that a clean sample outscores a flipped one, in [0, 1]; .5 is chance.

    Parameters
    ----------
    scores : (..., N), higher is more likely clean. Ties count half, so constant scores give .5.
    flipped : (N,) bool, or with leading axes that broadcast to those of `scores`.

    Returns
    -------
    (...), a float for a single run.

    Raises
    ------
    NoisylibError
        A run has no flipped or no clean sample, a score is NaN, or the shapes do not fit.
    """
    scores, flipped = _pair(scores, flipped)
    wrong = flipped.sum(-1)
    if not wrong.all() or (wrong == scores.shape[-1]).any():
        raise NoisylibError(
            f"flipped marks {np.unique(wrong).tolist()} of {scores.shape[-1]} samples: AUROC needs a flipped "
            "and a clean one in every run. Without noise there is nothing to detect."
        )
    values = np.empty(scores.shape[:-1])
    for run in np.ndindex(values.shape):  # a run at a time: sorting dominates, and the memory stays small
        values[run] = _auroc(scores[run], flipped[run])
    return values if values.ndim else float(values)


def _auroc(scores: np.ndarray, flipped: np.ndarray) -> float:
    """Return the AUROC of one run from the counts at each distinct score."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    wrong = np.bincount(place[flipped], minlength=len(counts))
    right = counts - wrong
    below = np.cumsum(wrong) - wrong
    return float((right * (below + wrong / 2)).sum() / right.sum() / wrong.sum())


def as_labels(name: str, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Return labels as int64 if all of them are in 0 .. K-1; else the error says which argument is wrong."""
    labels = np.asarray(labels)
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        raise NoisylibError(f"{name} has dtype {labels.dtype}: labels are integers from 0 to K-1.")
    if labels.size and (labels.min() < 0 or labels.max() >= n_classes):
        raise NoisylibError(
            f"{name} has labels from {labels.min()} to {labels.max()}: n_classes={n_classes} allows 0 to "
            f"{n_classes - 1}."
        )
    return labels.astype(np.int64)


def _scores(scores: np.ndarray) -> np.ndarray:
    """Return scores as floats, of one precision at least as fine as theirs."""
    scores = np.asarray(scores)
    if scores.ndim == 0 or np.isnan(scores).any():
        raise NoisylibError(
            f"scores has shape {scores.shape} and {np.isnan(scores).sum()} NaN: needs (..., N) numbers, "
            "higher is cleaner. A NaN has no place in a ranking; use -inf for a sample never to keep."
        )
    return scores if np.issubdtype(scores.dtype, np.floating) else scores.astype(float)


def _mask(name: str, mask: np.ndarray) -> np.ndarray:
    """Return `mask`; numbers are refused, because positions would be taken for a mask."""
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise NoisylibError(f"{name} has dtype {mask.dtype}: needs True or False for every sample.")
    return mask


def _pair(scores: np.ndarray, flipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and the mask in the shape of the scores."""
    scores, flipped = _scores(scores), _mask("flipped", flipped)
    if flipped.shape[-1:] != scores.shape[-1:] or not scores.shape[-1]:
        raise NoisylibError(
            f"scores has shape {scores.shape} and flipped {flipped.shape}: needs one of each per sample."
        )
    try:
        return scores, np.broadcast_to(flipped, scores.shape)
    except ValueError:
        raise NoisylibError(
            f"flipped has shape {flipped.shape}, which does not fit scores {scores.shape}: needs (N,) or one "
            "row per run."
        ) from None


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole in float64, NaN where the whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
