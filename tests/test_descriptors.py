"""Descriptors of evidence small enough to count by hand, and of degenerate evidence."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from noisylib.descriptors import DESCRIPTORS, Descriptors, describe, loss_groups
from noisylib.evidence import Evidence

Y = np.array([0, 0, 0, 1, 1, 2])
P = np.array(
    [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2]]
)
NEIGHBOURS = np.array([[1, 2], [0, 2], [3, 4], [4, 2], [3, 0], [0, 1]])


def test_by_hand() -> None:
    """Shares of equal neighbours: 1, 1, 0, .5, .5, 0. Right predictions: samples 0, 1 and 3."""
    found = describe(np.zeros((6, 4)), Evidence(Y, P, NEIGHBOURS))
    assert (found.n_samples, found.n_features, found.n_classes) == (6, 4, 3)
    assert found.samples_per_feature == 1.5
    assert found.imbalance == 3
    assert found.neighbour_agreement == pytest.approx(3 / 6)
    assert found.neighbour_agreement_min == 0
    assert found.held_out_accuracy == pytest.approx(3 / 6)
    assert found.held_out_balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found.confidence_top == pytest.approx(0.8)
    assert found.class_counts.tolist() == [3, 2, 1]
    np.testing.assert_allclose(found.class_agreement, [2 / 3, 1 / 2, 0])
    np.testing.assert_allclose(found.class_recall, [2 / 3, 1 / 2, 0])
    # Thresholds .567, .55, .2: labelled 0 are 0, 0, 1; labelled 1 are 1, 0; labelled 2 (.5, .3, .2) is a 2.
    np.testing.assert_allclose(found.class_purity, [2 / 3, 1 / 2, 1])
    assert found.confident_rate == pytest.approx(2 / 6)
    assert found.confident_asymmetry == 1


def test_every_scalar_has_a_meaning_and_its_place() -> None:
    found = describe(np.zeros((6, 4)), Evidence(Y, P, NEIGHBOURS))
    scalars = [f.name for f in fields(Descriptors) if not f.name.startswith("class_")]
    assert list(DESCRIPTORS) == scalars == list(found.scalars())
    assert all(type(value) is float for value in found.scalars().values())
    assert list(found.class_lists()) == ["class_counts", "class_agreement", "class_recall", "class_purity"]
    assert found.class_lists()["class_counts"] == [3, 2, 1]


def test_two_groups_of_losses() -> None:
    """300 losses near .1 and 100 near 3.1, each with deviation .01: 3 / sqrt(.01^2 + the mixture's 5e-4)."""
    spread = 0.01 * np.tile([-1.0, 1.0], 200)
    losses = np.concatenate([np.full(300, 0.1), np.full(100, 3.1)]) + spread
    p = np.exp(-losses)
    evidence = Evidence(np.zeros(400, np.int64), np.stack([p, 1 - p], 1), np.zeros((400, 1), np.int64))
    gap, high = loss_groups(evidence)
    assert gap == pytest.approx(3 / np.sqrt(1e-4 + 5e-4), rel=1e-6)
    assert high == pytest.approx(0.25)


def test_equal_losses_are_one_group() -> None:
    evidence = Evidence(np.array([0, 1, 0, 1]), np.full((4, 2), 0.5), np.array([[1], [0], [1], [0]]))
    assert loss_groups(evidence) == (0.0, 0.0)


@pytest.mark.parametrize("K", [2, 4])
def test_degenerate_evidence_has_finite_descriptors(K: int) -> None:
    """One observed class, certain predictions with a probability of 0, one neighbour, a class unseen."""
    certain = np.eye(K)[np.array([0, 1, 0])]
    for y in ([0, 0, 0], [1, 1, 1], [0, 1, 0]):
        found = describe(np.zeros((3, 1)), Evidence(np.array(y), certain, np.array([[1], [0], [1]])))
        assert np.isfinite(list(found.scalars().values())).all()
        assert all(np.isfinite(values).all() for values in found.class_lists().values())
    assert (
        describe(np.zeros((3, 1)), Evidence(np.zeros(3, int), certain, np.array([[1], [0], [1]]))).imbalance
        == 1
    )


def test_order_of_samples_does_not_matter() -> None:
    g = np.random.default_rng(0)
    y, probabilities = g.integers(0, 3, 90), g.dirichlet(np.ones(3), 90)
    neighbours = np.stack([np.delete(np.arange(90), i)[g.permutation(89)[:5]] for i in range(90)])
    order = g.permutation(90)
    place = np.argsort(order)
    first = describe(np.zeros((90, 2)), Evidence(y, probabilities, neighbours)).scalars()
    again = describe(
        np.zeros((90, 2)), Evidence(y[order], probabilities[order], place[neighbours[order]])
    ).scalars()
    assert first == pytest.approx(again, rel=1e-9)
