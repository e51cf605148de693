"""Rules give weights over known conditions; what they choose follows from those by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.analysis.families import family
from noisylib.analysis.selector_cases import INPUTS, KEY, Cases, cases, scaled, unscaled
from noisylib.analysis.selector_rules import RULES, Known, choose, expected_regret, learn, leaves
from noisylib.errors import NoisylibError, UnknownNameError


def planted(x: list[float], scores: list[list[float]], families: list[str], **more) -> Cases:
    """Return conditions with one descriptor, one draw each."""
    return Cases(
        conditions=tuple((f"{name}{i}", "b", "", "symmetric", 0.1) for i, name in enumerate(families)),
        family=np.array(families),
        candidates=("ce", "elr"),
        scores=np.array(scores, dtype=float),
        seen=np.array(x, dtype=float)[:, None, None],
        inputs=("neighbour_agreement",),
        **more,
    )


TWO = planted([0.0, 1.0, 2.0], [[0.9, 0.8], [0.5, 0.7], [0.5, 0.6]], ["a", "b", "b"])


def test_family_of_relatives_and_of_a_set_without() -> None:
    assert family("ham10000") == family("isic2019") == family("dermamnist") == "skin"
    assert family("pbc") == family("bloodmnist") == "blood"
    assert family("bed") == "made"
    assert family("mine") == "mine"


def test_regret_weights_and_pools() -> None:
    np.testing.assert_allclose(TWO.regret, [[0, 0.1], [0.2, 0], [0.1, 0]], atol=1e-12)
    np.testing.assert_allclose(TWO.weights, [0.5, 0.25, 0.25])
    np.testing.assert_array_equal(TWO.among(["elr"]).regret, np.zeros((3, 1)))
    with pytest.raises(NoisylibError, match=r"candidates=\['turn'\].*ce, elr"):
        TWO.among(["turn"])


def test_fixed_is_the_mean_over_families() -> None:
    known = learn("fixed", TWO)
    X = np.array([[0.0], [9.0]])
    # family a: (0, .1); family b: mean (.15, 0)
    np.testing.assert_allclose(expected_regret("fixed", known, TWO.regret, X), [[0.075, 0.05]] * 2)
    np.testing.assert_array_equal(choose("fixed", known, TWO.regret, X), [1, 1])


def test_nearest_averages_the_five_closest_and_minimax_looks_at_the_worst() -> None:
    n = 20
    regret_elr = np.r_[np.full(5, 0.01), np.full(15, 0.02)]
    scores = np.stack([0.9 - np.r_[np.zeros(10), 0.5, np.zeros(9)], 0.9 - regret_elr], axis=1)
    many = planted(list(range(n)), scores.tolist(), ["a"] * n)
    known = learn("nearest", many)
    near = RULES["nearest"].weigh(known, np.array([[0.0]]))
    np.testing.assert_allclose(near, [[0.2] * 5 + [0.0] * 15])
    assert choose("nearest", known, many.regret, np.array([[0.0]]))[0] == 0
    # Of the 15 closest one loses .48 with the first candidate: a mean of .032 hides it, the worst does not.
    assert choose("minimax", known, many.regret, np.array([[0.0]]))[0] == 1
    # The five closest to 19 are all fine with the first candidate, and so are the 9 beyond the one at 10.
    assert choose("nearest", known, many.regret, np.array([[19.0]]))[0] == 0


def test_every_rule_weighs_to_one() -> None:
    rng = np.random.default_rng(0)
    train = planted(rng.normal(size=30).tolist(), rng.uniform(size=(30, 2)).tolist(), ["a", "b", "c"] * 10)
    X = rng.normal(size=(7, 1))
    for name in RULES:
        np.testing.assert_allclose(RULES[name].weigh(learn(name, train), X).sum(axis=1), 1, atol=1e-12)


def test_ridge_halves_the_slope_of_one_standard_input() -> None:
    # x has mean 0 and deviation 1; regret of ce is 0 or .2, its slope .1, and half of it with penalty 1.
    train = planted([-1.0, 1.0], [[0.8, 0.8], [0.6, 0.8]], ["a", "b"])
    got = expected_regret("ridge", learn("ridge", train), train.regret, np.array([[0.0], [1.0], [-9.0]]))
    np.testing.assert_allclose(got[:, 0], [0.1, 0.15, 0.0], atol=1e-12)


def test_tree_finds_the_planted_question() -> None:
    x = np.linspace(0, 1, 20)
    scores = np.where(x[:, None] < 0.5, [0.9, 0.5], [0.5, 0.9])
    train = planted(x.tolist(), scores.tolist(), ["a", "b"] * 10)
    known = learn("tree", train)
    assert known.tree["input"] == 0
    assert known.tree["at_most"] == pytest.approx(0.5, abs=1e-5)
    np.testing.assert_array_equal(leaves(known.tree, np.array([[0.1], [0.9], [0.2]])), [0, 1, 0])
    np.testing.assert_array_equal(choose("tree", known, train.regret, np.array([[0.1], [0.9]])), [0, 1])


def test_constant_inputs_do_not_divide_by_zero() -> None:
    known = Known(np.ones((3, 2)), np.full(3, 1 / 3))
    np.testing.assert_array_equal(known.distances(np.ones((1, 2))), np.zeros((1, 3)))


def test_distances_are_of_standardised_inputs() -> None:
    known = Known(np.array([[0.0, 10.0], [2.0, 30.0]]), np.array([0.5, 0.5]))  # deviations 1 and 10
    np.testing.assert_allclose(known.distances(np.array([[0.0, 10.0]])), [[0, 2]])


def test_ratios_count_by_their_logarithm() -> None:
    values = np.arange(1.0, 1 + len(INPUTS))
    got = scaled(values)
    assert got[INPUTS.index("imbalance")] == np.log(values[INPUTS.index("imbalance")])
    assert got[INPUTS.index("separation")] == values[INPUTS.index("separation")]
    np.testing.assert_allclose(unscaled(got), values)


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two conditions x two seeds x two methods, and descriptors of every draw."""
    rows, draws = [], []
    for kind, rate in (("symmetric", 0.0), ("asymmetric", 0.0), ("symmetric", 0.2)):
        for seed in (0, 1):
            key = {"dataset": "pbc", "backbone": "b", "head": "adapter", "noise_type": kind}
            key |= {"noise_rate": rate, "seed": seed}
            draws.append(key | dict.fromkeys(INPUTS, 2.0) | {"held_out_balanced_accuracy": 0.5 + rate})
            rows += [
                key | {"method": m, "balanced_accuracy": value + 0.1 * seed}
                for m, value in (("elr", 0.5), ("ce", 0.4))
            ]
    return pd.DataFrame(rows), pd.DataFrame(draws)


