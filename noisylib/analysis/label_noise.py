"""What labels of known truth say about noise: rates, where errors go, and whether errors coincide.

Distances between noises are shares of labels: half the sum of absolute differences of two joint
distributions of true and observed class, the least share of labels that has to change to turn one into the
other. A noise that is really symmetric is not at distance 0 when it is counted on a finite sample; what it
would show is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noisylib.seeding import numpy_generator

DRAWS = 20  # of symmetric noise, for what chance alone shows


def count_labels(y_true: np.ndarray, y_given: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how many samples of true class i carry label j, (K, K) int64."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (y_true, y_given), 1)
    return counts


def transition(counts: np.ndarray) -> np.ndarray:
    """Return T[i, j] = P(observed = j given true = i), (K, K) float64; every class must have a sample."""
    return counts / counts.sum(axis=1, keepdims=True)


def wrong_shares(counts: np.ndarray) -> np.ndarray:
    """Return where the wrong labels of each class go, (K, K): rows sum to 1, or to 0 if none is wrong."""
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    return wrong / np.maximum(wrong.sum(axis=1, keepdims=True), 1)


def distance(counts: np.ndarray, T: np.ndarray) -> float:
    """Return the least share of all labels that must change to make the noise `T` of it, in [0, 1]."""
    expected = counts.sum(axis=1, keepdims=True) * T
    return float(np.abs(counts - expected).sum() / 2 / counts.sum())


def spread_evenly(counts: np.ndarray) -> np.ndarray:
    """Return symmetric noise (K, K) of the overall rate of `counts`."""
    K, rate = len(counts), 1 - np.trace(counts) / counts.sum()
    T = np.full((K, K), rate / (K - 1))
    np.fill_diagonal(T, 1 - rate)
    return T


def sent_to(counts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return noise (K, K) of the overall rate of `counts` that sends each class into one other.

    `targets` (K,) are the other classes, none its own.
    """
    K, rate = len(counts), 1 - np.trace(counts) / counts.sum()
    T = (1 - rate) * np.eye(K)
    T[np.arange(K), targets] = rate
    return T


def noise_shape(counts: np.ndarray, *, seed: int = 0) -> dict[str, np.ndarray | float]:
    """Return rates and directions of the errors in `counts` (K, K), true class down, observed class across.

    Returns
    -------
    rate, class_rate : fraction of wrong labels, of all and (K,) by true class.
    purity : (K,) fraction of right labels by observed class, NaN where nobody gave it.
    top_target, top_share : (K,) most frequent wrong label of each class, and its share of the class's wrong
        labels; NaN where none is wrong.
    mean_top_share : mean of `top_share`: 1 / (K - 1) if errors were spread evenly, 1 in a pair flip.
    to_symmetric, to_pairflip, to_map : distance to symmetric noise, to pair flips into the next class, and to
        flips of each class into its `top_target`, all of the same overall rate.
    chance_to_symmetric, chance_top_share : what symmetric noise of that rate shows on as many samples.
    """
    K, totals = len(counts), counts.sum(axis=1)
    right, labelled, shares = np.diag(counts), counts.sum(axis=0), wrong_shares(counts)
    top_share = np.where(totals > right, shares.max(axis=1), np.nan)
    target = np.where(totals > right, shares.argmax(axis=1), (np.arange(K) + 1) % K)
    drawn = [_drawn(totals, spread_evenly(counts), seed, draw) for draw in range(DRAWS)]
    return {
        "rate": float(1 - right.sum() / totals.sum()),
        "class_rate": 1 - right / totals,
        "purity": np.divide(right, labelled, out=np.full(K, np.nan), where=labelled > 0),
        "top_target": target,
        "top_share": top_share,
        "mean_top_share": _mean(top_share),
        "to_symmetric": distance(counts, spread_evenly(counts)),
        "to_pairflip": distance(counts, sent_to(counts, (np.arange(K) + 1) % K)),
        "to_map": distance(counts, sent_to(counts, target)),
        "chance_to_symmetric": float(np.mean([distance(c, spread_evenly(c)) for c in drawn])),
        "chance_top_share": float(np.mean([_mean(_top_shares(c)) for c in drawn])),
    }


def _drawn(totals: np.ndarray, T: np.ndarray, seed: int, draw: int) -> np.ndarray:
    generator = numpy_generator("label-noise-chance", seed, draw)
    return np.stack([generator.multinomial(n, row) for n, row in zip(totals, T, strict=True)])


def _top_shares(counts: np.ndarray) -> np.ndarray:
    wrong = counts.sum(axis=1) > np.diag(counts)
    return np.where(wrong, wrong_shares(counts).max(axis=1), np.nan)


def _mean(values: np.ndarray) -> float:
    """Return the mean of the numbers among `values`, 0 if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def both_wrong(y_true: np.ndarray, a: np.ndarray, b: np.ndarray, n_classes: int) -> tuple[float, float]:
    """Return the share of samples that both label wrong, and what the class alone would make of it.

    If errors depended on the true class only, and one person's not on the other's, the share in a class
    would be the product of the two error rates there. More than that means that some samples are hard for
    everybody: noise that depends on the instance, which no transition matrix has.
    """
    wrong = np.stack([a != y_true, b != y_true])
    expected = sum(
        wrong[:, y_true == c].mean(axis=1).prod() * (y_true == c).mean() for c in np.unique(y_true)
    )
    return float(wrong.all(axis=0).mean()), float(expected)


def right_votes(y_true: np.ndarray, votes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return how many samples 0, 1, ..., A of A people label right, (A + 1,), and what to expect.

    The second is the expected number, if each person's errors depended on the true class only.
    """
    right = np.stack([given == y_true for given in votes])
    found = np.bincount(right.sum(axis=0), minlength=len(votes) + 1)
    expected = np.zeros(len(votes) + 1)
    for c in np.unique(y_true):
        members = y_true == c
        spread = np.ones(1)  # distribution of the number of right votes, one person after the other
        for p in right[:, members].mean(axis=1):
            spread = np.convolve(spread, [1 - p, p])
        expected += members.sum() * spread
    return found, expected


def different_labels(votes: Sequence[np.ndarray]) -> np.ndarray:
    """Return how many samples got 1, 2, ..., A different labels from A people, (A,)."""
    ordered = np.sort(np.stack(votes), axis=0)
    kinds = 1 + (ordered[1:] != ordered[:-1]).sum(axis=0)
    return np.bincount(kinds - 1, minlength=len(votes))
