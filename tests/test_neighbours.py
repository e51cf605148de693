"""Nearest neighbours against a sort of all distances, and the k that confirms a label by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from blobs import blobs
from reference.neighbours import ANN
from sizes import LargestTensor

from noisylib import neighbours
from noisylib.errors import NoisylibError
from noisylib.neighbours import confirming_k, nearest

F64 = torch.float64


def by_sorting(X: torch.Tensor, k: int, queries: torch.Tensor | None = None) -> torch.Tensor:
    """The definition: sort all others by distance, then by position."""
    found = []
    for i, point in enumerate(X if queries is None else queries):
        others = [n for n in range(len(X)) if queries is not None or n != i]
        distance = {n: math.fsum((X[n].double() - point.double()).square().tolist()) for n in others}
        found.append(sorted(others, key=lambda n, distance=distance: (distance[n], n))[:k])
    return torch.tensor(found)


def random_points(n: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((n, width), generator=torch.Generator().manual_seed(seed), dtype=F64)


def grid_points(n: int) -> torch.Tensor:
    """Points of a 3 x 3 grid: many duplicates and many equal distances, all exact in floating point."""
    return torch.randint(0, 3, (n, 2), generator=torch.Generator().manual_seed(1)).to(F64)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_neighbours_are_those_of_a_full_sort(dtype: torch.dtype) -> None:
    X, queries = random_points(60, 5).to(dtype), random_points(23, 5, seed=1).to(dtype)
    assert torch.equal(nearest(X, 7), by_sorting(X, 7))
    assert torch.equal(nearest(X, 7, queries), by_sorting(X, 7, queries))


def test_all_samples_can_be_neighbours() -> None:
    X, queries = random_points(9, 3), random_points(4, 3, seed=1)
    assert torch.equal(nearest(X, 8), by_sorting(X, 8))
    assert torch.equal(nearest(X, 9, queries), by_sorting(X, 9, queries))


@pytest.mark.parametrize("block_rows", [None, 1, 7, 1000])
def test_equal_distances_go_to_the_smaller_position_in_any_block(block_rows: int | None) -> None:
    X, queries = grid_points(80), grid_points(11)
    assert torch.equal(nearest(X, 13, block_rows=block_rows), by_sorting(X, 13))
    assert torch.equal(nearest(X, 13, queries, block_rows=block_rows), by_sorting(X, 13, queries))


@pytest.mark.parametrize("block_rows", [1, 3, 64, 201])
def test_duplicates_with_long_fractions_tie_as_well(block_rows: int) -> None:
    """Where a row stands in a matrix product decides how it is rounded; the ties must not show it."""
    distinct = random_points(67, 37)
    X = distinct.repeat(3, 1)  # row i again at i + 67 and i + 134
    found = nearest(X, 5, block_rows=block_rows)
    at = torch.arange(67)
    assert torch.equal(found[:67, :2], torch.stack((at + 67, at + 134), 1))
    assert torch.equal(found[67:134, :2], torch.stack((at, at + 134), 1))
    assert torch.equal(found[134:, :2], torch.stack((at, at + 67), 1))
    first, second, third = found[:, 2:].T
    assert torch.equal(second, first + 67)
    assert torch.equal(third, first + 134)


def test_a_sample_is_left_out_by_position_and_its_duplicates_stay() -> None:
    X = torch.tensor([[0.0], [5.0], [0.0], [0.0], [6.0]], dtype=F64)
    assert nearest(X, 2).tolist() == [[2, 3], [4, 0], [0, 3], [0, 2], [1, 0]]


def test_identical_samples_come_in_the_order_of_their_positions() -> None:
    found = nearest(torch.ones((30, 4)), 3)
    assert found[:3].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3]]
    assert (found[3:] == torch.tensor([0, 1, 2])).all()


@pytest.mark.parametrize("shift", [2**15, 2**18, 2**21])
def test_features_far_from_the_origin_lose_no_digits(shift: int) -> None:
    """|x|^2 - 2 x.q is up to 2^44 here and rounds by up to 2^-9; squared distances are below 1."""
    fractions = torch.randint(0, 2**10, (150, 3), generator=torch.Generator().manual_seed(3))
    near_origin = fractions.to(F64) / 2**12
    X = near_origin + shift  # exact, and so are all differences and their squares
    assert torch.equal(nearest(X, 40), by_sorting(near_origin, 40))


def test_the_order_of_the_rows_does_not_matter() -> None:
    X = random_points(70, 4)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(5))
    assert torch.equal(order[nearest(X[order], 9)], nearest(X, 9)[order])


@pytest.mark.parametrize("own", [True, False])
def test_memory_is_bounded(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_SIZE", 2**13)
    X = random_points(1000, 3)
    with LargestTensor() as largest:
        found = nearest(X, 5, None if own else X)
    assert largest.numel <= 2**13, f"a tensor with {largest.numel} values: an N x N matrix has {1000**2}"
    assert torch.equal(found, nearest(X, 5, None if own else X, block_rows=1000))


@pytest.mark.parametrize(("k", "own", "most"), [(0, True, 4), (5, True, 4), (6, False, 5), (-1, False, 5)])
def test_k_out_of_range(k: int, own: bool, most: int) -> None:
    X = random_points(5, 2)
    with pytest.raises(NoisylibError, match=rf"k={k}: X has 5 rows.* from 1 to {most}"):
        nearest(X, k, None if own else X)


def test_widths_must_agree_and_values_be_finite() -> None:
    X = random_points(5, 2)
    with pytest.raises(NoisylibError, match=r"queries has shape \(3, 4\).*the same D"):
        nearest(X, 1, random_points(3, 4))
    with pytest.raises(NoisylibError, match=r"X has shape \(5,\)"):
        nearest(X[:, 0], 1)
    with pytest.raises(NoisylibError, match="queries has NaN or infinite"):
        nearest(X, 1, torch.tensor([[0.0, math.nan]]))


# Confirming k ---------------------------------------------------------------------------------------


def test_confirming_k_by_hand() -> None:
    """Five points on a line; neighbours nearest first are written out."""
    index = torch.tensor([[1, 2, 3, 4, 5], [0, 2, 3, 4, 5], [1, 3, 0, 4, 5]])
    index = torch.cat((index, torch.tensor([[2, 4, 1, 5, 0], [5, 3, 2, 1, 0], [4, 3, 2, 1, 0]])))
    y = torch.tensor([0, 0, 1, 1, 0, 1])
    # 0: [0]: own at once. 1: [0]: own at once. 2: [0], [0 1 0], then all five: 0 1 0 0 1 -> never: 5.
    # 3: [1]: own at once. 4: [1], [1 1 1], never: 5. 5: [0], [0 1 1]: own with three.
    assert confirming_k(index, y, 1, 2).tolist() == [1, 1, 5, 1, 5, 3]


def test_a_tie_of_the_majority_goes_to_the_lowest_class() -> None:
    index = torch.tensor([[1, 2, 3, 1, 2]] * 4)
    y = torch.tensor([0, 2, 1, 0])
    # The first three neighbours are 2, 1, 0, one each, so the majority is 0: own for samples 0 and 3 only.
    # Only k = 3 is tried, so sample 1 of class 2 and sample 2 of class 1 end at 5.
    assert confirming_k(index, y, 3, 3).tolist() == [3, 5, 5, 3]


@pytest.mark.parametrize("K", [2, 7])
def test_far_clusters_with_clean_labels_need_the_fewest(K: int) -> None:
    y = torch.arange(K).repeat_interleave(60)
    X = random_points(len(y), 4) + 1000 * y[:, None]
    assert (confirming_k(nearest(X, 51), y, 11, K) == 11).all()


def test_a_flipped_label_in_a_clean_cluster_is_never_confirmed() -> None:
    y = torch.arange(2).repeat_interleave(60)
    X = random_points(120, 4) + 1000 * y[:, None]
    y_noisy = y.clone()
    y_noisy[17] = 1
    k = confirming_k(nearest(X, 51), y_noisy, 11, 2)
    assert k[17] == 51
    assert (k[torch.arange(120) != 17] == 11).all()


@pytest.mark.parametrize("K", [2, 4])
def test_confirming_k_equals_the_plain_loop(K: int) -> None:
    X, y = blobs(90, K, 3, spread=0.6)
    X = torch.as_tensor(X)
    runs = torch.randint(0, K, (2, 3, 90), generator=torch.Generator().manual_seed(0))
    runs[0, 0] = torch.as_tensor(y)
    runs[1, 2] = runs[1, 2].clamp(max=K - 2)  # the last class is never observed
    k = confirming_k(nearest(X, 21), runs, 5, K)
    for s in range(2):
        for h in range(3):
            rule = ANN(kmin=5, kmax=21)
            rule.prepare(SimpleNamespace(X=X, y=runs[s, h].tolist(), K=K, N=90))
            assert k[s, h].tolist() == rule.needed
    assert set(k.flatten().tolist()) == set(range(5, 22, 2)), "the case must reach every k"


def test_confirming_k_ignores_classes_that_are_never_observed() -> None:
    index = nearest(random_points(80, 3), 15)
    y = torch.randint(0, 3, (2, 80), generator=torch.Generator().manual_seed(0))
    assert torch.equal(confirming_k(index, y, 3, 3), confirming_k(index, y, 3, 9))


def test_confirming_k_depends_neither_on_blocks_nor_on_the_order_of_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X = random_points(300, 3)
    y = torch.randint(0, 3, (4, 300), generator=torch.Generator().manual_seed(0))
    k = confirming_k(nearest(X, 15), y, 3, 3)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(5))
    assert torch.equal(confirming_k(nearest(X[order], 15), y[:, order], 3, 3), k[:, order])
    monkeypatch.setattr(neighbours, "BLOCK_SIZE", 2000)
    with LargestTensor() as largest:
        assert torch.equal(confirming_k(nearest(X, 15), y, 3, 3), k)
    assert largest.numel <= 300 * 16, f"a tensor with {largest.numel} values; all votes are {4 * 300 * 15}"
