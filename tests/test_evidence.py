"""Evidence on labels: held-out probabilities and neighbours, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import blobs

from noisylib import evidence as module
from noisylib.errors import NoisylibError
from noisylib.evidence import Evidence, collect_evidence, nearest_others, probe_recipe
from noisylib.methods import out_of_fold
from noisylib.recipe import Recipe

K, N, D = 3, 90, 5
X, Y = blobs(N, K, D)
SHORT = Recipe(epochs=6, batch_size=16, learning_rate=0.03, score_epochs=1)


def collect(y: np.ndarray = Y, X: np.ndarray = X, n_classes: int = K, **changes) -> list[Evidence]:
    options = {"recipe": SHORT, "device": "cpu", "seeds": [0] * len(np.atleast_2d(y))} | changes
    return collect_evidence(X, y, n_classes, **options)


def test_planted_labels_are_held_out() -> None:
    """Thirty samples, each far out on an axis of its own: only a head that saw a label can predict it."""
    alone = np.arange(0, N, 3)
    far = np.zeros((N, D + len(alone)))
    far[:, :D] = X
    far[alone, D + np.arange(len(alone))] = 40.0
    y = Y.copy()
    y[alone] = np.arange(len(alone)) % K
    (found,) = collect(y, far)
    right = found.held_out.argmax(axis=1) == y
    assert right[alone].mean() < 0.6, "chance is a third; a head that saw them predicts all"
    assert right[np.setdiff1d(np.arange(N), alone)].mean() > 0.8


def test_another_label_of_a_sample_never_changes_its_own_probabilities(monkeypatch) -> None:
    fold = torch.arange(N).expand(1, 1, N) % 5
    monkeypatch.setattr(out_of_fold, "stratified_folds", lambda *_: fold)
    (before,) = collect()
    for i in (0, 41, N - 1):
        y = Y.copy()
        y[i] = (Y[i] + 1) % K
        same = (collect(y)[0].held_out == before.held_out).all(axis=1)
        assert same.tolist() == (fold[0, 0] == fold[0, 0, i]).tolist()


def test_probabilities_are_those_of_a_linear_probe_that_works() -> None:
    (found,) = collect()
    assert found.held_out.shape == (N, K)
    np.testing.assert_allclose(found.held_out.sum(axis=1), 1, atol=1e-12)
    assert (found.held_out.argmax(axis=1) == Y).mean() > 0.8
    assert found.n_classes == K


def test_runs_in_one_bank_are_as_alone() -> None:
    runs, seeds = np.stack([Y, np.roll(Y, 1), (Y + (np.arange(N) % 4 == 0)) % K]), [3, 8, 3]
    together = collect(runs, seeds=seeds)
    for run, seed in enumerate(seeds):
        (alone,) = collect(runs[run], seeds=[seed])
        np.testing.assert_allclose(together[run].held_out, alone.held_out, rtol=0, atol=1e-6)
        assert together[run].y.tolist() == runs[run].tolist()
        assert np.array_equal(together[run].neighbours, alone.neighbours)
    assert not np.allclose(together[0].held_out, together[2].held_out, atol=1e-3)


def test_votes_count_the_labels_of_the_neighbours() -> None:
    made = Evidence(
        y=np.array([0, 1, 1, 2]),
        held_out=np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]]),
        neighbours=np.array([[1, 2], [0, 2], [1, 3], [0, 1]]),
    )
    votes = [[0, 1, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0.5, 0]]
    assert made.neighbour_votes.tolist() == votes
    assert made.neighbour_share.tolist() == [0, 0.5, 0.5, 0]
    assert made.self_confidence.tolist() == [0.5, 0.2, 1.0, 0.4]


# Neighbours ----------------------------------------------------------------------------------------


def by_sorting(X: torch.Tensor, k: int, allowed: list[int]) -> list[list[int]]:
    """The definition: others among `allowed`, by distance, then by position."""
    found = []
    for i in range(len(X)):
        distance = (X - X[i]).double().square().sum(1)
        found.append(sorted((n for n in allowed if n != i), key=lambda n: (distance[n].item(), n))[:k])
    return found


def grid_points(n: int) -> torch.Tensor:
    """Points of a 3 x 3 grid: many duplicates and ties, all exact in floating point."""
    return torch.randint(0, 3, (n, 2), generator=torch.Generator().manual_seed(1)).float()


@pytest.mark.parametrize("rows", [7, 4096])
@pytest.mark.parametrize("points", [grid_points(60), torch.tensor(X[:60]).float(), torch.ones(60, 2)])
def test_neighbours_are_the_nearest_others(points: torch.Tensor, rows: int, monkeypatch) -> None:
    monkeypatch.setattr(module, "QUERY_ROWS", rows)
    assert nearest_others(points, 5).tolist() == by_sorting(points, 5, list(range(60)))


@pytest.mark.parametrize("points", [grid_points(60), torch.tensor(X[:60]).float(), torch.ones(60, 2)])
def test_beyond_the_reference_rows_neighbours_are_drawn_rows_and_never_oneself(
    points: torch.Tensor, monkeypatch
) -> None:
    monkeypatch.setattr(module, "QUERY_ROWS", 13)
    found = nearest_others(points, 5, seed=4, reference_rows=20)
    drawn = sorted(module.numpy_generator("reference-rows", 4).permutation(60)[:20].tolist())
    assert found.tolist() == by_sorting(points, 5, drawn)
    assert not (found == np.arange(60)[:, None]).any()
    other = nearest_others(points, 5, seed=5, reference_rows=20)
    assert not np.array_equal(found, other)


def test_there_are_never_more_neighbours_than_other_rows() -> None:
    assert nearest_others(torch.tensor(X[:6]).float(), 11).shape == (6, 5)
    assert nearest_others(torch.tensor(X[:30]).float(), 11, reference_rows=8).shape == (30, 7)


# What may be odd -----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 2, 4])
def test_classes_with_few_samples_work(left: int) -> None:
    y = np.where(Y == 2, 1, Y)
    y[np.flatnonzero(Y == 2)[:left]] = 2
    (found,) = collect(y)
    assert found.held_out.shape == (N, K)
    assert np.isfinite(found.held_out).all()
    assert found.neighbour_votes.shape == (N, K)
    if left == 1:
        # Its only sample is judged by a head that has never seen the class.
        lone = found.held_out[y == 2, 2]
        assert lone < found.held_out[y != 2, 2].max()


def test_constant_features_are_harmless() -> None:
    wide = np.column_stack([X, np.full(N, 3.0)])
    (a,), (b,) = collect(X=wide), collect()
    assert np.array_equal(a.neighbours, b.neighbours)
    assert np.isfinite(a.held_out).all()


def test_epochs_shrink_where_rows_are_many_and_grow_where_they_are_few() -> None:
    assert probe_recipe(500).epochs == probe_recipe(12_000).epochs == Recipe().epochs
    assert probe_recipe(385).epochs == 50, "four steps of 128 each"
    assert probe_recipe(384).epochs == 67, "three steps each, 200 or more in all"
    assert probe_recipe(60).epochs == 200
    assert probe_recipe(20_000).epochs == 30
    assert probe_recipe(10**6).epochs == 5
    assert probe_recipe(10**6).score_epochs == 1


def test_progress_rises_to_the_end(monkeypatch) -> None:
    monkeypatch.setattr(module, "QUERY_ROWS", 30)
    seen: list[tuple[int, int]] = []
    collect(progress=lambda done, work: seen.append((done, work)))
    done, work = zip(*seen, strict=True)
    assert len(seen) == 4, "three blocks of 30 rows, and the heads"
    assert len(set(work)) == 1
    assert list(done) == sorted(set(done))
    assert done[-1] == work[0]
    assert done[2] == N * N * D


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": X[:-1]}, "y_noisy has 90 labels per run, but X has 89 rows"),
        ({"X": np.where(np.arange(D) == 2, np.nan, X)}, "NaN or infinite values in 90 rows"),
        ({"y": Y.astype(float)}, "one integer label per sample"),
        ({"n_classes": 2}, r"is outside 0..1"),
        ({"seeds": [0, 1]}, "seeds has length 2, but y_noisy has 1 runs"),
        ({"folds": 1}, "folds=1: a whole number from 2 to N=90"),
        ({"folds": True}, "folds=True"),
        ({"folds": 91}, "folds=91"),
    ],
)
def test_bad_input_is_named(changes: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        collect(**changes)
