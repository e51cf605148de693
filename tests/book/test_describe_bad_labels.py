"""What the chapter on wrong labels says of made judgements, by hand, and of a small bank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from blobs import blobs
from made_signals import labels

from noisylib import BankMeta, FeatureBank
from noisylib.book.advice_parameters import BadLabelsParameters
from noisylib.book.describe import bad_labels, drops
from noisylib.book.describe import bad_labels_archive as archive
from noisylib.book.describe import bad_labels_calibration as calibration
from noisylib.book.describe import bad_labels_failures as failures
from noisylib.book.describe import bad_labels_review as review
from noisylib.book.describe import bad_labels_tables as found
from noisylib.book.describe.bad_labels import DASH, ISSUES, KNN, MARGIN, OURS, TOLD, Live
from noisylib.errors import NoisylibError
from noisylib.evidence import Evidence
from noisylib.study.label_errors import DETECTORS, Judgement

NBSP = "\N{NO-BREAK SPACE}"
PARAMS = BadLabelsParameters(dataset="blobs", noise_type="pairflip", noise_rate=0.3, seeds=[4, 9])
# Ten samples; the labels of 0, 1 and 6 are wrong. Ours flags 0, 1 and 2 and puts 6 fifth.
Y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
NOISY = np.array([1, 1, 0, 0, 0, 0, 0, 1, 1, 1])
SCORES = np.array([0.05, 0.15, 0.35, 0.55, 0.95, 0.95, 0.75, 0.95, 0.95, 0.95])


@dataclass(frozen=True)
class Names:
    """A bank of which only labels, their names and places are asked."""

    class_names: tuple[str, ...] = ("a", "b")
    n_classes: int = 2

    def part(self, split: str) -> tuple[None, np.ndarray]:
        assert split == "train"
        return None, Y

    def indices(self, split: str) -> np.ndarray:
        return np.arange(100, 110)


def made(**other: Judgement) -> Live:
    """One run in which every detector judges alike, but for those that are given."""
    flagged = SCORES < 0.5
    ours = Judgement(SCORES, flagged, np.where(flagged, 1 - NOISY, NOISY))
    judged = {key: ours for key in DETECTORS} | other
    evidence = Evidence(NOISY, np.full((10, 2), 0.5), np.zeros((10, 3), np.int64))
    rows = bad_labels.measured([judged], [evidence], Y, [3])
    return Live(Names(), (3,), [labels(Y, NOISY, 2)], [evidence], [], [judged], rows)


def test_first_last_and_right_suspects_by_hand() -> None:
    first = bad_labels.suspects(made(), 4)
    assert list(first["Row"]) == ["100", "101", "102", "103"]
    assert list(first["Label"]) == ["b", "b", "a", "a"]
    assert list(first["Suggested"]) == ["a", "a", "b", "keep it"]
    assert list(first["Published"]) == ["a", "a", "a", "a"]
    assert list(first["The label is"]) == ["wrong", "wrong", "right", "right"]
    assert list(first["Right with (%)"]) == ["5.0", "15.0", "35.0", "55.0"]
    last = bad_labels.suspects(made(), 2, "last")
    assert list(last["Row"]) == ["101", "102"]
    right = bad_labels.suspects(made(), 2, "right")
    assert list(right["Row"]) == ["102", "103"]
    assert "Published" not in right


def test_a_wrong_suggestion_is_said_to_be_wrong() -> None:
    live = made()
    # A third class that nobody has is suggested for the first sample.
    suggested = np.where(np.arange(10) == 0, 2, live.found[0][OURS].suggested)
    live = replace(
        live, bank=Names(("a", "b", "c"), 3), found=[{OURS: Judgement(SCORES, SCORES < 0.5, suggested)}]
    )
    assert bad_labels.suspects(live, 1)["The label is"].item() == "wrong, and so is the suggestion"


def test_small_probabilities_are_not_called_zero() -> None:
    assert bad_labels.small_percent(0.0004) == "below 0.1"
    assert bad_labels.small_percent(0.0006) == "0.1"
    assert bad_labels.percent(float("nan")) == DASH


def test_hits_share_out_ties() -> None:
    scores = np.array([0.1, 0.5, 0.5, 0.5, 0.5, 0.9])
    wrong = np.array([True, True, False, False, True, False])
    np.testing.assert_allclose(review.hits(scores, wrong, np.arange(7)), [0, 1, 1.5, 2, 2.5, 3, 3])


def test_review_by_hand() -> None:
    live = made(**{KNN: Judgement(np.ones(10), np.zeros(10, bool))})
    curves = review.curves(live).set_index(["detector", "fraction"])
    assert curves.index.get_level_values("fraction").max() == pytest.approx(0.6)  # twice the wrong labels
    assert curves.loc[(OURS, 0.3)].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert curves.loc[(KNN, 0.5)].tolist() == pytest.approx([0.3, 0.5])  # all equal: as at random
    sets = review.flagged_sets(live).set_index("detector")
    assert sets.loc[OURS].tolist() == pytest.approx([0.3, 2 / 3, 2 / 3])
    table = review.budget_table(live).set_index("Looked at")
    assert table.loc[f"20{NBSP}%", "Clean probability"] == f"2 (66.7{NBSP}%)"
    assert table.loc[f"20{NBSP}%", "k-NN share of the label"] == f"1 (20.0{NBSP}%)"
    assert table.loc[f"20{NBSP}%", "At random"] == f"1 (20.0{NBSP}%)"


def test_looks_by_hand() -> None:
    worse = Judgement(np.array([0.9, 0.1, 0.2, 0.3, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]), SCORES < 0)
    text = review.looks(made(**{MARGIN: worse}))
    assert "Among the 3 most suspect" in text
    assert "takes 1.5 (the clean probability) and 3.0 (cleanlab's normalised margin) looks" in text
    assert "at random it takes 3.3" in text
    assert "1 wrong ones are left" in text
    # .45 + .25 + five times .05 = .95
    assert text.endswith("says 1.")
    nothing = Judgement(np.ones(10), np.zeros(10, bool), NOISY)
    assert "No label is flagged" in review.looks(made(**{OURS: nothing}))


def test_actions_by_hand() -> None:
    table = review.action_table(made()).set_index("What is done")
    assert table.loc["nothing"].tolist() == ["10", "3", "30.0", "0", DASH]
    # Sample 2 is right and goes: one of the four right labels of class a.
    assert table.loc["delete the flagged"].tolist() == ["7", "1", "14.3", "1", f"a, 25.0{NBSP}%"]
    assert table.loc["relabel the flagged as suggested"].tolist() == [
        "10",
        "2",
        "20.0",
        "1",
        f"a, 25.0{NBSP}%",
    ]
    assert table.loc["look at the flagged, correct what is wrong"].tolist() == ["10", "1", "10.0", "0", DASH]


def test_classes_by_hand() -> None:
    table = found.class_table(made()).set_index("Observed label")
    assert list(table.index) == ["a", "b"]  # five each: the first first
    assert table.loc["a", ["Labels", "Wrong", "Most are truly", "Flagged"]].tolist() == [
        "5",
        "20.0",
        "b",
        "1",
    ]
    assert table.loc["a", ["Precision", "Recall"]].tolist() == ["0.0", "0.0"]
    # In class a the wrong label .75 is below two of four right ones, .95, and above .35 and .55.
    assert table.loc["a", "AUROC"] == "50.0"
    assert table.loc["b", ["Wrong", "AUROC", "Precision", "Recall"]].tolist() == [
        "40.0",
        "100.0",
        "100.0",
        "100.0",
    ]


def test_detectors_are_ordered_by_their_ranking() -> None:
    table = found.detector_table(made(**{OURS: Judgement(1 - SCORES, SCORES < 0, NOISY)}))
    assert table["Detector"].iloc[-1] == "Clean probability"
    assert table["Flagged"].iloc[-1] == "0"
    assert table["Precision"].iloc[-1] == DASH
    assert table.set_index("Detector").loc["cleanlab, normalised margin", "At as many"] == "66.7"


def test_calibration_by_hand() -> None:
    live = made()
    bins = calibration.reliability(live.rows, (OURS,))
    assert bins["bin"].tolist() == [0, 1, 3, 5, 7, 9]
    assert bins["right"].tolist() == [0, 0, 1, 1, 0, 1]
    assert bins["share"].tolist() == pytest.approx([0.1] * 5 + [0.5])
    # .05 + .15 + .65 + .45 + .75 + 5 * .05 = 2.3 of ten labels; stated .66, right .7
    assert calibration.calibration_error(bins) == pytest.approx(0.23)
    table = calibration.calibration_table({"here": live.rows}).set_index("Score")
    assert table.loc["Clean probability"].tolist() == ["23.0", "-4.0"]
    text = calibration.doubtful(live.rows, "Here")
    assert text.startswith("Here, of the labels")
    assert f"right with 50 to 80{NBSP}%, 50{NBSP}% are wrong; they are 20.0{NBSP}% of all" in text
    more = made(**{OURS: Judgement(np.where(np.arange(10) == 2, 0.65, SCORES), SCORES < 0.2, NOISY)})
    assert f"33{NBSP}% are wrong; they are 30.0{NBSP}% of all" in calibration.doubtful(more.rows, "Here")
    sure = made(**{OURS: Judgement(np.ones(10), SCORES < 0, NOISY)})
    assert calibration.doubtful(sure.rows, "Here") == ""


def test_pooled_bins_count_by_labels() -> None:
    counts = [np.array([1, 0]), np.array([3, 2])]
    nan = float("nan")
    rows = pd.DataFrame(
        {"detector": "x", "bin_counts": counts, "bin_probability": [[0.2, nan], [0.4, 0.9]],
         "bin_right": [[1.0, nan], [0.0, 0.5]]}
    )  # fmt: skip
    bins = calibration.reliability(rows, ("x",))
    assert bins["stated"].tolist() == pytest.approx([0.35, 0.9])
    assert bins["right"].tolist() == pytest.approx([0.25, 0.5])


def test_precision_is_that_of_all_flagged_labels() -> None:
    rows = pd.DataFrame(
        {"detector": ["x", "x", "x", "y"], "precision": [1.0, 0.5, np.nan, np.nan],
         "flagged_share": [0.1, 0.3, 0.0, 0.0], "recall": [0.2, 0.4, 0.0, 0.0]}
    )  # fmt: skip
    means = bad_labels.pooled(rows, "detector")
    assert means.loc["x", "precision"] == pytest.approx(0.25 / 0.4)
    assert means.loc["x", "recall"] == pytest.approx(0.2)
    assert np.isnan(means.loc["y", "precision"])


def test_nothing_flagged_is_said_and_leaves_an_empty_list() -> None:
    nothing = made(**{OURS: Judgement(np.linspace(0.6, 1, 10), np.zeros(10, bool), NOISY)})
    assert "The clean probability flags none. cleanlab's" in bad_labels.short(nothing)
    empty = bad_labels.suspects(nothing, 3, "last")
    assert empty.empty
    assert "The label is" in empty


def test_short_says_who_is_ahead() -> None:
    worse = Judgement(np.linspace(0, 1, 10)[::-1].copy(), SCORES < 0.2)
    text = bad_labels.short(made(**{key: worse for key in bad_labels.CLEANLAB}))
    assert f"Of 10 labels, 30.0{NBSP}% are wrong. The clean probability flags 3: 66.7{NBSP}% of these" in text
    assert "`find_label_issues` flags 2" in text
    assert "points more than the best ranking of cleanlab" in text
    assert ", as often as the best ranking" in bad_labels.short(made())
    assert "points less than" in bad_labels.short(made(**{OURS: worse}))


@pytest.fixture(scope="module")
def live() -> Live:
    return bad_labels.examine(bank(), PARAMS)


def bank() -> FeatureBank:
    X, y = blobs(110, 3, 5)
    meta = BankMeta("blobs", "raw")
    return FeatureBank.from_arrays(X, y, np.repeat([0, 2], [80, 30]), ["a", "b", "c"], meta)


def test_a_small_bank(live: Live) -> None:
    assert len(live.rows) == 2 * len(DETECTORS)
    assert live.realised_rate == pytest.approx(0.3, abs=0.05)
    for one, noisy in zip(live.evidence, live.noisy, strict=True):
        assert (one.y == noisy.y_noisy).all()
    facts = bad_labels.facts(live, PARAMS)
    assert facts["source"].endswith(f"pairflip noise of 30{NBSP}%, 2 seeds")
    assert float(facts["estimated_low"]) <= float(facts["estimated"]) <= float(facts["estimated_high"])


def test_what_is_told(live: Live) -> None:
    frame = found.told_frame(live)
    assert len(frame) == 5
    assert frame["rate"].iloc[:3].tolist() == pytest.approx(
        [factor * live.realised_rate for factor in (0.5, 1, 1.5)]
    )
    assert (np.diff(frame["flagged_share"].iloc[:3]) >= 0).all()  # more noise, more flags
    assert frame["auroc"].iloc[3] == pytest.approx(live.means.loc[OURS, "auroc"])
    assert list(found.told_table(frame)["Is told"]) == list(frame["told"])
    low, high = (f"{100 * factor * live.realised_rate:.1f}" for factor in (0.5, 1.5))
    assert f"From a rate of {low} to one of {high}{NBSP}%" in found.told_text(frame)


def test_asymmetric_noise_needs_a_map() -> None:
    with pytest.raises(NoisylibError, match="class_map"):
        bad_labels.examine(bank(), replace(PARAMS, noise_type="asymmetric", dataset="pbc"))


AUROC = {
    OURS: 0.9,
    MARGIN: 0.8,
    "cleanlab_self_confidence": 0.7,
    "cleanlab_entropy": 0.6,
    ISSUES: 0.75,
    KNN: 0.5,
}


def rows() -> pd.DataFrame:
    """Two data sets, two kinds of noise, two seeds; on the second one cleanlab's margin is best."""
    records = []
    for dataset, shift in (("pbc", 0.0), ("retinamnist", -0.2)):
        for kind, rate in (("symmetric", 0.0), ("symmetric", 0.2), ("asymmetric", 0.4)):
            for seed in (0, 1):
                for key in DETECTORS:
                    value = AUROC.get(key, 0.95 if key == TOLD else 0.65)
                    if key == OURS:
                        value += shift + (0.01 if seed else -0.01) * (kind == "symmetric")
                    counts = np.array([5, 5])
                    records.append(
                        {"dataset": dataset, "backbone": "deit_tiny", "noise_type": kind, "noise_rate": rate,
                         "seed": seed, "detector": key, "auroc": value if rate else np.nan, "precision": 0.5,
                         "recall": 0.4, "flagged_share": 0.3 if dataset == "pbc" else 0.6,
                         "precision_at_errors": 0.5, "brier": 0.1, "bin_counts": counts,
                         "bin_probability": [0.2, 0.8], "bin_right": [0.3, 0.8]}
                    )  # fmt: skip
    return pd.DataFrame(records)


