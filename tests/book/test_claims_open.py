"""What the sources leave open: choices compared on equal runs, and words that follow the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows
from _small_loss_rows import detection_table, lose, overlap_table

from noisylib.book.claims import describe_collapse as describe_claims_collapse
from noisylib.book.claims import describe_open as describe_claims_open
from noisylib.book.claims.claim import CannotTestError, Study
from noisylib.book.claims.describe_open import Part, drop_part, overlap_part, separability
from noisylib.book.claims.open import Question, drop_choices, overlap_choices
from noisylib.book.claims.open_collapse import collapse_choices
from noisylib.book.tables import NBSP


def picked(choices: pd.DataFrame, question: str) -> pd.DataFrame:
    return choices[choices["open"] == question].set_index("choice")


def test_choices_are_compared_on_the_runs_that_all_have() -> None:
    a = pd.DataFrame({"dataset": "x", "head": "a", "seed": [0, 1, 2], "v": [1, 2, 3]})
    b = pd.DataFrame({"dataset": "x", "head": "b", "seed": [2, 1, 5], "v": [4, 5, 6]})
    kept = Question("?", {"a": a, "b": b}, ("head",)).common()
    assert list(kept["a"]["v"]) == [2, 3]
    assert list(kept["b"]["v"]) == [4, 5]
    assert Question("?", {"a": a, "b": b}).common() == {}, "no run has both heads"
    assert Question("?", {"a": a, "b": b.iloc[:0]}, ("head",)).common() == {}, "one choice is none"


def test_overlaps_under_every_choice() -> None:
    rows = overlap_table(datasets=("ham10000", "pbc"))
    # Linear heads on one backbone and seed only, as far as the comparison of heads goes.
    linear = rows["head"] == "linear"
    rows = rows[~linear | ((rows["backbone"] == "deit_tiny") & (rows["seed"] == 1))]
    rows.loc[rows["head"] == "linear", "corrected"] = 0.2
    rows.loc[rows["estimator"] == "ks", "value"] = 0.8
    rows.loc[rows["dataset"] == "pbc", "corrected"] = 0.4
    rows.loc[rows["sample"] == "held_out", "corrected"] = 0.3
    rows.loc[rows["epoch"] == "best", "corrected"] = 0.1
    rows["equal_size"] -= 0.05
    hard = (rows["noise_type"] == "asymmetric") & (rows["noise_rate"] == 0.4)
    mine = (rows["dataset"] == "ham10000") & (rows["head"] == "adapter") & (rows["epoch"] == "last")
    rows.loc[hard & mine & (rows["backbone"] == "deit_tiny"), "corrected"] += 0.2
    choices = overlap_choices(rows)

    estimators = picked(choices, "estimator, no correction")
    assert list(estimators["mean"]) == pytest.approx([0.575, 0.575, 0.575, 0.8])
    assert set(estimators["conditions"]) == {8}  # two backbones, four noises
    # One of eight conditions has .2 more.
    corrections = picked(choices, "correction for finite samples")
    assert list(corrections["mean"]) == pytest.approx([0.575, 0.6, 0.525])
    assert list(corrections.loc["of the bias", ["low", "high"]]) == pytest.approx([0.575, 0.775])
    assert list(picked(choices, "losses of which epoch and model")["mean"]) == pytest.approx([0.6, 0.1, 0.3])
    heads = picked(choices, "head")  # seed 1: .58, and .78 under one of four noises
    assert list(heads.index) == ["adapter", "linear"]
    assert list(heads["mean"]) == pytest.approx([0.63, 0.2])
    assert list(heads["conditions"]) == [4, 4]
    assert list(picked(choices, "backbone")["mean"]) == pytest.approx([0.625, 0.575])
    noises = picked(choices, "kind and rate of noise")
    assert noises.at[f"asymmetric 40{NBSP}%", "mean"] == pytest.approx(0.675)
    assert noises.at[f"symmetric 20{NBSP}%", "mean"] == pytest.approx(0.575)
    assert list(picked(choices, "images")["mean"]) == pytest.approx([0.6, 0.4])


def test_the_text_on_overlap_follows_the_numbers() -> None:
    rows = overlap_table()
    rows.loc[rows["sample"] == "held_out", ["corrected", "value"]] = 0.3
    part = overlap_part({"overlap": Study("small_loss", rows, "8 runs")})
    assert f"The overlap is 30.0{NBSP}% (losses of which epoch and model: out-of-fold) to" in part.text
    assert (
        "Most depends on this one: *losses of which epoch and model*, 27.5 points between its choices."
        in part.text
    )
    # Two heads, two backbones and four noises: 16 of the last epoch under 4 estimators, 16 of the best epoch,
    # and out-of-fold 16 under 4 estimators, the only ones that are not 57.5.
    assert "the 144 archived overlaps on HAM10000" in part.text
    assert "; 80 of them lie in the paper's range." in part.text
    assert f"errors of 26.5 to 30.5{NBSP}%" in part.text
    assert part.depends["B12"].endswith("changes at a time.")
    shown = part.show().data
    assert ":name: tab-open-overlap" in shown
    assert "| *the paper* | not stated |  | 53 | 61 |  |" in shown
    assert "|  | out-of-fold | 30.0 | 30.0 | 30.0 | 8 |" in shown
    assert "8 runs." in part.caption


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([1, 2, 3, 4], "mostly says how hard"),
        ([2, 1, 4, 3], "a good deal"),  # rank correlation .6
        ([4, 3, 2, 1], "does not order"),
    ],
)
def test_what_an_overlap_says_follows_its_correlation_with_the_error(order: list[int], words: str) -> None:
    names = ("a", "b", "c", "d")
    rows = overlap_table(backbones=names, heads=("adapter",))
    rows["corrected"] = rows["backbone"].map(dict(zip(names, order, strict=True))) / 10
    rows["test_error"] = rows["backbone"].map({name: i / 10 for i, name in enumerate(names)})
    assert words in separability(rows)
    assert "rank correlation" not in separability(rows.assign(test_error=0.3))


def test_drops_under_every_choice() -> None:
    rows = detection_table(datasets=("ham10000", "breastmnist"))
    lose(rows, 13, "loss", dataset="ham10000")
    lose(rows, 3, "agreement", dataset="ham10000")
    lose(rows, 5, "peer_loss", dataset="ham10000")
    lose(rows, 4, "loss", dataset="ham10000", rule="fixed")
    lose(rows, -6, "loss", dataset="ham10000", noise_rate=0.2)
    lose(rows, 1, "loss", dataset="ham10000", head="linear")
    lose(rows, 2, "loss", dataset="ham10000", backbone="deit_tiny")
    hard = (rows["noise_type"] == "asymmetric") & (rows["dataset"] == "breastmnist")
    rows.loc[hard, ["realised_rate", "chance"]] = 0.25, 0.75
    skewed = hard & False | ((rows["noise_type"] == "asymmetric") & (rows["detector"] == "loss"))
    rows.loc[skewed, "recall"] = 0.7
    for i in np.flatnonzero(skewed):
        rows.at[rows.index[i], "class_precision"] = np.array([0.3, 0.7, np.nan])
    choices = drop_choices(rows)

    def numbers(question: str, choice: str) -> list[float]:
        row = picked(choices, question).loc[choice, ["loss", "agreement", "difference"]]
        return [round(100 * value, 6) for value in row]

    # One backbone of two loses 2 points more.
    models = "which models give the two signals"
    assert numbers(models, "as deployed") == [14, 3, 11]
    assert numbers(models, "as deployed: Co-teaching") == [5, 3, 2]
    assert numbers(models, "same model") == [0, 0, 0]
    assert numbers(models, "repeated: folds") == [14, 0, 14]
    assert numbers("how many samples are kept", "fixed m") == [18, 3, 15]
    what = "drop of what, and from what"
    assert numbers(what, "precision, from symmetric noise") == [14, 3, 11]
    assert numbers(what, "precision above chance, from symmetric noise") == [14, 3, 11]
    assert numbers(what, "precision, mean of observed classes, from symmetric noise") == [10, 0, 10]
    assert numbers(what, "recall of right labels, from symmetric noise") == [10, 0, 10]
    # .9 under symmetric noise, and so ten points more from clean labels.
    assert numbers(what, "precision, from clean labels") == [24, 13, 11]
    assert numbers("rate of noise", f"20{NBSP}%") == [8, 3, 5]
    assert numbers("head", "linear") == [15, 3, 12]
    assert numbers("backbone", "DeiT-Ti") == [15, 3, 12]
    images = picked(choices, "images")
    assert list(images.index) == ["HAM10000", "BreastMNIST*"]  # its kinds of noise have unequal rates
    assert images.at["BreastMNIST*", "difference"] == 0
    assert images.at["HAM10000", "interval"] == "11.0 to 11.0"
    assert set(images["conditions"]) == {2}


def test_the_text_on_drops_follows_the_numbers() -> None:
    rows = detection_table(heads=("adapter",), backbones=("deit_tiny",))
    lose(rows, 13, "loss")
    lose(rows, 3, "agreement")
    lose(rows, 20, "agreement_folds")
    lose(rows, 5, "loss", rule="fixed")
    part = drop_part({"detection": Study("small_loss", rows, "4 runs")})
    assert (
        "The drop of the loss minus that of agreement is -7.0 (which models give the two signals: repeated: "
        "folds) to +15.0 points (how many samples are kept: fixed m)." in part.text
    )
    # Contests: same 0, deployed 10, Co-teaching -3, epochs 13, folds -7, neighbours 13; m: 10, 15; drop of
    # precision, above chance and from clean labels: 10, of classes and of recall 0; rates 10, 10.
    assert "positive in 10 of 15 rows, and above half of the paper's 10 points in 10." in part.text
    assert (
        f"precision of the loss is 90.0{NBSP}% under symmetric and 77.0{NBSP}% under asymmetric noise, that "
        f"of agreement 90.0{NBSP}% and 87.0{NBSP}%. Under asymmetric noise, the more precise one is "
        "agreement." in part.text
    )
    # Six contests, two rules, two rates.
    assert "24 differences on HAM10000 (means over seeds) go from -7.0 (" in part.text
    assert "to +18.0 points (" in part.text  # agreement over epochs and neighbours loses nothing
    assert part.table is not None
    same = part.table.set_index("Choice").loc["same model"]
    assert list(same) == [
        "which models give the two signals",
        "0.0",
        "0.0",
        "+0.0",
        f"0.0{NBSP}to{NBSP}0.0",
        "1",
    ]
    lose(rows, 20, "agreement")
    assert "the more precise one is loss" in drop_part({"detection": Study("", rows)}).text


def arms_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a study's rows with a map of their own: two maps and a linear head of one seed beside them."""
    rows = rows.assign(class_map=np.where(rows["noise_type"] == "asymmetric", "default", ""))
    hard = rows[rows["noise_type"] == "asymmetric"]
    majority = hard.assign(study="map_majority", class_map="majority", dead_classes=3)
    cyclic = hard.assign(study="map_cyclic", noise_type="pairflip", class_map="", dead_classes=1)
    linear = hard[hard["seed_train"] == 1].assign(study="heads", head="linear", accuracy=0.9)
    return pd.concat([rows, majority, cyclic, linear], ignore_index=True)


