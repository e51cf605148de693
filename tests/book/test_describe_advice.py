"""What the chapter on the choice of a method says: regimes, regrets, luck, the rule, rates and risks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from blobs import blobs

from noisylib import BankMeta, FeatureBank
from noisylib.analysis.selector import Selector
from noisylib.analysis.selector_cases import INPUTS, KEY, Cases
from noisylib.analysis.selector_check import selector_table
from noisylib.analysis.selector_fit import fit_selector
from noisylib.book.describe import advice, advice_extension, advice_luck, advice_rate, advice_regimes
from noisylib.book.describe import advice_regret as regret
from noisylib.book.describe import advice_risk as risk
from noisylib.book.describe import advice_rule as rule
from noisylib.book.describe import advice_table as decision
from noisylib.book.describe import advice_transition as transition
from noisylib.book.describe import advice_trust as trust
from noisylib.study.fit_noise_rate import FEATURES

NBSP = "\N{NO-BREAK SPACE}"
TITLES = {"ce": "Cross entropy", "elr": "ELR", "cufit": "CUFIT-head"}
LIGHT, HEAVY = (0.05, 2.0, 0.9), (0.35, 2.0, 0.3)  # rate, imbalance and held-out accuracy of two regimes
LISTS = ("class_counts", "class_agreement", "class_recall", "class_purity")


def place(dataset: str, rate: float, variant: str = "") -> tuple:
    row = {"dataset": dataset, "backbone": "b", "variant": variant, "noise_rate": rate}
    return tuple((row | {"noise_type": "symmetric" if rate else "clean"})[name] for name in KEY)


def made(scores: dict[tuple, list[float]], families: list[str]) -> Cases:
    seen = np.random.default_rng(0).normal(size=(len(scores), 1, len(INPUTS)))
    return Cases(
        tuple(scores), np.array(families), tuple(TITLES), np.array(list(scores.values())), seen,
        head_score=np.linspace(0.4, 0.8, len(scores)),
    )  # fmt: skip


def described(places: dict[tuple, tuple[float, float, float]]) -> pd.DataFrame:
    rows = [dict(zip(KEY, key, strict=True)) for key in places]
    for row, (estimate, imbalance, accuracy) in zip(rows, places.values(), strict=True):
        row |= {"estimate": estimate, "imbalance": imbalance, "held_out_accuracy": accuracy, "seed": 0}
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def three() -> tuple[Cases, pd.DataFrame]:
    """Three families, each under light and heavy noise; CUFIT is best, but by a hair not under light."""
    scores = {}
    for name in ("ham10000", "pbc", "breastmnist"):
        scores[place(name, 0.0)] = [0.80, 0.884, 0.88]
        scores[place(name, 0.4)] = [0.50, 0.70, 0.74]
    places = {key: HEAVY if key[-1] else LIGHT for key in scores}
    return made(scores, ["skin", "skin", "blood", "blood", "breast", "breast"]), described(places)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0.099, 10.0, 0.8), ("below 10 %", "balanced", "good")),
        ((0.1, 10.1, 0.73), ("10 to 30 %", "unequal", "good")),  # .73 / .9 is .81
        ((0.3, 1.0, 0.55), ("10 to 30 %", "balanced", "weak")),
        ((0.301, 50.0, 0.6), ("above 30 %", "unequal", "good")),
    ],
)
def test_regimes_have_their_limits(numbers, expected) -> None:
    found = advice_regimes.regime(*numbers)
    assert tuple(part.replace(NBSP, " ") for part in found) == expected


def test_regimes_take_the_mean_of_the_draws_and_call_clean_what_has_no_noise() -> None:
    found = made({place("pbc", 0.0): [0.1, 0.2, 0.3]}, ["blood"])
    rows = pd.concat(
        [described({place("pbc", 0.0): numbers}) for numbers in ((0.02, 2, 0.9), (0.16, 2, 0.9))]
    )
    rows = rows.assign(noise_type="symmetric", seed=[0, 1])
    assert advice_regimes.regimes(found, rows)[0][0] == "below 10\N{NO-BREAK SPACE}%"  # .09


@pytest.mark.parametrize(
    ("gains", "named"),
    [
        ([0.02, 0.02, 0.02], "cufit"),
        ([0.004, 0.004, 0.004], "elr"),  # too little
        ([0.09, -0.03, 0.0], "elr"),  # mean .02, standard error .036
        ([0.05, 0.01, 0.03], "cufit"),  # mean .03, standard error .0115
    ],
)
def test_a_row_leaves_the_best_method_only_for_a_clear_gain(gains, named) -> None:
    scores = {place(name, 0.1): [0.1, 0.5, 0.5 + gain] for name, gain in zip("abc", gains, strict=True)}
    found = made(scores, list("abc"))
    assert found.candidates[advice_regimes.named(found, 1)] == named


def test_one_family_alone_is_no_reason() -> None:
    found = made({place("a", 0.1): [0.1, 0.5, 0.9], place("a", 0.2): [0.1, 0.5, 0.9]}, ["a", "a"])
    assert advice_regimes.named(found, 1) == 1


def test_frame_has_a_row_per_regime_with_its_means(three) -> None:
    frame = advice_regimes.regime_frame(*three)
    assert list(frame["use"]) == ["cufit", "cufit"]  # mean regret .002, that of ELR .02
    light, heavy = frame.to_dict("records")
    assert (light["conditions"], light["families"], light["other"]) == (3, 3, "elr")
    np.testing.assert_allclose([light["regret"], light["other_regret"], light["score"]], [0.004, 0, 0.88])
    np.testing.assert_allclose([heavy["regret"], heavy["held_out"], heavy["ce"]], [0, 0, 0.24])
    table = decision.decision_table(frame, TITLES)
    assert table.loc[0, "Regret"].replace(NBSP, " ") == "0.4 (0.4 to 0.4)"
    assert list(table["Next"]) == ["ELR (0.0)", "ELR (4.0)"]


def test_rows_depart_where_others_are_clearly_better(three) -> None:
    found, rows = three
    light = np.arange(6)[:, None] % 2 == 0
    frame = advice_regimes.regime_frame(replace(found, scores=found.scores + light * [0, 0.02, 0]), rows)
    assert list(frame["use"]) == ["elr", "cufit"]
    assert frame["regret"].tolist() == pytest.approx([0, 0])
    np.testing.assert_allclose(frame["other_regret"], [0.024, 0.04])


def test_the_table_is_judged_without_the_family() -> None:
    scores = {place(name, 0.0): [0.1, 0.9, 0.8] for name in ("a", "b")} | {place("c", 0.0): [0.1, 0.5, 0.9]}
    found = made(scores, ["a", "b", "c"])
    lost = advice_regimes.table_regret(found, described(dict.fromkeys(scores, LIGHT)))
    # Without a or b: ELR loses (0 + .4) / 2 and CUFIT (.1 + 0) / 2. Without c: ELR loses nothing.
    np.testing.assert_allclose(lost, [0.1, 0.1, 0.4])


def test_a_regime_of_one_family_falls_back_to_all(three) -> None:
    found, rows = three
    odd = rows.assign(imbalance=[99.0, 2, 2, 2, 2, 2])
    # Without skin, CUFIT loses .004 and 0 and ELR 0 and .04: CUFIT is best over all and is taken.
    assert advice_regimes.table_regret(found, odd)[0] == pytest.approx(0.004)


def test_the_best_method_is_that_on_whole_banks() -> None:
    scores = {place("pbc", 0.1): [0.1, 0.9, 0.8]} | {
        place("pbc", 0.1, f"n{i}"): [0.1, 0.2, 0.9] for i in "123"
    }
    assert advice_regimes.overall_best(made(scores, ["blood"] * 4)) == 1


def test_made_data_is_not_in_the_table(three) -> None:
    found, rows = three
    other = replace(found, family=np.array(["made", "made", *found.family[2:]]))
    assert advice_regimes.regime_frame(other, rows)["conditions"].tolist() == [2, 2]


def test_words_on_the_table(three) -> None:
    frame = advice_regimes.regime_frame(*three)
    text = decision.answer(frame, TITLES)
    assert text.startswith(
        "The table names CUFIT-head in all its 2 rows. In 1 of them the next is within 0.5"
    )
    assert "lost less" not in text
    assert "In 1 the next one lost less" in decision.answer(frame.assign(regret=[0.02, 0.04]), TITLES)
    both = frame.assign(use=["elr", "cufit"], families=[1, 3], other_regret=[0.1, 0.1])
    assert decision.answer(both, TITLES) == (
        "The table names ELR in 1 of 2 rows, CUFIT-head in 1. 1 of the 2 rows is from one kind of image only."
    )
    assert "no archived condition is in 10" in decision.absent(frame)


@pytest.mark.parametrize(
    ("gap", "low", "high", "words"),
    [
        (-0.01, -0.02, -0.001, "1.00 less than fixing the best method, so it is worth following"),
        (0.01, 0.002, 0.02, "1.00 more than fixing the best method, so fix the method instead"),
        (0.0, 0.0, 0.0, "as much as fixing the best method, no clear difference"),
        (0.01, -0.01, 0.02, "1.00 more than fixing the best method, no clear difference"),
    ],
)
def test_what_the_table_is_worth(gap, low, high, words) -> None:
    row = {"mean": 0.02, "over_fixed": gap, "over_fixed_low_family": low, "over_fixed_high_family": high}
    text = decision.warning(pd.DataFrame({"table": row}).T)
    assert "loses 2.00 points on average" in text
    assert words in text


def judged(selector: float, fixed: float, low: float = -0.01, high: float = 0.01) -> pd.DataFrame:
    columns = {"mean": selector, "over_fixed": selector - fixed, "max": 0.05}
    columns |= {"over_fixed_low_family": low, "over_fixed_high_family": high}
    return pd.DataFrame([columns, {"mean": fixed}, {"mean": 0.06}], index=["selector", "fixed", "random"])


@pytest.mark.parametrize(
    ("selector", "fixed", "met"),
    [(0.004, 0.008, True), (0.005, 0.008, False), (0.01, 0.03, False), (0.009, 0.02, True)],
)
def test_the_target_has_two_parts(selector, fixed, met) -> None:
    table = judged(selector, fixed)
    assert regret.met(table) is met
    assert ("**not met**" in regret.verdict(table, "ELR")) is not met


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((0.01, 0.01), "as good"), ((0.02, 0.01), "no clear difference"),
        ((0.01, 0.02, -0.02, -0.001), "better"), ((0.02, 0.01, 0.001, 0.02), "worse"),
    ],
)  # fmt: skip
def test_a_difference_is_clear_if_its_interval_lies_on_one_side(values, word) -> None:
    table = judged(*values)
    assert regret.compare(table) == word
    assert ("recommend` choose" in regret.short(table, "ELR")) is (word == "better")


def test_the_short_answer_names_the_fast_one_only_if_it_differs() -> None:
    table = judged(0.01, 0.01)
    text = regret.short(table, "DivideMix", "ELR", "without DivideMix", "It is slow.")
    assert text.endswith(
        "It is slow. If that is too long, train **ELR**: it is the one to fix without DivideMix."
    )
    assert "too long" not in regret.short(table, "ELR", "ELR", "without DivideMix")


def test_choices_stand_in_order_and_titles_fit_a_sentence() -> None:
    names = ["selector", "fixed", "tree", "always ce", "always elr", "random", "oracle", "table"]
    found = regret.choices(names, TITLES)
    assert list(found) == [
        "selector",
        "table",
        "fixed",
        "tree",
        "always ce",
        "always elr",
        "random",
        "oracle",
    ]
    assert found["always ce"] == "always cross entropy"
    assert found["always elr"] == "always ELR"
    assert regret.inside("Co-teaching") == "Co-teaching"
    assert "always ce" not in regret.shown(found)


def test_hindsight_and_shares_look_at_fixed_methods_only() -> None:
    lost = pd.DataFrame({"selector": [0.0, 0, 0], "always ce": [0.0, 0.1, 0.2], "always elr": [0.2, 0.1, 0]})
    lost["always cufit"] = [0.2, 0.1, 0.2]
    assert regret.hindsight(lost, TITLES) == "Cross entropy"
    shares = advice_luck.shares(lost)
    np.testing.assert_allclose(shares[["ce", "elr", "cufit"]], [4 / 9, 4 / 9, 1 / 9])


def test_luck_is_what_the_other_seeds_do_not_tell() -> None:
    # Two methods, two seeds: each seed has another best, so who follows the other seed is always wrong.
    scores = np.array([[[0.8, 0.6], [0.5, 0.7]]])
    # Best mean .65; picks .5 ... seed 0 by seed 1: method 1 (.6); seed 1 by seed 0: method 0 (.5).
    assert advice_luck.other_seeds_regret(scores) == pytest.approx(0.65 - 0.55)
    assert advice_luck.other_seeds_regret(np.repeat(scores[:, :1], 3, axis=1)) == pytest.approx(0)
    assert np.isnan(advice_luck.other_seeds_regret(scores[:, :1]))


def test_seed_scores_have_each_clean_run_once_and_whole_banks_only() -> None:
    rows = pd.DataFrame(
        [("d", "b", kind, rate, seed, method, variant, 0.1 * seed + (method == "elr") + rate)
         for kind, rate, variant in (("symmetric", 0.0, ""), ("asymmetric", 0.0, ""), ("symmetric", 0.4, ""),
                                     ("symmetric", 0.2, "n500"))
         for seed in (0, 1) for method in ("ce", "elr")],
        columns=["dataset", "backbone", "noise_type", "noise_rate", "seed", "candidate", "variant",
                 "accuracy"],
    )  # fmt: skip
    scores = advice_luck.seed_scores(rows, "accuracy")
    np.testing.assert_allclose(scores, [[[0, 1], [0.1, 1.1]], [[0.4, 1.4], [0.5, 1.5]]])


@pytest.mark.parametrize(
    ("selector", "fixed", "lucky", "words"),
    [
        (0.003, 0.008, 0.009, "reaches its target nevertheless"),
        (0.006, 0.008, 0.009, "no more than luck can make"),
        (0.006, 0.008, 0.005, "more than half of what the best fixed method loses"),
        (0.02, 0.02, float("nan"), "Most is lost where skin images were left out, 3.00 points"),
    ],
)
def test_reasons_follow_the_numbers(selector, fixed, lucky, words) -> None:
    index = pd.MultiIndex.from_tuples([("skin", "a"), ("blood", "b")], names=["family", "bank"])
    lost = pd.DataFrame({"selector": [0.03, 0.01], "always ce": [0, 0.1], "always elr": [0.1, 0.2]}, index)
    text = advice_luck.reasons(lost, judged(selector, fixed), lucky, TITLES)
    assert text.startswith(f"Cross entropy is the best candidate in 100{NBSP}% of the conditions")
    assert words in text


def test_extension_says_what_more_rows_change() -> None:
    rows = [("tree", "archived", 9, 0.02, 0, 0, 0), ("tree", "made", 20, 0.01, -0.01, -0.02, -0.001),
            ("ridge", "archived", 9, 0.03, 0, 0, 0),
            ("ridge", "made", 20, 0.03, 0.0, -0.01, 0.01)]  # fmt: skip
    columns = ["rule", "rows", "conditions", "mean", "change", "low_family", "high_family"]
    table = pd.DataFrame(rows, columns=columns)
    text = advice_extension.extension_text(table)
    assert "lowers the regret in 1 of 2 cases (tree of three questions, with parts and made data)" in text
    assert "raises it in 0 of 2 cases" in text
    assert "learned from whole banks, parts of them and made data." in text
    shown = advice_extension.extension_table(table)
    assert list(shown) == ["Rule", "Whole banks (9)", "With parts and made data (20)"]
    assert shown.iloc[0, 2].replace(NBSP, " ") == "1.00; -1.00 [-2.00, -0.10]"
    assert "nothing to add" in advice_extension.extension_text(table[table["rows"] == "archived"])


def leaf(choose: str, regret: float, conditions: int) -> dict:
    return {"choose": choose, "regret": regret, "conditions": conditions}


def test_the_tree_leaves_questions_out_that_change_nothing() -> None:
    same = {"input": "imbalance", "at_most": 2.5, "yes": leaf("elr", 0.01, 3), "no": leaf("elr", 0.02, 4)}
    tree = {"input": "n_classes", "at_most": 4.0, "yes": same, "no": leaf("ce", 0.0, 1)}
    shipped = Selector({"rules": {"accuracy": {"all": {"tree": tree}, "cheap": {"tree": same}}}})
    assert rule.tree_text(shipped, "accuracy", "all").splitlines() == [
        "- `n_classes` at most 4?",
        "  - yes: **ELR** (mean regret 1.0 to 2.0 points in 7 conditions)",
        "  - no: **Cross entropy** (mean regret 0.0 points in 1 condition)",
    ]
    assert rule.tree_text(shipped, "accuracy", "cheap").startswith("- **ELR** (mean regret 1.0 to 2.0")


def test_the_shipped_rule_in_words(three) -> None:
    found, _ = three
    by_metric = {name: found for name in ("balanced_accuracy", "accuracy")}
    shipped = Selector({**fit_selector(by_metric), "made_from": {"advice.parquet": "a"}})
    for part in shipped.content["rules"]["accuracy"].values():
        part |= {"rule": "fixed", "rows": "made"}
    text = rule.rule_text(shipped, "accuracy")
    assert text.startswith("Among all methods and among those that train fast, it ignores the descriptors")
    assert text.endswith("learned from whole banks, parts of them and made data.")
    assert "names **CUFIT-head**, with or without the slow ones: of" in rule.fixed_text(shipped, "accuracy")
    shipped.content["rules"]["accuracy"]["cheap"]["rule"] = "tree"
    assert "names **CUFIT-head**: of" in rule.fixed_text(shipped, "accuracy")
    shipped.content["rules"]["accuracy"]["all"]["rule"] = "ridge"
    assert rule.fixed_text(shipped, "accuracy") == ""
    assert "Among those that train fast, it asks up to three" in rule.rule_text(shipped, "accuracy")
    assert "Among all methods, it expects the regret" in rule.rule_text(shipped, "accuracy")
    assert list(rule.inputs_table(shipped)["Descriptor"]) == [f"`{name}`" for name in INPUTS]
    assert "from the tables that this page shows" in rule.made_from(shipped, {"advice.parquet": "a"})
    assert "(advice.parquet, new)" in rule.made_from(shipped, {"advice.parquet": "b", "new": "c"})


def test_a_descriptor_that_leans_on_another_is_told_whole() -> None:
    assert rule.meaning("neighbour_agreement_min") == (
        "share of the 11 nearest neighbours that carry the sample's own label, within the class where it is "
        "lowest"
    )
    assert rule.meaning("held_out_balanced_accuracy").endswith(
        "did not see them, a mean over observed classes"
    )
    assert rule.meaning("samples_per_feature") == "N / D"


def rates() -> pd.DataFrame:
    rows = [("skin", "clean", 0.0, 0.02, 0.5), ("skin", "symmetric", 0.2, 0.1, 0.3),
            ("blood", "clean", 0.0, 0.04, 0.1), ("blood", "symmetric", 0.4, 0.42, 0.4),
            (advice_rate.PARTS, "clean", 0.0, 0.3, 0.0)]  # fmt: skip
    return pd.DataFrame(rows, columns=["group", "kind", "realised_rate", "estimate", "confident_rate"])


def test_errors_of_the_rate_count_families_alike() -> None:
    errors = advice_rate.error_frame(rates())
    assert list(errors.index) == ["blood", "skin", advice_rate.MEAN, advice_rate.PARTS]
    np.testing.assert_allclose(
        errors.loc["skin", ["clean", "symmetric", "all", "bias"]], [0.02, 0.1, 0.06, -0.04]
    )
    np.testing.assert_allclose(errors.loc[advice_rate.MEAN, ["all", "confident"]], [0.045, 0.175])
    text = advice_rate.verdict(errors)
    assert "off by 4.5 points on average, within the target of 5." in text
    assert "misses the target on symmetric labels, 6.0" in text
    assert "worst on skin images, 6.0 points" in text
    failed = advice_rate.failures(rates())
    assert failed == "Beyond the target: skin images, symmetric noise, 10.0 points (too low on average)."
    assert "No kind of image" in advice_rate.failures(rates()[rates()["group"] == "blood"])
    table = advice_rate.error_table(errors)
    assert table.loc[1, "Bias"] == "-4.0"
    assert table.loc[0, "Asymmetric"] == ""


def test_an_estimate_does_not_know_the_truth_of_its_family() -> None:
    draw = np.random.default_rng(1)
    rows = pd.DataFrame(draw.random((24, len(FEATURES))) / 3, columns=list(FEATURES))
    rows["family"] = np.repeat(["a", "b", "c", "made"], 6)
    rows["realised_rate"] = rows[FEATURES[0]]
    rows = rows.assign(n_classes=4, n_samples=500, noise_type="symmetric", variant="")
    first = advice_rate.held_out_estimates(rows)
    changed = rows.assign(realised_rate=np.where(rows["family"] == "a", 0.5, rows["realised_rate"]))
    second = advice_rate.held_out_estimates(changed)
    assert first["estimate"].notna().all()
    pd.testing.assert_frame_equal(first[list(rows)], rows)
    np.testing.assert_allclose(first["estimate"][:6], second["estimate"][:6])
    assert not np.allclose(first["estimate"][6:18], second["estimate"][6:18])


def test_rates_are_grouped_by_family_of_whole_banks() -> None:
    rows = pd.DataFrame({"family": ["skin", "skin", "made"], "variant": ["", "n500", "k2"]})
    rows = rows.assign(noise_type="symmetric", noise_rate=[0.0, 0.2, 0.2], realised_rate=0, estimate=0)
    found = advice_rate.rate_frame(rows.assign(confident_rate=0))
    assert list(found["group"]) == ["skin", advice_rate.PARTS, advice_rate.MADE]
    assert list(found["kind"]) == ["clean", "symmetric", "symmetric"]


@pytest.mark.parametrize(("auroc", "word"), [(0.85, "ranks classes well"), (0.75, "fairly"), (0.6, "poorly")])
def test_risks_in_words(auroc, word) -> None:
    row = {"classes": 1200, "dead": 0.05, "risk": 0.04, "auroc": auroc, "caught": 0.3, "right": 0.5,
           "brier": 0.04, "brier_constant": 0.05}  # fmt: skip
    table = pd.DataFrame({"skin": row | {"auroc": np.nan}, "all": row}).T
    text = risk.risk_text(table)
    assert word in text
    assert f"names 30{NBSP}% of the classes that were never predicted, and 50{NBSP}%" in text
    assert "better than one constant" in text
    assert risk.risk_table(table)["AUROC"].tolist() == ["", f"{100 * auroc:.1f}"]
    assert "no better than one constant" in risk.risk_text(table.assign(brier=0.06))
    assert "nothing was flagged" in risk.risk_text(table.assign(right=np.nan))
    assert "nothing to foresee" in risk.risk_text(table.assign(auroc=np.nan))


def test_the_error_of_a_matrix_is_the_share_of_labels_it_moves() -> None:
    T = np.array([[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert transition.matrix_error(T, np.eye(3)) == pytest.approx(0.2 / 3)


def test_transition_frame_compares_three_matrices(monkeypatch) -> None:
    monkeypatch.setattr(transition, "collect_evidence", partial(transition.collect_evidence, folds=2))
    X, y = blobs(150, 3, 5)
    bank = FeatureBank.from_arrays(X, y, np.repeat([0, 2], [120, 30]), list("abc"), BankMeta("blobs", "raw"))
    frame = transition.transition_frame(bank, (("symmetric", 0.3), ("pairflip", 0.3)))
    np.testing.assert_allclose(frame["none"], frame["realised_rate"], atol=0.03)  # classes are about alike
    even = frame.set_index("noise_type")["even"]
    assert even["symmetric"] < even["pairflip"]
    text = transition.transition_text(frame)
    assert text.startswith("Under symmetric noise the estimated matrix is off by")
    assert transition.transition_table(frame)["Data set"].tolist() == ["blobs", "blobs"]


def archived() -> advice.Advice:
    """Three families, two rates, two seeds; ELR is best, or CUFIT under heavy noise, or ce for skin then."""
    draw, rows, told, conditions = np.random.default_rng(2), [], [], []
    for name, family in (("ham10000", "skin"), ("pbc", "blood"), ("breastmnist", "breast")):
        for rate in (0.0, 0.4):
            best = 1 if rate == 0 else 0 if family == "skin" else 2
            for seed in (0, 1):
                key = {"dataset": name, "backbone": "deit_tiny", "head": "adapter", "noise_type": "symmetric"}
                key |= {"noise_rate": rate, "seed": seed, "variant": "", "family": family}
                numbers = dict(zip(INPUTS, draw.uniform(1, 2, len(INPUTS)), strict=True))
                conditions.append(key | numbers | {"held_out_balanced_accuracy": 0.7, "estimate": rate})
                for j, method in enumerate(("ce", "elr", "cufit", "dividemix")):
                    score = 0.9 - 0.1 * rate - 0.05 * (j != best)
                    run = key | {"balanced_accuracy": score, "accuracy": score, "seconds": 1.0 + 5 * (j == 3)}
                    rows.append(run | {"candidate": method})
                    told.append(run | {"method": method})
    frames = (pd.DataFrame(part) for part in (rows, told, conditions))
    candidates = ("ce", "elr", "cufit", "dividemix")
    return advice.Advice("accuracy", candidates, *frames, "12 runs; checksums: advice a, conditions b.")


def test_pools_hold_what_they_say() -> None:
    read = archived()
    assert read.pools == ("all", "cheap", "told")
    assert advice.pool_cases(read, "accuracy", "cheap").candidates == ("ce", "elr", "cufit")
    assert len(advice.pool_rows(read, "cheap")) == 36
    assert advice.pool_titles(read, "told")["dividemix"].endswith("†")
    assert advice.pool_titles(read)["dividemix"] == "DivideMix"
    fewer = replace(read, candidates=("ce", "dividemix"))
    assert fewer.pools == ("all", "told")
    assert advice.slower(read) == "DivideMix trains 6 times as long as cross entropy."
    assert advice.slower(replace(read, candidates=("ce", "elr"))) == ""


def test_regrets_hold_the_table_beside_the_selector() -> None:
    read = archived()
    lost = advice.lost(read, "accuracy", "all")
    np.testing.assert_allclose(lost["always elr"], [0, 0.05] * 3, atol=1e-12)
    # Without skin the others name CUFIT under heavy noise; without another they disagree, and keep ELR.
    np.testing.assert_allclose(lost["table"], [0, 0.05] * 3, atol=1e-12)
    assert {"selector", "oracle"} <= set(lost)
    table = selector_table(lost, n=100)
    shown = regret.regret_table(table, regret.choices(list(lost), advice.pool_titles(read)))
    assert shown["Choice"].tolist()[:3] == ["selector", "decision table above", "best fixed method"]
    assert shown.set_index("Choice").loc["always ELR", "Highest"] == "5.00"
    facts = advice.facts(read)
    assert (facts["whole"], facts["parts"], facts["families"]) == (6, 0, 3)
    assert facts["family_names"] == "blood, breast and skin"
    assert facts["draws"] == "12 draws of labels, 2 seeds; checksum: conditions b."
    assert "DivideMix has its authors' setting" in str(facts["nothing"])
    key = ("accuracy", "all")
    overview = regret.overview({key: table}, advice.METRICS, {"all": "all"}, {key: "ELR"}, {key: 0.001})
    assert overview.loc[0, "Other seeds known"] == "0.10"


def test_families_left_out() -> None:
    read = archived()
    found, lost = advice.pool_cases(read, "accuracy", "all"), advice.lost(read, "accuracy", "all")
    frame = trust.family_frame(found, lost)
    assert list(frame["family"]) == ["blood", "breast", "skin"]
    assert frame["datasets"].tolist() == [["pbc"], ["breastmnist"], ["ham10000"]]
    assert (frame["distance"] > 0).all()
    np.testing.assert_allclose(frame["selector"], lost.groupby("family")["selector"].mean())
    assert trust.family_table(frame)["Data sets"][0] == "PBC blood cells"
    assert trust.backbones(found) == "DeiT-Ti"
    same = frame.assign(selector=[0.1, 0.2, 0.3], distance=[1.0, 2.0, 3.0])
    assert "distance would have warned" in trust.trust_text(same)
    assert "does not tell where" in trust.trust_text(same.assign(distance=[3.0, 2.0, 1.0]))
    chosen = {"skin": ("tree", "made"), "blood": ("tree", "archived")}
    assert "choose the same rule: tree of three questions" in trust.rules_by_family(chosen)
    assert "without blood, best fixed" in trust.rules_by_family(chosen | {"blood": ("fixed", "made")})
