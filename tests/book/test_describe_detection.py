"""What the chapter on detection trains, and what it says of curves, tables and classes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from blobs import blobs
from made_signals import labels, signals_of

from noisylib import BankMeta, FeatureBank
from noisylib.book.case_parameters import DetectionParameters
from noisylib.book.describe import detection
from noisylib.book.describe import kept_classes as classes
from noisylib.book.describe.detection import Live
from noisylib.errors import NoisylibError
from noisylib.signal_rows import detection_rows

NBSP = "\N{NO-BREAK SPACE}"
PARAMS = DetectionParameters(
    dataset="blobs", noise_type="pairflip", noise_rate=0.3, head="linear", epochs=2, seeds=[4, 9]
)


def bank(dataset: str = "blobs", n_classes: int = 3) -> FeatureBank:
    X, y = blobs(110, n_classes, 5)
    names = [f"c{c}" for c in range(n_classes)]
    return FeatureBank.from_arrays(X, y, np.repeat([0, 2], [80, 30]), names, BankMeta(dataset, "raw"))


@pytest.fixture(scope="module")
def live() -> Live:
    return detection.train(bank(), PARAMS)


def test_the_condition_comes_first_and_its_counterpart_has_the_same_seeds(live: Live) -> None:
    assert live.noise_types == ("pairflip", "symmetric")
    assert live.hard == "pairflip"
    assert live.signals.seeds == (4, 9, 4, 9)
    assert live.runs("symmetric") == [2, 3]
    assert set(live.own["noise_type"]) == {"pairflip"}
    assert live.rows.groupby("noise_type")["seed"].unique().map(list).to_dict() == {
        "pairflip": [4, 9],
        "symmetric": [4, 9],
    }
    assert live.rows["realised_rate"].between(0.25, 0.35).all()


@pytest.mark.parametrize(
    ("dataset", "noise_type", "rate", "other"),
    [
        ("blobs", "pairflip", 0.3, "symmetric"),
        ("blobs", "symmetric", 0.3, ""),  # no map: nobody knows which class is mistaken for which
        ("retinamnist", "symmetric", 0.3, "asymmetric"),
        ("retinamnist", "asymmetric", 0.3, "symmetric"),
        ("retinamnist", "symmetric", 0.6, ""),  # above what asymmetric noise allows
    ],
)
def test_counterpart(dataset: str, noise_type: str, rate: float, other: str) -> None:
    assert detection.counterpart(bank(dataset), noise_type, rate) == other


def test_asymmetric_noise_needs_a_map() -> None:
    with pytest.raises(NoisylibError, match="class_map"):
        detection.train(bank(), replace(PARAMS, noise_type="asymmetric"))


def test_one_noise_alone_has_no_drop(live: Live) -> None:
    alone = Live(live.bank, live.signals, ("symmetric",), live.rows[live.rows["noise_type"] == "symmetric"])
    assert alone.hard == ""
    assert "Drop" not in detection.live_table(alone, "matched")
    assert "no second kind of noise" in detection.short(alone)


def test_curves_and_tables_cut_alike(live: Live) -> None:
    curves = detection.curves(live)
    assert set(curves["noise_type"]) == {"pairflip", "symmetric"}
    ends = curves[curves["fraction"] == 1]
    right = 1 - live.signals.realised_rate[live.runs("symmetric")].mean()
    np.testing.assert_allclose(ends.loc[ends["noise_type"] == "symmetric", "precision"], right)
    # N is 80 and 56 labels are right: the fixed m is the fraction .7.
    fixed = live.rows[(live.rows["rule"] == "fixed") & (live.rows["noise_type"] == "pairflip")]
    for key in ("loss", "agreement_neighbours"):
        at = curves[(curves["detector"] == key) & (curves["noise_type"] == "pairflip")]
        at = at[np.isclose(at["fraction"], 0.7)]["precision"]
        np.testing.assert_allclose(at, fixed.loc[fixed["detector"] == key, "precision"].mean())


def test_sets_have_one_size(live: Live) -> None:
    sets = detection.sets(live)
    assert list(zip(sets["noise_type"], sets["detector"], strict=True)) == [
        ("pairflip", "agreement_same"), ("pairflip", "agreement"),
        ("symmetric", "agreement_same"), ("symmetric", "agreement"),
    ]  # fmt: skip
    m = live.own[live.own["detector"] == "agreement"]["m"].mean()
    assert sets["fraction"].iloc[1] == pytest.approx(m / 80)


def test_tables_have_every_detector_once(live: Live) -> None:
    matched, fixed = (detection.live_table(live, rule) for rule in ("matched", "fixed"))
    assert len(matched) == live.rows["detector"].nunique() == 13
    assert len(fixed) == 10  # neither sets nor the same loss again
    assert list(fixed["m"].unique()) == ["56"]
    precision = [float(cell.split(NBSP)[0]) for cell in matched["Precision, pairflip"]]
    assert precision == sorted(precision, reverse=True)
    row = matched.set_index(["Detector", "Design"]).loc[("Small loss", "as deployed")]
    rows = live.rows[(live.rows["detector"] == "loss") & (live.rows["rule"] == "matched")]
    means = 100 * rows.groupby("noise_type")["precision"].mean()
    assert row["Drop"].startswith(f"{means['symmetric'] - means['pairflip']:.1f}{NBSP}[")


def test_text_has_the_numbers_of_the_rows(live: Live) -> None:
    text = detection.short(live)
    own = live.own[live.own["rule"] == "matched"].groupby("detector")[["precision", "m"]].mean()
    assert f"agrees with {own.loc['agreement', 'm']:,.0f} of 80 labels" in text
    assert f"smallest losses, {100 * own.loc['loss', 'precision']:.1f}{NBSP}% are" in text
    assert f"drawn at random, 70.0{NBSP}%" in text
    assert "From symmetric to pairflip noise" in text
    facts = detection.facts(live, PARAMS)
    assert facts["source"] == (
        f"blobs, features of raw pixels, linear head, 2 epochs, pairflip and symmetric noise of 30{NBSP}%, "
        "2 seeds each."
    ).replace("raw pixels", detection.backbone_title(PARAMS.backbone))
    assert "Co-teaching is told" in facts["dagger"]
    assert detection.dagger(["loss"]) == ""


@dataclass
class Names:
    """A bank of which only the names of the classes are asked."""

    class_names: tuple[str, ...]


def made(loss: list[float], agrees: list[int]) -> Live:
    """Ten samples, 6 + 3 + 1 of three classes; one of class 0 is labelled 2, one of class 1 is labelled 0."""
    y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    y_noisy = np.array([[0, 0, 0, 0, 0, 2, 0, 1, 1, 2]])
    predicted = np.where(np.isin(np.arange(10), agrees), y_noisy, (y_noisy + 1) % 3)[None]
    signals = signals_of(
        y, y_noisy, losses=np.array([[loss]], dtype=np.float32), predicted=predicted,
        probe_losses=np.array([[loss]], dtype=np.float32), probe_predicted=predicted,
    )  # fmt: skip
    assert labels(y, y_noisy[0], 3).noise_type == "symmetric"
    rows = pd.DataFrame(detection_rows(signals)).assign(noise_type="symmetric", seed=0)
    return Live(Names(("a", "b", "c")), signals, ("symmetric",), rows)


# Small loss keeps samples 0 to 3, agreement 0, 7, 8 and 9.
MADE = made([0.1, 0.2, 0.3, 0.4, 1, 1.1, 1.2, 1.3, 1.4, 1.5], [0, 7, 8, 9])


def test_rare_classes_have_less_than_half_an_equal_share() -> None:
    assert classes.rare_classes(np.array([0.6, 0.3, 0.1])).tolist() == [False, False, True]
    assert classes.rare_classes(np.array([0.4, 0.35, 0.25])).tolist() == [False, False, True]
    facts = classes.rare_facts(MADE)
    assert facts == {"rare_names": "c", "rare_classes": 1, "rare_images": "1", "n_classes": 3}


def test_precision_by_label_and_recall_by_class_by_hand() -> None:
    found = classes.class_frame(MADE).set_index(["detector", "class"])
    assert found.loc["agreement", "images"].tolist() == [6, 3, 1]
    np.testing.assert_allclose(found.loc["loss", "precision"], [1, np.nan, np.nan])
    np.testing.assert_allclose(found.loc["loss", "recall"], [4 / 5, 0, 0])
    np.testing.assert_allclose(found.loc["agreement", "precision"], [1, 1, 1])
    np.testing.assert_allclose(found.loc["agreement", "recall"], [1 / 5, 1, 1])


def test_shares_of_the_rare_class_by_hand() -> None:
    shares = classes.rare_shares(MADE)
    assert shares.loc["observed", "share"] == pytest.approx(0.2)
    assert shares.loc["right", "share"] == pytest.approx(1 / 8)
    assert shares.loc["loss"].tolist() == pytest.approx([0, 0, 0])
    assert shares.loc["agreement"].tolist() == pytest.approx([0.25, 1, 0.2])
    table = classes.rare_table(shares).set_index("Kept")
    assert table.loc["*all labels*"].tolist() == ["20.0", "", ""]
    assert table.loc["Agreement of the linear module"].tolist() == ["25.0", "100.0", "20.0"]


def test_starving_is_said_only_of_who_does_it() -> None:
    text = classes.starved(classes.rare_shares(MADE))
    assert f"make up 0.0{NBSP}% of what *Small loss* keeps: it starves them" in text
    assert f"25.0{NBSP}% of what *Agreement of the linear module* keeps, so it does not" in text
    assert "small loss keeps fewer than agreement" in text
    equal = pd.DataFrame({"share": [0.1] * 3, "recall": [np.nan, 0.5, 0.5]}, ["right", "loss", "agreement"])
    assert "keeps as many as agreement" in classes.starved(equal)
    assert "starves" not in classes.starved(equal)
    equal.loc["loss"] = [np.nan, 0.6]
    assert "*Small loss* keeps nothing" in classes.starved(equal)
    assert "keeps more than agreement" in classes.starved(equal)


def test_several_rare_classes_count_by_their_right_labels(monkeypatch) -> None:
    monkeypatch.setattr(classes, "RARE", 1.2)  # below .4: classes 1 and 2, with two and one right labels
    shares = classes.rare_shares(made([1.0] * 10, [0, 7]))
    assert shares.loc["agreement"].tolist() == pytest.approx([0.5, 1 / 3, 0])
