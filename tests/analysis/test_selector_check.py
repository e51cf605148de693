"""What is held out stays unseen, and the regret of simple selectors is known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from noisylib.analysis.selector_cases import Cases
from noisylib.analysis.selector_check import (
    best_rule,
    extension_table,
    held_out,
    judged,
    nested,
    selector_regret,
    selector_table,
)
from noisylib.analysis.selector_rules import RULES
from noisylib.errors import NoisylibError, UnknownNameError

NAMES = ("a", "b", "c", "d")


def random_cases(seed: int = 0, per_family: int = 12, k: int = 3, variants: bool = False) -> Cases:
    """Return random scores and three random descriptors, two banks per family, two draws."""
    rng = np.random.default_rng(seed)
    conditions, family = [], []
    for name in NAMES:
        for i in range(per_family):
            part = "n500" if variants and i % 3 == 0 else ""
            conditions.append((name, f"net{i % 2}", part, "symmetric", i / 100))
            family.append(name)
    n = len(conditions)
    return Cases(
        tuple(conditions),
        np.array(family),
        tuple(f"m{j}" for j in range(k)),
        rng.uniform(0.5, 0.9, (n, k)),
        rng.normal(size=(n, 2, 3)),
        ("x", "y", "z"),
    )


def family_code(cases: Cases) -> Cases:
    """Return cases whose descriptors say which family it is and nothing else, and whose best is by family."""
    _, code = np.unique(cases.family, return_inverse=True)
    scores = np.full(cases.scores.shape, 0.5)
    scores[np.arange(len(cases)), code % scores.shape[1]] = 0.9
    seen = np.repeat(np.repeat(code[:, None, None].astype(float), 2, axis=1), 3, axis=2)
    return replace(cases, scores=scores, seen=seen)


@pytest.mark.parametrize("rule", RULES)
def test_held_out_choices_do_not_depend_on_the_scores_of_the_family(rule: str) -> None:
    cases = random_cases()
    own = cases.family == "b"
    other = np.where(own[:, None], np.random.default_rng(9).uniform(size=cases.scores.shape), cases.scores)
    changed = replace(cases, scores=other)
    chosen = []
    for one in (cases, changed):
        expected = one.regret[:, None, :] - held_out(one, rule)[1]
        chosen.append(expected[own])
    np.testing.assert_allclose(chosen[0], chosen[1], atol=1e-12)


def test_a_descriptor_that_names_the_family_is_worth_nothing() -> None:
    leak = family_code(random_cases(k=4))
    for rule in ("tree", "nearest", "ridge"):
        lost, _ = held_out(leak, rule)
        # The method that is best for a family is best for no other: an unseen family loses all of .4.
        np.testing.assert_allclose(lost, 0.4)
    # Within a known family it says everything.
    np.testing.assert_allclose(held_out(leak, "nearest", leave="bank")[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(nested(leak)[0], 0.4)


def test_regret_of_constant_random_and_oracle() -> None:
    cases = random_cases()
    lost = selector_regret(cases)
    assert (lost.to_numpy() >= 0).all()
    assert (lost["oracle"] == 0).all()
    for j, name in enumerate(cases.candidates):
        np.testing.assert_allclose(lost[f"always {name}"], cases.scores.max(1) - cases.scores[:, j])
    table = selector_table(lost, n=50)
    always = [f"always {name}" for name in cases.candidates]
    assert table.loc["random", "mean"] == pytest.approx(table.loc[always, "mean"].mean())


def test_a_rule_that_always_chooses_one_method_has_its_row() -> None:
    cases = random_cases()
    better = cases.scores.copy()
    better[:, 1] += 0.3  # clearly best on average in every family
    lost = selector_regret(replace(cases, scores=better))
    np.testing.assert_array_equal(lost["fixed"], lost["always m1"])
    np.testing.assert_array_equal(lost["selector"], lost["always m1"])
    assert best_rule(replace(cases, scores=better)) == ("fixed", "archived")


def test_a_descriptor_that_decides_everywhere_is_used() -> None:
    cases = random_cases(per_family=20)
    low = cases.seen[:, :1, :1] < 0
    scores = np.where(low[:, 0], [0.9, 0.5, 0.4], [0.5, 0.9, 0.4])
    clear = replace(cases, scores=scores, seen=np.repeat(cases.seen[:, :1], 2, axis=1))
    lost, chosen = nested(clear)
    fixed = held_out(clear, "fixed")[0]
    assert lost.mean() < 0.5 * fixed.mean()
    assert {rule for rule, _ in chosen.values()} == {"tree"}


def test_choices_are_averaged_over_the_draws_that_are_there() -> None:
    cases = random_cases()
    # In draw 0 every condition looks like those where m0 is best, in draw 1 like those where m1 is.
    seen = np.stack([np.zeros((len(cases), 3)), np.ones((len(cases), 3))], axis=1)
    half = np.arange(len(cases)) % 2 == 0
    seen[half, 1], seen[~half, 0] = 0.0, 1.0
    scores = np.where(half[:, None], [0.9, 0.5, 0.1], [0.5, 0.9, 0.1])
    seen[0, 1] = 1.0  # one draw of the first condition misleads
    seen[1, 0] = np.nan  # and one of the second is not there
    lost, surprise = held_out(replace(cases, scores=scores, seen=seen), "nearest")
    np.testing.assert_allclose(lost, [0.2] + [0.0] * (len(cases) - 1), atol=1e-12)
    assert np.isnan(surprise[1, 0]).all()
    assert np.isfinite(surprise[1, 1]).all()


def test_parts_of_banks_may_teach_but_are_not_judged() -> None:
    cases = random_cases(variants=True)
    assert len(judged(cases)) == int(cases.real.sum()) < len(cases)
    table = extension_table(cases, n=50)
    assert set(table["rows"]) == {"archived", "variants"}
    archived = table[table["rows"] == "archived"]
    assert (archived["change"] == 0).all()
    assert (archived["conditions"] == cases.real.sum()).all()
    fixed = table[(table["rule"] == "fixed") & (table["rows"] == "variants")].iloc[0]
    assert fixed["mean"] == pytest.approx(held_out(cases, "fixed", "variants")[0].mean())


def test_intervals_hold_the_mean_and_are_of_whole_clusters() -> None:
    lost = selector_regret(random_cases())
    table = selector_table(lost, n=500)
    for cluster in ("bank", "family"):
        assert (table[f"mean_low_{cluster}"] <= table["mean"]).all()
        assert (table["mean"] <= table[f"mean_high_{cluster}"]).all()
    assert table.loc["fixed", ["over_fixed", "over_fixed_low_family", "over_fixed_high_bank"]].eq(0).all()
    # A column that is 0 in two families and 1 in two: the mean of four drawn is 0, 1/4 ... 1.
    column = lost.index.get_level_values("family").isin(["a", "b"]).astype(float)
    wide = selector_table(lost.assign(fixed=column), n=2000)
    assert wide.loc["fixed", ["mean_low_family", "mean_high_family"]].tolist() == [0.0, 1.0]
    # Eight banks: 2.5 % quantiles of a binomial(8, 1/2) share are 1/8 and 7/8.
    assert wide.loc["fixed", ["mean_low_bank", "mean_high_bank"]].tolist() == [0.125, 0.875]


def test_one_family_and_wrong_names_are_refused() -> None:
    cases = random_cases()
    with pytest.raises(NoisylibError, match="two families or more"):
        held_out(cases.only(cases.family == "a"), "fixed")
    with pytest.raises(UnknownNameError, match="rule='forest'"):
        held_out(cases, "forest")
    with pytest.raises(UnknownNameError, match="leave='condition'"):
        held_out(cases, "fixed", leave="condition")


def test_a_rule_must_be_better_by_more_than_the_families_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = random_cases()
    by_family = {"fixed": [0.10, 0.10, 0.10, 0.10], "tree": [0.02, 0.11, 0.11, 0.10]}
    worse = [0.9] * 4

    def lost(some: Cases, rule: str, rows: str = "archived") -> tuple[np.ndarray, None]:
        return np.array(by_family.get(rule, worse))[np.unique(some.family, return_inverse=True)[1]], None

    monkeypatch.setattr("noisylib.analysis.selector_check.held_out", lost)
    # The tree is better by .015 on average, by one family alone: the standard error is .022.
    assert best_rule(cases) == ("fixed", "archived")
    by_family["tree"] = [0.08, 0.09, 0.08, 0.09]  # by .015 again, standard error .003
    assert best_rule(cases) == ("tree", "archived")
    by_family["tree"] = [0.0995] * 4  # always better, but by less than a tie
    assert best_rule(cases) == ("fixed", "archived")
