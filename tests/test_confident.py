"""Confident learning's keep mask against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noisylib.confident import keep_mask, quality_scores
from noisylib.errors import NoisylibError

F64 = torch.float64


def binary(*second: float) -> torch.Tensor:
    """Probabilities (N, 2) from those of class 1."""
    p = torch.tensor(second, dtype=F64)
    return torch.stack((1 - p, p), -1)


def random_case(n: int, K: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels that often, but not always, are the most probable class."""
    g = torch.Generator().manual_seed(seed)
    P = (2 * torch.randn((n, K), generator=g, dtype=F64)).softmax(-1)
    y = torch.where(torch.rand(n, generator=g) < 0.6, P.argmax(-1), torch.randint(0, K, (n,), generator=g))
    return y, P


@pytest.mark.parametrize("K", [2, 5])
def test_certain_predictions_that_agree_prune_nothing(K: int) -> None:
    y = torch.arange(4 * K) % K
    assert keep_mask(y, torch.eye(K, dtype=F64)[y]).all()


def test_two_classes_by_hand() -> None:
    """Mean probabilities of the own label: t0 = (.9 + .8 + .7 + .2) / 4 = .65, t1 = .6125.

    Certain of a class are those at or above its t. Labelled 0: three 0, one 1. Labelled 1: .3 is a 0
    (.7 >= .65), .9 and .8 are 1, and .45 is neither. Counts [[3, 1], [1, 2]], second row scaled to its
    four samples and rounded [1, 3]. One of each label goes, the one most probably of the other class.
    """
    P = binary(0.1, 0.2, 0.3, 0.8, 0.9, 0.8, 0.45, 0.3)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    assert keep_mask(y, P).tolist() == [True, True, True, False, True, True, True, False]


def test_counts_are_scaled_to_the_labels_before_pruning() -> None:
    """t1 = (.9 + .5 + .45 + .3) / 4 = .5375: of label 1 one is certainly a 1 and one a 0, two neither.

    Counts [1, 1] scaled to four samples are [2, 2], so two go: .3 and then .45.
    """
    P = binary(0.1, 0.2, 0.3, 0.8, 0.9, 0.5, 0.45, 0.3)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    assert keep_mask(y, P).tolist() == [True, True, True, False, True, True, False, False]


def test_a_label_that_is_the_most_probable_class_stays() -> None:
    """Label 1 has t1 = .55: its .51 is neither class, yet the scaled counts ask for two to go."""
    P = binary(0.1, 0.2, 0.3, 0.8, 0.85, 0.51, 0.53, 0.31)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    assert keep_mask(y, P).tolist() == [True, True, True, False, True, True, True, False]


def test_each_pair_of_classes_loses_its_own_samples() -> None:
    """t = (.56, .8, .8). Of label 0, four are certainly 0, the fifth a 1, the sixth neither: [4, 1, 0].

    Scaled to six samples and rounded [5, 1, 0]: the one most probably a 1 rather than a 0 goes, not the
    sixth, although that is the least probable 0 of all.
    """
    P = [[0.8, 0.1, 0.1]] * 4 + [[0.1, 0.88, 0.02], [0.05, 0.4, 0.55]]
    P += [[0.1, 0.8, 0.1]] * 3 + [[0.1, 0.1, 0.8]] * 3
    y = torch.tensor([0] * 6 + [1] * 3 + [2] * 3)
    assert (~keep_mask(y, torch.tensor(P, dtype=F64))).nonzero().flatten().tolist() == [4]


def test_runs_are_independent_and_keep_their_axes() -> None:
    cases = [random_case(60, 4, seed) for seed in range(6)]
    y = torch.stack([y for y, _ in cases]).view(2, 3, 60)
    P = torch.stack([P for _, P in cases]).view(2, 3, 60, 4)
    kept = keep_mask(y, P)
    assert kept.shape == (2, 3, 60)
    assert kept.dtype == torch.bool
    for run, (labels, probabilities) in enumerate(cases):
        alone = keep_mask(labels, probabilities)
        assert torch.equal(kept[run // 3, run % 3], alone)
        assert 5 < (~alone).sum() < 30, "the case must prune something"


def test_arrays_and_single_precision_give_the_same_mask() -> None:
    y, P = random_case(60, 4, 0)
    expected = keep_mask(y, P)
    assert torch.equal(keep_mask(y.numpy(), P.numpy()), expected)
    assert torch.equal(keep_mask(y.int(), P.float()), expected)


def test_no_observed_class_vanishes() -> None:
    """Every sample of class 1 looks like class 0; the one that does so least stays."""
    P = binary(0.1, 0.1, 0.1, 0.1, 0.2, 0.1, 0.05)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    assert keep_mask(y, P).tolist() == [True, True, True, True, True, False, False]


def test_a_class_with_one_sample_keeps_it_without_a_warning() -> None:
    P = binary(0.1, 0.2, 0.1, 0.3, 0.05)
    assert keep_mask(torch.tensor([0, 0, 0, 0, 1]), P).all()


def test_small_classes_survive_in_many_draws() -> None:
    for seed in range(200):
        y, P = random_case(25, 6, seed)
        kept = keep_mask(y, P.roll(1, 1))  # most labels look wrong
        assert torch.equal(y[kept].unique(), y.unique())


def test_a_class_that_is_never_observed_changes_nothing() -> None:
    P = binary(0.1, 0.2, 0.3, 0.8, 0.9, 0.5, 0.45, 0.3)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    wider = torch.cat((P, P.new_zeros((8, 1))), 1)
    assert torch.equal(keep_mask(y, wider), keep_mask(y, P))


@pytest.mark.parametrize("label", [0, 1])
def test_with_one_observed_class_all_stay(label: int) -> None:
    assert keep_mask(torch.full((4,), label), binary(0.1, 0.9, 0.5, 0.4)).all()


def test_bad_input() -> None:
    P = binary(0.1, 0.9)
    with pytest.raises(NoisylibError, match=r"y has shape \(3,\) and probabilities \(2, 2\)"):
        keep_mask(torch.tensor([0, 1, 1]), P)
    with pytest.raises(NoisylibError, match=r"from 0 to 2: integer labels in 0\.\.1"):
        keep_mask(torch.tensor([0, 2]), P)
    with pytest.raises(NoisylibError, match="integer labels"):
        keep_mask(torch.tensor([0.0, 1.0]), P)
    with pytest.raises(NoisylibError, match=r"probabilities has 1 rows .*\[1.5, -0.5\]"):
        keep_mask(torch.tensor([0, 1]), torch.tensor([[0.5, 0.5], [1.5, -0.5]]))
    with pytest.raises(NoisylibError, match="probabilities has 2 rows"):
        keep_mask(torch.tensor([0, 1]), torch.tensor([[0.5, 0.4], [np.nan, 0.5]]))


def test_scores_are_those_of_the_observed_label() -> None:
    y, P = np.array([0, 1, 2]), np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.6, 0.3, 0.1]])
    assert quality_scores(y, P, "self_confidence") == pytest.approx([0.7, 0.4, 0.1])
    # (P of the label - the best of the others + 1) / 2
    assert quality_scores(y, P, "normalized_margin") == pytest.approx([0.75, 0.45, 0.25])
