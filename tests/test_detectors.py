"""Scores of the detectors, by hand on two runs of four samples and three classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_signals import Y_NOISY, Y, signals_of

from noisylib import detectors
from noisylib.confident import keep_mask
from noisylib.detectors import DETECTORS, LAST_EPOCHS, present
from noisylib.errors import NoisylibError
from noisylib.mixtures import low_posterior, scale_to_unit

KEYS = {
    "same model": ["loss_same", "agreement_same"],
    "as deployed": ["loss", "peer_loss", "agreement"],
    "repeated": ["agreement_epochs", "agreement_folds", "agreement_neighbours"],
    "other": ["held_out_loss", "wann", "confident", "mixture", "mixture_class"],
}


def scores(key: str, **signals) -> np.ndarray:
    """Scores (R, N) of one detector."""
    found = DETECTORS[key].scores(signals_of(**signals))
    assert found.dtype == np.float64
    assert found.flags.writeable or key == "agreement_neighbours"
    return found


def test_the_detectors_in_order_and_what_they_are_matched_to() -> None:
    assert list(DETECTORS) == [key for keys in KEYS.values() for key in keys]
    for design, keys in KEYS.items():
        assert [d.key for d in DETECTORS.values() if d.design == design] == keys
    assert [key for key, d in DETECTORS.items() if d.is_set] == ["agreement_same", "agreement"]
    same = {key for key, d in DETECTORS.items() if d.matched_to == "agreement_same"}
    assert same == {"loss_same", "agreement_same"}
    assert {d.matched_to for key, d in DETECTORS.items() if key not in same} == {"agreement"}


def test_losses_count_from_below_after_the_last_epoch() -> None:
    losses = np.arange(16, dtype=np.float32).reshape(2, 2, 4)
    expected = -np.arange(8, 16).reshape(2, 4)
    for key in ("loss_same", "loss"):
        assert scores(key, losses=losses, probe_losses=losses + 1).tolist() == expected.tolist()
    assert scores("peer_loss", peer_losses=losses[0]).tolist() == (-losses[0]).tolist()


def test_without_co_teaching_its_loss_is_no_detector() -> None:
    assert [d.key for d in present(signals_of())] == [key for key in DETECTORS if key != "peer_loss"]
    with_peers = signals_of(peer_losses=np.ones((2, 4)))
    assert [d.key for d in present(with_peers)] == list(DETECTORS)
    with pytest.raises(NoisylibError, match="peers=True"):
        scores("peer_loss")


def test_a_sample_agrees_if_the_last_prediction_is_its_observed_label() -> None:
    """Y_NOISY is 0 1 1 0 and 1 1 2 0."""
    early, late = np.zeros((2, 4), int), np.array([[0, 0, 1, 2], [1, 1, 1, 1]])
    one, other = np.stack([early, late]), np.stack([late, early])
    for key, prefix, rest in (("agreement_same", "", "probe_"), ("agreement", "probe_", "")):
        made = {f"{prefix}predicted": one, f"{rest}predicted": other}
        assert scores(key, **made).tolist() == [[1, 0, 1, 0], [1, 1, 0, 0]]


def test_agreement_over_epochs_is_the_share_of_the_probes_last_ten() -> None:
    predicted = np.tile(Y_NOISY, (12, 1, 1))
    predicted[:2] = (Y_NOISY + 1) % 3  # too early to count
    predicted[2:5, 0, 1] = 2
    predicted[11, 1, 3] = 2
    expected = np.ones((2, 4))
    expected[0, 1], expected[1, 3] = 0.7, 0.9
    np.testing.assert_allclose(scores("agreement_epochs", probe_predicted=predicted), expected, rtol=1e-15)
    assert LAST_EPOCHS == 10
    assert scores("agreement_epochs", probe_predicted=predicted[:4]).tolist()[0] == [0.5, 0, 0.5, 0.5]


P = np.array(
    [
        [[0.4, 0.3, 0.3], [0.5, 0.45, 0.05], [0.1, 0.9, 0.0], [0.0, 0.5, 0.5]],
        [[0.4, 0.4, 0.2], [0.2, 0.6, 0.2], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]],
    ]
)


def test_agreement_out_of_fold_comes_before_probability() -> None:
    """Sample 0 agrees with .4, sample 1 does not with .45; of equal probabilities the first is predicted."""
    expected = [[1.4, 0.45, 1.9, 0.0], [0.4, 1.6, 2.0, 2.0]]
    np.testing.assert_allclose(scores("agreement_folds", held_out=P), expected, rtol=1e-15)


def test_the_loss_out_of_fold_is_the_log_probability_of_the_observed_label() -> None:
    own = np.array([[0.4, 0.45, 0.9, 0.0], [0.4, 0.6, 1.0, 1.0]])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(scores("held_out_loss", held_out=P), np.log(own), rtol=1e-15)


def test_neighbours_are_taken_as_they_are_and_wann_by_its_reliability() -> None:
    share = np.array([[0, 1, 5, 11], [1, 1, 2, 3]]) / 11
    assert scores("agreement_neighbours", neighbours=share).tolist() == share.tolist()
    k = np.array([[11, 51, 13, 11], [21, 11, 11, 51]])
    assert scores("wann", confirming=k).tolist() == (1 / k).tolist()


def test_confident_learning_ranks_what_it_keeps_first_and_then_by_the_margin(monkeypatch) -> None:
    kept = torch.tensor([[True, False, True, False], [False, True, True, True]])
    monkeypatch.setattr(detectors, "keep_mask", lambda y, _: kept if (y == Y_NOISY).all() else None)
    margin = [[0.1, -0.05, 0.8, -0.5], [0.0, 0.4, 1.0, 1.0]]
    found = scores("confident", held_out=P)
    np.testing.assert_allclose(found, np.array(margin) + 2 * kept.numpy(), rtol=0, atol=1e-15)


def test_confident_learning_keeps_what_the_method_keeps() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    y_noisy = np.stack([np.where(rng.random(300) < rate, (y + 1) % 3, y) for rate in (0.1, 0.4)])
    held_out = rng.dirichlet([1, 1, 1], (2, 300)) * 0.4 + 0.6 * np.eye(3)[y]
    found = scores("confident", y=y, y_noisy=y_noisy, held_out=held_out)
    kept = keep_mask(y_noisy, held_out).numpy()
    assert 0.1 < kept.mean() < 0.99
    for run in range(2):
        assert found[run][kept[run]].min() > found[run][~kept[run]].max()


def uneven_losses() -> dict[str, np.ndarray]:
    """Losses of two runs: class 0 is low and wide, class 1 high, and class 2 has three samples."""
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2], [40, 30, 3])
    y_noisy = np.stack([y, np.roll(y, 5)])
    losses = rng.gamma(2.0, 0.2 + 0.5 * y_noisy[None], size=(3, 2, 73)).astype(np.float32)
    return {"y": y, "y_noisy": y_noisy, "losses": losses}


def test_the_mixture_is_of_all_losses_of_a_run_after_the_last_epoch() -> None:
    made = uneven_losses()
    found = scores("mixture", **made)
    for run in range(2):
        alone = low_posterior(scale_to_unit(torch.tensor(made["losses"][-1, run], dtype=torch.float64)))
        np.testing.assert_allclose(found[run], alone, rtol=0, atol=1e-12)
    assert 0.05 < found.mean() < 0.95


def test_the_mixture_per_class_is_that_of_each_observed_class_alone() -> None:
    made = uneven_losses()
    found = scores("mixture_class", **made)
    for run in range(2):
        for c in range(2):
            members = made["y_noisy"][run] == c
            losses = torch.tensor(made["losses"][-1, run, members], dtype=torch.float64)
            expected = low_posterior(scale_to_unit(losses))
            assert expected.min() < 0.5 < expected.max()
            np.testing.assert_allclose(found[run, members], expected, rtol=0, atol=1e-12)
        assert (found[run, made["y_noisy"][run] == 2] == 1).all(), "three samples say nothing"


def test_no_detector_looks_at_the_true_labels() -> None:
    made = uneven_losses()
    rng = np.random.default_rng(2)
    made |= {
        "held_out": rng.dirichlet([1, 1, 1], (2, 73)),
        "peer_losses": rng.random((2, 73)),
        "predicted": rng.integers(0, 3, (3, 2, 73)),
        "probe_predicted": rng.integers(0, 3, (3, 2, 73)),
    }
    one, other = signals_of(**made), signals_of(**made | {"y": made["y"][::-1].copy()})
    assert (one.flipped != other.flipped).any()
    for key, detector in DETECTORS.items():
        assert np.array_equal(detector.scores(one), detector.scores(other)), key


def test_the_made_signals_are_what_they_say() -> None:
    assert signals_of().flipped.tolist() == (Y_NOISY != Y).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
