"""What is compared with what, and the table and sentences about it."""

from __future__ import annotations

import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book.describe import sensitivity as describe_sensitivity
from noisylib.errors import UnknownNameError
from noisylib.study.config import MethodSpec

SPECS = {"elr-weak": MethodSpec("elr", (("lam", 1.0),), "elr-weak")}


def archive() -> pd.DataFrame:
    """Return two backbones with five seeds; cross entropy is best, then ELR, then Co-teaching."""
    return pd.concat([study_rows(seeds=5), study_rows(seeds=5).assign(backbone="mobilenetv2")])


def arms() -> pd.DataFrame:
    """Return one arm of each kind; the linear head turns the order round."""
    rows = study_rows()
    noisy = rows[rows["noise_rate"] > 0]
    symmetric, asymmetric = (noisy[noisy["noise_type"] == kind] for kind in ("symmetric", "asymmetric"))
    top = symmetric[symmetric["noise_rate"] == 0.4]
    elr = rows[rows["method"] == "elr"]
    return pd.concat(
        [
            rows.assign(study="heads", head="linear", balanced_accuracy=1 - rows["balanced_accuracy"]),
            symmetric.assign(study="instance", noise_type="instance"),
            asymmetric.assign(study="map_majority"),
            asymmetric.assign(study="map_cyclic", noise_type="pairflip"),
            top.assign(study="high_rates", noise_rate=0.6),
            elr.assign(study="settings", method="elr-weak", balanced_accuracy=0.0),
        ]
    )


@pytest.fixture(scope="module")
def comparisons() -> list[describe_sensitivity.Comparison]:
    return describe_sensitivity.compare(archive(), arms(), SPECS)


def test_every_change_is_compared_on_the_conditions_of_both(comparisons) -> None:
    counts = {
        item.change.replace("\N{NO-BREAK SPACE}", " "): item.agreement.conditions for item in comparisons
    }
    assert counts == {
        "linear head for the adapter": 5,  # clean once, two rates of two kinds
        "MobileNetV2 1.0 for DeiT-Ti": 5,
        "into-the-majority map for look-alike pairs": 2,
        "cyclic map for look-alike pairs": 2,
        "instance-dependent noise for asymmetric": 2,
        "instance-dependent noise for symmetric": 2,
        "symmetric noise of 60 % for 40 %": 1,
        "elr-weak for ELR": 5,
        "accuracy for balanced accuracy, as the score": 10,
    }


def test_rank_correlation_of_each_change(comparisons) -> None:
    tau = {item.group: item.agreement.tau for item in comparisons}
    assert tau["head"] == pytest.approx(-1), "the arm turns the order round"
    assert tau["backbone"] == pytest.approx(1)
    assert tau["setting"] == pytest.approx(1 / 3), "ELR falls from second to third of three"
    assert all(item.seeds_alone == pytest.approx(1) for item in comparisons)


def test_a_setting_replaces_its_default_and_leaves_the_others(comparisons) -> None:
    (item,) = (c for c in comparisons if c.group == "setting")
    change = (item.pair.after - item.pair.before).abs().max()
    assert change["ce"] == change["coteaching"] == 0
    assert item.pair.after["elr"].eq(0).all()


def test_arms_that_are_absent_are_left_out() -> None:
    found = describe_sensitivity.compare(study_rows(), arms().iloc[:0], {})
    assert [item.group for item in found] == ["score"]


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="elr-weak"):
        describe_sensitivity.compare(archive(), arms(), {"other": SPECS["elr-weak"]})


def test_summary_table(comparisons) -> None:
    table = describe_sensitivity.summary_table(comparisons).set_index("What was changed")
    head = table.loc["linear head for the adapter"]
    assert head["Conditions (sets)"] == "5 (1)"
    assert head["Rank correlation"] == "-1.00", "one set has no interval"
    assert head["Same winner"].startswith("0")
    assert head["Largest move"] == "Cross entropy 1.0 → 3.0; Co-teaching† 3.0 → 1.0"
    assert head["Best mean rank"] == "Cross entropy → Co-teaching†"
    assert table.loc["MobileNetV2 1.0 for DeiT-Ti", "Largest move"] == "none"


def test_intervals_need_three_sets() -> None:
    rows = study_rows(datasets=("ham10000", "pbc", "breastmnist"))
    table = describe_sensitivity.summary_table(describe_sensitivity.compare(rows, arms().iloc[:0], {}))
    assert table["Rank correlation"][0].replace("\N{NO-BREAK SPACE}", " ") == "1.00 [1.00, 1.00]"


def test_conclusions_say_what_moved(comparisons) -> None:
    text = describe_sensitivity.conclusion(comparisons, "head")
    assert text.startswith("- **linear head for the adapter**: rank correlation -1.00 (seeds alone: 1.00)")
    assert "best mean rank: Cross entropy → Co-teaching†" in text
    assert describe_sensitivity.conclusion([], "head") == "The rows do not allow this comparison."
    assert "points on average" not in describe_sensitivity.conclusion(comparisons, "score")


def test_score_change_names_the_method_that_changes_most(comparisons) -> None:
    (item,) = (c for c in comparisons if c.group == "setting")
    # ELR's mean over five conditions is 0.81 - (0 + 2 * 0.2 + 2 * 0.4) / 5 = 0.57; a third of it on average.
    text = describe_sensitivity.score_change(item.pair)
    assert "changes by -19.0 points" in text
    assert "ELR (-57.0)" in text


def test_overall_facts(comparisons) -> None:
    facts = describe_sensitivity.overall(comparisons)
    assert (facts["changes"], facts["kept"]) == (9, 8)
    assert (facts["most"], facts["most_tau"]) == ("linear head for the adapter", "-1.00")
    assert facts["mover"].endswith("with linear head for the adapter")


def test_leaders_share_the_best_rank() -> None:
    ranks = pd.Series({"ce": 1.5, "elr": 1.5, "ls": 3.0})
    assert describe_sensitivity.leaders(ranks) == "Cross entropy and ELR"


def test_moves_have_titles(comparisons) -> None:
    moves = describe_sensitivity.moves_frame(comparisons)
    assert moves.loc["linear head for the adapter", "Cross entropy"] == 2
    assert list(moves.columns) == ["Cross entropy", "Co-teaching†", "ELR"]


def test_setting_specs_are_read_from_the_config_of_the_arm(tmp_path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "name: settings\ndatasets: [digits]\nbackbones: [raw]\nnoise_types: [symmetric]\nnoise_rates: [0.2]\n"
        "methods: [{name: elr, lam: 1.0, label: elr-weak}]\nseeds: [0]\n"
    )
    assert describe_sensitivity.setting_specs(path) == SPECS
    assert {spec.name for spec in describe_sensitivity.setting_specs().values()} >= {"elr", "dividemix"}
