"""The fit of the noise rate on made conditions whose rule is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.errors import NoisylibError
from noisylib.noise_rate import rule_of
from noisylib.study import fit_noise_rate as module
from noisylib.study.fit_noise_rate import errors, fit_noise_rate, held_out_rates


def conditions(families: tuple[str, ...] = ("skin", "blood", "chest", "retina"), n: int = 30) -> pd.DataFrame:
    """Rates of .8 floor + excess - .1 overlap + .02, in every family alike."""
    g = np.random.default_rng(1)
    rows = pd.DataFrame({
        "family": np.repeat(families, n),
        "n_classes": 4.0,
        "n_samples": g.integers(800, 3000, n * len(families)).astype(float),
        "noise_type": "symmetric",
        "anchor_floor": g.uniform(0, 0.5, n * len(families)),
        "anchor_excess": g.uniform(0, 0.1, n * len(families)),
        "anchor_overlap": g.uniform(0, 0.2, n * len(families)),
    })  # fmt: skip
    rows["realised_rate"] = (
        0.8 * rows["anchor_floor"] + rows["anchor_excess"] - 0.1 * rows["anchor_overlap"] + 0.02
    )
    return rows


def test_without_penalty_the_rule_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENALTY", 0.0)
    rule = rule_of(fit_noise_rate(conditions()))
    np.testing.assert_allclose(rule.weight / rule.scale, [0.8, 1.0, -0.1], rtol=1e-6)
    assert rule.intercept - rule.mean @ (rule.weight / rule.scale) == pytest.approx(0.02, abs=1e-7)


def test_the_penalty_shrinks_by_hand() -> None:
    """One descriptor that varies: its weight is scale * slope / (1 + penalty)."""
    rows = conditions().assign(anchor_excess=0.0, anchor_overlap=0.1)
    rows["realised_rate"] = 0.5 * rows["anchor_floor"]
    rule = rule_of(fit_noise_rate(rows))
    np.testing.assert_allclose(rule.weight, [0.5 * rule.scale[0] / 1.01, 0, 0], rtol=1e-6, atol=1e-9)


def test_order_and_repetition_of_a_family_do_not_count() -> None:
    rows = conditions()
    fitted = fit_noise_rate(rows)
    assert fit_noise_rate(rows.sample(frac=1, random_state=3)) == fitted
    double = pd.concat([rows, rows[rows["family"] == "skin"]])
    again = fit_noise_rate(double)
    assert again["descriptors"] == fitted["descriptors"]
    assert again["intercept"] == fitted["intercept"]
    assert again["source"] != fitted["source"]


def test_a_family_never_helps_to_estimate_itself() -> None:
    """Whatever the rates of a family are, its own estimates stay; those of the others change."""
    rows = conditions()
    other = rows.assign(realised_rate=rows["realised_rate"] + 0.1 * (rows["family"] == "chest"))
    a, b = (held_out_rates(table).sort_values("anchor_floor") for table in (rows, other))
    own = (a["family"] == "chest").to_numpy()
    np.testing.assert_array_equal(a["estimate"][own], b["estimate"][own])
    assert (np.abs(a["estimate"][~own].to_numpy() - b["estimate"][~own].to_numpy()) > 0.01).any()


def test_the_interval_is_what_families_miss_by_when_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One family of four lies .1 above: left out it is missed by .1, the others by -.1 / 3.

    Percentile 5 is among the others, percentile 95 in that family.
    """
    monkeypatch.setattr(module, "PENALTY", 0.0)
    rows = conditions().assign(anchor_excess=0.0, anchor_overlap=0.0, anchor_floor=0.2, n_samples=2000.0)
    rows["realised_rate"] = np.where(rows["family"] == "chest", 0.3, 0.2)
    monkeypatch.setattr(module, "PENALTY", 1e-6)
    fitted = fit_noise_rate(rows)
    assert fitted["below"] == pytest.approx(-0.1 / 3)
    assert fitted["above"] == pytest.approx(0.1)
    assert fitted["errors"]["held_out"]["all"] == pytest.approx((0.1 + 3 * 0.1 / 3) / 4)
    assert fitted["errors"]["resubstituted"]["all"] == pytest.approx((0.075 + 3 * 0.025) / 4)
    assert fitted["errors"]["held_out"]["families"]["chest"] == pytest.approx(0.1)
    # Without a family the interval of the others: chest out, they miss by 0 and the interval is a point.
    assert fitted["coverage"] == pytest.approx(3 / 4)
    assert fitted["per_class"] == 500


def test_errors_per_kind_are_means_over_families() -> None:
    """Family a misses by .02 (clean), .04 and .06 (symmetric), b by .1 (symmetric) and 0 (asymmetric)."""
    rows = pd.DataFrame({
        "family": ["a", "a", "a", "b", "b"],
        "noise_type": ["symmetric", "symmetric", "symmetric", "symmetric", "asymmetric"],
        "realised_rate": [0.0, 0.2, 0.2, 0.2, 0.1],
    })  # fmt: skip
    found = errors(rows, np.array([0.02, 0.24, 0.26, 0.3, 0.1]))
    assert found["families"] == pytest.approx({"a": 0.04, "b": 0.05})
    assert found["all"] == pytest.approx(0.045)
    assert found["kinds"] == pytest.approx({"clean": 0.02, "symmetric": 0.075, "asymmetric": 0.0})


def test_made_data_is_measured_but_never_fitted_to() -> None:
    rows = conditions()
    made = rows[rows["family"] == "skin"].assign(family="made", realised_rate=0.0)
    fitted, plain = fit_noise_rate(pd.concat([rows, made])), fit_noise_rate(rows)
    errors_made = fitted["errors"].pop("made")
    assert errors_made["families"]["made"] > 0.1
    assert set(errors_made["kinds"]) == {"clean"}
    assert fitted == plain
    assert "made" not in set(held_out_rates(pd.concat([rows, made]))["family"])


def test_whole_data_sets_have_errors_of_their_own() -> None:
    rows = conditions()
    cut = rows.assign(variant="n500", realised_rate=rows["realised_rate"] + 0.1)
    found = fit_noise_rate(pd.concat([rows.assign(variant=""), cut]))["errors"]
    assert found["held_out"]["all"] == pytest.approx(0.05, abs=0.005)
    assert found["whole_held_out"]["all"] == pytest.approx(0.05, abs=0.005)
    alone = fit_noise_rate(rows.assign(variant=""))["errors"]
    assert alone["whole_held_out"] == alone["held_out"]
    biased = pd.concat([rows.assign(variant=""), cut, cut, cut])
    assert fit_noise_rate(biased)["errors"]["whole_held_out"]["all"] == pytest.approx(0.075, abs=0.005)


def test_families_come_from_the_data_sets_if_not_given() -> None:
    rows = conditions()
    names = {"skin": "ham10000", "blood": "pbc", "chest": "pneumoniamnist", "retina": "retinamnist"}
    assert fit_noise_rate(
        rows.assign(dataset=rows["family"].map(names)).drop(columns="family")
    ) == fit_noise_rate(rows)


def test_bad_tables() -> None:
    with pytest.raises(NoisylibError, match=r"lacks the columns \['anchor_floor'\]"):
        fit_noise_rate(conditions().drop(columns="anchor_floor"))
    with pytest.raises(NoisylibError, match=r"families \['blood', 'skin'\]: at least 3"):
        fit_noise_rate(conditions(("skin", "blood")))