def sweep() -> pd.DataFrame:
    """Rows of the table "collapse": dead classes grow with the part that follows the map."""
    records = []
    for method, map_name, asymmetry, seed in [
        (method, map_name, asymmetry, seed)
        for method in ("ce", "coteaching", "coteaching_class_tau")
        for map_name in ("default", "cyclic")
        for asymmetry in (0.0, 0.5, 1.0)
        for seed in (0, 1)
    ]:
        dead = 0 if method == "ce" else 4 * asymmetry + seed - 2 * (method != "coteaching")
        records.append(
            {
                "dataset": "ham10000",
                "backbone": "deit_tiny",
                "head": "adapter",
                "noise_type": "asymmetric" if asymmetry else "symmetric",
                "noise_rate": 0.4,
                "class_map": map_name if asymmetry else "",
                "seed": seed,
                "map": map_name,
                "asymmetry": asymmetry,
                "method": method,
                "accuracy": 0.6,
                "balanced_accuracy": 0.5 if method == "ce" else 0.3,
                "dead_classes": dead + (map_name == "cyclic"),
            }
        )
    return pd.DataFrame(records)


def collapse_studies() -> tuple[Study, Study, Study]:
    rows = arms_of(study_rows())
    headline = rows[rows["study"] == "made"]
    return Study("made", headline), Study("ours", rows, "arms"), Study("collapse", sweep(), "the sweep")


