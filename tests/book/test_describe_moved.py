"""The chapter on movement: numbers by hand from made rows, words that follow them, and a live miniature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_movement import map_rows, movement_rows
from made_tuning import tuning_rows

from noisylib.analysis.rank_correlation import RankCorrelation, rank_correlation
from noisylib.book.describe import moved, moved_tables
from noisylib.book.describe import moved_archive as archive
from noisylib.book.describe import moved_text as words
from noisylib.book.describe.moved_archive import Tally
from noisylib.book.moved_parameters import MovedParameters
from noisylib.book.tables import NBSP
from noisylib.errors import NoisylibError
from noisylib.features.sized import tiny_backbone

N_CONDITIONS = 23  # five data sets and noises; two classes allow no symmetric noise of 60 %


@pytest.fixture(scope="module")
def rows():
    return tuning_rows()


@pytest.fixture(scope="module")
def runs(rows):
    return archive.run_frame(rows, movement_rows(rows))


def test_a_run_gains_over_the_probe_with_its_loss(runs) -> None:
    assert len(runs) == 4 * 3 * N_CONDITIONS
    gains = runs.groupby("label")["gain"].agg(["min", "max"])
    # Each label of the made rows is a point above the one before it.
    for label, points in (("FFT-CE", 5), ("FFT-GCE", 5), ("FFT-ELR", 5), ("TURN", 7)):
        np.testing.assert_allclose(gains.loc[label], points)
    assert runs["probe_gain"].unique() == pytest.approx([10])
    assert runs["moved"].unique() == pytest.approx([0.4])
    assert runs["weights"].unique() == pytest.approx([0.02])  # mean of 1, 2 and 3 %


def test_cells_are_means_over_seeds(rows, runs) -> None:
    found = archive.cells(runs)
    assert len(found) == 4 * N_CONDITIONS
    assert set(found["seeds"]) == {3}
    first = found[(found["label"] == "TURN") & (found["dataset"] == "pbc")].iloc[0]
    assert first["own"] == pytest.approx(0.5 + 0.08 + 0.005 - 0.1)


def test_conditions_are_in_order_however_the_rows_came(rows) -> None:
    movement = movement_rows(rows)
    forward, backward = (archive.cells(archive.run_frame(part, movement)) for part in (rows, rows.iloc[::-1]))
    pbc = [part[(part["dataset"] == "pbc") & (part["label"] == "TURN")] for part in (forward, backward)]
    noises = [list(zip(part["noise_type"], part["noise_rate"], strict=True)) for part in pbc]
    assert noises[0] == noises[1]
    assert noises[0][:3] == [("symmetric", 0.2), ("symmetric", 0.4), ("symmetric", 0.6)]
    assert list(archive.tallies(backward)) == ["FFT-CE", "FFT-GCE", "FFT-ELR", "TURN"]


def test_tables_that_do_not_belong_together_are_said(rows) -> None:
    movement = movement_rows(rows)
    with pytest.raises(NoisylibError, match="a tuned row and its probe are needed"):
        archive.run_frame(rows[rows["tuning"] == "lp"], movement)
    with pytest.raises(NoisylibError, match="different studies"):
        archive.run_frame(rows.assign(image_size=32), movement)


def test_movement_that_explains_the_gain_is_found_and_said() -> None:
    rates = {("symmetric", r): r for r in (0.2, 0.4, 0.6)} | {
        ("asymmetric", 0.4): 0.5,
        ("instance", 0.4): 0.3,
    }

    def score(dataset, label, noise_type, rate, seed):
        return 0.5 + (0.1 * rates[noise_type, rate] if label in ("TURN", "FFT-CE") else 0)

    rows = tuning_rows(score, labels=("LP-GCE", "TURN"))
    for sign, direction in ((1, "farther gained more"), (-1, "farther gained less")):
        movement = movement_rows(
            rows, lambda row, sign=sign: 0.5 - 0.5 * sign * rates[row["noise_type"], row["noise_rate"]]
        )
        found = archive.associations(archive.cells(archive.run_frame(rows, movement)))
        one = found["TURN"]["moved"]
        assert one.value == pytest.approx(sign)
        text = words.correlation_reading("TURN", one)
        assert f"{sign:+.2f}{NBSP}(" in text
        assert f"over {N_CONDITIONS} conditions of 5 data sets: conditions in which the feature" in text
        assert f"moved {direction}" in text
        ends = f"with one set left out, {sign:+.2f} to {sign:+.2f}"
        assert f"Within data sets it is {sign:+.2f} on average; {ends}." in text
        assert "make the sign" not in text
        when = words.when_reading("TURN", found["TURN"])
        assert f"the {'farther' if sign > 0 else 'less'} the feature moved ({sign:+.2f})" in when
        assert "change of the clean probe" in when.partition("No relation")[2]


def correlation(value=0.5, low=0.1, high=0.8, within=0.4, least=0.3, most=0.6, n=23, groups=5):
    return RankCorrelation(value, low, high, within, least, most, n, groups)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"low": -0.1}, "does not tell who gained"),
        ({"value": -0.5, "low": -0.8, "high": -0.1}, "moved farther gained less"),
        ({"within": -0.4}, "So differences between data sets make the sign"),
        ({"value": np.nan}, "too few conditions"),
        ({"groups": 1}, "of 1 data set: "),
    ],
)
def test_words_on_a_correlation_follow_it(change, said: str) -> None:
    assert said in words.correlation_reading("TURN", correlation(**change))


def test_only_a_correlation_that_is_one_can_be_reversed() -> None:
    assert "make the sign" not in words.correlation_reading("TURN", correlation(low=-0.1, within=-0.4))
    assert "Within" not in words.correlation_reading("TURN", correlation(within=-0.4), brief=True)


def test_nothing_that_goes_with_the_gain_is_said_too() -> None:
    silent = dict.fromkeys(archive.MEASURES, correlation(low=-0.1))
    assert words.when_reading("TURN", silent).startswith(
        "Nothing that was measured goes with the gain of TURN"
    )
    told = silent | {"probe_before": correlation(-0.6, -0.9, -0.2, -0.4), "noise_rate": correlation()}
    told["moved"] = correlation(0.3, within=-0.2)
    text = words.when_reading("TURN", told)
    assert "the farther the feature moved (+0.30, but -0.20 within data sets)" in text
    assert text.index("the poorer the frozen features were (-0.60)") < text.index(
        "the more labels were wrong (+0.50)"
    )
    assert set(words.DIRECTIONS) == set(archive.MEASURES)


def test_tallies_count_features_and_scores() -> None:
    part = pd.DataFrame({"gain": [1.0, 2, -1, -2, 0], "probe_gain": [1.0, -3, 2, -1, 4]})
    found = Tally.of(part)
    assert (found.n, found.gained, found.better) == (5, 2, 3)
    assert (found.better_gained, found.rescued, found.spoilt, found.worse_lost) == (1, 1, 2, 1)
    assert (found.gain, found.probe_gain) == pytest.approx((0, 0.6))
    text = words.tally_reading({"FFT-CE": found})
    assert "FFT-CE beats LP-CE in 2 of 5 conditions (mean over all: +0.0 points)" in text
    assert "both better: 1; neither: 1; features only: 2; score only: 1." in text


def test_tables_have_a_row_per_noise_and_per_cell(runs) -> None:
    found = archive.cells(runs)
    table = moved_tables.noise_table(found, archive.tallies(found))
    first = f"Symmetric 20{NBSP}%", f"Symmetric 40{NBSP}%", f"Symmetric 60{NBSP}%", f"Asymmetric 40{NBSP}%"
    assert tuple(dict.fromkeys(table["Noise"]))[:4] == first
    table = table.set_index(["Noise", "Tuning"])
    assert table.at[(first[2], "TURN"), "Gained in"] == "3 of 3"
    assert table.at[("All", "FFT-CE"), "Better features in"] == f"{N_CONDITIONS} of {N_CONDITIONS}"
    assert table.at[("All", "TURN"), "Gain (pp)"] == "+7.0"
    assert table.at[("All", "TURN"), "Clean probe (pp)"] == "+10.0"
    cells = moved_tables.cells_table(found, archive.SHOWN)
    assert len(cells) == 2 * N_CONDITIONS
    assert cells.iloc[0][["1 - CKA", "Weights (%)", "Clean probe before", "after"]].tolist() == [
        "0.40", "2.0", "70.0", "80.0",
    ]  # fmt: skip
    table = moved_tables.association_table(archive.associations(found))
    assert len(table) == 4 * len(archive.MEASURES)
    assert set(table["Correlation"]) == {"-"}  # nothing varies, or gains do not


def test_a_correlation_in_a_cell_has_its_interval() -> None:
    assert moved_tables.correlation_words(correlation()) == f"+0.50{NBSP}(+0.10 to +0.80)"
    one = rank_correlation(np.arange(9.0), np.arange(9.0), np.repeat("a", 9))
    table = moved_tables.association_table({"TURN": {"moved": one}})
    assert table.loc[0, "One set left out"] == "- to -"


def test_blocks_and_probes_of_the_archive_are_drawn_of_the_shown_rows(rows, runs) -> None:
    movement = movement_rows(rows)
    assert archive.shown_set(movement, "pbc") == ("pbc", "")
    assert archive.shown_set(movement, "digits")[0] == "breastmnist"
    assert archive.shown_set(movement, "digits")[1].endswith("is not in it.)")
    blocks = archive.block_frame(movement, "pbc")
    assert list(dict.fromkeys(blocks["tuning"])) == ["FFT-CE", "TURN"]
    assert blocks["condition"].nunique() == 5
    assert blocks["change"].max() == pytest.approx(3)
    text = words.block_reading(blocks)
    assert f"TURN with symmetric 60{NBSP}%: 0.90 after the first block, 0.60 at the feature" in text
    assert "than the last in every case" in text
    probes = archive.probe_frame(archive.cells(runs))
    assert probes["panel"].nunique() == 5
    assert set(probes["tuning"]) == {"FFT-CE", "TURN"}


def test_words_on_blocks_follow_them() -> None:
    frame = pd.DataFrame(
        {"tuning": "TURN", "condition": c, "seed": 0, "block": b, "cka": x}
        for c, values in (("a", (0.9, 0.5)), ("b", (0.5, 0.9)))
        for b, x in enumerate(values)
    )
    assert "in 1 of 2 cases" in words.block_reading(frame)
    assert "in any case" in words.block_reading(frame[frame["condition"] == "b"])
    assert "could be measured" in words.block_reading(frame.assign(cka=np.nan))


def test_archived_maps_show_before_once_and_each_tuning_after(rows) -> None:
    grid, name = archive.map_grid(map_rows(rows), "pbc")
    assert name == "pbc"
    assert [[panel and panel.title for panel in row] for row in grid] == [
        ["Before, and after LP", f"FFT-CE, symmetric 20{NBSP}%", f"TURN, symmetric 20{NBSP}%"],
        [None, f"FFT-CE, symmetric 60{NBSP}%", f"TURN, symmetric 60{NBSP}%"],
    ]
    assert grid[0][0].note == "neighbours alike: 0 %"
    assert grid[1][2].note == "neighbours alike: 100 %"
    assert archive.map_grid(map_rows(rows), "ham10000")[1] == "pbc"
    assert archive.class_names("breastmnist") == ("malignant", "normal, benign")


def means(**changes):
    base = {"rate": 0.2, "tuning": "TURN", "probe_before": 0.7, "probe_after": 0.8, "own": 0.75, "lp": 0.7}
    return pd.DataFrame([base | changes])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "both the features and the score got better"),
        ({"own": 0.6}, "the features got better, and the head lost it"),
        ({"probe_after": 0.6}, "the score got better though"),
        ({"probe_after": 0.6, "own": 0.6}, "neither the features nor the score"),
    ],
)
def test_words_on_probes_follow_them(changes, said: str) -> None:
    assert said in words.probe_reading(means(**changes))


def test_words_on_probes_have_their_numbers() -> None:
    text = words.probe_reading(means())
    assert f"TURN with 20{NBSP}% noise: clean probe 70.0 to 80.0{NBSP}% (+10.0 points)" in text
    assert f"score 70.0 to 75.0{NBSP}% (+5.0 points) against its linear probe" in text


def test_words_on_learning_rates_follow_the_best_one() -> None:
    def runs(best: dict[float, float]) -> pd.DataFrame:
        return pd.DataFrame(
            {"rate": rate, "tuning": "TURN", "lr": lr, "moved": 10 * lr, "own": 0.8 - abs(lr - best[rate])}
            for rate in best
            for lr in (0.02, 0.0, 0.01)
        )

    text = words.dose_reading(runs({0.2: 0.02, 0.6: 0.0}))
    assert f"TURN with 20{NBSP}% noise scores best at 0.02, 80.0{NBSP}% (held still: 78.0{NBSP}%)" in text
    assert "with 1 - CKA of 0.20" in text
    assert "the best for TURN moves the feature farther with little noise" in text
    assert "TURN moves the feature no farther with little" in words.dose_reading(runs({0.2: 0.01, 0.6: 0.02}))
    assert "Of the learning rates" not in words.dose_reading(runs({0.2: 0.01}))


def test_in_short_speaks_of_both_parts(runs) -> None:
    found = archive.cells(runs)
    text = words.in_short(means(), archive.tallies(found), archive.associations(found), archive.SHOWN)
    assert text.startswith(f"On digits with 20{NBSP}% noise: TURN +5.0 points over its linear probe")
    assert "reads more from the features after TURN" in text
    assert "reads no more from the features" in words.live_short(means(probe_after=0.6))
    assert f"TURN beats LP-GCE in {N_CONDITIONS} of {N_CONDITIONS} conditions" in text
    assert "FFT-GCE" not in text
    assert "When should the backbone move? Nothing that was measured" in text


def test_facts_and_captions_of_the_archive(rows, runs) -> None:
    facts = words.archive_facts(archive.cells(runs), "", "pbc", "ham10000")
    assert (facts["n_cells"], facts["n_sets"]) == (N_CONDITIONS, 5)
    assert facts["tunings"] == "FFT-CE, FFT-GCE, FFT-ELR, TURN"
    source = words.archive_source(rows, "27 runs")
    assert source == "DeiT-Ti, images of 64 pixels. 27 runs."


@pytest.fixture(scope="module")
def live():
    params = MovedParameters(images=60, epochs=1, seeds=[3, 1], learning_rates=[0.0])
    return params, moved.train(params, tiny_backbone(size=8, patch=4, width=12, depth=2, heads=2))


def test_live_runs_have_every_rate_tuning_and_seed_once(live) -> None:
    params, found = live
    assert len(found.main) == 2 * 2 * 2
    others = found.runs[found.runs["lr"] != found.learning_rate]
    assert len(others) == 2 * 2
    assert set(others["seed"]) == {3}
    assert len(found.blocks) == len(found.main) * 4  # patches, two blocks, the feature
    np.testing.assert_allclose(found.runs["gain"], 100 * (found.runs["own"] - found.runs["lp"]))
    assert words.live_source(found, params).startswith("Digits 5 to 9, 60 training")
    assert "along each line: 0, 0.0005; seed 3" in words.dose_source(found, params)


def test_a_backbone_that_is_held_still_does_not_move(live) -> None:
    _, found = live
    still = found.runs[found.runs["lr"] == 0]
    np.testing.assert_allclose(still["moved"], 0, atol=1e-6)
    np.testing.assert_allclose(still["weights"], 0)
    np.testing.assert_allclose(still["probe_gain"], 0)
    assert (found.main["moved"] > 0.001).all()
    assert (found.main["weights"] > 0.001).all()


def test_live_maps_after_a_probe_are_those_before_it(live, monkeypatch) -> None:
    _, found = live
    monkeypatch.setattr(moved, "MAP_IMAGES", 25)
    grid = moved.map_grid(found)
    (before, probe, *tuned), (empty, second, *_) = grid
    assert empty is None
    np.testing.assert_array_equal(before.points, probe.points)
    np.testing.assert_array_equal(before.points, second.points)
    assert before.wrong is None
    assert probe.wrong is not None
    assert [panel.title for panel in tuned] == ["FFT-CE, 20 % noise", "TURN, 20 % noise"]
    assert not np.array_equal(tuned[0].points, before.points)


def test_live_frames_are_those_of_the_figures(live) -> None:
    _, found = live
    blocks = moved.block_frame(found)
    assert set(blocks["condition"]) == {"20 % noise", "60 % noise"}
    assert blocks[blocks["block"] == -1]["cka"].isna().all()
    probes = moved.probe_frame(found)
    assert len(probes) == 4
    table = moved_tables.live_table(found.main)
    assert len(table) == 4
    assert all("±" in cell for cell in table["Own head"])


def test_the_gain_of_the_live_part_is_over_the_probe_with_the_same_loss(live) -> None:
    _, found = live
    for rate, task in found.tasks.items():
        predicted = found.decisions[rate, "LP-GCE"]
        y = task.pixels.labels[task.test]
        recall = np.mean([np.mean(predicted[y == c] == c) for c in range(5)])
        row = found.main.query("rate == @rate and tuning == 'TURN' and seed == 3").iloc[0]
        assert row["lp"] == pytest.approx(recall)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"low_rate": 0.6}, "low_rate=0.6 and high_rate=0.6"),
        ({"low_rate": 0.0}, "must be above 0"),
        ({"high_rate": 0.9}, "0.9"),
        ({"seeds": [1, 1]}, "has one twice"),
        ({"learning_rates": []}, "learning_rates"),
    ],
)
def test_parameters_that_cannot_be_are_said(change, words: str) -> None:
    with pytest.raises(NoisylibError, match=words):
        replace(MovedParameters(), **change)
