"""More epochs of full fine-tuning beside the study's own: paired by condition, in percent and points."""

from __future__ import annotations

import pytest
from made_tuning import tuning_rows

from noisylib.book.describe import lp_fft_turn_longer as longer


def made():
    """FFT-CE gains 3 points of accuracy with thrice the steps, and learns 10 points more wrong labels."""
    rows = tuning_rows()
    more = rows[(rows["label"] == "FFT-CE") & (rows["noise_rate"] == 0.4) & (rows["seed"] == 0)].copy()
    more = more[more["noise_type"] != "instance"]
    more["accuracy"] += 0.03
    more["balanced_accuracy"] -= 0.01
    more["memorised"] += 0.1
    more["steps"] *= 3
    return rows, more


def test_runs_are_paired() -> None:
    rows, more = made()
    frame = longer.longer_frame(rows, more)
    assert len(frame) == 10  # five data sets, two kinds of noise, one seed
    assert (frame["accuracy_long"] - frame["accuracy_short"]).tolist() == pytest.approx([0.03] * 10)
    table = longer.longer_table(frame)
    # FFT-CE is the sixth of the labels: 0.5 + 0.05, seed 0.
    assert table["Accuracy"].unique().tolist() == ["55.0 → 58.0"]
    assert table["Balanced accuracy"].unique().tolist() == ["45.0 → 44.0"]
    assert table["Wrong labels learned"].unique().tolist() == ["50.0 → 60.0"]
    assert table.iloc[0].tolist()[:2] == ["BreastMNIST", "Symmetric 40\N{NO-BREAK SPACE}%"]


def test_the_reading_counts() -> None:
    rows, more = made()
    text = longer.longer_reading(longer.longer_frame(rows, more))
    assert "With 3 times the steps" in text
    assert "accuracy +3.0 points (up in 10 of 10 conditions)" in text
    assert "balanced accuracy -1.0 points (up in 0 of 10 conditions)" in text


def test_runs_of_other_sizes_are_not_compared() -> None:
    rows, more = made()
    assert longer.longer_frame(rows, more.assign(n_train=100)).empty
