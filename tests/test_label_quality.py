"""The probability that a label is right: against a plain loop, closed forms, and on degenerate evidence."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib import label_quality
from noisylib.analysis.detection import auroc
from noisylib.errors import NoisylibError
from noisylib.evidence import Evidence
from noisylib.label_quality import (
    clean_probability,
    expected_errors,
    flag,
    predicted_labels,
    true_class_posterior,
)
from noisylib.noise_estimate import class_shares, estimate_noise

PAIRS = np.array([[0.7, 0.3, 0.0], [0.05, 0.95, 0.0], [0.1, 0.1, 0.8]])


def made(T: np.ndarray, n: int = 1200, gap: float = 3.0) -> tuple[Evidence, np.ndarray]:
    """Return evidence on classes on a line with unit deviation, and the true labels.

    Heads know the very probabilities of observed labels, and neighbours are the nearest on the line.
    """
    g, K = np.random.default_rng(0), len(T)
    y_true = g.integers(0, K, n)
    x = gap * y_true + g.standard_normal(n)
    y = np.array([g.choice(K, p=T[c]) for c in y_true])
    true = np.exp(-0.5 * (x[:, None] - gap * np.arange(K)) ** 2)
    true /= true.sum(1, keepdims=True)
    order = np.argsort(x)
    place = np.clip(np.argsort(order)[:, None], 6, n - 7) + np.array([*range(-6, 0), *range(1, 6)])
    return Evidence(y, true @ T, order[place]), y_true


def plain_loop(evidence: Evidence, T: np.ndarray, rounds: int) -> np.ndarray:
    """The posterior, a number at a time."""
    N, K = evidence.held_out.shape
    T = [[0.999 * T[i][j] + 0.001 / K for j in range(K)] for i in range(K)]

    def bayes(prior, label):
        joint = [prior[c] * T[c][label] for c in range(K)]
        return [value / sum(joint) for value in joint]

    heads = []
    for p in evidence.held_out:
        q = list(p)
        for _ in range(20):
            made = [sum(q[i] * T[i][j] for i in range(K)) for j in range(K)]
            q = [q[i] * sum(T[i][j] * p[j] / made[j] for j in range(K)) for i in range(K)]
        heads.append(q)
    found = [bayes(heads[n], evidence.y[n]) for n in range(N)]
    for _ in range(rounds):
        before = found
        found = []
        for n in range(N):
            near = evidence.neighbours[n]
            votes = [sum(before[m][c] for m in near) / len(near) for c in range(K)]
            found.append(bayes([(heads[n][c] + votes[c]) / 2 for c in range(K)], evidence.y[n]))
    return np.array(found)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_posterior_is_that_of_a_plain_loop(rounds: int) -> None:
    evidence, _ = made(PAIRS, 60)
    found = true_class_posterior(evidence, T=PAIRS, rounds=rounds)
    np.testing.assert_allclose(found, plain_loop(evidence, PAIRS, rounds), rtol=1e-12, atol=1e-300)


def test_two_rounds_are_the_default_and_the_label_is_looked_up() -> None:
    evidence, _ = made(PAIRS, 60)
    posterior = plain_loop(evidence, PAIRS, 2)
    np.testing.assert_allclose(
        clean_probability(evidence, T=PAIRS), [posterior[n, c] for n, c in enumerate(evidence.y)]
    )
    np.testing.assert_array_equal(predicted_labels(evidence, T=PAIRS), posterior.argmax(1))


def test_undoing_the_noise_to_the_end_is_bayes_rule(monkeypatch) -> None:
    monkeypatch.setattr(label_quality, "STEPS", 2000)
    monkeypatch.setattr(label_quality, "TRACE", 0.0)
    T = np.array([[0.8, 0.2], [0.4, 0.6]])
    # P(true = 0) is .9 everywhere: observed labels are 0 with .9 * .8 + .1 * .4 = .76.
    evidence = Evidence(np.arange(20) % 2, np.tile([0.76, 0.24], (20, 1)), np.zeros((20, 1), int))
    expected = np.where(evidence.y == 0, 0.9 * 0.8 / 0.76, 0.1 * 0.6 / 0.24)
    found = true_class_posterior(evidence, T=T, rounds=0)[np.arange(20), evidence.y]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_label_that_another_class_is_often_seen_as_is_suspect() -> None:
    """The same look of the features, but only one of the two labels is one that mistakes lead to."""
    T = np.array([[0.6, 0.4], [0.0, 1.0]])
    evidence = Evidence(np.arange(20) % 2, np.full((20, 2), 0.5), np.arange(20)[:, None] ^ 1)
    into, out_of = clean_probability(evidence, T=T)[[1, 0]]
    assert out_of > 0.99
    assert into < 0.5


def test_probabilities_of_made_data_are_calibrated() -> None:
    evidence, y_true = made(PAIRS, 6000)
    right = evidence.y == y_true
    p = clean_probability(evidence, T=PAIRS)
    assert p.mean() == pytest.approx(right.mean(), abs=0.02)
    assert expected_errors(p) == pytest.approx((~right).sum(), rel=0.1)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (p >= low) & (p <= low + 0.2)
        assert right[inside].mean() == pytest.approx(p[inside].mean(), abs=0.1)


def test_wrong_labels_are_found_and_corrected() -> None:
    evidence, y_true = made(PAIRS, 3000, gap=4.0)
    wrong = evidence.y != y_true
    p = clean_probability(evidence)
    assert auroc(p, wrong) > 0.97
    assert auroc(p, wrong) > auroc(evidence.self_confidence, wrong) + 0.01
    assert auroc(p, wrong) > auroc(evidence.neighbour_share, wrong) + 0.01
    assert (predicted_labels(evidence) != y_true).mean() < 0.4 * wrong.mean()
    flagged = flag(p)
    assert wrong[flagged].mean() > 0.85
    assert flagged[wrong].mean() > 0.7


def test_estimated_noise_is_the_default() -> None:
    evidence, _ = made(PAIRS)
    np.testing.assert_array_equal(
        true_class_posterior(evidence), true_class_posterior(evidence, T=estimate_noise(evidence).T)
    )


@pytest.mark.parametrize("T", [None, PAIRS])
def test_a_known_rate_scales_the_matrix(T) -> None:
    evidence, _ = made(PAIRS)
    observed = np.bincount(evidence.y) / len(evidence.y)
    means = []
    for rate in (0.05, 0.2, 0.4):
        scaled = label_quality._transition(evidence, observed, rate, T)
        np.testing.assert_allclose(scaled.sum(1), 1)
        assert class_shares(scaled, observed) @ (1 - np.diag(scaled)) == pytest.approx(rate, abs=1e-3)
        p = clean_probability(evidence, noise_rate=rate, T=T)
        np.testing.assert_array_equal(p, clean_probability(evidence, T=scaled))
        means.append(p.mean())
    assert (np.diff(means) < -0.02).all()


@pytest.mark.parametrize("told", [{"noise_rate": 0.0}, {"T": np.eye(3)}, {"noise_rate": 0.0, "T": PAIRS}])
def test_without_noise_labels_are_right_but_still_ranked(told) -> None:
    evidence, y_true = made(PAIRS, gap=4.0)
    p = clean_probability(evidence, **told)
    assert np.median(p) > 0.99
    assert auroc(p, evidence.y != y_true) > 0.9


def test_a_matrix_without_flips_is_raised_to_a_rate() -> None:
    """All wrong labels are then alike."""
    evidence, _ = made(PAIRS)
    observed = np.bincount(evidence.y) / len(evidence.y)
    scaled = label_quality._transition(evidence, observed, 0.3, np.eye(3))
    off = scaled[~np.eye(3, dtype=bool)]
    assert (off > 0.05).all()
    np.testing.assert_allclose(off.reshape(3, 2)[:, 0], off.reshape(3, 2)[:, 1], rtol=0.2)


def test_a_class_of_fewer_than_five_samples_is_not_judged() -> None:
    evidence, _ = made(PAIRS, 300)
    for n, judged in ((4, False), (5, True)):
        y = np.where(evidence.y == 2, 1, evidence.y)
        few = np.arange(0, 300, 60)[:n]
        y[few] = 2
        new = Evidence(y, evidence.held_out, evidence.neighbours)
        posterior = true_class_posterior(new, T=PAIRS)
        np.testing.assert_allclose(posterior.sum(1), 1)
        shares = class_shares(PAIRS, np.bincount(y) / 300)
        kept = shares @ np.diag(PAIRS)
        assert (np.abs(clean_probability(new, T=PAIRS)[few] - kept) < 1e-12).all() != judged
        if not judged:
            assert (predicted_labels(new, T=PAIRS)[few] == 2).all()
            assert not flag(clean_probability(new, T=PAIRS))[few].any()


@pytest.mark.parametrize("sure", [0, 2])
def test_a_sample_of_a_tiny_class_of_which_the_head_is_certain(sure: int) -> None:
    held_out = np.tile([1.0, 0.0, 0.0], (12, 1))
    held_out[11] = np.eye(3)[sure]
    y = np.array([0] * 11 + [2])
    posterior = true_class_posterior(Evidence(y, held_out, np.arange(12)[:, None]), T=PAIRS)
    assert np.isfinite(posterior).all()
    np.testing.assert_allclose(posterior.sum(1), 1)
    assert posterior[11].argmax() == 2


def test_probabilities_that_are_rounded_or_not_normalised() -> None:
    evidence, _ = made(PAIRS, 100)
    double = Evidence(evidence.y, 2 * evidence.held_out, evidence.neighbours)
    np.testing.assert_allclose(
        true_class_posterior(double, T=PAIRS), true_class_posterior(evidence, T=PAIRS), atol=1e-12
    )


def test_order_and_names_of_classes_do_not_count() -> None:
    evidence, _ = made(PAIRS, 200)
    p = true_class_posterior(evidence)
    shuffled = np.random.default_rng(1).permutation(200)
    back = np.argsort(shuffled)
    moved = Evidence(evidence.y[shuffled], evidence.held_out[shuffled], back[evidence.neighbours[shuffled]])
    np.testing.assert_allclose(true_class_posterior(moved), p[shuffled], rtol=1e-9)
    names = np.array([2, 0, 1])  # class c is now names[c]
    renamed = Evidence(names[evidence.y], evidence.held_out[:, np.argsort(names)], evidence.neighbours)
    np.testing.assert_allclose(true_class_posterior(renamed)[:, names], p, rtol=1e-6, atol=1e-9)


def test_a_class_that_nobody_is_labelled_with_and_certain_heads() -> None:
    y = np.repeat([0, 1], 20)
    held_out = np.eye(3)[np.where(np.arange(40) == 3, 1, y)]
    evidence = Evidence(y, held_out, np.roll(np.arange(40), 1)[:, None])
    posterior = true_class_posterior(evidence)
    assert np.isfinite(posterior).all()
    np.testing.assert_allclose(posterior.sum(1), 1)
    assert posterior.argmax(1).max() == 1


def test_evidence_is_left_as_it_was() -> None:
    evidence, _ = made(PAIRS, 100)
    before = [evidence.y.copy(), evidence.held_out.copy(), evidence.neighbours.copy()]
    clean_probability(evidence)
    for now, then in zip((evidence.y, evidence.held_out, evidence.neighbours), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_flags_are_what_is_likelier_wrong_or_the_most_suspect() -> None:
    p = np.array([0.9, 0.5, 0.49, 0.1, 0.9, 0.1])
    assert flag(p).tolist() == [False, False, True, True, False, True]
    assert flag(p, n=1).tolist() == [False, False, False, True, False, False]  # the first of two equal ones
    assert flag(p, n=4).tolist() == [False, True, True, True, False, True]
    assert not flag(p, n=0).any()
    assert flag(p, n=6).all()
    assert expected_errors(p) == 3  # .1 + .5 + .51 + .9 + .1 + .9 = 3.01


@pytest.mark.parametrize("rate", [-0.1, 2 / 3, 1.0, np.nan])
def test_impossible_rates(rate: float) -> None:
    evidence, _ = made(PAIRS, 50)
    with pytest.raises(NoisylibError, match=r"noise_rate=.*0\.667"):
        clean_probability(evidence, noise_rate=rate)


@pytest.mark.parametrize(
    "T", [np.eye(2), PAIRS.T, PAIRS - 2 * np.eye(3)[[1, 0, 2]] + 2 * np.eye(3), np.full((3, 3), np.nan)]
)
def test_what_is_no_transition_matrix(T: np.ndarray) -> None:
    evidence, _ = made(PAIRS, 50)
    with pytest.raises(NoisylibError, match=r"T has shape .*\(3, 3\)"):
        clean_probability(evidence, T=T)


@pytest.mark.parametrize("p", [np.array([0.5, 1.1]), np.array([np.nan]), np.full((2, 2), 0.5)])
def test_what_is_no_probability(p: np.ndarray) -> None:
    with pytest.raises(NoisylibError, match="probability has shape"):
        flag(p)
    with pytest.raises(NoisylibError, match="probability has shape"):
        expected_errors(p)


@pytest.mark.parametrize("n", [-1, 3, 1.0, True])
def test_impossible_numbers_of_flags(n) -> None:
    with pytest.raises(NoisylibError, match="N=2"):
        flag(np.array([0.5, 0.2]), n=n)
