"""What the chapter on cleaning reads from archived rows: made rows with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from made_cleaning import NOISES, SETS, TAUS, cleaning_rows, score_rows

from noisylib.book.describe import cleaning_answers as answers
from noisylib.book.describe import cleaning_archive as archive
from noisylib.book.describe import cleaning_tables as tables
from noisylib.errors import MissingDataError

LABELS = ("turn-all", "turn-tau0.4", "turn-tau0.8")


@pytest.fixture(scope="module")
def own():
    return archive.selections(cleaning_rows(), 5)


@pytest.fixture(scope="module")
def found():
    return archive.differences(score_rows(), score_rows(LABELS))


def test_selections_are_those_of_turn_with_shares_and_unions(own) -> None:
    other = cleaning_rows(seeds=1).assign(label="turn-tau0.4")
    import pandas as pd

    assert len(archive.selections(pd.concat([cleaning_rows(), other]), 5)) == len(own)
    assert set(own["share"]) == {0.65}
    missed = 80 * (7 / 8) ** 5 + 40 * (3 / 4) ** 5
    np.testing.assert_allclose(own["union"], 1 - missed / 130)
    assert len(archive.at_own(own)) == len(own) / len(TAUS)


def test_ends_are_the_first_and_the_last_epoch_over_seeds(own) -> None:
    ends = archive.ends(own)
    assert len(ends) == 2 * len(SETS) * len(NOISES)
    key = (ends["dataset"] == "pbc") & (ends["noise_type"] == "asymmetric")
    first, last = (ends[key & (ends["when"] == when)].iloc[0] for when in ("first", "last"))
    assert first["right"] == pytest.approx(0.6)
    assert first[["purity", "purity_low", "purity_high"]].tolist() == pytest.approx([0.71, 0.70, 0.72])
    assert last["purity"] == pytest.approx(0.75)
    assert first["lost"] == pytest.approx(1 - 30 / 130)


def test_changes_are_paired_and_averaged_over_the_conditions_of_a_data_set(own) -> None:
    change = archive.changes(archive.by_tau(own), "purity", "tau", 0.4, 0.8)
    np.testing.assert_allclose(change, [0.04] * 3)
    assert set(change.index) == set(SETS)
    np.testing.assert_allclose(archive.changes(archive.ends(own), "purity", "when", "first", "last"), 0.04)


def test_the_interval_is_students() -> None:
    mean, low, high = archive.t_interval([1, 2, 3])
    assert (mean, high - mean, mean - low) == pytest.approx((2, 4.302653 / 3**0.5, 4.302653 / 3**0.5))
    assert archive.t_interval([0.5])[0] == 0.5
    assert np.isnan(archive.t_interval([0.5])[1:]).all()


def test_differences_pair_labels_and_seed_wherever_turn_is(found) -> None:
    assert len(found) == 3 * len(SETS) * len(NOISES) * 3
    gained = found[(found["label"] == "turn-all") & (found["dataset"] != "ham10000")]
    np.testing.assert_allclose(gained["accuracy"], 0.02)
    np.testing.assert_allclose(gained["balanced_accuracy"], -0.04)
    assert set(found["tau"].dropna()) == {0.4, 0.8}
    # TURN among the variants is preferred to that of the study.
    both = archive.differences(score_rows().assign(accuracy=0.0), score_rows(("TURN", *LABELS)))
    np.testing.assert_allclose(both["accuracy"], found["accuracy"])
    assert archive.differences(score_rows(), None).empty
    for other in ({"image_size": 32}, {"n_train": 100}):
        assert archive.differences(score_rows().assign(**other), score_rows(LABELS)).empty


def test_gains_are_over_seeds_for_a_data_set_and_over_data_sets_for_all(found) -> None:
    gains = archive.gains(found, "turn-all", "accuracy").set_index("dataset")
    assert gains.at["pbc", "n"] == 3
    assert gains.loc["ham10000", ["mean", "low", "high"]].tolist() == pytest.approx([0.01] * 3)
    expected = archive.t_interval([0.02, 0.01, 0.02])
    assert gains.loc["", ["mean", "low", "high"]].tolist() == pytest.approx(list(expected))
    assert archive.gains(found, "turn-none", "accuracy").empty


def test_floor_counts_small_classes_of_all_epochs(own) -> None:
    runs = len(SETS) * len(NOISES) * 3 * 5
    assert archive.floor_facts(own) == {"classes": 3 * runs, "tiny": 0, "ones": 0, "smallest": 10}
    tiny = own.assign(
        observed_counts=[np.array([3, 60, 0, 2])] * len(own),
        clean_counts=[np.array([3, 40, 0, 1])] * len(own),
    )
    facts = archive.floor_facts(tiny)
    assert facts == {"classes": 3 * runs, "tiny": 2 * runs, "ones": runs, "smallest": 1}
    assert f"{2 * runs} had fewer than 4" in answers.floor_reading(facts, 4)


def test_variants_that_nobody_has_run_are_none(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    assert archive.arms() == (None, "")
    monkeypatch.setattr(
        "noisylib.book.experiments.experiment_rows", lambda name: (_ for _ in ()).throw(MissingDataError("x"))
    )
    assert archive.arms() == (None, "")


def test_tables_have_percent_and_points(own, found) -> None:
    ends = tables.ends_table(archive.ends(own))
    assert len(ends) == len(SETS) * len(NOISES)
    row = ends.iloc[0]
    assert row["Data set"] == "BreastMNIST"
    assert ends.iloc[1]["Data set"] == ""
    assert row[["Right before", "Purity", "... last epoch", "n", "Not drawn"]].tolist() == [
        "80", "91", "95", "10", "77",
    ]  # fmt: skip
    taus = tables.tau_table(archive.by_tau(own), found).set_index("tau")
    assert taus.at["0.6", "Accuracy"] == "0"
    assert taus.at["0.5", "Accuracy"] == "not run"
    assert taus.at["0.8", "Purity, change"] == "+2.0 (+2.0 to +2.0)"
    assert taus.at["0.4", "Balanced accuracy"].startswith("-16.7 (")
    draws = tables.draw_table(own, found).set_index("Data set")
    assert draws.at["HAM10000", "Labels: most / fewest"] == "2.5"
    assert draws.at["HAM10000", "All: accuracy"] == "+1.0 (+1.0 to +1.0)"
    assert draws.at["all", "All: accuracy"].startswith("+1.7 (")
    none = tables.draw_table(own, archive.differences(score_rows(), None))
    assert set(none["All: accuracy"]) == {"not run"}


def test_small_and_shift_tables() -> None:
    import pandas as pd

    shifts = pd.DataFrame({"shift": [0.5], "per_class": [0.0], "in_class": [0.1234], "others": [0.01]})
    assert tables.shift_table(shifts).iloc[0].tolist() == ["0.5", "0.0", "12.3", "1.0"]
    small = pd.DataFrame(
        {"size": [4, 0], "classes": 6, "share": 0.5, "low": 1, "high": 3, "before": 0.4, "purity": 0.5}
        | {"floor": 0.0, "drawn": 0.1}
    )
    assert tables.small_table(small)["Samples left"].tolist() == ["4", "all"]
    assert tables.small_table(small)["Number called clean"].iloc[0] == "1 to 3"
    assert tables.percent(np.nan) == "none"
    assert tables.span(0.98, 0.9, 1.1) == "98.0 (90.0 to 100.0)"


def test_readings_follow_the_numbers(own, found) -> None:
    ends, taus = archive.ends(own), archive.by_tau(own)
    text = answers.ends_reading(ends)
    assert "purer than the data in 12 of 12 conditions" in text
    assert "becomes purer: +4.0 (+4.0 to +4.0)" in text
    assert "In 0 of 12 conditions most" in text
    assert "becomes less pure" in answers.ends_reading(archive.ends(own.assign(epoch=4 - own["epoch"])))

    text = answers.tau_reading(taus, found)
    assert "changes by +4.0 (+4.0 to +4.0) points" in text
    assert "clearly so with tau 0.4 by -16.7" in text
    assert "no other tau is clearly better" in answers.tau_reading(
        taus, found.assign(balanced_accuracy=np.where(found["dataset"] == "pbc", -1, 1) * 0.01)
    )
    none = archive.differences(score_rows(), None)
    assert "says nothing of scores" in answers.tau_reading(taus, none)

    assert "is not known" in answers.all_reading(none)
    text = answers.all_reading(found)
    assert "changes accuracy by +1.7 (+0.2 to +3.1) points, a clear gain, and raises it in 3 of 3" in text
    assert "a clear loss, and raises it in 0 of 3" in text


def test_in_short_names_every_answer(own, found) -> None:
    facts = {"condition": "X", "live_share": 0.7, "live_purity": 0.8, "live_right": 0.6}
    lines = answers.in_short(facts, archive.ends(own), archive.by_tau(own), found, own).split("\n")
    assert len(lines) == 5
    assert all(line.startswith("- ") for line in lines)
    assert "is not clearly purer than the data, by +11.8" in lines[1]
    assert "is purer than" in answers.in_short(
        facts, archive.ends(own[own["dataset"] != SETS[0]]), archive.by_tau(own), found, own
    )
    assert "leaves 77 (BreastMNIST) to 77" in lines[3]
    assert "is less pure than the clean set it is from, by -5.0 (-5.0 to -5.0) points" in lines[3]
    facts = answers.archive_facts(own, "rows", "")
    assert facts["arms"] == "The variants of TURN have not been run."
    assert (facts["n_datasets"], facts["n_conditions"], facts["last_epoch"]) == (3, 4, 5)
    assert list(answers.dataset_titles(own).values()) == ["BreastMNIST", "HAM10000", "PBC blood cells"]
