"""The rule of the noise rate: values by hand, bounds, and what a broken file says."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from noisylib.descriptors import DESCRIPTORS
from noisylib.errors import ConfigError
from noisylib.noise_rate import FILE, RateRule, highest_rate, rule_of, shipped_rule


def rule(**changes: object) -> RateRule:
    """rate = .2 + .1 (a - 1) / 2 - .05 (b - 0) / 1, for a in [0, 5] and b in [-1, 1]."""
    fields = {
        "names": ("a", "b"), "mean": np.array([1.0, 0.0]), "scale": np.array([2.0, 1.0]),
        "weight": np.array([0.1, -0.05]), "lowest": np.array([0.0, -1.0]), "highest": np.array([5.0, 1.0]),
        "intercept": 0.2, "below": -0.03, "above": 0.04, "per_class": 100.0,
    }  # fmt: skip
    return RateRule(**(fields | changes))


def scalars(a: float, b: float, n_classes: int = 4, n_samples: int = 1000) -> dict[str, float]:
    return {"a": a, "b": b, "n_classes": float(n_classes), "n_samples": float(n_samples)}


def test_by_hand() -> None:
    assert rule().interval(scalars(3, 1)) == pytest.approx((0.25, 0.22, 0.29))
    np.testing.assert_allclose(rule().rate(np.array([[1, 0], [5, -1]]), np.array([4, 4])), [0.2, 0.45])


def test_outside_the_range_the_rate_stays_and_the_interval_widens_by_what_was_cut() -> None:
    """a = 9 counts as 5, which lacks .1 * 4 / 2 = .2; b = 3 counts as 1, which lacks .1."""
    assert rule().interval(scalars(9, 0)) == pytest.approx((0.4, 0.17, 0.64))
    assert rule().interval(scalars(9, 3)) == pytest.approx((0.35, 0.02, 0.69))


def test_fewer_samples_per_class_than_in_the_fit_widen_the_interval() -> None:
    """25 per class where the fit had 100: twice as wide."""
    assert rule().interval(scalars(3, 1, n_samples=100)) == pytest.approx((0.25, 0.19, 0.33))
    assert rule().interval(scalars(3, 1, n_samples=10**6)) == pytest.approx((0.25, 0.22, 0.29))


def test_rates_stay_in_range() -> None:
    top = 0.999 * 0.5
    assert rule(intercept=-1.0).interval(scalars(3, 1)) == pytest.approx((0.0, 0.0, 0.04))
    assert rule(intercept=2.0).interval(scalars(3, 1, n_classes=2)) == pytest.approx((top, top - 0.03, top))
    assert rule(intercept=0.01).interval(scalars(1, 0)) == pytest.approx((0.01, 0.0, 0.05))
    assert highest_rate(5) == pytest.approx(0.999 * 0.8)


def test_the_shipped_rule_rises_with_the_floor_and_the_excess() -> None:
    shipped = shipped_rule()
    assert set(shipped.names) <= set(DESCRIPTORS)
    middle = dict(zip(shipped.names, shipped.mean, strict=True)) | {"n_classes": 5.0, "n_samples": 5000.0}
    for name in ("anchor_floor", "anchor_excess"):
        at = shipped.names.index(name)
        values = np.linspace(shipped.lowest[at] - 0.1, shipped.highest[at] + 0.1, 50)
        rates = np.array([shipped.interval(middle | {name: value})[0] for value in values])
        assert (np.diff(rates) >= 0).all()
        assert rates[-1] > rates[0]
    clean = middle | dict.fromkeys(("anchor_floor", "anchor_excess", "anchor_overlap"), 0.0)
    assert shipped.interval(clean)[0] < 0.05


def content() -> dict:
    return json.loads((files("noisylib") / "fitted" / FILE).read_text(encoding="utf-8"))


def test_broken_files_say_so() -> None:
    with pytest.raises(ConfigError, match=r"format 7, but this version reads 1: .*noisylib refit"):
        rule_of(content() | {"format": 7})
    broken = content()
    del broken["descriptors"][0]["weight"]
    with pytest.raises(ConfigError, match=r"incomplete \(KeyError\('weight'\)\)"):
        rule_of(broken)
    with pytest.raises(ConfigError, match="incomplete"):
        rule_of(content() | {"below": None})
    with pytest.raises(ConfigError, match="NaN or infinity"):
        rule_of(content() | {"above": float("nan")})
