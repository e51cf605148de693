"""Which observed labels are wrong: the probability that each one is right, and what it should have been.

A label is judged by Bayes' rule. How likely each class is for a sample comes from a head that never saw its
label and from its neighbours; how likely a class is observed as another comes from the transition matrix. The
second part is what scores such as the probability of the observed label lack: where one class is often
observed as another, a sample that may well be of the first is suspect. No weight in here is
fitted to data; the noise rate behind an estimated matrix comes from a rule that is.
"""

from __future__ import annotations

import numpy as np

from noisylib.errors import NoisylibError
from noisylib.evidence import Evidence
from noisylib.noise_estimate import class_shares, estimate_noise, transition_at_rate

FEWEST = 5  # samples of an observed class; with fewer, folds without a single one of them are likely
STEPS = 20  # of undoing the noise in probabilities; more changes little but sharpens their errors
ROUNDS = 2  # of neighbours telling each other what they are; more changes next to nothing
# So many labels are taken to be wrong in any way at all, so that no rate of 0 and no T ends the ranking.
TRACE = 1e-3
LIMIT = 0.5  # a label less likely right than this is flagged


def clean_probability(
    evidence: Evidence, *, noise_rate: float | None = None, T: np.ndarray | None = None
) -> np.ndarray:
    """Return the probability (N,) that each observed label is right, in [0, 1]; higher is cleaner.

    Its mean is near 1 - noise rate, as far as the rate is known. Parameters and special cases are those of
    `true_class_posterior`.
    """
    posterior = true_class_posterior(evidence, noise_rate=noise_rate, T=T)
    return posterior[np.arange(len(posterior)), evidence.y]


def predicted_labels(
    evidence: Evidence, *, noise_rate: float | None = None, T: np.ndarray | None = None
) -> np.ndarray:
    """Return the likeliest class (N,) int64 of each sample: its observed label, or what it should be.

    Equally likely classes give the lowest. With more than two classes a flagged label can still be the
    likeliest. Parameters are those of `true_class_posterior`.
    """
    return true_class_posterior(evidence, noise_rate=noise_rate, T=T).argmax(1)


def flag(probability: np.ndarray, *, n: int | None = None) -> np.ndarray:
    """Return which labels are suspect, (N,) bool: those more likely wrong than right.

    Parameters
    ----------
    probability : (N,) from `clean_probability`.
    n : flag this many instead, the lowest probabilities; of equal ones those at smaller positions.
        `expected_errors` is one choice of it.

    Raises
    ------
    NoisylibError
        A probability is not in [0, 1], or n not a whole number from 0 to N.
    """
    probability = _probabilities(probability)
    if n is None:
        return probability < LIMIT
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 0 <= n <= len(probability):
        raise NoisylibError(f"n={n!r}: a whole number of labels from 0 to N={len(probability)} is needed.")
    flagged = np.zeros(len(probability), dtype=bool)
    flagged[np.argsort(probability, kind="stable")[:n]] = True
    return flagged


def expected_errors(probability: np.ndarray) -> int:
    """Return how many labels are expected to be wrong, given the probability (N,) that each is right."""
    return round(float((1.0 - _probabilities(probability)).sum()))


