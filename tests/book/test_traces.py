"""Shares of right and wrong labels from traces that are written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from noisylib.book import traces
from noisylib.book.describe import dynamics as describe_dynamics
from noisylib.features import BankMeta, FeatureBank
from noisylib.noise import inject
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults

# Ten training samples, five per class, in this order; two of each class get the other label.
TRUE = np.repeat([0, 1], 5)
OBSERVED = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 0])


@pytest.fixture(scope="module")
def bank() -> FeatureBank:
    """Two classes in two features, 10 to train and 4 to test."""
    y = np.r_[TRUE, 0, 0, 1, 1]
    X = np.random.default_rng(0).normal(size=(14, 2)) + 3 * y[:, None]
    meta = BankMeta("made", "raw", licence="CC0")
    return FeatureBank.from_arrays(X, y, np.repeat([0, 2], [10, 4]), ("a", "b"), meta)


def run(predicted, selected=None, recall=((0.5, 0.5), (1.0, 0.5))) -> RunResults:
    """Results of one run: predicted (E, nets, N), selected (E', nets, N), recall (E, K)."""
    trace = {"predicted": np.asarray(predicted)[:, :, None]}
    if selected is not None:
        trace["selected"] = np.asarray(selected, dtype=bool)[:, :, None]
    blank = np.zeros(1)
    history = np.asarray(recall)[:, None]
    epochs = list(range(len(history)))
    return RunResults(blank, blank, blank, blank, blank, epochs, history, blank, trace, "", 0.0)


def marks(*positions: int) -> np.ndarray:
    """Return (10,) with ones at the positions."""
    return np.isin(np.arange(10), positions).astype(int)


@pytest.fixture
def traced(bank: FeatureBank) -> traces.Traced:
    """Two epochs of CE (one network), Co-teaching (two) and CUFIT (three), with known predictions."""
    noisy = inject(TRUE, "symmetric", 0.4, n_classes=2, seed=0)
    noisy = replace(noisy, y_noisy=OBSERVED, flipped=OBSERVED != TRUE)
    runs = {
        "ce": run([[TRUE], [OBSERVED]], recall=((1.0, 0.8), (0.6, 0.5))),
        # The first network keeps all, the second half of the right labels of either class and one wrong.
        "coteaching": run(
            [[TRUE, TRUE], [TRUE, OBSERVED]],
            [[marks(*range(10)), marks(*range(10))], [marks(0, 1, 5, 6), marks(0, 1, 2, 3)]],
        ),
        # Only the last network counts; it selects nothing in the first epoch.
        "cufit": run(
            [[OBSERVED, OBSERVED, 0 * TRUE], [OBSERVED, OBSERVED, TRUE]],
            [[marks(*range(10)), marks(*range(10)), marks(0, 9)]],
        ),
    }
    return traces.Traced(bank, [noisy], [0], Recipe(epochs=2, score_epochs=1), runs)


def last(frame: pd.DataFrame, method: str) -> pd.Series:
    return frame[frame["method"] == method].iloc[-1]


def test_what_is_learned_memorised_and_recovered(traced: traces.Traced) -> None:
    fit = traces.fit_frame(traced)
    columns = ["clean_learned", "memorised", "recovered"]
    ce = fit[fit["method"] == "ce"]
    assert ce["epoch"].to_list() == [1, 2]
    assert ce[columns].to_numpy().tolist() == [[1, 0, 1], [1, 1, 0]]
    assert ce["balanced_accuracy"].to_list() == pytest.approx([0.9, 0.55])
    # One of the two peers has turned to the observed labels.
    assert last(fit, "coteaching")[columns].to_list() == [1, 0.5, 0.5]
    # Always 0: 3 of 6 right labels, 2 of 4 wrong ones, 2 of 4 true classes.
    cufit = fit[(fit["method"] == "cufit")].iloc[0]
    assert cufit[columns].to_list() == [0.5, 0.5, 0.5]
    assert last(fit, "cufit")["recovered"] == 1


def test_selection_counts_the_networks_that_answer_and_its_own_epochs(traced: traces.Traced) -> None:
    selection = traces.selection_frame(traced)
    assert set(selection["method"]) == {"coteaching", "cufit"}
    first, second = selection[selection["method"] == "coteaching"].itertuples()
    assert (first.epoch, first.selected, first.precision) == (1, 1, pytest.approx(0.6))
    assert (second.epoch, second.selected, second.precision) == (2, pytest.approx(0.4), pytest.approx(7 / 8))
    cufit = last(selection, "cufit")
    assert cufit["epoch"] == 2, "one selection of two epochs is that of the last"
    assert (cufit["selected"], cufit["precision"]) == (pytest.approx(0.2), pytest.approx(0.5))


def test_right_labels_that_are_kept_by_class(traced: traces.Traced) -> None:
    kept = traces.kept_by_class(traced)
    # Right labels: 0, 1, 2 of class a and 5, 6, 7 of class b; the two peers of Co-teaching are averaged.
    assert kept.loc["coteaching"].to_list() == pytest.approx([(2 + 3) / 6, 2 / 6])
    assert kept.loc["cufit"].to_list() == pytest.approx([1 / 3, 0])
    table = describe_dynamics.kept_table(traced, kept)
    assert table.to_numpy().tolist() == [["a", "3", "83", "33"], ["b", "3", "33", "**0**"]]
    assert list(table.columns) == ["Class", "Right labels", "Co-teaching†", "CUFIT-head"]


def test_floors_are_those_of_the_largest_observed_class(traced: traces.Traced) -> None:
    # Class a is observed six times: on four of its own samples and two of the other class.
    observed = np.array([0, 0, 0, 0, 1, 0, 0, 1, 1, 1])
    noisy = replace(traced.noisy[0], y_noisy=observed, flipped=observed != TRUE)
    assert describe_dynamics.floors(replace(traced, noisy=[noisy])) == pytest.approx(
        {"clean_learned": 4 / 7, "memorised": 2 / 3, "recovered": 1 / 3, "balanced_accuracy": 1 / 2}
    )


def test_facts_of_the_last_epoch(traced: traces.Traced) -> None:
    fit, selection = traces.fit_frame(traced), traces.selection_frame(traced)
    facts = describe_dynamics.dynamics_facts(traced, fit, selection)
    assert (facts["wrong"], facts["right"], facts["images"]) == (pytest.approx(40), pytest.approx(60), "10")
    assert (facts["most"], facts["most_score"]) == ("Cross entropy", 100)
    assert (facts["fewest"], facts["fewest_score"]) == ("CUFIT-head", 0)
    assert (facts["tested"], facts["tested_score"]) == ("Co-teaching†", pytest.approx(75))
    assert (facts["fallen"], facts["fallen_epoch"]) == ("Cross entropy", 1)
    assert (facts["fallen_score"], facts["fallen_points"]) == (pytest.approx(90), pytest.approx(35))
    assert (facts["precise"], facts["precise_score"]) == ("Co-teaching†", pytest.approx(87.5))
    assert (facts["lost_method"], facts["lost_class"], facts["lost_share"]) == ("CUFIT-head", "b", 0)


def test_table_of_the_last_epoch_ends_with_the_floors(traced: traces.Traced) -> None:
    table = describe_dynamics.last_epoch_table(traces.fit_frame(traced), describe_dynamics.floors(traced))
    assert table.iloc[0].to_list() == ["Cross entropy", "100.0", "100.0", "0.0", "55.0"]
    assert table.iloc[-1].to_list() == ["*always the largest class*", "50.0", "50.0", "50.0", "50.0"]


def test_methods_that_keep_everything_have_no_selection(traced: traces.Traced) -> None:
    only = replace(traced, runs={"ce": traced.runs["ce"]})
    selection = traces.selection_frame(only)
    assert selection.empty
    facts = describe_dynamics.dynamics_facts(only, traces.fit_frame(only), selection)
    assert facts["precise"] == "None of these methods"
    kept = describe_dynamics.kept_table(only, traces.kept_by_class(only))
    assert list(kept.columns) == ["Class", "Right labels"]


def test_real_runs_are_traced_on_the_same_labels(bank: FeatureBank) -> None:
    traced = traces.train_traced(
        bank,
        ["ce", "coteaching"],
        "asymmetric",
        0.4,
        class_map={0: 1, 1: 0},
        head="linear",
        seeds=[0, 1],
        recipe=Recipe(epochs=2, score_epochs=1, batch_size=5),
    )
    assert traced.flipped.sum(1).tolist() == [4, 4]
    np.testing.assert_array_equal(traced.flipped, traced.y_noisy != traced.y)
    fit = traces.fit_frame(traced)
    assert len(fit) == 2 * 2 * 2
    # With two classes a wrong label is either memorised or its true class recovered.
    assert (fit["memorised"] + fit["recovered"]).to_numpy() == pytest.approx(np.ones(8))
    assert traced.nets("coteaching") == [0, 1]
    assert traced.nets("cufit") == [2]
