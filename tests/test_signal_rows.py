"""Rows of overlap and detection: by hand, and against closed forms on the Gaussian bed."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from made_signals import signals_of

from noisylib import GaussianBed, Recipe
from noisylib.analysis.closed_forms import bed_agreement, bed_loss_overlap
from noisylib.analysis.overlap import ESTIMATORS, class_overlap, equal_size_overlap, loss_histogram, overlap
from noisylib.analysis.overlap_bootstrap import bootstrap_overlap
from noisylib.comparison import noisy_labels
from noisylib.detectors import DETECTORS
from noisylib.errors import NoisylibError
from noisylib.signal_rows import common_size, cut, detection_rows, overlap_rows
from noisylib.signals import Signals, train_signals


def pick(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def only(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (row,) = pick(rows, **wanted)
    return row


def made(runs: int = 2, n: int = 240, epochs: int = 3) -> Signals:
    """Two classes, some flipped, losses that tell them apart a little, best after the second epoch."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    flipped = rng.random((runs, n)) < np.linspace(0.2, 0.4, runs)[:, None]
    shift = np.array([0.5, 2.0, 1.0])[:epochs, None, None]
    return signals_of(
        y=y,
        y_noisy=np.where(flipped, 1 - y, y),
        n_classes=2,
        groups=np.arange(n) // 4,
        losses=np.exp(rng.normal(size=(epochs, runs, n)) + shift * flipped).astype(np.float32),
        held_out=rng.dirichlet([1, 1], (runs, n)),
        accuracy=np.arange(epochs * runs).reshape(epochs, runs) / 10,
        recall=np.arange(epochs * runs * 2).reshape(epochs, runs, 2) / 20,
    )


def test_a_run_has_its_last_its_best_and_its_held_out_losses() -> None:
    rows = overlap_rows(made(), draws=5)
    for run in range(2):
        assert [(r["sample"], r["epoch"], r["estimator"]) for r in rows if r["run"] == run] == [
            *(("train", "last", name) for name in ESTIMATORS),
            ("train", "best", "histogram"),
            *(("held_out", "", name) for name in ESTIMATORS),
        ]
    assert {(r["epoch"], r["epoch_number"]) for r in rows} == {("last", 3), ("best", 2), ("", 3)}


def test_overlaps_are_those_of_the_losses_they_name() -> None:
    signals, size = made(), 30
    rows = overlap_rows(signals, size=size, draws=20, seed=3)
    for run in range(2):
        flipped, y = signals.flipped[run], signals.y_noisy[run]
        for sample, epoch, losses in (
            ("train", "last", signals.losses[2, run]),
            ("train", "best", signals.losses[1, run]),
            ("held_out", "", signals.held_out_losses[run]),
        ):
            for row in pick(rows, run=run, sample=sample, epoch=epoch):
                assert row["value"] == pytest.approx(overlap(losses, flipped, row["estimator"]), rel=1e-12)
            row = only(rows, run=run, sample=sample, epoch=epoch, estimator="histogram")
            drawn = bootstrap_overlap(losses, flipped, groups=signals.groups, draws=20, seed=3)
            assert [row[c] for c in ("corrected", "se", "low", "high")] == [
                drawn.corrected, drawn.se, drawn.low, drawn.high
            ]  # fmt: skip
            assert row["equal_size"] == equal_size_overlap(losses, flipped, size, seed=3)
            assert row["class_overlap"] == class_overlap(losses, flipped, y, 2).tolist()
            cells = loss_histogram(losses, flipped)
            assert row["edges"] == cells.edges.tolist()
            assert row["clean_counts"] == cells.clean.tolist()
            assert row["flipped_counts"] == cells.flipped.tolist()