def test_dead_classes_under_every_choice() -> None:
    study, arms, table = collapse_studies()
    choices = collapse_choices(study, arms, None)
    maps = picked(choices, "class map")
    assert list(maps.index) == [
        "look-alikes (default)",
        "into nevi, nevi stay clean",
        "into the next class",
    ]
    assert list(maps["dead_classes"]) == [0, 3, 1]
    assert list(maps["runs"]) == [3, 3, 3]
    # Co-teaching is the third of three methods, at rate .4: .9 - .4 - .2 + .01 for the middle seed.
    assert list(maps["balanced_accuracy"]) == pytest.approx([0.31] * 3)
    assert list(maps["plain"]) == pytest.approx([0.51] * 3)
    heads = picked(choices, "head")
    assert list(heads["runs"]) == [1, 1]
    assert list(heads["accuracy"]) == pytest.approx([0.36, 0.9])
    assert picked(choices, "backbone").empty  # one is no choice

    choices = collapse_choices(study, arms, table)
    swept = picked(choices, "class map, one backbone")
    assert dict(swept["dead_classes"]) == {"look-alikes (default)": 4.5, "into the next class": 5.5}
    shares = picked(choices, "share of wrong labels that follow the map")
    assert dict(shares["dead_classes"]) == {f"50{NBSP}%": 2.5, f"100{NBSP}%": 4.5}
    forget = picked(choices, "rate of forgetting")
    assert dict(forget["dead_classes"]) == {"one for all classes": 4.5, "one per class": 2.5}


