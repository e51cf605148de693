"""Conditions x methods: means over seeds by hand, and every kind of table that is refused or cut down."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows

from noisylib.analysis.scores import CONDITION, condition_blocks, condition_scores
from noisylib.errors import NoisylibError

ROWS = study_rows()  # 6 conditions x 3 methods x 3 seeds


def where(method: str, noise_type: str, rate: float, seed: int | None = None) -> pd.Series:
    """Return which of `ROWS` are of this cell, or of one of its seeds."""
    found = (ROWS["method"] == method) & (ROWS["noise_type"] == noise_type) & (ROWS["noise_rate"] == rate)
    return found if seed is None else found & (ROWS["seed_train"] == seed)


HOLE = ROWS[~where("elr", "symmetric", 0.4)]
SHORT = ROWS[~where("coteaching", "asymmetric", 0.2, seed=1)]
LACKS_ELR = "ham10000 deit_tiny adapter symmetric 0.4: lacks elr"
SHORT_OF_SEEDS = "ham10000 deit_tiny adapter asymmetric 0.2: fewer than 3 seeds for coteaching"


def broken(value: float) -> pd.DataFrame:
    return ROWS.assign(
        balanced_accuracy=ROWS["balanced_accuracy"].mask(where("ce", "symmetric", 0.2, 2), value)
    )


def test_a_cell_is_the_mean_over_seeds() -> None:
    blocks = condition_blocks(ROWS)
    assert blocks.scores.index.names == CONDITION
    assert (blocks.seeds, blocks.left_out) == (3, ())
    for (*_, rate), scores in blocks.scores.iterrows():
        for i, method in enumerate(("ce", "elr", "coteaching")):
            assert scores[method] == pytest.approx(0.9 - rate - 0.1 * i + 0.01)
    accuracy = condition_scores(ROWS, score="accuracy")
    np.testing.assert_allclose(accuracy, blocks.scores + 0.05)


def test_methods_stand_in_registry_order_and_labels_after_them() -> None:
    rows = study_rows(methods=("elr-weak", "elr", "a-label", "coteaching", "ce"))
    assert list(condition_scores(rows)) == ["ce", "coteaching", "elr", "a-label", "elr-weak"]


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = study_rows(("pbc", "ham10000"))
    for distinct in (False, True):
        straight = condition_scores(rows, distinct=distinct)
        turned = condition_scores(rows.iloc[::-1], distinct=distinct)
        pd.testing.assert_frame_equal(straight, turned, rtol=1e-12)


def test_the_clean_condition_counts_twice_or_once() -> None:
    rows = study_rows(("ham10000", "pbc"))
    assert len(condition_scores(rows)) == 2 * 2 * 3
    distinct = condition_scores(rows, distinct=True).reset_index()
    assert len(distinct) == 2 * (2 * 3 - 1)
    clean = distinct[distinct["noise_rate"] == 0]
    assert sorted(clean["dataset"]) == ["ham10000", "pbc"]


def test_of_an_incomplete_clean_condition_the_other_one_counts() -> None:
    for noise_type in ("symmetric", "asymmetric"):
        rows = ROWS[~where("ce", noise_type, 0.0)]
        blocks = condition_blocks(rows, distinct=True, incomplete="leave_out")
        assert len(blocks.scores) == 5
        assert len(blocks.left_out) == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (HOLE, LACKS_ELR),
        (SHORT, SHORT_OF_SEEDS),
        (
            broken(np.nan),
            "ham10000 deit_tiny adapter symmetric 0.2: balanced_accuracy is not a number for ce",
        ),
        (
            broken(np.inf),
            "ham10000 deit_tiny adapter symmetric 0.2: balanced_accuracy is not a number for ce",
        ),
    ],
    ids=["no method", "no seed", "NaN", "inf"],
)
def test_an_incomplete_condition_is_refused_or_left_out(rows: pd.DataFrame, reason: str) -> None:
    with pytest.raises(NoisylibError) as error:
        condition_scores(rows)
    assert str(error.value).startswith(f"Incomplete conditions: 1 of 6. {reason}. Finish")
    blocks = condition_blocks(rows, incomplete="leave_out")
    assert blocks.left_out == (reason,)
    whole = condition_scores(ROWS)
    assert len(blocks.scores) == len(whole) - 1
    pd.testing.assert_frame_equal(blocks.scores, whole.loc[blocks.scores.index])


def test_what_is_wrong_with_one_condition_is_said_at_once() -> None:
    rows = broken(np.nan)[~where("elr", "symmetric", 0.2) & ~where("coteaching", "symmetric", 0.2, seed=0)]
    (reason,) = condition_blocks(rows, incomplete="leave_out").left_out
    assert reason.endswith(
        "0.2: balanced_accuracy is not a number for ce; lacks elr; fewer than 3 seeds for coteaching"
    )


def test_a_condition_or_a_method_without_any_number_is_listed() -> None:
    rows = ROWS.assign(balanced_accuracy=ROWS["balanced_accuracy"].where(ROWS["noise_rate"] != 0.4))
    left_out = condition_blocks(rows, incomplete="leave_out").left_out
    assert [text.partition(":")[0] for text in left_out] == [
        "ham10000 deit_tiny adapter asymmetric 0.4",
        "ham10000 deit_tiny adapter symmetric 0.4",
    ]
    rows = ROWS.assign(balanced_accuracy=ROWS["balanced_accuracy"].where(ROWS["method"] != "elr"))
    with pytest.raises(NoisylibError, match=r"6 of 6.*not a number for elr; "):
        condition_scores(rows)


def test_conditions_with_a_seed_of_their_own_are_unequal() -> None:
    more = ROWS[where("ce", "symmetric", 0.2, seed=0)].assign(seed_noise=7, seed_train=7)
    with pytest.raises(NoisylibError, match=r"6 of 6.*fewer than 4 seeds for ce, coteaching, elr"):
        condition_scores(pd.concat([ROWS, more]))


def test_five_are_listed_and_the_rest_counted() -> None:
    rows = ROWS[(ROWS["method"] != "elr") | (ROWS["noise_rate"] == 9)]
    rows = pd.concat([rows, ROWS[where("elr", "symmetric", 0.0)].assign(dataset="pbc")])
    with pytest.raises(NoisylibError, match=r"7 of 7\.") as error:
        condition_scores(rows)
    assert str(error.value).count("lacks") == 5
    assert "; and 2 more. Finish" in str(error.value)
    with pytest.raises(NoisylibError, match=r"No condition is complete\. .*; and 2 more\.$"):
        condition_blocks(rows, incomplete="leave_out")


@pytest.mark.parametrize("incomplete", ["refuse", "leave_out"])
def test_a_run_that_occurs_twice_is_always_refused(incomplete: str) -> None:
    rows = pd.concat([ROWS, ROWS[where("ce", "symmetric", 0.4, seed=2)]] * 2)[: len(ROWS) + 2]
    with pytest.raises(NoisylibError) as error:
        condition_blocks(rows, incomplete=incomplete)
    text = str(error.value)
    assert text.startswith(
        "Runs that occur more than once: 2. ham10000 deit_tiny adapter symmetric 0.4 ce 2 2;"
    )


def test_rows_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(NoisylibError, match=r"lack the columns head, seed_noise\."):
        condition_scores(ROWS.drop(columns=["head", "seed_noise"]))
    with pytest.raises(NoisylibError, match="lack the columns recall_of_melanoma"):
        condition_scores(ROWS, score="recall_of_melanoma")
    with pytest.raises(NoisylibError, match="no rows"):
        condition_scores(ROWS[:0])
    nameless = ROWS.assign(method=ROWS["method"].where(ROWS.index != 4))
    with pytest.raises(NoisylibError, match=r"1\. One of .* is missing in row 4\.$"):
        condition_scores(nameless)
    with pytest.raises(NoisylibError, match=r"incomplete='drop' is unknown"):
        condition_blocks(ROWS, incomplete="drop")