def test_only_the_headline_has_an_interval_and_a_histogram() -> None:
    rows = overlap_rows(made(), draws=5)
    for row in rows:
        others = [row[name] for name in ("corrected", "se", "low", "high")]
        lists = [row[name] for name in ("class_overlap", "edges", "clean_counts", "flipped_counts")]
        if row["estimator"] == "histogram":
            assert np.isfinite(others).all()
            assert all(lists)
        else:
            assert np.isnan(others).all()
            assert lists == [[], [], [], []]
        assert np.isnan(row["equal_size"]), "no common size was given"
    sized = overlap_rows(made(), size=20, draws=5)
    assert [np.isfinite(r["equal_size"]) for r in sized] == [r["estimator"] == "histogram" for r in sized]


def test_errors_and_counts_are_those_of_the_run_and_the_epoch() -> None:
    """Accuracy of epoch e and run r is (2 e + r) / 10, recall (4 e + 2 r) / 20 and one 20th more."""
    signals = made()
    for row in overlap_rows(signals, draws=5):
        e, r = row["epoch_number"] - 1, row["run"]
        assert row["test_error"] == pytest.approx(1 - (2 * e + r) / 10, rel=1e-14)
        assert row["test_balanced_error"] == pytest.approx(1 - (4 * e + 2 * r + 0.5) / 20, rel=1e-14)
        assert row["n_flipped"] == signals.flipped[r].sum()
        assert row["n_clean"] + row["n_flipped"] == 240
        losses = signals.held_out_losses if row["sample"] == "held_out" else signals.losses[e]
        wrong = signals.flipped[r]
        above = losses[r][wrong][:, None] > losses[r][~wrong]
        assert row["auroc"] == pytest.approx(above.mean(), rel=1e-12)


def test_the_common_size_is_the_smallest_group_of_any_run() -> None:
    flipped = np.array([[True, False, False, False, False], [True, True, True, True, False]])
    flipped = np.c_[flipped, [[True, True], [False, False]]]  # 3 and 4 of 7
    assert common_size(flipped) == 3
    assert common_size(~flipped) == 3
    assert common_size(flipped[1:]) == 3
    assert common_size(flipped[:, :5]) == 1
    uneven = np.arange(6) < np.array([[2], [3], [5]])  # smallest groups of 2, 3 and 1
    assert [common_size(uneven), common_size(uneven[:2]), common_size(uneven[1:2])] == [1, 2, 3]
    with pytest.raises(NoisylibError, match="size=71"):
        overlap_rows(made(), size=71, draws=5)


def test_equal_scores_are_cut_by_a_draw_of_the_seed() -> None:
    scores = np.array([0, 1, 1, 1, 1, 1, 1, 2.0])
    kept = [cut(scores, 3, seed) for seed in range(30)]
    assert all(k.sum() == 3 and k[7] and not k[0] for k in kept)
    assert np.mean(kept, axis=0)[1:7].min() > 0, "each of the equal ones is kept by some seed"
    assert np.array_equal(kept[4], cut(scores, 3, 4))
    assert np.array_equal(kept[4], cut(scores * 7 - 3, 3, 4))
    assert cut(np.array([3, 1, 2.0]), 2, 0).tolist() == [True, False, True]
    assert not cut(scores, 0, 0).any()


def by_hand() -> Signals:
    """Six samples of three classes, 1 and 4 flipped; both models agree with 0, 1, 3, the probe with 5 too."""
    y, y_noisy = np.array([0, 0, 1, 1, 2, 2]), np.array([[0, 1, 1, 1, 0, 2]])
    return signals_of(
        y=y,
        y_noisy=y_noisy,
        losses=np.array([[[1, 2, 6, 5, 4, 3]]], np.float32),
        predicted=np.array([[[0, 1, 0, 1, 2, 1]]]),
        probe_predicted=np.array([[[0, 1, 0, 1, 2, 2]]]),
        y_test=np.array([0, 0, 1, 1, 2, 2]),
        test_predicted=np.array([[0, 1, 1, 1, 2, 0]]),
        probe_test_predicted=np.array([[0, 0, 1, 1, 2, 2]]),
    )


