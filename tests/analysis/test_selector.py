"""The selector as it is shipped: read from JSON, it says what its table says by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noisylib.analysis.selector import METRICS, Selector, load_selector
from noisylib.analysis.selector_cases import INPUTS, KEY, Cases, scaled
from noisylib.analysis.selector_fit import family_distances, fit_selector, pool_candidates
from noisylib.analysis.selector_rules import RULES, choose, expected_regret, learn
from noisylib.errors import MissingDataError, NoisylibError, UnknownNameError

CANDIDATES = ("ce", "dividemix", "elr")
FAMILIES = ("blood", "breast", "chest", "skin")


def raw_inputs(n: int, seed: int = 0) -> np.ndarray:
    """Return (n, p) descriptors between .5 and 3."""
    return np.random.default_rng(seed).uniform(0.5, 3, (n, len(INPUTS))).round(3)


def made_cases(score: str) -> Cases:
    """Return 40 conditions; elr loses .2 in balanced accuracy where the agreement is above 1.75."""
    rng = np.random.default_rng(3)
    raw = raw_inputs(40)
    scores = np.tile([0.4, 0.8, 0.7], (40, 1)) + rng.uniform(0, 0.05, (40, 3))
    scores[raw[:, 0] > 1.75, 2] -= 0.2 if score == "balanced_accuracy" else -0.2
    family = np.array(FAMILIES)[np.arange(40) % 4]
    return Cases(
        tuple((name, "net", "", "symmetric", i / 100) for i, name in enumerate(family)),
        family,
        CANDIDATES,
        scores.round(4),
        scaled(np.repeat(raw[:, None], 2, axis=1)),
        INPUTS,
        head_score=scores.max(axis=1) - 0.1,
    )


@pytest.fixture(scope="module")
def content() -> dict:
    risk = {
        "inputs": [{"name": n, "mean": 0.0, "scale": 1.0, "weight": 0.0} for n in ("a", "b", "c", "d")],
        "candidates": dict.fromkeys(CANDIDATES, 0.0),
    }
    fitted = fit_selector({metric: made_cases(metric) for metric in METRICS}) | {"class_risk": risk}
    return json.loads(json.dumps(fitted))


@pytest.fixture(scope="module")
def selector(content: dict) -> Selector:
    return Selector(content)


def described(row: np.ndarray, head: float = 0.5) -> dict[str, float]:
    """Return descriptors by name."""
    head_scores = {"held_out_balanced_accuracy": head}
    return dict(zip(INPUTS, row.tolist(), strict=True)) | head_scores


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("metric", METRICS)
def test_the_file_chooses_as_the_rule_does(content: dict, rule: str, metric: str) -> None:
    cases = made_cases(metric)
    changed = json.loads(json.dumps(content))
    changed["rules"][metric]["all"]["rule"] = rule
    selector, known = Selector(changed), learn(rule, cases)
    for row in raw_inputs(5, seed=1):
        got = selector.expected(described(row), metric=metric)
        regret = expected_regret(rule, known, cases.regret, scaled(row[None]))[0]
        best = choose(rule, known, cases.regret, scaled(row[None]))[0]
        assert got[0].candidate == CANDIDATES[best]
        by_name = {one.candidate: one.regret for one in got}
        np.testing.assert_allclose([by_name[name] for name in CANDIDATES], regret, atol=2e-3)


def test_expectations_are_ordered_and_inside_their_bounds(selector: Selector) -> None:
    got = selector.expected(described(raw_inputs(1)[0]))
    assert [one.candidate for one in got] == ["dividemix", "elr", "ce"]
    assert all(0 <= one.low <= one.high and 0 <= one.score <= 1 for one in got)
    # dividemix is best in nearly all: what it loses elsewhere is known, and small.
    assert got[0].regret < 0.02
    # The line from held-out to best score has slope 1 and adds .1.
    assert got[0].score + got[0].regret == pytest.approx(0.6, abs=2e-3)


def test_regret_is_about_the_methods_asked_for(selector: Selector) -> None:
    described_ = described(raw_inputs(1)[0])
    (only,) = selector.expected(described_, methods=["ce"])
    assert only.regret == 0
    cheap = selector.expected(described_, methods=["ce", "elr"])
    assert {one.candidate for one in cheap} == {"ce", "elr"}
    table = made_cases("balanced_accuracy").among(["ce", "elr"])
    if selector.rule("balanced_accuracy", ["ce", "elr"])["rule"] == "fixed":
        assert cheap[0].regret == pytest.approx((table.weights @ table.regret).min(), abs=1e-3)
    assert selector.rule(methods=["ce", "elr"]) is selector.content["rules"]["balanced_accuracy"]["cheap"]
    assert selector.rule(methods=["elr"]) is selector.content["rules"]["balanced_accuracy"]["cheap"]
    assert selector.rule(methods=["dividemix"]) is selector.content["rules"]["balanced_accuracy"]["all"]
    assert pool_candidates(CANDIDATES, "cheap") == ("ce", "elr")


def test_intervals_are_quantiles_of_what_held_out_families_had(content: dict) -> None:
    for pools in content["rules"].values():
        for pool in pools.values():
            assert all(low <= high for low, high in pool["regret_minus_expected"].values())
            assert set(pool["held_out_regret"]) == {"selector", "this rule", "best fixed"}
    # elr: half of the conditions lose about .1, half .3; by families left out the mean stays near.
    fixed = content["rules"]["balanced_accuracy"]["all"]
    if fixed["rule"] == "fixed":
        low, high = fixed["regret_minus_expected"]["elr"]
        assert low == pytest.approx(-0.1, abs=0.07)
        assert high == pytest.approx(0.1, abs=0.07)


def test_an_archived_condition_is_its_own_neighbour(selector: Selector) -> None:
    row = raw_inputs(40)[7]
    first, second = selector.nearest(described(row), 2)
    assert first.condition["noise_rate"] == 0.07
    assert first.condition["dataset"] == FAMILIES[7 % 4]
    assert set(first.condition) == set(KEY)
    assert first.distance == pytest.approx(0, abs=1e-6)
    assert second.distance > 0
    assert first.best == "dividemix"
    assert first.regret["dividemix"] == 0
    assert selector.familiarity(described(row)) == (pytest.approx(0, abs=1e-6), 0.0, "")
    with pytest.raises(NoisylibError, match="n=0"):
        selector.nearest(described(row), 0)


def test_data_unlike_all_others_are_named(selector: Selector) -> None:
    row = raw_inputs(1)[0].copy()
    row[INPUTS.index("n_classes")] = 500
    distance, percentile, text = selector.familiarity(described(row))
    assert distance > 1
    assert percentile == 100
    assert "100 % of these" in text
    assert "n_classes 500 (" in text
    assert "imbalance" not in text


def test_distances_are_to_other_families_only() -> None:
    cases = made_cases("accuracy")
    near = replace(
        cases, seen=np.repeat(cases.seen[:, :1] * 0 + (cases.family == "skin")[:, None, None], 2, 1)
    )
    # Every condition has a twin in its own family; the three other families are twins of one another too.
    got = family_distances(near)
    # In the space of the others: all constant, so the scale is 1 and every input of skin differs by 1.
    skin = np.repeat(np.sort(cases.family) == "skin", 2)
    np.testing.assert_allclose(got[skin], 1.0)
    np.testing.assert_allclose(got[~skin], 0.0)


def test_bad_descriptors_methods_and_metrics_are_refused(selector: Selector) -> None:
    good = described(raw_inputs(1)[0])
    with pytest.raises(NoisylibError, match="lack separation"):
        selector.expected({k: v for k, v in good.items() if k != "separation"})
    with pytest.raises(NoisylibError, match="no finite number: imbalance"):
        selector.familiarity(good | {"imbalance": float("nan")})
    with pytest.raises(UnknownNameError, match="methods='knn'"):
        selector.expected(good, methods=["knn"])
    with pytest.raises(UnknownNameError, match="metric='f1'"):
        selector.expected(good, metric="f1")


def test_class_risk_is_one_half_without_weights(selector: Selector) -> None:
    lists = {
        "class_counts": [5, 9],
        "class_agreement": [0.1, 0.9],
        "class_recall": [0, 1],
        "class_purity": [1, 1],
    }
    np.testing.assert_array_equal(selector.class_risk(lists), [0.5, 0.5])


def test_reading_what_is_no_selector(tmp_path: Path, content: dict) -> None:
    path = tmp_path / "selector.json"
    with pytest.raises(MissingDataError, match="noisylib refit"):
        load_selector(path)
    path.write_text("{")
    with pytest.raises(NoisylibError, match="no JSON"):
        load_selector(path)
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(NoisylibError, match="format 99, format 1 is needed"):
        load_selector(path)
    path.write_text(json.dumps(content))
    assert load_selector(path).candidates == CANDIDATES
