"""The voting methods: closed forms, hand counts and equality with the plain loop."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import blobs
from reference.neighbours import ANN, KNN, WANN
from sizes import LargestTensor

from noisylib import neighbours, train_bank
from noisylib.errors import NoisylibError
from noisylib.methods import voting
from noisylib.methods.voting import (
    AdaptiveNearestNeighbours,
    KNearestNeighbours,
    WeightedAdaptiveNearestNeighbours,
)

F64 = torch.float64
ADAPTIVE = (AdaptiveNearestNeighbours, WeightedAdaptiveNearestNeighbours)


def noisy_blobs(K: int, n: int = 90, spread: float = 0.6):
    """X (n, 3), labels of (2, 2) runs from clean to random, X_test (20, 3)."""
    X, y = blobs(n, K, 3, spread=spread)
    X_test, _ = blobs(20, K, 3, seed=7, spread=spread)
    y = torch.as_tensor(y)
    g = torch.Generator().manual_seed(0)
    other = torch.randint(0, K, (2, 2, n), generator=g)
    flip = torch.rand((2, 2, n), generator=g) < torch.tensor([0, 0.2, 0.4, 1]).view(2, 2, 1)
    runs = torch.where(flip, other, y)
    runs[1, 0].clamp_(max=max(1, K - 2))  # with more than two classes the last one is never observed
    return torch.as_tensor(X), runs, torch.as_tensor(X_test)


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize(
    ("method", "rule"),
    [
        (KNearestNeighbours(k=7), KNN(k=7)),
        (KNearestNeighbours(k=1), KNN(k=1)),
        (AdaptiveNearestNeighbours(kmin=3, kmax=15), ANN(kmin=3, kmax=15)),
        (WeightedAdaptiveNearestNeighbours(kmin=3, kmax=15), WANN(kmin=3, kmax=15)),
    ],
)
def test_votes_equal_the_plain_loop(method, rule, K: int) -> None:
    X, y, X_test = noisy_blobs(K)
    votes = method.predict(X, y, X_test, K)
    assert votes.shape == (2, 2, 20, K)
    for s in range(2):
        for h in range(2):
            run = SimpleNamespace(X=X, y=y[s, h].tolist(), K=K, N=90)
            if isinstance(rule, ANN):
                rule.prepare(run)
            expected = torch.stack([rule.scores(run, x) for x in X_test])
            torch.testing.assert_close(votes[s, h], expected, rtol=0, atol=1e-11)


def test_votes_of_a_run_do_not_depend_on_the_other_runs() -> None:
    X, y, X_test = noisy_blobs(4)
    for method in (KNearestNeighbours(k=5), *(cls(kmin=3, kmax=15) for cls in ADAPTIVE)):
        together = method.predict(X, y, X_test, 4)
        for s in range(2):
            for h in range(2):
                alone = method.predict(X, y[s : s + 1, h : h + 1], X_test, 4)
                assert torch.equal(together[s, h], alone[0, 0])


def test_a_new_sample_takes_the_k_of_its_nearest_and_weighs_by_each_voter() -> None:
    """On a line, kmin = 1 and kmax = 3: k is 1 where the nearest other has the same label, else 3."""
    X = torch.tensor([[0.0], [1.0], [2.5], [4.5], [7.0]], dtype=F64)
    y = torch.tensor([0, 1, 1, 1, 0]).view(1, 1, -1)
    # Nearest other: 0 -> 1 (no), 1 -> 0 (no), 2 -> 1 (yes), 3 -> 2 (yes), 4 -> 3 (no): k = 3 3 1 1 3.
    X_test = torch.tensor([[-1.0], [2.6], [9.0]], dtype=F64)
    # -1 is nearest to 0, so 0, 1 and 2 vote; 2.6 to 2, which votes alone; 9 to 4, so 4, 3 and 2 vote.
    counts = AdaptiveNearestNeighbours(kmin=1, kmax=3).predict(X, y, X_test, 2)
    assert counts[0, 0].tolist() == [[1, 2], [0, 1], [1, 2]]
    weighted = WeightedAdaptiveNearestNeighbours(kmin=1, kmax=3).predict(X, y, X_test, 2)
    expected = [[1 / 3, 1 / 3 + 1], [0, 1], [1 / 3, 1 + 1]]
    torch.testing.assert_close(weighted[0, 0], torch.tensor(expected, dtype=F64), rtol=0, atol=1e-11)


def test_with_one_k_for_all_the_adaptive_methods_are_k_nearest_neighbours() -> None:
    X, y, X_test = noisy_blobs(4)
    plain = KNearestNeighbours(k=13).predict(X, y, X_test, 4)
    assert torch.equal(AdaptiveNearestNeighbours(kmin=13, kmax=13).predict(X, y, X_test, 4), plain)
    weighted = WeightedAdaptiveNearestNeighbours(kmin=13, kmax=13).predict(X, y, X_test, 4)
    torch.testing.assert_close(weighted, plain / 13, rtol=0, atol=1e-11)
    assert torch.equal(weighted.argmax(-1), plain.argmax(-1))


@pytest.mark.parametrize("method", [KNearestNeighbours(), *(cls() for cls in ADAPTIVE)])
def test_far_clusters_with_clean_labels_are_told_apart(method) -> None:
    y = torch.arange(3).repeat_interleave(60)
    X = torch.randn((180, 4), generator=torch.Generator().manual_seed(0)) + 1000 * y[:, None]
    votes = method.predict(X[::2].repeat(2, 1), y[::2].repeat(2).view(1, 1, -1), X[1::2], 3)
    assert torch.equal(votes[0, 0].argmax(-1), y[1::2])
    each = 1 / 11 if method.name == "wann" else 1
    torch.testing.assert_close(votes.max(-1).values, torch.full((1, 1, 90), 11.0 * each, dtype=F64))


def test_sums_of_weights_that_are_equal_on_paper_tie() -> None:
    """1/11 + 1/13 + 1/17 depends in its last digit on the order; both classes have these three voters."""
    needed = torch.tensor([11, 13, 17, 17, 13, 11])
    one_way, other_way = 1 / 11 + 1 / 13 + 1 / 17, 1 / 17 + 1 / 13 + 1 / 11
    assert other_way > one_way, "class 1 would win"
    y = torch.tensor([0, 0, 0, 1, 1, 1]).view(1, 1, -1)
    votes = voting._votes(torch.arange(6).view(1, 6), y, 2, weight=1 / needed.double().view(1, 1, -1))
    assert votes[0, 0, 0, 0] == votes[0, 0, 0, 1]
    assert votes[0, 0, 0, 0].item() == pytest.approx(one_way, abs=1e-12)


def test_votes_depend_neither_on_blocks_nor_on_the_order_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, X_test = noisy_blobs(4, n=400)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(3))
    methods = (KNearestNeighbours(k=5), *(cls(kmin=3, kmax=15) for cls in ADAPTIVE))
    votes = [method.predict(X, y, X_test, 4) for method in methods]
    for method, expected in zip(methods, votes, strict=True):
        assert torch.equal(method.predict(X[order], y[..., order], X_test, 4), expected)
    own_votes = [method.predict(X, y, X, 4) for method in methods]
    monkeypatch.setattr(neighbours, "BLOCK_SIZE", 2000)
    monkeypatch.setattr(voting, "BLOCK_SIZE", 2000)
    for method, expected in zip(methods, own_votes, strict=True):
        with LargestTensor() as largest:
            assert torch.equal(method.predict(X, y, X, 4), expected)
        assert largest.numel <= 400 * 16, "more than the neighbours of each sample is held at once"


@pytest.mark.parametrize("method", ["knn", "ann", "wann"])
def test_train_bank_scores_the_votes(method: str) -> None:
    X, y = blobs(120, 3, 5, spread=20)
    X_test, y_test = blobs(30, 3, 5, seed=1, spread=20)
    scrambled = np.random.default_rng(0).permutation(y)
    results = train_bank(X, np.stack([y, scrambled]), X_test, y_test, n_classes=3, method=method)
    assert results.balanced_accuracy[0] == 1
    assert results.balanced_accuracy[1] < 0.8


def test_they_rank_not_and_are_told_nothing() -> None:
    for cls in (KNearestNeighbours, *ADAPTIVE):
        assert not cls.ranked
        assert cls.told == ()
        assert cls().n_nets == 0
    assert [cls.name for cls in (KNearestNeighbours, *ADAPTIVE)] == ["knn", "ann", "wann"]


@pytest.mark.parametrize("cls", ADAPTIVE)
def test_bad_options_of_the_adaptive_methods(cls) -> None:
    with pytest.raises(NoisylibError, match=r"kmin=10 .* even.*odd number"):
        cls(kmin=10)
    with pytest.raises(NoisylibError, match=r"kmax=50 .* even.*such as 51"):
        cls(kmax=50)
    with pytest.raises(NoisylibError, match=r"kmin=13 .*more than kmax=11"):
        cls(kmin=13, kmax=11)
    with pytest.raises(NoisylibError, match=r"kmin=0 .*whole number"):
        cls(kmin=0)
    with pytest.raises(NoisylibError, match=r"kmax=11\.5 .*whole number"):
        cls(kmax=11.5)


def test_bad_options_of_k_nearest_neighbours() -> None:
    with pytest.raises(NoisylibError, match=r"k=4 of method 'knn' is even"):
        KNearestNeighbours(k=4)
    with pytest.raises(NoisylibError, match=r"k=-1 .*whole number"):
        KNearestNeighbours(k=-1)


@pytest.mark.parametrize(
    ("method", "option"),
    [(KNearestNeighbours(k=51), "k"), *((cls(), "kmax") for cls in ADAPTIVE)],
)
def test_too_few_training_samples(method, option: str) -> None:
    X = torch.randn((52, 2), generator=torch.Generator().manual_seed(0))
    y = torch.arange(52).view(1, 1, -1) % 2
    assert method.predict(X, y, X[:1], 2).shape == (1, 1, 1, 2)
    with pytest.raises(NoisylibError, match=rf"^{option}=51 .*more than 51 training samples.* 51:"):
        method.predict(X[:51], y[..., :51], X[:1], 2)
