"""What the chapter on overlap measures: live on a small bank, and made losses with known answers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from made_signals import signals_of

from noisylib.analysis.closed_forms import identical_overlap
from noisylib.analysis.overlap import ESTIMATORS, loss_histogram, overlap
from noisylib.book.describe import overlap as live_part
from noisylib.book.describe import overlap_archive as archive
from noisylib.comparison import noisy_labels
from noisylib.data.simulate import GaussianBed
from noisylib.recipe import Recipe

N, K = 120, 2
GENERATOR = np.random.default_rng(7)


def made_live(epochs: int = 3, runs: int = 2) -> live_part.Live:
    """Two runs in which class 0 has 24 wrong labels, class 1 has 10, and the losses are known.

    In the second of three epochs right and wrong labels have losses that never meet; else all are alike.
    """
    y = np.repeat([0, 1], [70, 50])
    y_noisy = y.copy()
    y_noisy[46:70], y_noisy[110:] = 1, 0  # 24 samples of class 0 say 1, and 10 of class 1 say 0
    y_noisy = np.stack([y_noisy] * runs)
    losses = GENERATOR.lognormal(size=(epochs, runs, N)).astype(np.float32)
    losses[1] = np.where(y_noisy != y, 5.0, 0.1) * GENERATOR.uniform(0.9, 1.1, size=(runs, N))
    accuracy = np.linspace(0.5, 0.7, epochs)[:, None] + np.zeros((1, runs))
    recall = np.stack([accuracy, accuracy - 0.2], axis=-1)
    signals = signals_of(y, y_noisy, K, losses=losses, accuracy=accuracy, recall=recall)
    bank = SimpleNamespace(class_names=("a", "b"), n_classes=K)
    return live_part.Live(bank, "symmetric", signals, Recipe(epochs=epochs, score_epochs=1), None)


def bank(name: str = "gaussian"):
    return GaussianBed.simplex(K, 4, 3.0).bank(N, 40, seed=0, name=name)


def test_training_gives_both_noises_the_same_rate_and_seeds() -> None:
    params = SimpleNamespace(noise_type="pairflip", noise_rate=0.2, head="linear", epochs=3, seeds=[0, 4])
    live = live_part.train(bank(), params)
    assert live.signals.losses.shape == (3, 2, N)
    assert live.signals.held_out.shape == (2, N, K)
    other, labels, results = live.other
    assert other == "symmetric"
    assert [each.realised_rate for each in labels] == pytest.approx([0.2, 0.2])
    assert results.trace["loss"].shape == (3, 1, 2, N)
    expected = noisy_labels(bank(), "symmetric", 0.2, [0, 4])
    np.testing.assert_array_equal(labels[1].y_noisy, expected[1].y_noisy)
    assert live.decays == [2, 2, 3]  # .5, .75 and .9 of 3 epochs
    frame = live_part.epoch_frame(live)
    assert list(frame["noise_type"].unique()) == ["pairflip", "symmetric"]
    row = frame[(frame["noise_type"] == "symmetric") & (frame["seed"] == 4) & (frame["epoch"] == 2)].iloc[0]
    assert row["overlap"] == overlap(results.trace["loss"][1, 0, 1], labels[1].flipped)


@pytest.mark.parametrize(
    ("name", "noise_type", "rate", "other"),
    [
        ("gaussian", "pairflip", 0.4, "symmetric"),
        ("gaussian", "symmetric", 0.4, None),  # no class map
        ("breastmnist", "symmetric", 0.4, "asymmetric"),
        ("breastmnist", "asymmetric", 0.4, "symmetric"),
        ("breastmnist", "symmetric", 0.5, None),  # the other would be too frequent
    ],
)
def test_the_other_noise_is_one_the_data_set_can_have(name, noise_type, rate, other) -> None:
    assert live_part.other_noise(bank(name), noise_type, rate) == other


def test_views_are_the_last_epoch_the_best_one_and_out_of_fold() -> None:
    live = made_live()
    views = live_part.views(live.signals)
    assert list(views) == list(archive.VIEWS)
    np.testing.assert_array_equal(views["last"], live.signals.losses[2])
    np.testing.assert_array_equal(views["best"], live.signals.losses[1])
    np.testing.assert_allclose(views["held_out"], np.log(2))


def test_estimates_are_means_over_runs_with_an_interval_around_them() -> None:
    live = made_live()
    frame = live_part.estimates(live, draws=20)
    assert frame["estimator"].tolist() == list(ESTIMATORS) * 3
    flipped, losses = live.signals.flipped, live.signals.losses
    last = frame[frame["view"] == "last"].set_index("estimator")
    for name in ESTIMATORS:
        expected = np.mean([overlap(losses[2, r], flipped[r], name) for r in (0, 1)])
        assert last.at[name, "value"] == pytest.approx(expected)
        assert last.at[name, "low"] < last.at[name, "corrected"] < last.at[name, "high"]
    best = frame[frame["view"] == "best"]
    assert best["auroc"].tolist() == [1.0] * 4
    assert best.set_index("estimator").at["histogram", "corrected"] == 0
    held_out = frame[frame["view"] == "held_out"].set_index("estimator")
    assert held_out.at["histogram", "value"] == 1  # constant losses
    assert held_out.at["histogram", "auroc"] == 0.5


def test_histograms_hold_the_samples_of_all_runs() -> None:
    counts = live_part.histograms(made_live())["last"]
    assert (counts.clean.sum(), counts.flipped.sum()) == (2 * 86, 2 * 34)


def test_epochs_count_from_one_and_have_test_scores() -> None:
    frame = live_part.epoch_frame(made_live()).set_index(["seed", "epoch"])
    assert frame.loc[(0, 2), ["overlap", "auroc"]].tolist() == [0, 1]
    assert frame.loc[(1, 3), "balanced_accuracy"] == pytest.approx(0.6)  # recalls .7 and .5


def test_classes_are_observed_ones_and_small_groups_are_nan() -> None:
    frame = live_part.class_frame(made_live(), draws=20).set_index(["view", "class"])
    assert frame.loc[("last", "a"), ["n_clean", "n_flipped"]].tolist() == [46, 10]
    assert frame.loc[("last", "b"), ["n_clean", "n_flipped"]].tolist() == [40, 24]
    assert frame.loc[("last", "a"), ["corrected", "low", "high", "ceiling"]].isna().all()
    b = frame.loc[("last", "b")]
    assert b["low"] < b["corrected"] < b["high"]
    assert 0.3 < b["ceiling"] < 1
    assert frame.at[("held_out", "b"), "ceiling"] == pytest.approx(1)  # one cell holds them all


def test_seed_interval_divides_what_seeds_differ_by_and_not_the_images() -> None:
    # Variance of .4 and .6 is .02, over two seeds .01; errors .3 and .1 have mean square .05.
    mean, low, high = archive.seed_interval([0.4, 0.6], [0.3, 0.1])
    reach = 1.959964 * np.sqrt(0.01 + 0.05)
    assert (mean, low, high) == pytest.approx((0.5, 0.5 - reach, 0.5 + reach))
    assert archive.seed_interval([0.9], [0.1]) == pytest.approx((0.9, 0.9 - 0.1959964, 1))
    assert archive.seed_interval([0.05], [0.1])[1] == 0


def test_ceiling_is_what_equal_distributions_give() -> None:
    clean, flipped = np.array([30, 30, 0]), np.array([10, 30, 0])
    plain = identical_overlap([0.4, 0.6, 0], 60, 40)
    assert archive.ceiling(clean, flipped) == pytest.approx(1 - (2 - np.sqrt(2)) * (1 - plain))
    # One cell has 1/2 of 4000: sqrt(.25 (1/2000 + 1/2000) / 2 pi), twice.
    formula = 1 - 2 * np.sqrt(0.25 / 1000 / (2 * np.pi))
    large = archive.ceiling(np.array([1000, 1000]), np.array([1000, 1000]))
    assert large == pytest.approx(1 - (2 - np.sqrt(2)) * (1 - formula))
    assert identical_overlap([0.5, 0.5], 2000, 2000) == pytest.approx(formula, abs=1e-4)


def test_ceiling_is_the_mean_of_corrected_estimates_of_one_distribution() -> None:
    from noisylib.analysis.overlap_bootstrap import bootstrap_overlap

    found, ceilings = [], []
    for seed in range(20):
        losses = np.random.default_rng(seed).lognormal(size=1000)
        flipped = np.arange(1000) < 400
        counts = loss_histogram(losses, flipped)
        found.append(bootstrap_overlap(losses, flipped, draws=50).corrected)
        ceilings.append(archive.ceiling(counts.clean, counts.flipped))
    assert np.mean(found) == pytest.approx(np.mean(ceilings), abs=0.02)