def test_rankings_are_cut_at_the_size_of_their_set_and_at_the_number_of_right_labels() -> None:
    """Losses ascend 0, 1, 5, 4, 3, 2. The classifier agrees with three labels, the probe with four."""
    rows = detection_rows(by_hand())
    for key, rule, m, precision, recall in (
        ("agreement_same", "matched", 3, 2 / 3, 2 / 4),  # 0, 1, 3
        ("loss_same", "matched", 3, 2 / 3, 2 / 4),  # 0, 1, 5
        ("agreement", "matched", 4, 3 / 4, 3 / 4),  # 0, 1, 3, 5
        ("loss", "matched", 4, 2 / 4, 2 / 4),  # 0, 1, 5, 4
        ("loss", "fixed", 4, 2 / 4, 2 / 4),
        ("loss_same", "fixed", 4, 2 / 4, 2 / 4),
    ):
        row = only(rows, detector=key, rule=rule)
        assert (row["m"], row["precision"], row["recall"]) == (m, precision, recall), key
    same = only(rows, detector="loss_same", rule="matched")
    assert same["class_precision"] == [1, 0, 1]
    assert same["class_recall"] == [1, 0, 1]
    np.testing.assert_allclose(same["class_share"], [1 / 3] * 3)
    # Of the right ones only 0 has a smaller loss than flipped 1, and 0 and 5 than flipped 4.
    assert same["auroc"] == 3 / 8
    for row in rows:
        assert row["chance"] == pytest.approx(4 / 6)
        assert row["priors"] == pytest.approx([1 / 3] * 3)


def test_sets_have_one_row_and_rankings_two() -> None:
    rows = detection_rows(by_hand())
    rules = {key: [row["rule"] for row in pick(rows, detector=key)] for key in DETECTORS}
    assert rules.pop("peer_loss") == []
    for key, found in rules.items():
        assert found == (["matched"] if DETECTORS[key].is_set else ["matched", "fixed"]), key
    assert all(row["design"] == DETECTORS[row["detector"]].design for row in rows)


def test_forecasts_are_of_the_model_behind_the_set_and_of_its_test_confusion() -> None:
    """Classifier: C = [[.5, .5, 0], [0, 1, 0], [.5, 0, .5]]; the probe is always right. T is that of the run.

    T = [[.5, .5, 0], [0, 1, 0], [.5, 0, .5]] too: rate (.25 + .25 + 1 + .25 + .25) / 3, right 1.5 / 3.
    """
    rows = detection_rows(by_hand())
    same = only(rows, detector="agreement_same")
    assert same["confusion"] == [0.5, 0.5, 0, 0, 1, 0, 0.5, 0, 0.5]
    assert same["forecast_rate"] == pytest.approx(2 / 3)
    assert same["forecast_precision"] == pytest.approx(3 / 4)
    probe = only(rows, detector="agreement")
    assert probe["confusion"] == np.eye(3).ravel().tolist()
    assert probe["forecast_rate"] == pytest.approx(4 / 6)
    assert probe["forecast_precision"] == 1
    for row in rows:
        if row["detector"] not in ("agreement_same", "agreement"):
            assert row["confusion"] == []
            assert np.isnan([row["forecast_rate"], row["forecast_precision"]]).all()


def test_an_empty_agreement_set_has_no_precision() -> None:
    nobody = np.full((1, 1, 6), 2)
    nobody[..., 5] = 1
    rows = detection_rows(signals_of(y=by_hand().y, y_noisy=by_hand().y_noisy, probe_predicted=nobody))
    for key in ("agreement", "loss"):
        row = only(rows, detector=key, rule="matched")
        assert row["m"] == 0
        assert np.isnan(row["precision"])
    assert only(rows, detector="loss", rule="fixed")["m"] == 4


