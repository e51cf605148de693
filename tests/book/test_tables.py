"""Tables: what is averaged, what is bold, who carries a dagger."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book import tables
from noisylib.methods import METHODS


def plain(cells) -> list[str]:
    """Cells or headings with their no-break spaces made ordinary ones."""
    return [str(cell).replace(tables.NBSP, " ") for cell in cells]


def column(table: pd.DataFrame, heading: str) -> list[str]:
    return plain(table[heading.replace(" ", tables.NBSP)])


def test_summary_is_the_mean_and_sample_deviation_over_seeds() -> None:
    summary = tables.summarise(study_rows())
    row = summary[
        (summary["method"] == "elr") & (summary["noise_type"] == "symmetric") & (summary["noise_rate"] == 0.2)
    ].squeeze()
    values = [0.9 - 0.2 - 0.1 + 0.01 * seed for seed in range(3)]
    assert row["balanced_accuracy_mean"] == pytest.approx(sum(values) / 3)
    assert row["balanced_accuracy_sd"] == pytest.approx(0.01)  # of 0, 0.01, 0.02 with n - 1
    assert row["accuracy_mean"] == pytest.approx(sum(values) / 3 + 0.05)
    assert row["runs"] == 3
    assert len(summary) == 2 * 3 * 3


def test_results_table_is_in_percent_with_the_best_in_bold() -> None:
    table = tables.results_table(tables.summarise(study_rows()), "asymmetric")
    assert plain(table.columns) == ["Method", "0 %", "20 %", "40 %"]
    assert list(table["Method"]) == ["Cross entropy", "Co-teaching†", "ELR"]
    assert column(table, "40 %") == ["**51.0 ± 1.0**", "31.0 ± 1.0", "41.0 ± 1.0"]


def test_fewest_dead_classes_are_best_and_nobody_is_when_all_are_equal() -> None:
    rows = study_rows()
    hard = (rows["noise_rate"] == 0.4) & (rows["noise_type"] == "asymmetric")
    rows.loc[hard & (rows["method"] != "elr"), "dead_classes"] = 2
    table = tables.results_table(tables.summarise(rows), "asymmetric", "dead_classes", scale=1)
    assert column(table, "40 %") == ["2.0 ± 0.0", "2.0 ± 0.0", "**0.0 ± 0.0**"]
    assert column(table, "0 %") == ["0.0 ± 0.0"] * 3


def test_one_seed_has_no_deviation() -> None:
    table = tables.results_table(tables.summarise(study_rows(seeds=1)), "symmetric")
    assert column(table, "0 %")[0] == "**90.0**"


def test_clean_runs_of_one_seed_must_agree_between_kinds_of_noise() -> None:
    rows = study_rows()
    assert tables.clean_gap(rows) == 0
    first = rows.index[(rows["noise_rate"] == 0) & (rows["noise_type"] == "symmetric")][0]
    rows.loc[first, "balanced_accuracy"] += 0.25
    assert tables.clean_gap(rows) == pytest.approx(0.25)
    assert tables.clean_gap(rows[rows["noise_rate"] > 0]) == 0


def test_headline_takes_the_hardest_asymmetric_condition() -> None:
    facts = tables.headline(tables.summarise(study_rows()))
    assert facts["hardest_noise"] == "asymmetric"
    assert facts["highest_rate"] == 40
    assert (facts["best"], facts["worst"]) == ("Cross entropy", "Co-teaching†")
    assert facts["best_score"] == pytest.approx(51)
    assert facts["gap"] == pytest.approx(20)
    assert facts["clean_gap"] == pytest.approx(20)


def test_titles_follow_the_registry_and_mark_methods_that_are_told_the_rate() -> None:
    titles = tables.method_titles(["elr-weak", "coteaching", "ce"])
    assert list(titles) == ["ce", "coteaching", "elr-weak"]
    assert {name for name, title in titles.items() if title.endswith("†")} == {
        name for name in titles if name in METHODS and METHODS[name]().told
    }
    assert "†" in tables.daggers(["coteaching"])
    assert tables.daggers(["ce"]) == ""


def test_recall_frame_averages_over_seeds() -> None:
    frame = tables.recall_frame(study_rows(), "asymmetric", 0.4, list("abcd"))
    assert list(frame.index) == ["Cross entropy", "Co-teaching†", "ELR"]
    assert frame.loc["ELR"].to_numpy() == pytest.approx(np.full(4, 0.9 - 0.4 - 0.1 + 0.01))


def test_provenance_names_runs_seeds_study_and_configuration() -> None:
    text = tables.provenance(study_rows(), "0123456789abcdef")
    assert text == "54 runs, 3 seeds, study made, configuration 01234567"


def test_shown_table_is_captioned_named_and_keeps_bars_inside_cells() -> None:
    text = tables.show(pd.DataFrame({"a": ["x|y"], "b": [1]}), "Caption.", "tab-x").data
    assert text.splitlines() == [
        ":::{table} Caption.", ":name: tab-x", "", "| a | b |", "| :-- | --: |", "| x\\|y | 1 |", ":::",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "rule"),
    [("1,080", "--:"), ("**51.0 ± 1.0**", "--:"), ("-0.5", "--:"), ("2 of 3", ":--"), ("", ":--")],
)
def test_numbers_are_aligned_right(cell: str, rule: str) -> None:
    assert f"| {rule} |" in tables.show(pd.DataFrame({"a": [cell]}), "", "x").data


def test_documentation_is_escaped_outside_of_code() -> None:
    assert tables._escape("p_y <p, t> ``T_k``") == "p\\_y \\<p, t> ``T_k``"


def test_registry_tables_have_a_row_for_everything() -> None:
    table = tables.methods_table()
    assert list(table["Key"]) == [f"`{name}`" for name in METHODS]
    rows = {key: plain(row) for key, row in zip(METHODS, table.to_numpy(), strict=True)}
    assert rows["cufit"][3:] == ["1 linear head and 2 heads", "nothing", "no", "none"]
    assert rows["dividemix"][3:] == ["2 heads", "noise rate, type of the noise", "yes", "2"]
    assert rows["knn"][3:] == ["none", "nothing", "no", "none"]
    assert list(tables.methods_table(["elr"])["Source"]) == ["{cite:p}`liu2020elr`"]
    assert "`epochs`" in set(tables.recipe_table()["Setting"])


def test_hyper_parameters_are_listed_under_their_method() -> None:
    hyper = tables.hyperparameters_table(["elr", "gce"])
    assert list(hyper["Method"]) == ["Generalised cross entropy", "ELR", ""]
    assert list(hyper["Name"]) == ["`q`", "`lam`", "`beta`"]
    assert list(hyper["Default"]) == ["0.7", "3", "0.7"]
    defaults = tables.hyperparameters_table(["dividemix", "tgce"]).set_index("Name")["Default"]
    assert defaults["`unlabelled_weight`"] == "by rule"
    assert defaults["`start_at`"] == "0.333"
    assert len(tables.hyperparameters_table()) == sum(len(fields(cls)) for cls in METHODS.values())


def test_documentation_of_the_methods_is_folded() -> None:
    boxes = tables.method_notes(["elr", "ce"]).data
    assert boxes.count(":::{admonition}") == boxes.count(":class: note dropdown") == 2
    assert boxes.index("ELR") < boxes.index("Cross entropy")


def test_notes_leave_out_banks_without_any() -> None:
    text = tables.notes({"A": "resized", "B": ""}).data
    assert "**A**: resized" in text
    assert "**B**" not in text
    assert tables.notes({"B": ""}).data == ""
