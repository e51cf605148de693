"""The claims on losses of wrong labels, on made tables: numbers by hand, and verdicts that turn with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows
from _small_loss_rows import detection_table, lose, overlap_table

from noisylib.book.claims import benchmark as claims_benchmark
from noisylib.book.claims import claim as claims
from noisylib.book.claims import describe as describe_claims
from noisylib.book.claims.claim import FAILED, PARTLY, REPRODUCED, UNTESTED, Finding, Study, find
from noisylib.errors import MissingDataError
from noisylib.study import small_loss

CLAIMS = {claim.key: claim for claim in claims_benchmark.CLAIMS}


def measured(rows: pd.DataFrame, key: str) -> Finding:
    return find(CLAIMS[key], Study("small_loss", rows))


def test_the_made_tables_have_columns_of_the_real_ones() -> None:
    assert set(overlap_table()) <= set(small_loss.OVERLAP)
    assert set(detection_table()) <= set(small_loss.DETECTION)


def at(rows: pd.DataFrame, noise_type: str, rate: float) -> pd.Series:
    return (rows["noise_type"] == noise_type) & (rows["noise_rate"] == rate)


def test_the_overlap_must_be_near_everywhere_and_meet_the_range_on_average() -> None:
    rows = overlap_table()
    found = measured(rows, "B12")
    # Two seeds, .57 and .58: both are the lowest with probability 1/4.
    assert (found.verdict, found.value, found.interval) == (REPRODUCED, "57.5 %", "57.0 to 58.0")
    rows.loc[at(rows, "asymmetric", 0.4), "corrected"] += 0.12
    assert measured(rows, "B12").verdict == REPRODUCED  # 69.5 there and 60.5 on average
    rows.loc[at(rows, "asymmetric", 0.4), "corrected"] += 0.02
    rows.loc[at(rows, "symmetric", 0.2), "corrected"] -= 0.04
    found = measured(rows, "B12")
    assert (found.verdict, found.value) == (PARTLY, "60.0 %")  # 71.5 is more than ten points above
    nbsp = "\N{NO-BREAK SPACE}"
    assert found.note.startswith(f"53.5 (symmetric 20{nbsp}%) to 71.5 % (asymmetric 40{nbsp}%); by backbone")
    assert found.note.endswith("clean test error 30.0 %, balanced 50.0 %")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.424, FAILED),  # 42.9 on average
        (0.44, PARTLY),
        (0.519, PARTLY),
        (0.521, REPRODUCED),  # the interval ends at 53.1
        (0.609, REPRODUCED),
        (0.611, PARTLY),
        (0.71, FAILED),
    ],
)
def test_the_verdict_on_the_overlap_turns_with_its_mean(value: float, expected: str) -> None:
    assert measured(overlap_table(value=value), "B12").verdict == expected


def test_the_overlap_is_that_of_the_headline_only() -> None:
    rows = overlap_table(datasets=("ham10000", "pbc"))
    others = (
        (rows["dataset"] == "pbc")
        | (rows["head"] == "linear")
        | (rows["estimator"] != "histogram")
        | (rows["sample"] == "held_out")
        | (rows["epoch"] == "best")
    )
    rows.loc[others, ["value", "corrected", "equal_size"]] = 0.1
    assert measured(rows, "B12").value == "57.5 %"
    assert measured(rows[rows["dataset"] == "pbc"], "B12") == Finding(
        UNTESTED, note="the rows have no overlap on HAM10000 with the head adapter"
    )


def test_one_seed_has_no_interval_that_could_meet_the_range() -> None:
    found = measured(overlap_table(seeds=1), "B12")
    assert (found.verdict, found.value, found.interval) == (PARTLY, "57.0 %", "")


@pytest.mark.parametrize(
    ("loss", "agreement", "expected"),
    [
        (13, 3, REPRODUCED),
        (10, 5, REPRODUCED),  # half of the paper's difference, and twice the other
        (9.9, 4.94, PARTLY),  # twice as much, but not five points more
        (12, 6.1, PARTLY),  # 5.9 more, but not twice
        (5, -3, REPRODUCED),
        (-1, -9, PARTLY),  # the loss has more precision under asymmetric noise
        (4, 3.9, PARTLY),
        (4, 4, FAILED),
        (3, 13, FAILED),
    ],
)
def test_the_verdict_on_the_drops_turns_with_them(loss: float, agreement: float, expected: str) -> None:
    rows = detection_table()
    lose(rows, loss, "loss")
    lose(rows, agreement, "agreement")
    found = measured(rows, "B13")
    assert found.verdict == expected
    assert found.value == (f"{agreement:.1f} pp against {loss:.1f} pp, difference {loss - agreement:+.1f} pp")


def test_the_difference_is_paired_by_seed_and_spread_over_backbones() -> None:
    rows = detection_table()
    lose(rows, 6, "loss")
    for seed, shared in ((0, 20), (1, 0)):  # what both lose is no difference
        lose(rows, shared, "loss", "agreement", seed=seed)
    lose(rows, 2, "loss", seed=1)
    lose(rows, 4, "loss", backbone="mobilenetv2")
    found = measured(rows, "B13")
    # Differences of seed 0: 6 and 10, of seed 1: 8 and 12.
    assert (found.value, found.interval) == ("10.0 pp against 19.0 pp, difference +9.0 pp", "8.0 to 10.0")
    nbsp = "\N{NO-BREAK SPACE}"
    assert found.note.startswith(f"difference by backbone DeiT-Ti{nbsp}+7.0, MobileNetV2 1.0{nbsp}+11.0; ")
    assert found.verdict == PARTLY  # not twice as much
    lose(rows, 30, "loss", backbone="deit_tiny", seed=0)
    lose(rows, -40, "loss", backbone="deit_tiny", seed=1)
    assert measured(rows, "B13").verdict == FAILED  # the seeds disagree: the interval holds 0


def test_the_details_have_all_designs_under_both_rules() -> None:
    rows = detection_table()
    for i, key in enumerate(dict.fromkeys(rows["detector"]), 1):
        lose(rows, i, key)
    lose(rows, 20, "loss", "loss_same", "agreement_epochs", rule="fixed")
    order = list(dict.fromkeys(rows["detector"]))
    drop = {key: float(i) for i, key in enumerate(order, 1)}
    note = measured(rows, "B13").note
    matched, fixed = note.partition("matched m: ")[2].split("; fixed m: ")
    assert matched == ", ".join(
        f"{title} {drop[loss]:.1f} / {drop[agreement]:.1f}"
        for title, loss, agreement in (
            ("same model", "loss_same", "agreement_same"),
            ("as deployed", "loss", "agreement"),
            ("as deployed: Co-teaching", "peer_loss", "agreement"),
            ("repeated: epochs", "loss", "agreement_epochs"),
            ("repeated: folds", "loss", "agreement_folds"),
            ("repeated: neighbours", "loss", "agreement_neighbours"),
        )
    )
    # A set keeps its own size: only rankings are cut at another m.
    assert f"as deployed {drop['loss'] + 20:.1f} / {drop['agreement']:.1f}" in fixed
    assert f"repeated: epochs {drop['loss'] + 20:.1f} / {drop['agreement_epochs'] + 20:.1f}" in fixed


def test_the_drops_are_those_of_the_headline_only() -> None:
    rows = detection_table(datasets=("ham10000", "pbc"))
    lose(rows, 13, "loss")
    lose(rows, 3, "agreement")
    for where in ({"dataset": "pbc"}, {"head": "linear"}, {"noise_rate": 0.2}, {"rule": "fixed"}):
        lose(rows, 30, "loss", **where)
    assert measured(rows, "B13").value == "3.0 pp against 13.0 pp, difference +10.0 pp"


def test_drops_that_the_rows_do_not_have_cannot_be_tested() -> None:
    rows = detection_table()
    for part, reason in (
        (rows[rows["dataset"] == "pbc"], "the rows have no noise of 40 % on HAM10000 with the head adapter"),
        (rows[rows["noise_type"] == "symmetric"], "the rows have no asymmetric noise there"),
        (rows[rows["detector"] != "loss"], "the rows lack the detectors loss and agreement"),
        (rows[rows["seed"] == 0], "the rows have no two seeds, and a difference of one has no interval"),
    ):
        assert measured(part, "B13") == Finding(UNTESTED, note=reason)


def test_a_claim_on_a_table_is_measured_there_and_not_on_the_studies() -> None:
    studies = [Study("archive", study_rows()), Study("embedded", study_rows())]
    tables = {"overlap": Study("small_loss", overlap_table(), "660 runs")}
    chosen = [CLAIMS[key] for key in ("B1", "B12", "B13")]
    one, overlap, drop = claims.evaluate(chosen, studies, tables)
    assert list(one.findings) == ["archive", "embedded"]
    assert overlap.findings["small_loss"].verdict == REPRODUCED
    assert drop.findings == {
        "small_loss": Finding(
            UNTESTED,
            note="there is no table `detection` among the results; "
            "`noisylib experiment small_loss --collect` makes it",
        )
    }
    results = [overlap, one, drop]
    table = describe_claims.verdict_table(results)
    assert list(table)[3:] == ["archive", "embedded", "small_loss"]  # studies first, whatever the order
    dash = "\N{EN DASH}"
    assert list(table["archive"]) == [dash, "6 conditions, 54 runs", dash]
    assert [cell.split(" (")[0] for cell in table["small_loss"]] == ["57.5 %", dash, dash]
    assert list(table["Verdict"]) == ["**reproduced**", "**partly reproduced**", UNTESTED]
    assert describe_claims.glance(results).data.splitlines() == [
        "- **archive**: of 1 claim, 1 partly reproduced.",
        "- **embedded**: of 1 claim, 1 partly reproduced.",
        "- **small_loss**: of 2 claims, 1 reproduced, 1 not testable here.",
    ]
    assert describe_claims.sources(studies, chosen, tables) == "archive: . embedded: . small_loss: 660 runs"
    assert describe_claims.sources(studies) == "archive: . embedded: "


def test_details_say_how_an_answer_depends_on_what_is_left_open() -> None:
    results = claims.evaluate([CLAIMS["B12"], CLAIMS["B13"]], [Study("made", study_rows())])
    text = describe_claims.details(results, {"B12": "It depends."}).data
    first, second = text.split("(claim-b13)=")
    assert "- Left open: It depends.\n- Rows: table overlap" in first
    assert "Left open" not in second
    assert "Left open" not in describe_claims.details(results).data


def test_tables_that_are_there_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows_of(name: str) -> tuple[pd.DataFrame, str]:
        if name == "detection":
            raise MissingDataError("no table")
        return pd.DataFrame({"name": [name]}), f"source of {name}"

    monkeypatch.setattr(describe_claims, "experiment_rows", rows_of)
    found = describe_claims.load_tables()
    assert {key: (study.name, study.source) for key, study in found.items()} == {
        "overlap": ("small_loss", "source of overlap"),
        "collapse": ("collapse", "source of collapse"),
        "conditions": ("conditions", "source of conditions"),
        "turn_small": ("turn_small", "source of turn_small"),
    }


def test_the_experiments_make_the_tables_that_claims_name() -> None:
    from noisylib.study.experiments import load_experiment
    from noisylib.study.finetune_tables import tables

    for table, experiment in claims.EXPERIMENTS.items():
        if table in claims.COMMANDS:  # a study of fine-tuning has a configuration in place of a module
            assert table in tables(experiment)
            assert f"configs/{experiment}.yaml" in claims.missing_table(table)
        else:
            assert table in load_experiment(experiment).tables
    assert {claim.table for claim in CLAIMS.values() if claim.table} <= set(claims.EXPERIMENTS)
    assert np.all([claim.measure is not None for claim in CLAIMS.values() if claim.table])
