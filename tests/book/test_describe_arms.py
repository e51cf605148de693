"""Scores by variant, class maps and their purity, with values that follow from the made rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book.describe import arms as describe_arms


def made(**columns) -> pd.DataFrame:
    """Return the made rows with some columns replaced."""
    return study_rows(seeds=columns.pop("seeds", 3), methods=("ce", "elr")).assign(**columns)


def cell(frame: pd.DataFrame, panel: str, variant: str, method: str) -> float:
    panel = panel.replace(" ", "\N{NO-BREAK SPACE}") if "%" in panel and "," not in panel else panel
    part = frame[(frame["panel"] == panel) & (frame["variant"] == variant) & (frame["method"] == method)]
    (score,) = part["score"]
    return score


def test_heads_are_compared_on_shared_seeds_on_clean_labels_and_the_highest_rate() -> None:
    linear = made(head="linear")
    linear["balanced_accuracy"] -= 0.02
    frame = describe_arms.head_frame(made(seeds=5), linear)
    clean, *noisy = list(frame["panel"].unique())
    assert clean == "Clean labels"
    assert [text.split(",")[0] for text in noisy] == ["Symmetric", "Asymmetric"]
    # Seeds 0 to 2: 0.9 + 0.01. Five seeds would give 0.92.
    assert cell(frame, clean, "adapter", "ce") == pytest.approx(0.91)
    assert cell(frame, clean, "linear", "elr") == pytest.approx(0.91 - 0.1 - 0.02)
    assert cell(frame, noisy[1], "adapter", "ce") == pytest.approx(0.91 - 0.4)


def test_backbones_are_named_by_their_titles() -> None:
    rows = pd.concat([made(), made(backbone="mobilenetv2", balanced_accuracy=0.5)])
    frame = describe_arms.backbone_frame(rows)
    assert list(frame["variant"].unique()) == ["DeiT-Ti", "MobileNetV2 1.0"]
    assert cell(frame, "Clean labels", "MobileNetV2 1.0", "elr") == pytest.approx(0.5)


def test_instance_noise_stands_beside_the_others_at_the_same_rate() -> None:
    symmetric = made()[lambda t: (t["noise_type"] == "symmetric") & (t["noise_rate"] > 0)]
    arm = symmetric.assign(noise_type="instance", balanced_accuracy=0.4)
    frame = describe_arms.instance_frame(made(), arm)
    assert list(frame["variant"].unique()) == ["Symmetric", "Asymmetric", "Instance"]
    assert cell(frame, "20 %", "Symmetric", "ce") == pytest.approx(0.71)
    assert cell(frame, "40 %", "Instance", "ce") == pytest.approx(0.4)
    assert frame["panel"].nunique() == 2, "no clean panel"


def test_high_rates_continue_the_lower_ones_of_the_same_seeds() -> None:
    arm = made()[lambda t: (t["noise_type"] == "symmetric") & (t["noise_rate"] == 0.4)].assign(noise_rate=0.6)
    rows = describe_arms.high_rate_rows(made(seeds=5), arm)
    assert sorted(rows["noise_rate"].unique()) == [0, 0.2, 0.4, 0.6]
    assert set(rows["noise_type"]) == {"symmetric"}
    assert set(rows["seed_train"]) == {0, 1, 2}
    assert set(rows["panel"]) == {"HAM10000"}


def arms_of_maps() -> pd.DataFrame:
    base = made()[lambda t: (t["noise_type"] == "asymmetric") & (t["noise_rate"] > 0)]
    majority = base.assign(study="map_majority", dead_classes=1)
    return pd.concat(
        [majority, base.assign(study="map_cyclic", noise_type="pairflip", balanced_accuracy=0.2)]
    )


def test_clean_labels_stand_under_every_map() -> None:
    rows = describe_arms.map_rows(made(seeds=5), arms_of_maps())
    assert list(rows["panel"].unique()) == ["look-alike pairs", "into the majority", "cyclic"]
    assert (rows.groupby("panel")["noise_rate"].nunique() == 3).all()
    assert set(rows["seed_train"]) == {0, 1, 2}
    assert not rows.duplicated(["panel", "method", "noise_rate", "seed_train"]).any()
    cyclic = rows[(rows["panel"] == "cyclic") & (rows["noise_rate"] > 0)]
    assert set(cyclic["balanced_accuracy"]) == {0.2}
    assert describe_arms.map_rows(made(), arms_of_maps().iloc[:0]).empty


def test_purity_from_counts_and_matrix() -> None:
    T = np.array([[0.6, 0.4], [0.0, 1.0]])
    # 60 of 100 keep label 0 and nobody joins; 10 own label 1, and 40 join.
    np.testing.assert_allclose(describe_arms.purity([100, 10], T), [1, 10 / 50])


def test_purity_of_the_three_maps_of_ham10000() -> None:
    frame = describe_arms.map_purity("ham10000", 0.4)
    assert list(frame.index) == ["look-alike pairs", "into the majority", "cyclic"]
    # 6,705 nevi and 1,113 melanomas trade two fifths of each other.
    pairs = 0.6 * 1113 / (0.6 * 1113 + 0.4 * 6705)
    assert frame.at["look-alike pairs", "mel"] == pytest.approx(pairs)
    assert frame.at["into the majority", "mel"] == 1, "nothing is sent there"
    # In the cycle the 142 vascular lesions are joined by two fifths of the nevi.
    assert frame.at["cyclic", "vasc"] == pytest.approx(0.6 * 142 / (0.6 * 142 + 0.4 * 6705))
    assert frame.at["cyclic", "rate"] == pytest.approx(0.4)
    # All but the nevi lose two fifths.
    assert frame.at["into the majority", "rate"] == pytest.approx(0.4 * (10015 - 6705) / 10015)


def test_purity_table_has_bold_cells_below_half() -> None:
    table = describe_arms.purity_table(describe_arms.map_purity("ham10000", 0.4), "ham10000")
    assert table["Map"].to_list() == ["look-alike pairs", "into the majority", "cyclic"]
    assert table["mel (1,113)"].to_list() == ["**20**", "100", "94"]
    assert table["Wrong labels"].to_list() == ["40.0", "13.2", "40.0"]


def test_lost_recall_and_notes_per_map() -> None:
    purity = describe_arms.map_purity("ham10000", 0.4)
    rows = describe_arms.map_rows(made(), arms_of_maps())
    rows["recall"] = [[0.8 - 0.1 * c * (r > 0) for c in range(7)] for r in rows["noise_rate"]]
    drops = describe_arms.recall_drops(rows, purity, 0.4).set_index(["panel", "class"])
    assert drops.at[("cyclic", "akiec"), "drop"] == pytest.approx(0)
    assert drops.at[("cyclic", "vasc"), "drop"] == pytest.approx(0.6)
    assert drops.at[("look-alike pairs", "mel"), "purity"] == purity.at["look-alike pairs", "mel"]
    pairs, majority, cyclic = describe_arms.map_notes(rows, purity, 0.4).splitlines()
    assert "2 of 7 classes" in pairs
    assert "with 0.00 dead classes" in pairs
    assert "13.2 % of all labels" in majority
    assert "0 of 7 classes" in majority
    assert "with 1.00 dead classes" in majority
    assert "balanced accuracy is 20.0 %" in cyclic