def test_archived_auroc() -> None:
    matrix = archive.auroc_matrix(rows())
    assert matrix.shape == (4, len(DETECTORS))
    assert matrix.loc[("pbc", "symmetric", 0.2), OURS] == pytest.approx(0.9)
    table = archive.auroc_table(rows()).set_index(["Data set", "Noise"])
    first = table.loc[("PBC blood cells", f"symmetric 20{NBSP}%")]
    assert first["Clean probability"] == f"**90.0{NBSP}±{NBSP}1.4**"
    assert first["Clean probability, told T"] == f"95.0{NBSP}±{NBSP}0.0"  # best, but told
    same = rows()
    same.loc[same["detector"] == TOLD, "auroc"] = 0.9
    assert not archive.auroc_table(same)["Clean probability, told T"].str.contains("*", regex=False).any()
    second = table.loc[("RetinaMNIST", f"asymmetric 40{NBSP}%")]
    assert second["cleanlab, normalised margin"].startswith("**80.0")
    assert second["Clean probability"].startswith("70.0")


def test_contests_by_hand() -> None:
    frame = archive.contest_frame(rows()).set_index("detector")
    # +.1 twice and -.1 twice; with seeds .02 apart an interval of +-.127 is not clear, without spread it is.
    margin = frame.loc[MARGIN]
    assert margin["mean"] == pytest.approx(0)
    assert (margin["low"], margin["high"]) == pytest.approx((-0.1, 0.1))
    assert margin[["conditions", "ahead", "clear", "behind"]].tolist() == [4, 2, 1, 1]
    assert drops.interval([0.09, 0.11])[1] < 0
    text = archive.verdict(archive.contest_frame(rows()))
    assert "(normalised margin) on average, better in 2 of 4 conditions, clearly better in 1" in text
    assert "it is 30.0 points of AUROC ahead of neighbours alone" in text
    assert archive.contest_table(frame.reset_index())["Ahead in"].iloc[0] == "2 of 4"


