"""Changed settings and methods outside the ranking, with differences that follow from the made rows."""

from __future__ import annotations

import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book.describe import settings as describe_settings
from noisylib.errors import UnknownNameError
from noisylib.study.config import MethodSpec

UNTOLD = (("unlabelled_weight", 0.0), ("warm_up_penalty", 0.0))
SPECS = {
    "elr-weak": MethodSpec("elr", (("lam", 1.0),), "elr-weak"),
    "dividemix-untold": MethodSpec("dividemix", UNTOLD, "dividemix-untold"),
}


def changed() -> pd.DataFrame:
    """Return rows of "elr-weak": like ELR, with 0.03 less balanced accuracy where labels are wrong."""
    rows = study_rows(methods=("elr",)).assign(method="elr-weak")
    rows["balanced_accuracy"] -= 0.1 + 0.03 * (rows["noise_rate"] > 0)  # ELR is the second method below
    rows["accuracy"] -= 0.1 - 0.02
    return rows


def test_a_setting_is_compared_with_its_default_and_with_cross_entropy() -> None:
    frame = describe_settings.settings_frame(study_rows(seeds=5), changed(), SPECS).set_index("noise")
    assert list(frame.index) == ["Clean", "Symmetric", "Asymmetric"]
    assert frame["balanced_accuracy"].to_list() == pytest.approx([0, -0.03, -0.03])
    assert frame["accuracy"].to_list() == pytest.approx([0.02] * 3)
    assert frame["default_lead"].to_list() == pytest.approx([-0.1] * 3)
    assert frame["lead"].to_list() == pytest.approx([-0.1, -0.13, -0.13])


def test_only_what_all_three_have_counts() -> None:
    rows = study_rows()
    gap = (rows["method"] == "ce") & (rows["noise_rate"] == 0.4)
    some = changed()[lambda t: t["noise_type"] == "symmetric"]
    some.loc[some["noise_rate"] == 0.4, "balanced_accuracy"] = 0
    frame = describe_settings.settings_frame(rows[~gap], some, SPECS).set_index("noise")
    assert frame.at["Symmetric", "balanced_accuracy"] == pytest.approx(-0.03)


def test_settings_table_and_notes() -> None:
    frame = describe_settings.settings_frame(study_rows(), changed(), SPECS)
    (row,) = describe_settings.settings_table(frame, SPECS).to_dict("records")
    assert row["Setting"] == "`elr-weak`"
    assert (row["Of"], row["Changed"], row["Is told"]) == ("ELR", "`lam` = 1", "nothing")
    assert row["Clean"].replace("\N{NO-BREAK SPACE}", " ") == "+0.0 / +2.0"
    assert row["Symmetric"].replace("\N{NO-BREAK SPACE}", " ") == "-3.0 / +2.0"
    note = describe_settings.settings_notes(frame, SPECS)
    assert "-10.0 points on clean labels (default -10.0)" in note
    assert "-13.0 points under asymmetric noise (default -10.0)" in note


def test_a_label_without_a_config_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="elr-weak"):
        describe_settings.settings_frame(study_rows(), changed().assign(method="elr-week"), SPECS)


def test_told_text_follows_the_settings() -> None:
    assert describe_settings.told_text(SPECS["dividemix-untold"].rule) == "nothing"
    told = describe_settings.told_text(MethodSpec("dividemix").rule)
    assert told == "noise rate, type of the noise"


def test_points_have_a_sign_and_no_negative_zero() -> None:
    assert [describe_settings.points(v) for v in (0.0123, -0.0123, -0.0001)] == ["+1.2", "-1.2", "+0.0"]


def extras() -> pd.DataFrame:
    """Return rows of two outsiders, one trained without a head: best of all, and worst of all."""
    rows = study_rows(methods=("wann", "sce"))
    rows["balanced_accuracy"] = [0.99 if m == "wann" else 0.01 for m in rows["method"]]
    rows.loc[rows["method"] == "wann", "head"] = "none"
    return rows


def test_outsiders_stand_beside_the_ranked_on_their_conditions() -> None:
    table = describe_settings.outsiders_table(study_rows(datasets=("ham10000", "pbc"), seeds=5), extras())
    assert table["Ranked"].to_list() == ["no", "yes", "yes", "yes", "no"]
    assert table["Mean rank"].to_list() == ["1.0", "2.0", "3.0", "4.0", "5.0"]
    # Seeds 0 to 2 of one set: 0.9 + 0.01 on clean labels, and 0.3 less on average of the noisy rates.
    assert table["Clean"].to_list() == ["99.0", "91.0", "81.0", "71.0", "1.0"]
    assert table["Symmetric"][1] == "61.0"
    assert table["Is told"].to_list() == ["nothing"] * 3 + ["noise rate", "nothing"]


def test_the_note_says_where_the_best_outsider_stands() -> None:
    note = describe_settings.outsiders_note(study_rows(), extras())
    assert "Among all 5 methods, Cross entropy has the best mean rank of the ranked ones, 2.0" in note
    assert "the best of the others, 1.0; 1 of the 2 others stand before the best ranked one, and 1" in note
