"""UNICON: the divergence in bits, the balanced selection, and which views teach which."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, made, one_hot, step_of, watched_step

from noisylib.methods import make_method, mixup, semisupervised
from noisylib.methods.semisupervised import sharpen
from noisylib.methods.unicon import balanced_selection, divergence_from_label


def test_divergence_is_jensen_shannon_in_bits() -> None:
    """JS(p, e_y) = KL(p | m) / 2 + KL(e_y | m) / 2 with m their mean, for any label of any prediction."""
    g = torch.Generator().manual_seed(0)
    p = torch.softmax(2 * torch.randn((20, 5), generator=g, dtype=F64), -1)
    for y in range(5):
        m = (p + one_hot(torch.tensor(y), 5)) / 2
        js = 0.5 * (p * (p / m).log2()).sum(-1) + 0.5 * (1 / m[:, y]).log2()
        torch.testing.assert_close(divergence_from_label(p[:, y]), js, rtol=0, atol=1e-14)


def test_divergence_falls_from_one_bit_to_zero() -> None:
    p = torch.linspace(0, 1, 2001, dtype=F64)
    d = divergence_from_label(p)
    assert d[0].item() == 1, "natural logarithms would end at ln 2 = 0.69, below d_mu"
    assert d[-1].item() == 0
    assert (d.diff() < 0).all()
    # 1/2: (.5 log2(2/3) + .5 + log2(4/3)) / 2
    by_hand = 0.5 * (0.5 * np.log2(2 / 3) + 0.5 + np.log2(4 / 3))
    assert d[1000].item() == pytest.approx(by_hand, abs=1e-15)
    assert divergence_from_label(torch.tensor([1e-320, 1e-30], dtype=F64)).tolist() == [1, 1]


def select(d: list[float], y: list[int], K: int, d_mu: float = 0.7, divisor: float = 5.0) -> list[int]:
    """Positions of the labelled samples."""
    labelled = balanced_selection(torch.tensor(d, dtype=F64), torch.tensor(y), K, d_mu, divisor)
    return labelled.nonzero().flatten().tolist()


def test_each_class_gives_the_same_number_those_of_least_divergence() -> None:
    """The mean is .45; 6 of 10 samples are below, so that each of 2 classes gives 3."""
    d = [0.1, 0.8, 0.2, 0.9, 0.3, 0.7, 0.2, 0.1, 0.3, 0.9]
    y = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert select(d, y, 2) == [0, 2, 4, 6, 7, 8]
    # Class 1 has three of the four smallest: it still gives no more than class 0.
    d = [0.5, 0.4, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9]
    assert select(d, [0, 0, 0, 1, 1, 1, 1, 1], 2) == [0, 1, 3, 4]


def test_a_class_smaller_than_the_quota_gives_what_it_has() -> None:
    """Its list is not filled up with copies of sample 0, as in the public code."""
    d = [0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.2]
    y = [0, 0, 0, 0, 0, 0, 0, 0, 1]
    # 7 of 9 are below the mean: a quota of 3, of which class 1 has one.
    assert select(d, y, 2) == [1, 2, 3, 8]


def test_a_class_that_is_never_observed_gives_nothing_and_still_counts() -> None:
    d = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9]
    y = [0, 0, 0, 2, 2, 2, 0, 2]
    assert select(d, y, 3) == [0, 1, 3, 4]


def test_ties_go_to_the_earlier_sample() -> None:
    d = [0.2, 0.2, 0.2, 0.9, 0.9, 0.2, 0.2, 0.9]
    y = [1, 0, 1, 1, 0, 0, 0, 1]
    # 5 of 8 are below the mean: two of each class.
    assert select(d, y, 2) == [0, 1, 2, 5]


def test_a_high_cut_is_lowered_by_a_share_of_its_distance_to_the_smallest() -> None:
    """Per class .95 .95 .95 .70 .2: the mean .75 is above .7, so the cut is .75 - .55 / 5 = .64."""
    d, y = [0.95, 0.95, 0.95, 0.7, 0.2] * 2, [0] * 5 + [1] * 5
    assert select(d, y, 2) == [4, 9]
    assert select(d, y, 2, d_mu=0.75 + 1e-9) == [3, 4, 8, 9]
    # .75 - .55 / 12 = .704 lies above .7 again.
    assert select(d, y, 2, divisor=12) == [3, 4, 8, 9]
    assert select(d, y, 2, divisor=1) == [], "the cut is the smallest, and nothing is below"


def test_equal_divergences_leave_nothing_labelled() -> None:
    assert select([0.3] * 6, [0, 0, 0, 1, 1, 1], 2) == []


@pytest.mark.parametrize("K", [2, 5])
def test_selection_is_balanced_and_by_rank_within_each_class(K: int) -> None:
    g = torch.Generator().manual_seed(K)
    d, y = torch.rand((2, 3, 200), generator=g, dtype=F64), torch.randint(0, K, (2, 3, 200), generator=g)
    y[0, 0, :190] = 0
    labelled = balanced_selection(d, y, K, 0.7, 5)
    for s in range(2):
        for h in range(3):
            quota = int((d[s, h] < d[s, h].mean()).sum() / K)
            for c in range(K):
                own = (y[s, h] == c).nonzero().flatten()
                chosen = own[labelled[s, h, own]]
                assert len(chosen) == min(quota, len(own))
                assert set(chosen.tolist()) == set(own[d[s, h, own].argsort()[: len(chosen)]].tolist())


def divide(z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and labelled (2, 1, 1, N) from logits (2, 1, 1, N, K), in blocks of 3 samples."""
    blocks = [(slice(i, i + 3), z[..., i : i + 3, :]) for i in range(0, z.shape[3], 3)]
    training = SimpleNamespace(
        context=SimpleNamespace(n_classes=z.shape[-1]), y=y, sweep=lambda: iter(blocks)
    )
    return make_method("unicon").divide(training)