def test_join_averages_seeds_and_counts_clean_once() -> None:
    rows, draws = tables()
    got = cases(rows, draws)
    assert [c[KEY.index("noise_type")] for c in got.conditions] == ["clean", "symmetric"]
    assert got.candidates == ("ce", "elr")
    np.testing.assert_allclose(got.scores, [[0.45, 0.55]] * 2)
    assert got.seen.shape == (2, 2, len(INPUTS))
    np.testing.assert_allclose(got.head_score, [0.5, 0.7])
    assert got.family.tolist() == ["blood", "blood"]
    assert got.real.all()


def test_join_leaves_out_what_lacks_a_candidate_or_a_descriptor() -> None:
    rows, draws = tables()
    got = cases(rows[(rows["noise_rate"] == 0) | (rows["method"] == "ce")], draws)
    assert len(got) == 1
    one = draws[(draws["noise_rate"] == 0) | (draws["seed"] == 1)]
    got = cases(rows, one)
    assert np.isnan(got.seen[1, 0]).all()  # a draw that is not there
    assert np.isfinite(got.X).all()


def test_join_refuses_what_cannot_be_joined() -> None:
    rows, draws = tables()
    with pytest.raises(NoisylibError, match="rows has 1 rows twice"):
        cases(pd.concat([rows, rows[-1:]]), draws)
    with pytest.raises(NoisylibError, match="conditions lacks the columns separation"):
        cases(rows, draws.drop(columns="separation"))
    with pytest.raises(NoisylibError, match="no finite number in imbalance"):
        cases(rows, draws.assign(imbalance=np.inf))
    with pytest.raises(NoisylibError, match="No condition"):
        cases(rows.assign(dataset="other"), draws)
    with pytest.raises(UnknownNameError, match="score='recall'"):
        cases(rows, draws, score="recall")


def test_what_may_be_learned_from() -> None:
    conditions = (("pbc", "b", "", "clean", 0.0), ("pbc", "b", "n500", "clean", 0.0))
    conditions += (("bed", "", "", "clean", 0.0),)
    some = Cases(
        conditions, np.array(["blood", "blood", "made"]), ("ce",), np.ones((3, 1)), np.ones((3, 1, 1)), ("x",)
    )
    assert some.training_sets == ("archived", "variants", "made")
    assert [some.learned(name).sum() for name in some.training_sets] == [1, 2, 3]
    assert some.only(some.real).training_sets == ("archived",)
    with pytest.raises(UnknownNameError, match="rows='all'"):
        some.learned("all")
