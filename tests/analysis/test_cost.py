"""The cost of the choice by hand, and its floors against the expected range of normal numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.analysis.cost import choice_cost, cost_curve, cost_growth, expected_range
from noisylib.analysis.scores import condition_scores
from noisylib.errors import NoisylibError

METHODS = ("ce", "gce", "elr", "cufit", "ls", "forward", "coteaching", "dividemix")
FLOORS = ["floor", "noise_floor", "held_out"]


def rows_of(scores: dict[tuple, np.ndarray]) -> pd.DataFrame:
    """Return rows from (dataset, backbone, noise type, rate) -> (S, k) scores, methods as in `METHODS`."""
    records = [
        {"dataset": dataset, "backbone": backbone, "head": "adapter", "noise_type": noise_type,
         "noise_rate": rate, "method": METHODS[j], "seed_noise": s, "seed_train": s,
         "balanced_accuracy": float(value)}
        for (dataset, backbone, noise_type, rate), values in scores.items()
        for (s, j), value in np.ndenumerate(np.asarray(values, float))
    ]  # fmt: skip
    return pd.DataFrame(records)


def same_place(gaps: dict[str, list[float]], rate: float = 0.2) -> dict[tuple, np.ndarray]:
    """Return one-seed scores of two methods per data set, one backbone per gap."""
    return {
        (dataset, f"b{i}", "symmetric", rate): [[0.5 + gap, 0.5]]
        for dataset, values in gaps.items()
        for i, gap in enumerate(values)
    }


def noisy_rows(offsets: np.ndarray, sd: float, conditions: int, seeds: int) -> pd.DataFrame:
    """Return rows whose scores are a method's offset plus normal seed noise."""
    random = np.random.default_rng(0)
    values = 0.5 + offsets + random.normal(0, sd, (conditions, seeds, len(offsets)))
    return rows_of({(f"d{i:03}", "b", "symmetric", 0.2): value for i, value in enumerate(values)})


def test_two_conditions_and_three_methods_by_hand() -> None:
    rows = rows_of(
        {
            # Means .55 .75 .45 and .60 .50 .70; best minus worst .30 and .20.
            ("a", "b", "asymmetric", 0.4): [[0.5, 0.8, 0.4], [0.6, 0.7, 0.5]],
            ("c", "b", "asymmetric", 0.4): [[0.7, 0.5, 0.6], [0.5, 0.5, 0.8]],
        }
    )
    cost = choice_cost(condition_scores(rows))
    assert list(cost["cost"]) == pytest.approx([0.3, 0.2])
    assert list(cost["dataset"]) == ["a", "c"]
    (row,) = cost_curve(rows).to_dict("records")
    assert (row["noise_type"], row["noise_rate"], row["n_conditions"]) == ("asymmetric", 0.4, 2)
    assert row["mean"] == pytest.approx(0.25)
    assert row["max"] == pytest.approx(0.3)
    # Two seeds have one contrast, half their difference: (.05 -.05 .05) and (-.1 0 .1), up to the sign.
    assert row["noise_floor"] == pytest.approx((0.1 + 0.2) / 2)
    # "a": both seeds pick method 2 over 3, worth .2 and .4. "c": seed 0 picks method 1 over 2, worth 0 on
    # seed 1, which picks 3 over 1 (the first of two worst), worth -.1 on seed 0.
    assert row["held_out"] == pytest.approx(((0.2 + 0.4) / 2 + (0 - 0.1) / 2) / 2)


def test_shuffled_names_by_hand() -> None:
    # The two seeds differ by .2 and .1 between the methods; shuffled, the means differ by .15 or by .05.
    rows = rows_of({("a", "b", "symmetric", 0.2): [[0.7, 0.5], [0.6, 0.5]]})
    draws = 4000
    floor = cost_curve(rows, permutations=draws)["floor"].item()
    assert floor == pytest.approx(0.1, abs=4 * 0.05 / np.sqrt(draws))  # four standard errors


def test_equal_methods_cost_nothing_and_have_no_floor() -> None:
    seeds = np.array([0.5, 0.6, 0.55])[:, None]  # seeds may differ, as long as they do so for all methods
    rows = rows_of({(name, "b", "symmetric", 0.2): np.repeat(seeds, 4, axis=1) for name in "ac"})
    row = cost_curve(rows).iloc[0]
    assert list(row[["mean", "max", "low", "high", *FLOORS]]) == pytest.approx([0] * 7, abs=1e-15)


