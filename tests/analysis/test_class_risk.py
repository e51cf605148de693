"""The risk of a class that is never predicted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.analysis.class_risk import (
    INPUTS,
    RISK,
    check_class_risk,
    class_inputs,
    class_risk,
    class_rows,
    fit_class_risk,
)
from noisylib.errors import NoisylibError, UnknownNameError

LISTS = {
    "class_counts": [9, 99],
    "class_agreement": [0.1, 0.9],
    "class_recall": [0.2, 0.8],
    "class_purity": [1.0, 0.5],
}


def planted(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return classes that die with probability 1 / (1 + exp(4 + 4 z)), z the agreement; more under elr."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n, len(INPUTS))), columns=list(INPUTS))
    table["family"] = np.resize(["a", "b", "c"], n)
    table["candidate"] = np.resize(["ce", "ce", "ce", "elr", "elr", "elr"], n)
    logit = -4 - 4 * table["agreement"] + 3 * (table["candidate"] == "elr")
    return table.assign(dead=rng.uniform(size=n) < 1 / (1 + np.exp(-logit)))


def test_inputs_by_hand() -> None:
    got = class_inputs(LISTS)
    np.testing.assert_allclose(got[0], [np.log(10), np.log(10), 0.1, 0.2])
    np.testing.assert_allclose(got[1], [np.log(100), np.log(50.5), 0.9, 0.8])


def test_wrong_lists_are_refused() -> None:
    with pytest.raises(NoisylibError, match="lack class_purity"):
        class_inputs({k: v for k, v in LISTS.items() if k != "class_purity"})
    with pytest.raises(NoisylibError, match="differ in length"):
        class_inputs(LISTS | {"class_recall": [0.1]})
    with pytest.raises(NoisylibError, match="no finite number"):
        class_inputs(LISTS | {"class_recall": [0.1, np.nan]})


def test_rows_are_classes_of_runs_and_absent_classes_do_not_count() -> None:
    key = {"dataset": "x", "seed": 0}
    runs = [
        key | {"candidate": c, "family": "f", "recall": np.array(r)}
        for c, r in (("ce", [0.0, 0.5]), ("elr", [np.nan, 0.0]))
    ]
    got = class_rows(pd.DataFrame(runs), pd.DataFrame([key | LISTS]), ["dataset", "seed"])
    assert got["dead"].tolist() == [True, False, True]
    assert got["candidate"].tolist() == ["ce", "ce", "elr"]
    assert got["agreement"].tolist() == [0.1, 0.9, 0.9]
    with pytest.raises(NoisylibError, match="No run"):
        class_rows(pd.DataFrame(runs), pd.DataFrame([key | LISTS | {"seed": 1}]), ["dataset", "seed"])


def test_regression_finds_the_planted_risk() -> None:
    found = planted(6000)
    state = fit_class_risk(found)
    weights = {row["name"]: row["weight"] / row["scale"] for row in state["inputs"]}
    assert weights["agreement"] == pytest.approx(-4, abs=0.5)
    assert all(abs(weights[name]) < 0.4 for name in INPUTS if name != "agreement")
    assert state["candidates"]["elr"] - state["candidates"]["ce"] == pytest.approx(3, abs=0.5)
    table = np.zeros((1, len(INPUTS)))
    assert class_risk(state, table, "ce")[0] == pytest.approx(1 / (1 + np.exp(4)), abs=0.02)
    both = [class_risk(state, table, name)[0] for name in ("ce", "elr")]
    assert class_risk(state, table)[0] == pytest.approx(np.mean(both))
    with pytest.raises(UnknownNameError, match="candidate='knn'"):
        class_risk(state, table, "knn")


def test_one_outcome_only_is_refused() -> None:
    with pytest.raises(NoisylibError, match="0 of 400 classes are dead"):
        fit_class_risk(planted().assign(dead=False))


def test_families_are_judged_unseen() -> None:
    found = planted(3000)
    table = check_class_risk(found)
    assert table.index.tolist() == ["a", "b", "c", "images", "all"]
    made = check_class_risk(found.assign(family=found["family"].replace("c", "made")))
    assert made.loc["images", "classes"] == (found["family"] != "c").sum()
    assert made.loc["all", "classes"] == 3000
    assert (table["auroc"] > 0.9).all()
    assert (table["brier"] < table["brier_constant"]).all()
    np.testing.assert_allclose(table.loc["all", "classes"], 3000)
    assert table["caught"].between(0.5, 1).all()
    assert (table["right"] > table["dead"]).all()
    # In one family the rule is turned round: seen, it would be learned; unseen, it is wrong there.
    turned = found.assign(agreement=np.where(found["family"] == "a", -found["agreement"], found["agreement"]))
    assert check_class_risk(turned).loc["a", "auroc"] < 0.3
    none = check_class_risk(found.assign(dead=found["dead"] & (found["family"] != "a")))
    assert np.isnan(none.loc["a", ["auroc", "caught"]].astype(float)).all()
    assert 0 < RISK < 1