def test_backbones_are_compared_within_the_study() -> None:
    _, arms, _ = collapse_studies()
    rows = pd.concat([arms.rows, arms.rows.assign(backbone="mobilenetv2", dead_classes=2)])
    study = Study("made", rows[rows["study"] == "made"])
    backbones = picked(collapse_choices(study, Study("ours", rows), None), "backbone")
    assert dict(backbones["dead_classes"]) == {"DeiT-Ti": 0, "MobileNetV2 1.0": 2}
    assert list(backbones["runs"]) == [3, 3]  # the linear heads are of an arm


def test_the_text_on_dead_classes_follows_the_numbers() -> None:
    study, arms, table = collapse_studies()
    part = describe_claims_collapse.collapse_part(study, arms, {"collapse": table})
    assert (
        "On average 0.0 (class map: look-alikes (default)) to 5.5 classes (class map, one backbone:"
        in part.text
    )
    # At least one: two maps, and all of the sweep, where symmetric noise is no choice. All are below CE.
    assert "at least one in 8 of 11 rows" in part.depends["B11"]
    assert "below that of cross entropy in 11 of 11 rows" in part.depends["B10"]
    assert "by 5.0 (" in part.depends["B10"]
    assert "to 59.0 points (head: linear)" in part.depends["B10"]
    assert "*class map*, 3.0 classes" in part.text
    assert "left out" not in part.text
    assert part.caption.endswith("arms; the sweep.")
    assert "| *the paper* | not stated | 68.0 | 35.1 | 3.0 |  |  |" in part.show().data
    without = describe_claims_collapse.collapse_part(study, arms, {})
    assert "`noisylib experiment collapse --collect` makes it" in without.text


def test_what_is_not_there_is_said_with_the_command() -> None:
    study, arms, _ = collapse_studies()
    parts = describe_claims_collapse.all_parts(study, arms, {})
    assert parts["overlap"].show().data == (
        "Not testable here: there is no table `overlap` among the results; "
        "`noisylib experiment small_loss --collect` makes it."
    )
    assert parts["drop"].table is None
    assert set(describe_claims_collapse.sentences(parts)) == {"B10", "B11"}
    assert describe_claims_collapse.sentences({"none": Part("")}) == {}
    bare = Study("made", study_rows(datasets=("pbc",)))
    found = describe_claims_collapse.collapse_part(bare, Study("ours", arms_of(bare.rows)), {})
    assert found.show().data.endswith("no asymmetric noise of 40 % on HAM10000.")
    with pytest.raises(CannotTestError, match="do not say their class_map"):
        collapse_choices(study, Study("ours", study_rows()), None)
    with pytest.raises(CannotTestError, match="Co-teaching is not among the rows"):
        collapse_choices(Study("made", study_rows(methods=("ce", "elr"))), arms, None)


def test_a_study_alone_leaves_no_choice() -> None:
    rows = arms_of(study_rows()).query("study == 'made'")
    alone = Study("made", rows)
    part = describe_claims_collapse.collapse_part(alone, alone, {})
    assert part.text == "Not testable here: the rows have one choice only of everything that is left open."


def test_no_minus_before_zero() -> None:
    assert describe_claims_open.points(-0.0001) == "0.0"
    assert describe_claims_open.signed(-0.0001) == "+0.0"
    assert describe_claims_open.signed(-0.0123) == "-1.2"