def test_pure_seed_noise_has_the_expected_range() -> None:
    sd, conditions, seeds, k = 0.02, 300, 5, 8
    row = cost_curve(noisy_rows(np.zeros(k), sd, conditions, seeds), permutations=100).iloc[0]
    unit = sd / np.sqrt(seeds)
    expected = expected_range(k) * unit
    # The range of 8 normals has a deviation of .82; averages over shuffles or contrasts have less.
    tolerance = 4 * 0.82 * unit / np.sqrt(conditions)
    assert row["mean"] == pytest.approx(expected, abs=tolerance), "a cost although all methods are equal"
    assert row["noise_floor"] == pytest.approx(expected, abs=tolerance)
    assert row["floor"] == pytest.approx(expected, abs=tolerance)
    assert row["held_out"] == pytest.approx(0, abs=4 * np.sqrt(2) * sd / np.sqrt(conditions))


def test_floors_of_methods_that_differ() -> None:
    offsets = np.linspace(0, 0.2, 8)
    row = cost_curve(noisy_rows(offsets, 0.02, 40, 3)).iloc[0]
    assert row["floor"] > 2 * row["noise_floor"], "real differences widen shuffled scores"
    assert row["held_out"] < row["mean"]
    # Best and worst stand .029 from the next, mostly picked right: little below the true gap of .2.
    assert 0.18 < row["held_out"] < 0.2 + 4 * np.sqrt(2) * 0.02 / np.sqrt(40)


def test_noise_floor_ignores_what_methods_are_worth_and_what_seeds_do_to_all() -> None:
    rows = noisy_rows(np.zeros(4), 0.02, 10, 4)
    plain = cost_curve(rows)
    moved = rows.copy()
    moved["balanced_accuracy"] += 0.1 * rows["method"].map(METHODS.index) + 0.05 * rows["seed_train"] ** 2
    other = cost_curve(moved)
    assert other["noise_floor"].item() == pytest.approx(plain["noise_floor"].item(), rel=1e-9)
    assert other["mean"].item() > 5 * plain["mean"].item()


def test_the_band_draws_whole_data_sets() -> None:
    # Drawn: a alone (1/4), both (1/2), c alone (1/4). a counts twice as much as c, it has two backbones.
    rows = rows_of(same_place({"a": [0.1, 0.2], "c": [0.45]}))
    wide, narrow = cost_curve(rows).iloc[0], cost_curve(rows, level=0.2).iloc[0]
    assert (wide["low"], wide["high"]) == pytest.approx((0.15, 0.45))
    assert (narrow["low"], narrow["high"]) == pytest.approx((0.25, 0.25))
    assert wide["mean"] == pytest.approx(0.25)


def test_what_cannot_be_known_is_nan() -> None:
    row = cost_curve(rows_of(same_place({"a": [0.1, 0.2]}))).iloc[0]
    assert row["mean"] == pytest.approx(0.15)
    assert row[["low", "high", *FLOORS]].isna().all()


def test_growth_keeps_both_ends_of_a_data_set_together() -> None:
    rows = rows_of(same_place({"a": [0.1], "c": [0.2]}, 0.0) | same_place({"a": [0.3], "c": [0.4]}, 0.4))
    growth = cost_growth(condition_scores(rows), ("symmetric", 0.4), ("symmetric", 0.0))
    assert [growth[f"difference{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.2] * 3)
    assert [growth[f"ratio{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.35 / 0.15, 2, 3])


def test_nothing_grows_by_no_factor() -> None:
    rows = rows_of(same_place({"a": [0.0], "c": [0.0]}, 0.0) | same_place({"a": [0.3], "c": [0.4]}, 0.4))
    growth = cost_growth(condition_scores(rows), ("symmetric", 0.4), ("symmetric", 0.0))
    assert growth["difference"] == pytest.approx(0.35)
    assert np.isnan([growth["ratio"], growth["ratio_low"], growth["ratio_high"]]).all()


def test_draws_repeat_with_the_seed() -> None:
    rows = noisy_rows(np.zeros(3), 0.02, 6, 3)
    first, again, other = (cost_curve(rows, permutations=20, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert first["floor"].item() != other["floor"].item()
    assert first["noise_floor"].item() != other["noise_floor"].item()


def test_the_order_of_rows_and_methods_does_not_matter() -> None:
    rows = noisy_rows(np.linspace(0, 0.1, 4), 0.02, 6, 3)
    shuffled = rows.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(cost_curve(rows), cost_curve(shuffled))


def test_expected_range_of_two_and_three_normals() -> None:
    assert expected_range(2) == pytest.approx(2 / np.sqrt(np.pi), abs=1e-9)
    assert expected_range(3) == pytest.approx(3 / np.sqrt(np.pi), abs=1e-9)


def test_one_method_and_broken_rows_are_refused() -> None:
    rows = rows_of(same_place({"a": [0.1]}))
    with pytest.raises(NoisylibError, match="needs two methods, the rows have 1"):
        cost_curve(rows[rows["method"] == "ce"])
    rows.loc[0, "balanced_accuracy"] = np.nan
    with pytest.raises(NoisylibError, match="ce"):
        cost_curve(rows)
