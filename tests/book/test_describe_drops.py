"""Drops of precision between two noises, who loses more, and what a drop is made of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.book.describe import contests, detectors, drops
from noisylib.book.describe import drop_parts as parts
from noisylib.detectors import DETECTORS

SYMMETRIC, ASYMMETRIC = "symmetric", "asymmetric"
C_FROM, C_TO = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.8, 0.2], [0.4, 0.6]])


def row(detector: str, noise_type: str, precision: float, **changes) -> dict:
    """An archived row of HAM10000 at 40 %."""
    return {
        "dataset": "ham10000", "backbone": "deit_tiny", "head": "adapter", "noise_type": noise_type,
        "noise_rate": 0.4, "realised_rate": 0.4, "class_map": "", "seed": 0, "detector": detector,
        "design": DETECTORS[detector].design, "rule": "matched", "m": 50, "precision": precision,
        "recall": 0.5, "auroc": 0.7, "chance": 0.6,
    } | changes  # fmt: skip


def pair(detector: str, symmetric: float, asymmetric: float, **changes) -> list[dict]:
    return [row(detector, SYMMETRIC, symmetric, **changes), row(detector, ASYMMETRIC, asymmetric, **changes)]


def frame(*pairs: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([record for records in pairs for record in records])


def deployed(loss: float, agreement: float, **changes) -> list[dict]:
    """Both seeds of the deployed pair with these drops; seeds differ by a point in both."""
    return [
        record
        for seed in (0, 1)
        for key, drop in (("loss", loss), ("agreement", agreement))
        for record in pair(key, 0.9, 0.9 - drop - 0.01 * seed, seed=seed, **changes)
    ]


def test_interval_is_students_with_one_degree_less() -> None:
    mean, low, high = drops.interval([0.1, 0.3])
    assert mean == pytest.approx(0.2)
    reach = 12.7062 * 0.1  # t quantile of 1 degree, sd .1414 over sqrt(2)
    assert (low, high) == (pytest.approx(0.2 - reach, abs=1e-5), pytest.approx(0.2 + reach, abs=1e-5))
    assert drops.interval([0.1, np.nan])[0] == 0.1
    assert np.isnan(drops.interval([0.1])[1:]).all()
    assert np.isnan(drops.interval([np.nan])).all()


def test_drop_is_symmetric_minus_asymmetric_and_a_set_is_in_both_rules() -> None:
    rows = frame(pair("loss", 0.9, 0.7), pair("loss", 0.8, 0.75, rule="fixed"), pair("agreement", 0.95, 0.85))
    (matched,) = drops.seed_drops(rows).to_dict("records")
    (fixed,) = drops.seed_drops(rows, "fixed").to_dict("records")
    assert matched == {"loss": pytest.approx(0.2), "agreement": pytest.approx(0.1)}
    assert fixed == {"loss": pytest.approx(0.05), "agreement": pytest.approx(0.1)}


def test_differences_are_paired_by_seed() -> None:
    rows = frame(deployed(0.13, 0.03))
    (contest,) = drops.contest_frame(drops.seed_drops(rows)).to_dict("records")
    assert contest["contest"] == "as deployed"
    assert (contest["loss"], contest["agreement"]) == (pytest.approx(0.135), pytest.approx(0.035))
    # The seeds move both alike, so their difference is certain although both drops are not.
    assert [contest[k] for k in ("mean", "low", "high")] == pytest.approx([0.1] * 3)
    loss = drops.drop_frame(drops.seed_drops(rows)).set_index("detector").loc["loss"]
    assert loss["low"] < 0.1


def test_sets_with_other_shares_of_wrong_labels_are_named() -> None:
    odd = [row("loss", ASYMMETRIC, 0.7, dataset="breastmnist", realised_rate=0.11)]
    odd += [row("loss", SYMMETRIC, 0.7, dataset="breastmnist")]
    rows = frame(pair("loss", 0.9, 0.8), odd)
    assert drops.unequal_rates(rows) == ["breastmnist"]
    assert list(contests.row_titles(rows).values()) == ["HAM10000, DeiT-Ti", "BreastMNIST*, DeiT-Ti"]
    assert contests.uneven_note(["breastmnist"]).startswith("On BreastMNIST (marked *)")
    assert contests.uneven_note([]) == ""


def test_points_have_no_breaking_space() -> None:
    assert drops.points(-0.0123) == "-1.2"
    assert drops.points(-0.0001) == "0.0"
    assert drops.points(0.1, 0.05, 0.15) == "10.0\N{NO-BREAK SPACE}[5.0,\N{NO-BREAK SPACE}15.0]"


def test_extent_counts_in_words() -> None:
    rows = frame(pair("loss", 0.9, 0.7), pair("loss", 0.9, 0.7, seed=1), pair("loss", 0.9, 0.7, head="mlp"))
    assert drops.extent(rows) == "1 data set, 1 backbone, 1 rate and 2 seeds"
    assert drops.extent(rows, "seed") == "2 seeds"
    assert detectors.seeds_by_head(rows) == "adapter: 1 backbone and 2 seeds; mlp: 1 backbone and 1 seed"


@pytest.mark.parametrize(("agreement", "mark"), [(0.03, "**"), (0.23, "*"), (0.13, "")])
def test_table_marks_who_clearly_drops_less(agreement: float, mark: str) -> None:
    rows = frame(deployed(0.13, agreement), deployed(0.1, 0.1, dataset="retinamnist"))
    (cells,) = contests.drop_table(drops.seed_drops(rows), drops.DEPLOYED, ["ham10000"]).to_dict("records")
    assert cells["Data set"] == "HAM10000"
    assert cells["Rate"] == "40\N{NO-BREAK SPACE}%"
    text = cells["Agreement of the linear module"]
    assert text.startswith(f"{mark}{100 * agreement + 0.5:.1f}")
    assert text.endswith(f"]{mark}")
    assert cells["Small loss"].startswith("13.5")


def test_verdict_counts_contests_by_rate() -> None:
    rows = frame(deployed(0.05, 0.02, noise_rate=0.2), deployed(0.1, 0.16))
    count = drops.contest_frame(drops.seed_drops(rows))
    text = contests.verdict(count)
    assert (
        "more than agreement in 1 of 1 contests (*as deployed* by 3.0), and more than a point less in 0."
        in text
    )
    assert (
        "more than agreement in 0 of 1 contests, and more than a point less in 1 (*as deployed* by 6.0)."
        in text
    )
    assert "stays below the paper's 10.0." in text
    low, high, paper = contests.verdict_table(count).to_dict("records")
    assert (low["Difference"], high["Difference"], paper["Difference"]) == ("3.0", "-6.0", "10.0")
    assert (low["Loss drops more"], high["clearly less"]) == ("1 of 1", "1")
    assert (paper["Drop of the loss"], paper["Drop of agreement"]) == ("13.0", "3.0")


def test_verdict_says_when_the_gap_of_the_paper_is_reached() -> None:
    rows = frame(deployed(0.15, 0.03), pair("loss_same", 0.9, 0.8), pair("agreement_same", 0.9, 0.78))
    text = contests.verdict(drops.contest_frame(drops.seed_drops(rows)))
    assert "12.0\N{NO-BREAK SPACE}[" in text
    assert "reaches the paper's 10.0." in text
    assert "With both signals from one model the two drops differ by at most 2.0 points." in text


@pytest.mark.parametrize(
    ("loss", "agreement", "words"),
    [
        ((0.8, 0.7), (0.95, 0.8), "falls farther and is still the purer set"),
        ((0.8, 0.7), (0.85, 0.8), "falls less, and is the purer set too"),
        ((0.9, 0.8), (0.9, 0.7), "is not the purer set"),
    ],
)
def test_a_drop_is_not_a_level(loss: tuple, agreement: tuple, words: str) -> None:
    rows = frame(pair("loss", *loss), pair("agreement", *agreement))
    text = contests.levels(rows, drops.contest_frame(drops.seed_drops(rows)))
    assert words in text
    assert f"{100 * agreement[1]:.1f}" in text


def test_linear_heads_and_absent_detectors_are_told() -> None:
    assert contests.linear_note("mlp") == ""
    assert "one" in contests.linear_note("linear")
    panels = contests.panels_of(drops.seed_drops(frame(deployed(0.1, 0.1))))
    assert panels["As deployed"] == {"loss": "small loss", "agreement": "agreement"}


def all_detectors() -> pd.DataFrame:
    """Loss and WANN share the best precision at the matched m; what keeps another number is purest."""
    rows = frame(
        pair("loss_same", 0.99, 0.99), pair("agreement_same", 0.99, 0.98), pair("loss", 0.9, 0.7),
        pair("agreement", 0.8, 0.75), pair("wann", 0.9, 0.7), pair("loss", 0.6, 0.5, rule="fixed"),
        pair("wann", 0.7, 0.6, rule="fixed"), pair("loss_same", 0.6, 0.5, rule="fixed"),
    )  # fmt: skip
    return rows


def test_detectors_are_compared_at_one_number_kept() -> None:
    means = detectors.detector_means(all_detectors())
    assert list(means.index) == ["loss", "wann", "agreement", "loss_same", "agreement_same"]
    assert means["matched"].to_dict() == pytest.approx(
        {"loss": 0.8, "wann": 0.8, "agreement": 0.775, "loss_same": 0.99, "agreement_same": 0.985}
    )
    assert means.loc[["loss", "wann", "agreement"], "wins_matched"].tolist() == [0.5, 0.5, 1]
    assert means.loc[["loss", "wann"], "wins_fixed"].tolist() == [0, 2]
    assert means.loc["agreement", ["drop", "hard"]].tolist() == pytest.approx([0.05, 0.75])
    assert means.loc["loss_same", ["fixed", "wins_matched", "drop"]].isna().all()
    assert detectors.left_out(all_detectors()) == ""


def test_table_of_detectors_marks_the_best_of_those_compared() -> None:
    table = detectors.detector_table(detectors.detector_means(all_detectors())).set_index("Detector")
    assert list(table["Precision, matched m"]) == ["**80.0**", "**80.0**", "77.5", "99.0", "98.5"]
    assert table.loc["Agreement of the linear module", "Drop"] == "**5.0**"
    assert table.loc["Agreement of the linear module", "Precision, fixed m"] == ""


def test_the_most_robust_detector_need_not_be_the_best() -> None:
    text = detectors.robust(detectors.detector_means(all_detectors()))
    assert "*Agreement of the linear module* with 5.0 points; it also has the highest" in text
    poor = frame(pair("loss", 0.9, 0.7), pair("agreement", 0.6, 0.6))
    text = detectors.robust(detectors.detector_means(poor))
    assert "60.0\N{NO-BREAK SPACE}%, below the 70.0\N{NO-BREAK SPACE}% of *Small loss*" in text
    uneven = frame([row("loss", SYMMETRIC, 0.9), row("loss", ASYMMETRIC, 0.9, realised_rate=0.1)])
    assert detectors.robust(detectors.detector_means(uneven)).startswith("On no data set")


def test_conditions_in_which_nothing_is_kept_are_counted() -> None:
    rows = frame(
        pair("loss", 0.9, 0.7), [row("agreement", SYMMETRIC, np.nan), row("agreement", ASYMMETRIC, 0.6)]
    )
    assert "1 of 2 conditions" in detectors.left_out(rows)
    assert detectors.detector_means(rows).loc["loss", "matched"] == pytest.approx(0.7)


def test_gaps_say_what_moves_them() -> None:
    rows = frame(
        deployed(0.1, 0.1, head="mlp"), deployed(0.2, 0.1),
        deployed(0.1, 0.1, head="mlp", noise_rate=0.2), deployed(0.12, 0.1, noise_rate=0.2),
    )  # fmt: skip
    rows = pd.concat([rows, rows[rows["detector"] == "loss"].assign(rule="fixed")], ignore_index=True)
    gaps = detectors.contest_gaps(rows)
    facts = detectors.gap_facts(gaps)
    assert (facts["gaps"], facts["gap_positive"], facts["gap_dataset"]) == (8, 4, "HAM10000")
    assert (facts["gap_low"], facts["gap_high"]) == (pytest.approx(0, abs=1e-9), pytest.approx(10))
    assert facts["gap_high_at"] == "as deployed, adapter head, DeiT-Ti, 40\N{NO-BREAK SPACE}%, matched m"
    table = detectors.choices_table(gaps).set_index("Choice")
    assert table.index[0] == "head of the classifier"
    assert table.loc["head of the classifier", ["Moves the gap by", "at most"]].tolist() == ["6.0", "10.0"]
    assert table.loc["noise rate", "Largest mean gap"] == "40\N{NO-BREAK SPACE}% (5.0)"
    assert table.loc["number kept", "Moves the gap by"] == "0.0"
    # Without the adapter at 20 % the head is compared at 40 % only, and the rate with the other head only.
    part = gaps[(gaps["head"] == "mlp") | (gaps["noise_rate"] == 0.4)]
    table = detectors.choices_table(part).set_index("Choice")
    assert table.loc["head of the classifier", ["Settings", "Moves the gap by"]].tolist() == [2, "10.0"]
    assert table.loc["noise rate", "Moves the gap by"] == "0.0"


def sets(**changes) -> pd.DataFrame:
    """Agreement of a two-class model; asymmetric noise of this set only sends class 0 to 1."""
    shared = {"dataset": "breastmnist", "priors": np.array([0.5, 0.5]), "forecast_rate": 0.57} | changes
    first = {"confusion": C_FROM.ravel(), "forecast_precision": 0.51 / 0.57, "recall": 0.75, "chance": 0.6}
    last = {"confusion": C_TO.ravel(), "forecast_precision": 0.9, "recall": 0.7, "chance": 0.8}
    return pd.DataFrame(
        [
            row("agreement", SYMMETRIC, 0.9, **shared | first),
            row("agreement", ASYMMETRIC, 0.7, **shared | last),
            row("loss", ASYMMETRIC, 0.7, **shared | last | {"confusion": np.zeros(0)}),
        ]
    )


def test_share_kept_follows_from_precision_and_recall() -> None:
    found = parts.forecast_frame(sets())
    assert found["kept"].tolist() == pytest.approx([0.75 * 0.6 / 0.9, 0.7 * 0.8 / 0.7])
    # .6 of both classes keep their label: .51 right of .57 kept, as the row says.
    assert found["nominal"].iloc[0] == pytest.approx(0.51 / 0.57)


def test_parts_of_a_drop_by_hand() -> None:
    (split,) = parts.parts_frame(sets()).to_dict("records")
    first = 0.51 / 0.57
    between = (0.54 + 0.8) / (0.54 + 0.8 + 0.04)  # class 1 keeps its labels, class 0 sends .4 of its own
    last = (0.48 + 0.6) / (0.48 + 0.6 + 0.08)
    assert split["total"] == pytest.approx(0.2)
    assert split["harder_targets"] == pytest.approx(first - between)
    assert split["biased_head"] == pytest.approx(between - last)
    assert split["unexplained"] == pytest.approx(0.2 - (first - last))


def test_table_of_parts_has_measurement_and_forecast() -> None:
    (cells,) = parts.parts_table(sets(), ["breastmnist"]).to_dict("records")
    assert cells["Precision, symmetric"] == "90.0 / 89.5"
    assert cells["Kept, asymmetric"] == "80.0 / 57.0"
    assert (cells["Drop"], cells["Harder targets"]) == ("20.0", "-7.6")
    alone = sets()[lambda rows: rows["noise_type"] == SYMMETRIC]
    (cells,) = parts.parts_table(alone, ["breastmnist"]).to_dict("records")
    assert "Drop" not in cells
    assert parts.parts_text(parts.parts_frame(alone)) == ""


def split_of(**values: float) -> pd.DataFrame:
    names = ("harder_targets", "biased_head", "unexplained")
    columns = {name: values.get(name, 0.0) for name in names}
    return pd.DataFrame([{"detector": "agreement", "total": sum(columns.values()), **columns}])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"harder_targets": 0.1, "biased_head": 0.02}, "is arithmetic: asymmetric noise"),
        ({"biased_head": 0.1}, "is the model: trained under asymmetric noise"),
        ({"unexplained": 0.1, "biased_head": -0.05}, "on the training images only"),
        ({"unexplained": -0.1, "biased_head": 0.05}, "unexplained (memorisation), is a gain"),
        ({"unexplained": 0.005}, "No part is worth a cause."),
    ],
)
def test_the_largest_part_gives_the_cause(values: dict, words: str) -> None:
    text = parts.parts_text(split_of(**values))
    assert text.startswith("The drop of the agreement of the linear module is")
    assert words in text


@pytest.mark.parametrize(
    ("forecast", "words"),
    [(0.8, "more wrong labels"), (0.6, "more right labels"), (0.7, "about all one needs")],
)
def test_forecast_errors_have_a_direction(forecast: float, words: str) -> None:
    text = parts.forecast_text(frame([row("agreement", ASYMMETRIC, 0.7, forecast_precision=forecast)]))
    assert words in text
    assert f"is {100 * (forecast - 0.7):.1f} points on average".replace("-0.0", "0.0") in text.replace(
        "-0.0", "0.0"
    )
