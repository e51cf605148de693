"""What the chapter on LP, FFT and TURN shows: tables, costs and words, from made rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_tuning import CLASSES, LABELS, plain, tuning_rows

from noisylib.book.describe import lp_fft_turn_archive as archive
from noisylib.book.describe import lp_fft_turn_cost as cost
from noisylib.book.describe import lp_fft_turn_tables as shown
from noisylib.book.describe import lp_fft_turn_text as words
from noisylib.study.finetune_tables import MAIN

NBSP = "\N{NO-BREAK SPACE}"
PBC = ("pbc", "deit_tiny", 64)


def pm(mean: str, sd: str) -> str:
    return f"{mean}{NBSP}±{NBSP}{sd}"


def test_made_rows_have_the_columns_of_the_table() -> None:
    assert list(tuning_rows(datasets=("pbc",), seeds=1)) == list(MAIN)


def test_a_data_set_has_rows_of_the_paper_and_columns_of_noise() -> None:
    rows = tuning_rows()
    table = shown.condition_table(rows, PBC, "accuracy")
    assert list(table["Training"]) == ["LP-DivideMix†" if x == "LP-DivideMix" else x for x in LABELS]
    assert list(table)[1:] == [
        f"{noise}{NBSP}%"
        for noise in ("Symmetric 20", "Symmetric 40", "Symmetric 60", "Asymmetric 40", "Instance 40")
    ]
    column = table[f"Symmetric 40{NBSP}%"]
    assert column.iloc[0] == pm("50.5", "0.5")
    assert column.iloc[8] == f"**{pm('58.5', '0.5')}**"
    assert "**" not in "".join(column[:8])
    two = shown.condition_table(rows, ("breastmnist", "deit_tiny", 64), "balanced_accuracy")
    assert f"Symmetric 60{NBSP}%" not in two
    assert two.iloc[0, 1] == pm("40.5", "0.5")
    text = shown.condition_tables(rows, "accuracy", [" Here.", " There."])
    assert text.count(":::{table}") == len(CLASSES)
    assert "PBC blood cells: accuracy in percent, mean ± sd over seeds, the best mean in bold. There." in text
    assert ":name: tab-tuning-pbc-deit_tiny-64" in text


def test_a_row_that_was_not_run_is_empty_and_ties_are_not_bold() -> None:
    rows = tuning_rows(lambda *run: 0.5, datasets=("pbc",))
    gone = (rows["label"] == "TURN") & (rows["noise_type"] == "instance")
    table = shown.condition_table(rows[~gone], PBC, "accuracy").set_index("Training")
    assert table.at["TURN", f"Instance 40{NBSP}%"] == ""
    assert "**" not in "".join(table.to_numpy().ravel())


def test_our_means_stand_beside_the_printed_numbers() -> None:
    table = shown.beside_table(tuning_rows(), "accuracy")
    assert [name for name in table if name.endswith("ours")] == [
        f"{noise}{NBSP}%: ours" for noise in ("Symmetric 60", "Asymmetric 40", "Instance 40")
    ]
    assert table.at[0, f"Symmetric 60{NBSP}%: paper"] == "81.2 / 70.7 / 74.2"
    assert table.at[8, f"Instance 40{NBSP}%: paper"] == "87.6 / 73.4 / 81.0"

    def by_set(dataset, label, noise_type, rate, seed):
        return {"pbc": 0.8, "ham10000": 0.6}.get(dataset, 0.1) + 0.01 * seed

    two = shown.beside_table(tuning_rows(by_set, datasets=("pbc", "ham10000")), "accuracy")
    assert two.at[0, f"Symmetric 60{NBSP}%: ours"] == pm("71.0", "1.0")  # 70, 71 and 72


def test_wins_are_counted_by_both_scores_beside_the_papers() -> None:
    rows = tuning_rows()
    rows.loc[rows["label"] == "LP-CE", "balanced_accuracy"] = 0.9
    table = shown.wins_table(rows).set_index("Training")
    assert table["Best, accuracy"].to_dict() | {"TURN": "23"} == dict.fromkeys(table.index, "0") | {
        "TURN": "23"
    }
    assert table.at["LP-CE", "Best, balanced accuracy"] == "23"
    assert table.at["TURN", "Mean rank, balanced accuracy"] == "2.00"
    assert table["Best, paper"].to_list() == ["0"] * 8 + ["12"]


def test_turn_is_held_against_what_the_other_seeds_pick() -> None:
    def score(dataset, label, noise_type, rate, seed):
        if label == "TURN":
            return 0.7 if dataset == "pbc" else 0.4 + 0.05 * seed
        return 0.6 if label == "LP-GCE" else 0.5 if label.startswith("LP") else 0.3

    rows = tuning_rows(score, datasets=("pbc", "ham10000"))
    by_set = archive.gains_by_set(archive.gains(rows, "accuracy")).set_index(["rival", "dataset"])
    row = by_set.loc[("the best linear probe", "ham10000")]
    assert row[["mean", "low", "high", "worst"]].tolist() == pytest.approx([-15, -20, -10, -15])
    assert (row["ahead"], row["columns"]) == (0, 5)
    assert by_set.loc[("FFT-CE", "pbc"), "mean"] == pytest.approx(40)
    table = shown.gains_table(by_set.reset_index(), archive.set_titles(rows))
    assert table["Data set"].to_list() == ["PBC blood cells", "HAM10000"]
    assert table.at[1, "Over the best linear probe (pp)"] == f"-15.0 (-20.0{NBSP}to{NBSP}-10.0)"
    assert table.at[0, "Ahead of the best linear probe"] == "5 of 5"
    said = words.small_sets_reading(by_set.reset_index(), archive.set_titles(rows))
    assert said.startswith(
        "Against the best linear probe, TURN is ahead on 1 of 2 data sets under every seed"
    )
    assert "behind on 1; its mean lead is lowest on HAM10000, -15.0 points" in said
    assert words.works_on_small_sets(by_set.reset_index()).startswith("It depends on the data set")


@pytest.mark.parametrize(
    ("lift", "answer"),
    [(0.1, "Yes: "), (-0.1, "No: "), (-0.042, "Not here: ")],
)
def test_the_short_answer_follows_the_numbers(lift: float, answer: str) -> None:
    def score(dataset, label, noise_type, rate, seed):
        mixed = 0.01 * seed if label == "TURN" else 0.0
        return plain(dataset, label, noise_type, rate, 0) + (lift * (label == "TURN")) + mixed

    rows = tuning_rows(score, datasets=("pbc", "ham10000"))
    by_set = archive.gains_by_set(archive.gains(rows, "accuracy"))
    assert words.works_on_small_sets(by_set).startswith(answer)


def test_verdicts_are_by_both_scores() -> None:
    rows = tuning_rows()
    rows.loc[rows["label"] == "TURN", "balanced_accuracy"] -= 0.2
    found = archive.verdicts(rows)
    table = shown.verdict_table(found).set_index("Pattern")
    assert len(table) == 12
    assert table.loc["A8 TURN is best", "Verdict, accuracy"] == "**reproduced**"
    assert table.loc["A8 TURN is best", "Verdict, balanced accuracy"] == "**not reproduced**"
    untested = table.loc["A12 LP-GCE is above LP-CE at symmetric 90 %"]
    assert untested["Accuracy"] == "\N{EN DASH}"
    assert untested["Verdict, accuracy"] == "not testable here"
    said = words.verdict_reading(found)
    assert "The verdict depends on the score for A8, A9 and A10." in said
    assert f"A12 and A18 cannot be tested: no row has symmetric 90{NBSP}% noise" in said
    details = shown.claim_details(found, "accuracy").splitlines()
    assert len(details) == 12
    assert details[0].startswith("- **A8 TURN is best**, reproduced: next: LP-CE with 0;")


def test_cost_is_that_of_a_run_alone() -> None:
    rows = tuning_rows(seeds=1)  # 0.5 + 2 s, 20 s, 15 + 2 s
    found = cost.ratios(rows)
    turn = found[(found["label"] == "TURN") & (found["base"] == "LP-CE")]
    np.testing.assert_allclose(turn["total_seconds"], 17 / 2.5)
    assert len(turn) == 23
    table = cost.cost_table(rows).set_index("Training")
    # Processor seconds: 7.5 + 2 against 10 and against 0.25 + 2.
    ratios = ["0.85", "0.95", "0.85", "6.8", "4.2", "6.8"]
    assert table.loc["TURN"].to_list() == ["17", "9.5", "17", *ratios]
    assert table.at["FFT-CE", "Seconds over FFT-CE"] == "1.0"
    facts = cost.ratio_facts(rows)
    assert facts["seconds_fft-ce"] == pytest.approx(0.85)
    rows.loc[(rows["dataset"] == "pbc") & (rows["label"] == "TURN"), "seconds"] = 38.0
    assert cost.ratio_facts(rows)["seconds_fft-ce_high"] == pytest.approx(2)
    parts = cost.turn_parts(tuning_rows())
    assert parts == pytest.approx(
        {
            "seconds_features": 2 / 17,
            "seconds_probe": 0.3 / 17,
            "seconds_cleaning": 1 / 17,
            "seconds_tuning": 13.7 / 17,
        }
    )
    assert words.cost_reading(facts, parts).startswith(
        "In the median run TURN takes, against FFT-CE, 0.85 times the seconds (0.85 to 0.85), 0.95 times the "
        "processor seconds (0.95 to 0.95) and 0.85 times the operations (0.85 to 0.85); against LP-CE, 6.8"
    )
    alone = rows[rows["label"] == "TURN"]
    assert cost.ratio_words(cost.ratio_facts(alone), "FFT-CE") == ""
    assert cost.images_words(alone) == ""
    assert cost.images_words(rows).startswith(f"TURN trains its network on 62{NBSP}% as many images")


def test_scores_against_cost_are_over_the_runs_that_all_rows_have() -> None:
    rows = tuning_rows(datasets=("pbc", "ham10000"), seeds=1)
    rows.loc[(rows["dataset"] == "pbc") & (rows["label"] == "TURN"), "seconds"] = 6.0  # 8 with features
    points = cost.cost_points(rows, "accuracy").set_index("label")
    assert points.at["TURN", "total_seconds"] == pytest.approx(np.sqrt(17 * 8))
    assert points.at["TURN", "score"] == pytest.approx(58)
    rows = rows.drop(rows.index[(rows["dataset"] == "pbc") & (rows["label"] == "LP-CE")])
    points = cost.cost_points(rows, "accuracy").set_index("label")
    assert points.at["TURN", "total_seconds"] == pytest.approx(17)


def test_numbers_have_two_digits() -> None:
    assert [cost.number(x) for x in (0.0, 0.0123, 1.25, 12.3, 12345.6)] == [
        "0",
        "0.012",
        "1.2",
        "12",
        "12,346",
    ]


def test_facts_of_the_study_are_counted() -> None:
    facts = words.study_facts(tuning_rows())
    assert (facts["datasets"], facts["runs"], facts["seeds"], facts["fft_epochs"]) == (5, 621, 3, "5")
    assert (facts["train_images"], facts["largest"], facts["fft_steps"]) == ("640", 640, "100")
    assert facts["highest_symmetric"] == pytest.approx(60)
    assert facts["standard_error"] == pytest.approx(100 * np.sqrt(0.25 / 200))
    assert facts["backbone"] == "DeiT-Ti"


def test_live_words_compare_the_best_of_each_kind() -> None:
    rows = tuning_rows(datasets=("pbc",), noises=(("symmetric", 0.4),))
    said = words.live_reading(rows)
    assert f"the best linear probe, LP-UNICON, has 54.5{NBSP}%" in said
    assert f"and TURN has 58.5{NBSP}%" in said
    assert "The best two rows, TURN and FFT-ELR, are 1.0 points apart, at least as much as the" in said
    far = rows["accuracy"].where((rows["label"] != "FFT-ELR") | (rows["seed"] > 0), 0.56)
    assert "points apart, less than the largest" in words.live_reading(rows.assign(accuracy=far))
    one = words.live_reading(rows[(rows["seed"] == 0) & rows["label"].isin(("LP-CE", "FFT-CE"))])
    assert one.startswith(f"Mean accuracy here: LP-CE has 50.0{NBSP}% and FFT-CE has 55.0{NBSP}%.")
    assert one.endswith("One seed says nothing of how much of that is luck.")
    table = shown.live_table(rows).set_index("Training")
    assert table.loc["TURN"].to_list() == [pm("58.5", "0.5"), pm("48.5", "0.5"), "17", "17"]
    assert archive.chance(rows) == 12.5


def test_in_short_says_ahead_behind_or_neither() -> None:
    def text(score) -> str:
        rows = tuning_rows(score)
        by_set = archive.gains_by_set(archive.gains(rows, "accuracy"))
        live = rows[(rows["dataset"] == "pbc") & (rows["noise_type"] == "instance")]
        found = archive.verdicts(rows)
        return words.in_short(rows, live, by_set, found, cost.ratio_facts(rows), "accuracy")

    said = text(plain)
    assert "TURN is best in 23 of 23 columns by accuracy, more than any other row." in said
    assert "ahead of the best linear probe, by +4.0 points (4.0 to 4.0)" in said
    assert (
        "0.85 times the seconds (0.85 to 0.85) and 0.85 times the operations (0.85 to 0.85) of FFT-CE" in said
    )

    def lower(dataset, label, noise_type, rate, seed):
        lift = {"pbc": 0.2, "ham10000": -0.2}.get(dataset, -0.06)
        return plain(dataset, label, noise_type, rate, seed) + lift * (label == "TURN")

    said = text(lower)
    assert "TURN is best in 5 of 23 columns by accuracy; FFT-ELR is in 18." in said
    assert "not told apart from the best linear probe" in said
    worse = text(lambda *run: plain(*run) - 0.2 * (run[1] == "TURN"))
    assert "behind the best linear probe, by -16.0 points" in worse
    assert "No: on each of these 5 data sets it is behind" in worse


def test_backbones_are_named_where_there_are_several() -> None:
    rows = tuning_rows(datasets=("pbc",))
    both = pd.concat([rows, rows.assign(backbone="mobilenetv2")])
    assert list(archive.set_titles(both).values()) == [
        "PBC blood cells, DeiT-Ti, 64 pixels",
        "PBC blood cells, MobileNetV2 1.0, 64 pixels",
    ]
    assert list(archive.set_titles(rows).values()) == ["PBC blood cells"]
