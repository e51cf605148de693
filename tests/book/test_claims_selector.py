"""The claim on a selector, on made conditions: regrets by hand, and verdicts that turn with them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from noisylib.analysis.selector_cases import INPUTS
from noisylib.book.chapters import chapter_info
from noisylib.book.claims import benchmark as claims_benchmark
from noisylib.book.claims import selector as claims_selector
from noisylib.book.claims.claim import FAILED, PARTLY, REPRODUCED, UNTESTED, Finding, Study, find
from noisylib.book.parameters import ClaimsParameters
from noisylib.errors import MissingDataError

(CLAIM,) = (claim for claim in claims_benchmark.CLAIMS if claim.key == "B14")
DATASETS = ("ham10000", "pbc", "breastmnist", "retinamnist")  # each a kind of images of its own
METHODS = ("ce", "dividemix", "elr")
RATES = (0.0, 0.2, 0.4)
SEEDS = (0, 1)


def places(datasets: tuple[str, ...] = DATASETS) -> list[dict]:
    keys = ("dataset", "noise_rate", "seed")
    shared = {"backbone": "deit_tiny", "head": "adapter", "noise_type": "symmetric", "variant": ""}
    return [shared | dict(zip(keys, at, strict=True)) for at in product(datasets, RATES, SEEDS)]


def described(telling: bool = False, datasets: tuple[str, ...] = DATASETS) -> pd.DataFrame:
    """Return rows of the table "conditions"; one descriptor tells the rate, or none tells anything."""
    flat = dict.fromkeys([*INPUTS, "held_out_balanced_accuracy"], 1.0)
    told = [{"confident_rate": at["noise_rate"]} if telling else {} for at in places(datasets)]
    return pd.DataFrame([at | flat | more for at, more in zip(places(datasets), told, strict=True)])


def scored(lead: float, datasets: tuple[str, ...] = DATASETS, name: str = "method") -> pd.DataFrame:
    """Return runs: ELR leads by .1, but at 40 % DivideMix is better than it by `lead`; CE is far behind.

    Seeds differ by the same for all. Clean runs stand under both kinds of noise, and there is another head.
    """
    rows = []
    for at in places(datasets):
        late = at["noise_rate"] == 0.4
        scores = {"ce": 0.3, "elr": 0.7, "dividemix": 0.7 + lead if late else 0.6}
        for method, score in scores.items():
            run = at | {name: method, "balanced_accuracy": score + at["seed"] / 100}
            rows.append(run)
            if name == "method":
                rows.append(run | {"head": "linear", "balanced_accuracy": 0.99})
            if name == "method" and not at["noise_rate"]:
                rows.append(run | {"noise_type": "asymmetric"})
    return pd.DataFrame(rows)


@pytest.fixture
def archived(monkeypatch: pytest.MonkeyPatch):
    """Return a function that sets what the archive and the table of advice hold; None is not there."""

    def hold(archive: pd.DataFrame | None, advice: pd.DataFrame | None = None) -> None:
        def told(path: Path) -> tuple[pd.DataFrame, dict]:
            if archive is None:
                raise MissingDataError(f"{path.name} is not there.")
            return archive, {}

        def untold(results: Path) -> pd.DataFrame:
            if advice is None:
                raise MissingDataError("advice.parquet is not there.")
            return advice

        monkeypatch.setattr("noisylib.study.archive.load_archive", told)
        monkeypatch.setattr("noisylib.study.advice_rows.advice_rows", untold)

    return hold


def measured(conditions: pd.DataFrame) -> Finding:
    return find(CLAIM, Study("conditions", conditions))


def test_a_selector_that_sees_what_decides_reproduces_the_claim(archived) -> None:
    archived(scored(lead=0.09))
    found = measured(described(telling=True))
    # ELR alone loses 9 points in one of three conditions; the rate tells when.
    assert (found.verdict, found.interval) == (REPRODUCED, "0.00 to 0.00")
    assert found.value == "best fixed method 3.00 pp, selector 0.00 pp"
    assert found.note.startswith("half of the best fixed method's is 1.50 pp; nine in ten of 12 conditions")
    # DivideMix loses 10 points in two of three.
    assert "loses most" not in found.note  # nobody loses anything
    assert "; always ELR 3.00 pp (the best in hindsight); " in found.note
    assert found.note.endswith("one method for everything 0 of 4 times")


@pytest.mark.parametrize(("lead", "value", "verdict"), [(0.027, "0.90", PARTLY), (0.033, "1.10", FAILED)])
def test_without_anything_to_see_the_selector_is_the_best_fixed_method(
    archived, lead: float, value: str, verdict: str
) -> None:
    archived(scored(lead))
    found = measured(described())
    assert found.verdict == verdict
    assert found.value == f"best fixed method {value} pp, selector {value} pp"
    assert found.note.endswith("one method for everything 4 of 4 times")


@pytest.mark.parametrize(
    ("chosen", "fixed", "verdict"),
    [
        (0.0099, 0.0199, REPRODUCED),
        (0.0099, 0.0197, PARTLY),  # more than half
        (0.004, 0.008, REPRODUCED),  # half counts
        (0.004, 0.004, PARTLY),
        (0.01, 0.1, FAILED),  # not below one point, whatever the others lose
        (0.011, 0.1, FAILED),
    ],
)
def test_the_verdict_turns_with_both_criteria(
    archived, monkeypatch: pytest.MonkeyPatch, chosen: float, fixed: float, verdict: str
) -> None:
    lost = pd.DataFrame({"family": list("abc"), "selector": [chosen] * 3, "fixed": [fixed] * 3})
    archived(scored(0.05))
    monkeypatch.setattr(claims_selector, "held_out_regret", lambda found: (lost, {"a": "tree"}))
    assert measured(described()).verdict == verdict


def test_the_interval_is_over_kinds_of_images_and_the_worst_is_named(
    archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = pd.DataFrame({"family": ["skin", "skin", "blood", "breast"], "selector": [0.0, 0.0, 0.0, 0.03]})
    archived(scored(0.05))
    monkeypatch.setattr(
        claims_selector,
        "held_out_regret",
        lambda found: (lost.assign(fixed=0.5), {"a": "fixed", "b": "tree"}),
    )
    found = measured(described())
    # Of three kinds, one loses 3 points: always drawn, or never, with probabilities 1/27 and 8/27.
    assert (found.value[-7:], found.interval) == ("0.75 pp", "0.00 to 3.00")
    assert "of 4 conditions lose at most 2.10 pp, the worst 3.00 pp" in found.note  # .3 x 0 + .7 x 3
    assert "of 3 kinds of images breast loses most, 3.00 pp on average" in found.note
    assert found.note.endswith("one method for everything 1 of 2 times")


def test_the_archive_counts_with_its_own_head_and_clean_conditions_once(archived) -> None:
    archived(scored(lead=0.05))
    found = claims_selector.told_cases(described())
    assert found.candidates == METHODS
    assert len(found) == len(DATASETS) * len(RATES)
    np.testing.assert_allclose(found.scores[0], [0.305, 0.605, 0.705])  # means over seeds, breast, clean


def test_methods_that_are_told_nothing_stand_beside(archived) -> None:
    archived(scored(lead=0.027), scored(lead=0.06, name="candidate"))
    found = measured(described())
    assert (found.verdict, found.value[-7:]) == (PARTLY, "0.90 pp")  # the verdict is on the archive's
    assert found.note.endswith(
        "told nothing of the noise, 2.00 pp, best fixed method 2.00 pp (12 conditions)"
    )
    archived(scored(lead=0.027), scored(lead=0.06, name="candidate", datasets=DATASETS[:2]))
    found = measured(described())
    assert (found.verdict, "told nothing" in found.note) == (PARTLY, False)


def test_what_is_missing_is_said(archived) -> None:
    archived(None)
    assert measured(described()) == Finding(UNTESTED, note="archive.parquet is not there")
    two = DATASETS[:2]
    archived(scored(0.05, two))
    found = measured(described(datasets=two))
    assert (found.verdict, found.note[-26:]) == (UNTESTED, " and the rows have 2 and 3")
    archived(scored(0.05).query("method == 'elr'"))
    assert measured(described()).note.endswith("the rows have 4 and 1")
    archived(scored(0.05, two))
    found = measured(described(datasets=DATASETS[2:]))
    assert found.note == "No condition has the scores of all candidates and descriptors"


def test_the_chapter_names_the_tables_once_and_only_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    names = ("embedded", "archive", "conditions", "advice")
    for name in names:
        (tmp_path / f"{name}.parquet").write_bytes(b"")
    files = chapter_info("claims").reads(ClaimsParameters(studies=["embedded"]))
    assert [path.stem for path in files if path.suffix == ".parquet"] == list(names)
    both = chapter_info("claims").reads(ClaimsParameters(studies=["archive", "embedded"]))
    assert sorted(path.stem for path in both if path.suffix == ".parquet") == sorted(names)
    (tmp_path / "advice.parquet").unlink()
    files = chapter_info("claims").reads(ClaimsParameters(studies=["embedded"]))
    assert "advice" not in {path.stem for path in files}
