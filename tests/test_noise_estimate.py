"""The estimate of the noise, on made evidence with a known transition matrix and where it is degenerate."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.anchors import Anchors
from noisylib.descriptors import describe_labels
from noisylib.evidence import Evidence
from noisylib.noise_estimate import (
    NoiseEstimate,
    class_shares,
    estimate_noise,
    flip_pattern,
    joint_at_rate,
    transition_at_rate,
)

PAIRS = np.array([[0.7, 0.3, 0.0], [0.2, 0.8, 0.0], [0.1, 0.1, 0.8]])


def planted(T: np.ndarray, counts: list[int], confidence: float = 0.9) -> tuple[Evidence, np.ndarray]:
    """Return evidence on classes that never overlap, and the true labels; flips are as `T` says, evenly.

    Heads know the true class of every sample, and its neighbours are of it.
    """
    K, y, observed = len(T), np.repeat(np.arange(len(T)), counts), []
    for c, count in enumerate(counts):
        flips = np.repeat(np.arange(K), np.round(T[c] * count).astype(int))
        observed.append(flips[np.random.default_rng(c).permutation(count)])
    g = np.random.default_rng(9)
    top = confidence + 0.05 * g.random(len(y))
    P = np.repeat(((1 - top) / (K - 1))[:, None], K, axis=1)
    P[np.arange(len(y)), y] = top
    neighbours = np.stack([g.choice(np.flatnonzero(y == c), 11) for c in y])
    return Evidence(np.concatenate(observed), P, neighbours), y


def check(estimate: NoiseEstimate, y: np.ndarray) -> None:
    """What always holds of an estimate."""
    K = len(estimate.T)
    observed = np.bincount(y, minlength=K) / len(y)
    assert 0 <= estimate.low <= estimate.rate <= estimate.high < (K - 1) / K
    assert (estimate.T >= 0).all()
    np.testing.assert_allclose(estimate.T.sum(1), 1)
    assert estimate.class_shares.sum() == pytest.approx(1)
    assert estimate.class_shares @ (1 - np.diag(estimate.T)) == pytest.approx(estimate.rate, abs=1e-9)
    np.testing.assert_allclose(estimate.class_shares @ estimate.T, observed, atol=1e-9)
    assert observed @ (1 - estimate.purity) == pytest.approx(estimate.rate, abs=1e-9)


def test_planted_flips_of_separate_classes_are_found() -> None:
    evidence, y = planted(PAIRS, [3000, 4000, 3000])
    found = estimate_noise(evidence)
    check(found, evidence.y)
    rate = float((evidence.y != y).mean())
    assert found.rate == pytest.approx(rate, abs=0.06)
    assert found.low < rate < found.high
    assert found.confident_rate == describe_labels(evidence, 1).confident_rate
    np.testing.assert_allclose(found.T, PAIRS, atol=0.1)
    assert found.T[0, 2] < 0.02
    assert found.T[1, 2] < 0.02
    np.testing.assert_allclose(found.class_shares, [0.3, 0.4, 0.3], atol=0.05)


def test_clean_labels_of_separate_classes() -> None:
    evidence, _ = planted(np.eye(3), [500, 300, 200])
    found = estimate_noise(evidence)
    check(found, evidence.y)
    assert found.rate < 0.05
    np.testing.assert_allclose(np.diag(found.T), 1, atol=0.06)


def test_more_noise_is_a_higher_estimate() -> None:
    rates = []
    for r in (0.0, 0.1, 0.2, 0.3, 0.4):
        evidence, _ = planted(np.full((5, 5), r / 4) + np.eye(5) * (1 - 1.25 * r), [400] * 5)
        rates.append(estimate_noise(evidence).rate)
    assert (np.diff(rates) > 0.02).all()


def test_given_descriptors_are_used() -> None:
    evidence, _ = planted(PAIRS, [300, 400, 300])
    found = estimate_noise(evidence, describe_labels(evidence, 7))
    assert found.rate == estimate_noise(evidence).rate


@pytest.mark.parametrize("K", [2, 20])
def test_hopeless_evidence_still_gives_a_valid_estimate(K: int) -> None:
    """Labels that have nothing to do with predictions, one observed class, or no errors at all."""
    g = np.random.default_rng(K)
    P, neighbours = g.dirichlet(np.ones(K), 400), g.integers(0, 400, (400, 11))
    for y in (g.integers(0, K, 400), np.zeros(400, dtype=np.int64), P.argmax(1)):
        check(estimate_noise(Evidence(y, P, neighbours)), y)


def test_joint_at_rate_by_hand() -> None:
    """Flips .2 of class 0 alone; observed (.4, .6) is class shares (.5, .5), so .1 of the labels are wrong.

    At a rate of .05 half of these: .05 of the samples are labelled 1 and are of class 0.
    """
    T = np.array([[0.8, 0.2], [0.0, 1.0]])
    observed = np.array([0.4, 0.6])
    np.testing.assert_allclose(class_shares(T, observed), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(joint_at_rate(T, observed, 0.05), [[0.4, 0.0], [0.05, 0.55]], atol=1e-6)
    np.testing.assert_allclose(joint_at_rate(T, observed, 0.0), np.diag(observed))


def test_an_observed_class_keeps_some_right_labels() -> None:
    """Label 1 is wrong for at most 3/4 of its .2 samples, .15; the other .15 of the rate go to label 0."""
    T = np.array([[0.5, 0.5], [1e-9, 1.0]])
    joint = joint_at_rate(T, np.array([0.8, 0.2]), 0.3)
    np.testing.assert_allclose(joint, [[0.65, 0.15], [0.15, 0.05]], atol=1e-6)


def test_class_shares_stay_in_the_simplex() -> None:
    """The inverse of T would give class 0 the share (.1 - .3) / (.9 - .3) < 0."""
    found = class_shares(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0.1, 0.9]))
    assert found[0] < 1e-6
    assert found.sum() == pytest.approx(1)


def test_flip_pattern_by_hand() -> None:
    """Class 0 flips .2, all to 2; class 1 has no anchors: mean share, 3 to 1 as in the joint distribution.

    Class 2 is contradicted by nobody, and flips next to nothing to all alike.
    """
    anchors = Anchors(
        labels=np.array([[0.8, 0, 0.2], [0, 0, 0], [0, 0, 1]]),
        counts=np.array([30, 0, 30]),
        weights=np.array([0.75, 0, 0.25]),
        contradicted=np.array([0.2, 0, 0]),
        overlap=np.zeros(3),
    )
    confident = np.array([[0.3, 0.06, 0.0], [0.0, 0.3, 0.0], [0.0, 0.02, 0.32]])
    expected = [[0.8, 0, 0.2], [0.15 * 0.75, 0.85, 0.15 * 0.25], [0, 0, 1]]
    found = flip_pattern(anchors, confident)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found > 0).all()


def test_a_matrix_is_brought_to_another_rate() -> None:
    T, observed = np.array([[0.8, 0.2], [0.0, 1.0]]), np.array([0.4, 0.6])
    scaled = transition_at_rate(T, observed, 0.3)
    shares = np.linalg.solve(scaled.T, observed)  # of the true classes: shares @ T = observed
    assert scaled.sum(1) == pytest.approx([1, 1])
    assert (shares * (1 - np.diag(scaled))).sum() == pytest.approx(0.3)
    assert scaled[0, 1] > 50 * scaled[1, 0]  # the pattern stays
    plain = transition_at_rate(np.eye(2), np.array([0.5, 0.5]), 0.1)
    assert plain == pytest.approx(np.array([[0.9, 0.1], [0.1, 0.9]]))