def true_class_posterior(
    evidence: Evidence,
    *,
    noise_rate: float | None = None,
    T: np.ndarray | None = None,
    rounds: int = ROUNDS,
) -> np.ndarray:
    """Return P(true class | features, observed label), (N, K) float64; rows sum to 1.

    The head predicts observed labels; its probabilities are first turned into those of the true class. Each
    round then takes the mean of these and of the posteriors of the neighbours, who thereby count by what they
    probably are and not by their labels, and applies Bayes' rule: the posterior of class c is proportional to
    its probability times T[c, observed label].

    Samples of a class observed fewer than 5 times get the same probability of being right, 1 - noise rate,
    because a head that hardly saw a class calls all its labels wrong.

    Parameters
    ----------
    evidence : from `collect_evidence`.
    noise_rate : share of wrong labels, in [0, (K - 1) / K), if it is known; `T` is scaled to it.
    T : (K, K) P(observed = j | true = i), if it is known; else `estimate_noise` estimates it.
    rounds : 0 leaves the neighbours out.

    Raises
    ------
    NoisylibError
        If noise_rate is out of range, or T is no transition matrix of K classes.

    Source: probabilities of observed labels become those of true ones by the expectation maximisation of
    W. H. Richardson, "Bayesian-based iterative method of image restoration", J. Opt. Soc. Am. 62, 1972, and
    L. B. Lucy, "An iterative technique for the rectification of observed distributions", Astron. J. 79, 1974.
    Neighbours on frozen features against wrong labels: Z. Zhu, Z. Dong, Y. Liu, "Detecting corrupted labels
    without training a model to predict", ICML 2022.
    """
    y, K, rows = evidence.y, evidence.n_classes, np.arange(len(evidence.y))
    counts = np.bincount(y, minlength=K)
    T = _transition(evidence, counts / len(y), noise_rate, T)
    shares = class_shares(T, counts / len(y))
    kept = float(shares @ np.diag(T))
    T = (1.0 - TRACE) * T + TRACE / K
    of_head = _undo_noise(evidence.held_out, T)
    posterior = _bayes(of_head, T, y)
    for _ in range(rounds):
        posterior = _bayes((of_head + _mean_of(posterior, evidence.neighbours)) / 2, T, y)
    rare = counts[y] < FEWEST
    others = posterior[rare]
    others[np.arange(len(others)), y[rare]] = 0.0
    others += np.finfo(np.float64).tiny * (np.arange(K) != y[rare, None])  # whatever is certain is shared out
    posterior[rare] = (1.0 - kept) * others / others.sum(1, keepdims=True)
    posterior[rows[rare], y[rare]] = kept
    return posterior


def _undo_noise(probabilities: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Return distributions (N, K) over true classes that make the given ones over observed labels likely.

    The inverse of T would leave the simplex. These steps cannot, and start from the probabilities
    themselves; because they are few, errors of the head are not blown up where T is nearly singular.
    """
    p = probabilities / probabilities.sum(1, keepdims=True)
    true = p
    for _ in range(STEPS):
        true = true * ((p / (true @ T)) @ T.T)
    return true


def _bayes(prior: np.ndarray, T: np.ndarray, y: np.ndarray) -> np.ndarray:
    joint = prior * T.T[y]
    return joint / joint.sum(1, keepdims=True)


def _mean_of(values: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Return the mean (N, K) of the rows of `values` at the neighbours of each sample; makes no (N, k, K)."""
    total = np.zeros_like(values)
    for column in neighbours.T:
        total += values[column]
    return total / neighbours.shape[1]


def _transition(
    evidence: Evidence, observed: np.ndarray, noise_rate: float | None, T: np.ndarray | None
) -> np.ndarray:
    """Return the transition matrix to use: given or estimated, at the noise rate if that is given."""
    K = evidence.n_classes
    if noise_rate is not None and not 0 <= noise_rate < (K - 1) / K:
        raise NoisylibError(
            f"noise_rate={noise_rate!r}: a share from 0 to below (K - 1) / K = {(K - 1) / K:.3g} is needed; "
            "with more noise than that, no true class is the likeliest."
        )
    T = estimate_noise(evidence).T if T is None else _check_transition(T, K)
    if noise_rate is None:
        return T
    return transition_at_rate(T, observed, noise_rate)


def _check_transition(T: np.ndarray, n_classes: int) -> np.ndarray:
    T = np.asarray(T, dtype=np.float64)
    right_shape = T.shape == (n_classes, n_classes)
    if not right_shape or not (T >= 0).all() or not np.allclose(T.sum(1), 1.0, atol=1e-6):
        raise NoisylibError(
            f"T has shape {T.shape}{f' and rows that sum to {T.sum(1).tolist()}' if right_shape else ''}: "
            f"({n_classes}, {n_classes}) shares of at least 0 with rows that sum to 1 are needed, "
            "T[i, j] = P(observed = j | true = i)."
        )
    return T


def _probabilities(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise NoisylibError(
            f"probability has shape {values.shape} or values outside [0, 1]: (N,) probabilities are needed, "
            "as clean_probability returns them."
        )
    return values