def test_rows_hold_plain_numbers() -> None:
    rows = [*overlap_rows(made(), size=20, draws=5), *detection_rows(made())]
    assert json.loads(json.dumps(rows[0]))["run"] == 0
    for row in rows:
        assert {type(v) for v in row.values()} <= {int, float, str, list}
        assert {type(v) for values in row.values() if isinstance(values, list) for v in values} <= {
            int,
            float,
        }


def test_without_a_flip_there_is_nothing_to_measure() -> None:
    y = np.arange(6) % 3
    for rows in (overlap_rows, detection_rows):
        with pytest.raises(NoisylibError, match="flipped"):
            rows(signals_of(y=y, y_noisy=y[None]))


def test_an_infinite_loss_has_an_overlap_but_no_mixture() -> None:
    signals = made()
    signals.losses[:, 0, 7] = np.inf
    top = only(overlap_rows(signals, draws=5), run=0, sample="train", epoch="last", estimator="histogram")
    assert top["clean_counts"][-1] + top["flipped_counts"][-1] >= 1
    assert 0 < top["value"] < 1
    with pytest.raises(NoisylibError, match="infinity"):
        detection_rows(signals)


SEPARATION, N_BED = 2.0, 4000


@cache
def bed_signals() -> Signals:
    """Two Gaussian classes, linear heads, symmetric noise of .3 and .2, as if nobody could memorise."""
    bank = GaussianBed.simplex(2, 2, SEPARATION).bank(N_BED, 4000, seed=1)
    noisy = noisy_labels(bank, "symmetric", 0.3, [0]) + noisy_labels(bank, "symmetric", 0.2, [0])
    recipe = Recipe(epochs=6, learning_rate=0.02, score_epochs=1)
    return train_signals(bank, noisy, [0, 0], head="linear", recipe=recipe, peers=False, device="cpu")


def test_overlaps_on_the_bed_are_twice_the_bayes_error() -> None:
    bed = GaussianBed.simplex(2, 2, SEPARATION)
    for row in pick(overlap_rows(bed_signals(), draws=100), estimator="histogram"):
        T = bed_signals().noisy[row["run"]].T
        assert row["corrected"] == pytest.approx(bed_loss_overlap(bed, T), abs=3 * row["se"] + 0.01)


def test_agreement_on_the_bed_is_that_of_bayes_rule() -> None:
    bed, signals = GaussianBed.simplex(2, 2, SEPARATION), bed_signals()
    for row in pick(detection_rows(signals), detector="agreement"):
        rate, precision = bed_agreement(bed, signals.noisy[row["run"]].T)
        se = np.sqrt(rate * (1 - rate) / N_BED)
        assert row["m"] / N_BED == pytest.approx(rate, abs=3 * se)
        assert row["precision"] == pytest.approx(
            precision, abs=3 * np.sqrt(precision * (1 - precision) / row["m"])
        )
        assert row["forecast_rate"] == pytest.approx(rate, abs=4 * se)
        assert row["forecast_precision"] == pytest.approx(precision, abs=0.015)


def test_of_two_classes_loss_and_agreement_of_one_model_keep_the_same_samples() -> None:
    """P > 1/2 is a loss below log 2, so the m smallest losses are the m labels that are predicted."""
    rows = pick(detection_rows(bed_signals()), design="same model", rule="matched")
    for run in range(2):
        loss, agreement = pick(rows, run=run)
        for name in ("m", "precision", "recall", "class_precision", "class_share"):
            assert loss[name] == agreement[name], name


def test_precision_times_m_is_recall_times_the_right_labels() -> None:
    for signals in (made(), bed_signals()):
        right = (~signals.flipped).sum(1)
        for row in detection_rows(signals):
            assert row["precision"] * row["m"] == pytest.approx(row["recall"] * right[row["run"]])
            if row["rule"] == "fixed":
                assert row["m"] == right[row["run"]]
                assert row["precision"] == pytest.approx(row["recall"])