def test_division_is_by_the_mean_probability_of_both_networks_and_the_same_for_both() -> None:
    p = [
        [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.99, 0.01], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9], [0.9, 0.1]],
        [[0.7, 0.3], [0.5, 0.5], [0.3, 0.7], [0.97, 0.03], [0.2, 0.8], [0.3, 0.7], [0.5, 0.5], [0.7, 0.3]],
    ]
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]).view(1, 1, 8)
    weight, labelled = divide(made(p).log(), y)
    own = torch.tensor([0.8, 0.5, 0.2, 0.98, 0.6, 0.7, 0.7, 0.2], dtype=F64)  # of the label, mean of both
    d = divergence_from_label(own)
    assert (d < d.mean()).tolist() == [True, False, False, True, True, True, True, False]
    # Five below the mean: two of each class.
    assert labelled[0, 0, 0].nonzero().flatten().tolist() == [0, 3, 5, 6]
    assert torch.equal(labelled[0], labelled[1])
    expected = torch.where(d < 0.5, 1.0, 1 - d)
    assert (d > 0.5).nonzero().flatten().tolist() == [2, 7]
    torch.testing.assert_close(weight, expected.expand(2, 1, 1, 8), rtol=0, atol=1e-14)


def test_ranking_within_a_class_is_that_of_the_cross_entropy_of_the_mean_prediction() -> None:
    g = torch.Generator().manual_seed(6)
    p = torch.rand(50, generator=g, dtype=F64)
    assert torch.equal(divergence_from_label(p).argsort(), (-p.log()).argsort())


def test_weight_of_the_unlabelled_loss_is_a_number_for_all_runs() -> None:
    state = step_of(make_method("unicon", {"unlabelled_weight": 12}), 4, 3, runs=(1, 2), rate=0.4).state
    assert state["unlabelled_weight"].tolist() == [[12, 12]]


def test_weak_views_make_the_targets_and_strong_ones_are_mixed(monkeypatch) -> None:
    X, y = blobs(20, 3, 4)
    training, index = bank_of("unicon", X, y, K=3), torch.tensor([2, 9, 4])
    drawn = SimpleNamespace(beta=lambda a, b: 1.0, permutation=np.arange)
    monkeypatch.setattr(mixup, "numpy_generator", lambda *parts: drawn)
    original, targets, asked = semisupervised.mixed_gradient, [], []

    def spy(z, q, labelled, weight, prior):
        targets.append(q.clone())
        return original(z, q, labelled, weight, prior)

    monkeypatch.setattr(semisupervised, "mixed_gradient", spy)
    made_views = torch.randn((4, 1, 3, 4), generator=torch.Generator().manual_seed(5), dtype=F64)
    training.views = lambda batch, drops: asked.append(drops) or made_views
    training.state["clean_weight"] = torch.zeros((2, 1, 1, 20), dtype=F64)
    training.state["labelled"] = torch.zeros((2, 1, 1, 20), dtype=torch.bool)
    weak = torch.softmax(training.forward(made_views[:2].flatten(1, 2).flatten(0, 1)).clone(), -1)
    guess = sharpen(weak[:, 0, 0].unflatten(1, (2, 3)).mean((0, 1)), 0.5)
    seen = watched_step(training, batch_of(training, index, epoch=4))
    assert asked == [(0.1, 0.1, 0.2, 0.2)]
    torch.testing.assert_close(seen.x[0], made_views[2:, 0].flatten(0, 1), rtol=0, atol=1e-15)
    torch.testing.assert_close(targets[0][:, 0, 0], guess.repeat(2, 2, 1), rtol=0, atol=1e-14)


def test_warm_up_is_plain_cross_entropy() -> None:
    X, y = blobs(20, 3, 4)
    training, ce = bank_of("unicon", X, y, K=3, head="mlp"), make_method("ce")
    batch = batch_of(training, range(8))
    seen = watched_step(training, batch)
    expected = ce.gradient(seen.logits, training.labels(batch), batch)
    torch.testing.assert_close(seen.gradient, expected, rtol=0, atol=1e-16)
    loss = training.method.loss(seen.logits, training.labels(batch), batch)
    torch.testing.assert_close(loss, ce.loss(seen.logits, training.labels(batch), batch), rtol=0, atol=0)


def test_labelled_samples_of_a_trained_bank_are_balanced() -> None:
    X, y = blobs(90, 3, 4)
    noisy = np.where(np.arange(90) % 5 == 0, (y + 1) % 3, y)
    training = bank_of(make_method("unicon", {"warm_up": 0.3}), X, noisy, K=3, learning_rate=0.05)
    for epoch in range(5):
        training.train_epoch(epoch, None)
    labelled = training.state["labelled"][0, 0, 0]
    counts = torch.bincount(training.y[0, 0][labelled], minlength=3)
    assert counts.min() == counts.max() > 5