def test_banks_and_their_lead() -> None:
    level, lead = archive.bank_matrices(rows())
    assert list(level.columns) == [("symmetric", 0.2), ("asymmetric", 0.4)]
    assert level.loc[("retinamnist", "deit_tiny")].tolist() == pytest.approx([0.7, 0.7])
    assert lead.loc[("pbc", "deit_tiny")].tolist() == pytest.approx([0.1, 0.1])
    text = failures.behind_text(rows())
    assert "0.0 points under symmetric noise and 0.0 points under asymmetric" in text
    assert "In 2 of the 4 conditions a ranking of cleanlab is ahead (RetinaMNIST 2), by at most 10.0" in text
    assert "In none of the 2 conditions" in failures.behind_text(rows()[lambda f: f["dataset"] == "pbc"])


def test_all_detectors_and_who_is_best() -> None:
    table = archive.detector_table(rows()).set_index("Detector")
    assert table.index[0] == "Clean probability, told T"
    assert table.loc["Clean probability, told T", "Best in"] == DASH
    assert table.loc["Clean probability", "Best in"] == "2"
    assert table.loc["cleanlab, normalised margin", "Best in"] == "2"
    assert table.loc["Clean probability", "AUROC"] == "80.0"


def test_where_it_fails() -> None:
    table = failures.failure_table(rows()).set_index("Data set")
    assert list(table.index) == ["PBC blood cells", "RetinaMNIST"]
    assert table.loc["RetinaMNIST", ["Disagrees", "AUROC", "Told T", "Off by"]].tolist() == [
        "60.0", "70.0", "95.0", "5.0",
    ]  # fmt: skip
    text = failures.failure_text(rows())
    assert "Least is found on RetinaMNIST: an AUROC of 70.0, against 90.0 on PBC" in text
    assert "features that hardly tell" in text
    assert "would give 25.0 of the 30.0 points" in text
    assert "missing is the estimate of the noise" in text
    told = rows()
    told.loc[told["detector"] == TOLD, "auroc"] = 0.71
    assert "missing is not the estimate" in failures.failure_text(told)
    told.loc[told["detector"] == TOLD, "auroc"] = 0.6
    assert "would not help" in failures.failure_text(told)


def test_names() -> None:
    assert bad_labels.title(TOLD) == "Clean probability, told T"
    assert archive.shown_backbone(rows(), "deit_tiny") == "deit_tiny"
    assert archive.shown_backbone(rows(), "my_own") == "deit_tiny"
    assert archive.titles_of(rows())["pbc"] == "PBC blood cells"
    assert set(archive.SHORT) == set(DETECTORS)
    assert 0 < float(archive.rate_error()) < 20
