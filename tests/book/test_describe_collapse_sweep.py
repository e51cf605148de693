"""What drives dead classes, on tables small enough to add up by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from noisylib.book.describe import collapse_archive as archive
from noisylib.book.describe import collapse_choices as choices
from noisylib.book.describe import collapse_purity as purity
from noisylib.book.describe import collapse_remedies as remedies
from noisylib.book.describe import collapse_sweep as sweep
from noisylib.errors import NoisylibError


def row(method, source="bed", imbalance=10.0, asymmetry=1.0, name="equals", rate=0.4, seed=0, **scores):
    """One run of the sweep with three classes."""
    return {
        "source": source, "imbalance": imbalance, "asymmetry": asymmetry, "map": name, "noise_rate": rate,
        "seed": seed, "method": method, "min_purity": 0.3, "accuracy": 0.5, "balanced_accuracy": 0.4,
        "dead_classes": 0, "recall": [1.0, 0.5, 0.0], "purity": [1.0, 0.6, 0.2],
        "class_counts": [90, 9, 1], "bayes_balanced": 0.8,
    } | scores  # fmt: skip


def test_contrast_pairs_methods_over_seeds() -> None:
    rows = pd.DataFrame(
        [
            row("ce", balanced_accuracy=0.4, dead_classes=1),
            row("ce", balanced_accuracy=0.6, seed=1),
            row("coteaching", balanced_accuracy=0.3, dead_classes=3),
            row("coteaching", balanced_accuracy=0.5, dead_classes=2, seed=1),
            row("coteaching_quota", balanced_accuracy=0.9),
            row("ce", name="none", rate=0.0),
        ]
    )
    (cell,) = sweep.contrast(rows).to_dict("records")
    assert cell["balanced_accuracy_ce"] == pytest.approx(50)
    assert cell["balanced_accuracy_gap"] == pytest.approx(-10)
    assert (cell["dead_classes_ce"], cell["dead_classes_coteaching"], cell["dead_classes_gap"]) == (
        0.5,
        2.5,
        2.0,
    )
    assert cell["seeds"] == 2
    alone = pd.DataFrame([row("ce", name="majority")])
    with pytest.raises(NoisylibError, match="1 cells lack"):
        sweep.contrast(pd.concat([rows, alone]))


def grid(value) -> pd.DataFrame:
    """A complete 2 x 2 x 3 grid whose outcomes are `value(imbalance, asymmetry, map number)`."""
    cells = [
        {"imbalance": i, "asymmetry": a, "map": m, "out": float(value(i, a, k))}
        for i, a, (k, m) in product((1.0, 10.0), (0.0, 1.0), enumerate(("equals", "extremes", "majority")))
    ]
    frame = pd.DataFrame(cells)
    return frame.assign(**dict.fromkeys(sweep.OUTCOMES, frame["out"]))


def test_effects_of_a_sum_are_its_terms() -> None:
    found = sweep.effects(grid(lambda i, a, k: i / 3 + 4 * a + k), "out")
    # Variances of the terms: (3/2)^2, 2^2 and 2/3.
    total = 2.25 + 4 + 2 / 3
    assert found.loc["imbalance", "share"] == pytest.approx(2.25 / total)
    assert found.loc["asymmetry", "share"] == pytest.approx(4 / total)
    assert found.loc["map", "share"] == pytest.approx(2 / 3 / total)
    assert found["share"].iloc[3:].abs().max() < 1e-12
    assert found.loc["imbalance", "spread"] == pytest.approx(3)
    assert (found.loc["map", "low_level"], found.loc["map", "high_level"]) == ("equals", "majority")
    assert found.loc["asymmetry", "high"] - found.loc["asymmetry", "low"] == pytest.approx(4)


def test_what_two_factors_do_together_is_their_pair() -> None:
    found = sweep.effects(grid(lambda i, a, k: (i == 10) != (a == 1)), "out")
    assert found.loc["imbalance x asymmetry", "share"] == pytest.approx(1)
    assert found["share"].drop("imbalance x asymmetry").abs().max() < 1e-12
    triple = sweep.effects(grid(lambda i, a, k: (-1) ** ((i == 10) + (a == 1)) * (k - 1)), "out")
    assert triple.loc["rest", "share"] == pytest.approx(1)


def test_equal_cells_have_no_shares_and_incomplete_grids_are_refused() -> None:
    flat = grid(lambda i, a, k: 2)
    assert sweep.effects(flat, "out")["share"].isna().all()
    assert "none" in sweep.effects_table(flat).iloc[0].to_list()
    text = sweep.drivers_text(flat, "out", "Dead classes of Co-teaching")
    assert text == "Dead classes of Co-teaching are the same in all 12 cells: 2.0."
    with pytest.raises(NoisylibError, match="11 cells, 12 combinations"):
        sweep.effects(flat[1:], "out")
    with pytest.raises(NoisylibError, match="give each once"):
        sweep.effects(pd.concat([flat[1:], flat[1:2]]), "out")


def test_drivers_are_named_in_order() -> None:
    made = grid(lambda i, a, k: i / 3 + 4 * a + k)
    text = sweep.drivers_text(made, "out", "Dead classes of Co-teaching")
    assert text.startswith("Dead classes of Co-teaching move most with asymmetry (")
    assert "then imbalance (" in text
    assert "least with map (" in text
    assert "at 1 : 1" in text
    assert "*into the largest*" in text
    full = sweep.full_text(made)
    assert "imbalance moves them by 3.0 (from 1 : 1 to 10 : 1)" in full
    assert "map moves them by 2.0" in full
    table = sweep.effects_table(made)
    assert table["What varies"].to_list()[:4] == ["Imbalance", "Asymmetry", "Map", "Imbalance x Asymmetry"]
    assert table["Dead classes: spread"].to_list()[:4] == ["3.0", "4.0", "2.0", ""]


def test_clean_labels_at_the_strongest_imbalance() -> None:
    rows = pd.DataFrame(
        [
            row("ce", rate=0.0, imbalance=1.0, dead_classes=9),
            row("ce", rate=0.0, imbalance=100.0, dead_classes=1, recall=[1, 1, 0.0]),
            row("ce", rate=0.0, imbalance=100.0, seed=1, recall=[1, 1, 0.5]),
            row("ce", imbalance=100.0, dead_classes=7),
        ]
    )
    text = sweep.clean_text(rows)
    assert text.startswith("At 100 : 1 without any wrong label CE loses 0.5 classes")
    assert "25\N{NO-BREAK SPACE}% of the rarest" in text


def test_classes_are_sorted_by_share_and_purity() -> None:
    rows = pd.DataFrame([row("ce"), row("coteaching", purity=[1.0, np.nan, 0.2])])
    found = purity.class_rows(rows)
    assert len(found) == 5, "a label that nobody carries has no purity"
    assert found["group"].to_list() == [2, 1, 0, 2, 0]
    edges = purity.class_rows(pd.DataFrame([row("ce", class_counts=[88, 10, 2])]))
    assert edges["group"].to_list() == [2, 2, 1], "10 % and more is the last group"
    assert found["dead"].to_list() == [False, False, True, False, True]
    bins = purity.purity_bins(found, least=1)
    small = bins[(bins["method"] == "ce") & (bins["group"] == 0)]
    assert small[["purity", "recall", "dead", "n", "bin"]].to_numpy().tolist() == [[0.2, 0, 1, 1, 2]]
    assert bins["bin"].max() == 9, "a purity of 1 is in the last bin"
    assert purity.purity_bins(found, least=2).empty


def test_rare_classes_in_words() -> None:
    rows = pd.DataFrame([row("ce", recall=[1, 0.5, 0.25]), row("coteaching", recall=[1, 0.5, 0.0])])
    text = purity.purity_text(purity.class_rows(rows), "the classes")
    assert text.startswith("Of the classes with less than 10")
    wrong, right = text.split("; ")
    assert "mostly wrong" in wrong
    assert "recognises 0\N{NO-BREAK SPACE}% of them (CE 25" in wrong
    assert "100\N{NO-BREAK SPACE}% of such classes are dead (CE 0" in wrong
    assert "mostly right" in right
    assert "recognises 50" in right
    large = purity.class_rows(rows.assign(class_counts=[[40, 30, 30]] * 2))
    assert purity.purity_text(large, "the classes").startswith("None of the classes has")


METHODS = ("ce", "coteaching", "coteaching_quota", "ce_balanced")


def arm_rows() -> pd.DataFrame:
    """Two arms; the quota gains 10 and 20 points, costs 4 of accuracy on the images, saves a class."""
    made = []
    for source, base in (("bed", 0.3), ("ham10000", 0.5)):
        for method in METHODS:
            gain = {"coteaching_quota": 0.1 if source == "bed" else 0.2, "ce_balanced": 0.05}.get(method, 0)
            accuracy = 0.7 - 0.04 * (method == "coteaching_quota")
            dead = 2 - (method == "coteaching_quota")
            made += [row(method, source, seed=s, balanced_accuracy=base + gain, accuracy=accuracy,
                         dead_classes=dead) for s in (0, 1)]  # fmt: skip
    made += [row(m, imbalance=1.0, balanced_accuracy=0.99) for m in METHODS]
    made += [row(m, asymmetry=0.0, balanced_accuracy=0.99) for m in METHODS]
    made += [row(m, "ham10000", rate=0.2, balanced_accuracy=0.99) for m in METHODS]
    return pd.DataFrame(made)


def test_arms_are_unequal_and_fully_asymmetric() -> None:
    arms = remedies.arm_frame(arm_rows())
    assert arms[["source", "map"]].drop_duplicates().to_numpy().tolist() == [
        ["bed", "equals"],
        ["ham10000", "equals"],
    ]
    assert arms["runs"].to_list() == [2] * 8
    assert arms["balanced_accuracy"].max() == pytest.approx(70)
    with pytest.raises(NoisylibError, match="same runs"):
        remedies.arm_frame(arm_rows()[1:])


def test_gains_are_means_over_arms_and_accuracy_is_that_on_images() -> None:
    arms = remedies.arm_frame(arm_rows().assign(
        accuracy=lambda rows: rows["accuracy"].where(rows["source"] != "bed", 0.1)))  # fmt: skip
    gains = remedies.gain_frame(arms)
    quota = gains.loc["coteaching_quota"]
    assert quota["balanced"] == pytest.approx(15)
    assert quota["accuracy"] == pytest.approx(-4)
    assert quota["dead"] == pytest.approx(-1)
    assert (quota["wins"], quota["wins_plain"], quota["arms"]) == (2, 2, 2)
    table = remedies.gain_table(gains)
    assert table["Remedy"].to_list() == ["Co-teaching, per-class quota†", "Balanced softmax"]
    assert table["Balanced accuracy (pp)"].to_list() == ["+15.0", "+5.0"]
    text = remedies.remedy_text(arms, gains)
    assert "Co-teaching, per-class quota† gains most on Co-teaching, +15.0 points" in text
    assert "costs 4.0 points of accuracy on images" in text
    assert "1.0 fewer dead classes" in text
    assert "Above CE in every arm: Co-teaching, per-class quota†; Balanced softmax." in text
    assert "that of Co-teaching, per-class quota† on every data set" in text
    assert "higher in 2 of 2 arms" in remedies.told_text(arms)


def test_no_gain_is_said_to_be_none() -> None:
    arms = remedies.arm_frame(arm_rows().assign(balanced_accuracy=0.5))
    gains = remedies.gain_frame(arms)
    assert remedies.remedy_text(arms, gains).startswith("No remedy has more balanced accuracy")


def test_best_of_a_source_is_bold() -> None:
    table = remedies.remedy_table(remedies.arm_frame(arm_rows()))
    assert table["Method"].to_list()[0] == "Cross entropy"
    assert table["HAM10000: balanced accuracy"].to_list() == ["50.0", "50.0", "**70.0**", "55.0"]
    assert table["Gaussian classes: dead classes"].to_list() == ["2.0", "2.0", "**1.0**", "2.0"]


def test_bayes_rule_at_both_ends() -> None:
    rows = pd.DataFrame(
        [row("ce", imbalance=i, bayes_balanced=b) for i, b in ((1.0, 0.8), (30.0, 0.6), (5.0, np.nan))]
    )
    ends = remedies.bayes_range(rows)
    assert ends == pytest.approx({"bayes_even": 80, "bayes_uneven": 60, "even": 1, "uneven": 30})


def benchmark() -> pd.DataFrame:
    """HAM10000 with a class that Co-teaching loses at more accuracy; PBC without any."""
    made = []
    for dataset, method, seed in product(("ham10000", "pbc"), ("ce", "coteaching"), (0, 1)):
        ours, skin = method == "coteaching", dataset == "ham10000"
        made.append(
            {
                "dataset": dataset, "backbone": "deit_tiny", "head": "adapter", "noise_type": "asymmetric",
                "noise_rate": 0.4, "seed": seed, "method": method, "accuracy": 0.6 + 0.1 * ours,
                "balanced_accuracy": 0.4 + (-0.05 if skin else 0.1) * ours,
                "dead_classes": (2 + seed) * (ours and skin),
            }
        )  # fmt: skip
    return pd.DataFrame(made)


def test_archive_counts_the_dead_and_the_hidden() -> None:
    rows = archive.hard_rows(pd.concat([benchmark(), benchmark().assign(noise_rate=0.1)]))
    assert len(rows) == 8
    gaps = archive.gap_frame(rows)
    assert gaps["accuracy"].to_list() == pytest.approx([10, 10])
    assert gaps["balanced_accuracy"].to_list() == pytest.approx([-5, 10])
    assert gaps["dead_classes"].to_list() == [2.5, 0]
    text = archive.gaps_text(gaps)
    assert "more accuracy than CE in 2 of 2 conditions, and less balanced accuracy in 1" in text
    assert text.endswith("in 1 (HAM10000, asymmetric).")
    assert archive.gaps_text(gaps[gaps["dataset"] == "pbc"]).endswith("in 0.")
    found = archive.archive_text(rows)
    assert "a class is dead in 50\N{NO-BREAK SPACE}% of the 4 runs" in found
    assert "Co-teaching† loses most on average, 2.5 classes" in found
    assert "no method loses a class in any of 4 runs" in found
    table = archive.dead_table(rows)
    assert table["Co-teaching†"].to_list() == ["**2.5**", "0.0"]
    assert table["Balanced, Co-teaching - CE"].to_list() == ["-5.0", "+10.0"]
    assert table["Noise"].to_list() == ["asymmetric 40\N{NO-BREAK SPACE}%"] * 2


def test_archive_without_these_conditions_is_refused() -> None:
    with pytest.raises(NoisylibError, match="none of"):
        archive.hard_rows(benchmark().assign(noise_rate=0.3))


def test_open_choices_stand_beside_the_source() -> None:
    base = benchmark()
    arms = {
        "heads": base.assign(head="mlp", dead_classes=4),
        "map_majority": base.assign(accuracy=base["accuracy"] + 0.1),
        "map_cyclic": base.assign(noise_type="pairflip", balanced_accuracy=0.5),
    }
    swept = pd.concat(
        base.assign(asymmetry=a, map=m, dead_classes=9 * a)
        for a, m in ((1.0, "majority"), (0.5, "majority"), (1.0, "default"))
    )
    frame = choices.choices_frame(base, arms, swept)
    assert frame["open"].to_list() == ["map"] * 4 + ["head"] * 2 + ["backbone"]
    assert frame["choice"].to_list()[3:] == ["into the largest (DeiT-Ti)", "adapter", "mlp", "DeiT-Ti"]
    assert frame["dead_classes"].to_list()[3] == [9, 9]
    assert frame["dead_classes"].to_list()[0] == [2, 3], "HAM10000 only"
    table = choices.choices_table(frame, (68.0, 35.1, 3))
    assert table.iloc[0].to_list()[3:6] == ["68.0", "35.1", "3"]
    pm = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"
    assert table.iloc[1].to_list()[2:] == [
        "2",
        f"70.0{pm}0.0",
        f"35.0{pm}0.0",
        f"2.5{pm}0.7",
        "40.0",
    ]
    text = choices.choices_text(frame)
    assert text.startswith("With the map, accuracy lies between 70.0 and 80.0")
    assert "dead classes between 2.5 and 9.0" in text
    assert "in 6 of these 7 rows" in text, "equal balanced accuracy under the cyclic map hides nothing"
