"""What the chapter on dead classes says of runs whose predictions and selections are written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from noisylib.book import traces
from noisylib.book.case_parameters import CollapseParameters
from noisylib.book.describe import collapse as describe_collapse
from noisylib.book.describe import collapse_text as describe_collapse_text
from noisylib.features import BankMeta, FeatureBank
from noisylib.noise import inject
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults

# Three classes with 6, 3 and 1 training samples; one of the second class is labelled as the third.
TRUE = np.repeat([0, 1, 2], [6, 3, 1])
OBSERVED = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
NAMES = ("large", "middle", "small")


@pytest.fixture(scope="module")
def bank() -> FeatureBank:
    """Ten training and seven test samples (4, 2 and 1) in two features."""
    y = np.r_[TRUE, 0, 0, 0, 0, 1, 1, 2]
    X = np.random.default_rng(0).normal(size=(17, 2)) + y[:, None]
    meta = BankMeta("made", "raw", licence="CC0")
    return FeatureBank.from_arrays(X, y, np.repeat([0, 2], [10, 7]), NAMES, meta)


def run(recalls, selected=()) -> RunResults:
    """Results of one run: recall (E, K) and the samples it selects in the last epoch."""
    history = np.asarray(recalls, float)[:, None]
    last = history[-1]
    trace = {"selected": np.isin(np.arange(10), selected)[None, None, None]} if len(selected) else {}
    accuracy = last @ np.array([4, 2, 1]) / 7
    empty = np.zeros(1)
    return RunResults(
        accuracy, last.mean(-1), last, (last == 0).sum(-1), empty, list(range(len(history))), history, empty,
        trace, "", 0.0,
    )  # fmt: skip


@pytest.fixture
def traced(bank: FeatureBank) -> traces.Traced:
    """CE, and Co-teaching whose networks keep the first eight samples but one."""
    noisy = inject(TRUE, "symmetric", 0.1, n_classes=3, seed=0)
    noisy = replace(noisy, y_noisy=OBSERVED, flipped=OBSERVED != TRUE)
    ours = run([[1, 0.5, 0], [1, 0.5, 0]], selected=[0, 1, 2, 3, 4, 5, 6, 8])
    both = {"selected": ours.trace["selected"].repeat(2, axis=1)}
    runs = {"ce": run([[0.5, 0, 0], [0.75, 0.5, 1]]), "coteaching": replace(ours, trace=both)}
    return traces.Traced(bank, [noisy], [7], Recipe(epochs=2, score_epochs=1), runs)


@pytest.fixture
def rows(traced: traces.Traced) -> pd.DataFrame:
    return describe_collapse.live_rows(traced, "linear")


def test_rows_say_what_was_scored(rows: pd.DataFrame) -> None:
    assert rows["method"].to_list() == ["ce", "coteaching"]
    assert rows["accuracy"].to_list() == pytest.approx([(3 + 1 + 1) / 7, 5 / 7])
    assert rows["balanced_accuracy"].to_list() == pytest.approx([2.25 / 3, 0.5])
    assert rows["dead_classes"].to_list() == [0, 1]
    assert rows["seed"].to_list() == [7, 7]


def test_training_uses_the_map_of_the_catalogue_and_all_seeds() -> None:
    params = CollapseParameters(
        dataset="digits", backbone="raw", epochs=2, seeds=[3, 4], methods=["ce", "coteaching"], head="linear"
    )
    from noisylib.features import load_bank

    live = describe_collapse.train(load_bank("digits", "raw"), params)
    assert list(live.runs) == ["ce", "coteaching"]
    assert live.recipe.score_epochs == 2, "no more epochs are scored than there are"
    assert live.runs["ce"].recall_history.shape == (2, 2, 10)
    assert 0.2 < live.flipped.mean() < 0.41


def test_classes_come_by_frequency_with_purity_of_their_label(traced: traces.Traced) -> None:
    frame = describe_collapse.class_frame(traced)
    assert frame["name"].to_list() == list(NAMES)
    assert frame["images"].to_list() == [6, 3, 1]
    assert frame["observed"].to_list() == [6, 2, 2]
    assert frame["right"].to_list() == [6, 2, 1]
    assert frame["purity"].to_list() == [1, 1, 0.5]
    assert frame["test"].to_list() == [4, 2, 1]
    heads = describe_collapse.headings(frame)
    assert list(heads) == [0, 1, 2]
    assert heads[2] == "small: 1 images\npurity 50 %"


def test_of_many_classes_the_rarest_have_a_panel() -> None:
    K = describe_collapse.MOST_CLASSES + 3
    frame = pd.DataFrame({"class": range(K), "name": "c", "images": range(K, 0, -1), "purity": 0.5})
    assert list(describe_collapse.headings(frame)) == list(range(3, K))


def test_recall_by_epoch_and_how_many_are_zero(traced: traces.Traced) -> None:
    recalls = describe_collapse.recall_frame(traced)
    assert len(recalls) == 2 * 2 * 3
    found = recalls.set_index(["method", "epoch", "class"])["recall"]
    assert found["ce", 1].to_list() == [0.5, 0, 0]
    assert found["ce", 2].to_list() == [0.75, 0.5, 1]
    dead = describe_collapse.dead_frame(recalls).set_index(["method", "epoch"])["dead"]
    assert dead.to_dict() == {("ce", 1): 2, ("ce", 2): 0, ("coteaching", 1): 1, ("coteaching", 2): 1}


def test_floors_are_those_of_the_largest_observed_class(traced: traces.Traced) -> None:
    assert describe_collapse.floors(traced) == pytest.approx((4 / 7, 1 / 3))


def test_recall_that_a_small_test_class_may_hide() -> None:
    classes = pd.DataFrame({"test": [100, 2, 0]})
    p = describe_collapse.hidden_recall(classes)
    assert (1 - p) ** 2 == pytest.approx(0.05)


def test_what_is_kept_by_class_and_by_label(traced: traces.Traced, rows: pd.DataFrame) -> None:
    kept = describe_collapse.kept_frame(traced, rows)
    own = kept[kept["method"] == "coteaching"]
    # Right labels: all six of the first class, one of two of the second, not the one of the third.
    assert own["kept"].to_list() == [1, 0.5, 0]
    assert own["recall"].to_list() == [1, 0.5, 0]
    assert kept[kept["method"] == "ce"]["kept"].isna().all()
    assert describe_collapse.chooser(kept) == "coteaching"
    assert describe_collapse.chooser(kept[kept["method"] == "ce"]) == ""
    table = describe_collapse.choice_table(traced, "coteaching", describe_collapse.class_frame(traced), kept)
    small = table.set_index("Class").loc["small"]
    assert small.to_list() == ["1", "2", "50", "0", "100", "0", "0"]
    assert table.set_index("Class").loc["large"].to_list() == ["6", "6", "100", "100", "none", "100", "100"]


def test_nothing_is_tabled_where_nothing_selects(traced: traces.Traced, rows: pd.DataFrame) -> None:
    kept = describe_collapse.kept_frame(traced, rows)
    table = describe_collapse.choice_table(traced, "", describe_collapse.class_frame(traced), kept)
    assert table["Class"].to_list() == list(NAMES)
    assert (table["Right labels kept"] == "none").all()


def test_table_and_text_name_the_dead(rows: pd.DataFrame) -> None:
    table = describe_collapse_text.live_table(rows, NAMES)
    assert table["Which"].to_list() == ["none", "small (1 of 1)"]
    text = describe_collapse_text.lost_text(rows, NAMES)
    assert "Co-teaching†: small (1 of 1)" in text
    assert text.endswith("No dead class: Cross entropy.")
    nobody = describe_collapse_text.lost_text(rows[rows["method"] == "ce"], NAMES)
    assert nobody == "No method loses a class in any run."


def test_most_frequently_lost_class_comes_first() -> None:
    recalls = [np.array([0, 1, 0]), np.array([1, 1, 0])]
    lost = describe_collapse_text.lost_classes(pd.DataFrame({"method": "ce", "recall": recalls}), NAMES)
    assert lost == {"ce": "small (2 of 2), large (1 of 2)"}


def test_scores_are_compared_in_points(rows: pd.DataFrame) -> None:
    text = describe_collapse_text.scores_text(rows)
    assert "Cross entropy leads by both" in text  # equal accuracies: the first
    other = describe_collapse_text.scores_text(rows.assign(accuracy=[0.1, 0.2]))
    assert "Co-teaching† has the highest accuracy, 20.0" in other
    assert "Cross entropy has the highest balanced accuracy, 75.0" in other
    assert "+0.0 points of accuracy and -25.0 of balanced accuracy" in text
    assert "one of them sees no difference" in text
    alone = describe_collapse_text.scores_text(rows[rows["method"] == "ce"])
    assert "Against" not in alone


@pytest.mark.parametrize(
    ("gaps", "words"),
    [
        ((3, -2), "accuracy calls it the better one, balanced accuracy the worse one"),
        ((-3, 2), "accuracy calls it the worse one, balanced accuracy the better one"),
        ((3, 2), "both call it the better one"),
        ((-3, -2), "both call it the worse one"),
        ((3, 0.4), "one of them sees no difference to speak of"),
        ((-0.4, 0.4), "neither sees a difference to speak of"),
    ],
)
def test_verdict_of_two_scores(gaps: tuple[float, float], words: str) -> None:
    assert describe_collapse_text.verdict(*gaps) == words


def test_kept_and_recalled_in_words(traced: traces.Traced, rows: pd.DataFrame) -> None:
    kept = describe_collapse.kept_frame(traced, rows)
    text = describe_collapse_text.kept_text(kept, dict(enumerate(NAMES)), "coteaching")
    assert text.startswith("Of the right labels of small, Co-teaching† keeps 0")
    assert "go together (Spearman 1.00)" in text
    against = kept.assign(recall=1 - kept["recall"])
    assert "against each other" in describe_collapse_text.kept_text(
        against, dict(enumerate(NAMES)), "coteaching"
    )
    nothing = describe_collapse_text.kept_text(kept, dict(enumerate(NAMES)), "ce")
    assert nothing == "Cross entropy selects nothing."


def test_observed_frequencies_differ_most_where_the_ratio_does(traced: traces.Traced) -> None:
    classes = describe_collapse.class_frame(traced)
    text = describe_collapse_text.prior_text(classes)
    assert "small has 1 training images and 2 are labelled so" in text
    assert "2.00 times" in text
    same = classes.assign(observed=classes["images"].astype(float))
    assert describe_collapse_text.prior_text(same).endswith("are the true ones.")
