"""Recommendations: what is asked of the data, what comes back, and how it reads."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from blobs import blobs

from noisylib import recommendation as module
from noisylib.analysis import selector
from noisylib.analysis.selector import Alike, Expectation
from noisylib.candidates import CANDIDATES
from noisylib.errors import NoisylibError
from noisylib.evidence import collect_evidence
from noisylib.recommendation import Recommendation, recommend
from noisylib.recommendation_inputs import check_data, draw_rows, equal_rows
from noisylib.recommendation_text import percent

K, N, D = 3, 120, 4
X, Y = blobs(N, K, D)
NAMES = np.array(["benign", "doubtful", "malignant"])
(EVIDENCE,) = collect_evidence(X, Y, K, device="cpu")
ALIKE = Alike({"dataset": "pbc", "noise_rate": 0.2}, 0.5, "elr", {"elr": 0.0, "cufit": 0.01})


@pytest.fixture
def known(monkeypatch) -> dict[str, object]:
    """A selector that says what it is told to, and what it was asked."""
    asked: dict[str, object] = {"warning": "", "risk": np.array([0.01, 0.35, 0.2])}

    def expected(descriptors, *, metric, methods):
        asked.update(descriptors=descriptors, metric=metric, methods=methods)
        regrets = {"elr": (0.004, 0.0, 0.021), "cufit": (0.011, 0.002, 0.03), "ce": (0.08, 0.05, 0.12)}
        kept = methods or regrets
        return [Expectation(name, *of, 0.8 - of[0]) for name, of in regrets.items() if name in kept]

    def class_risk(classes, candidate):
        asked.update(classes=classes, candidate=candidate)
        return asked["risk"]

    monkeypatch.setattr(selector, "expected", expected)
    monkeypatch.setattr(selector, "familiarity", lambda _: (1.5, 97.0, asked["warning"]))
    monkeypatch.setattr(selector, "nearest", lambda _, n=5, *, metric: [ALIKE])
    monkeypatch.setattr(selector, "class_risk", class_risk)
    rule = SimpleNamespace(rule=lambda metric, methods: {"level": {"error": 0.055}})
    monkeypatch.setattr(selector, "load_selector", lambda: rule)
    return asked


def ask(X: np.ndarray = X, y: np.ndarray = NAMES[Y], **options) -> Recommendation:
    return recommend(X, y, **options)


def test_fields_are_what_the_parts_say(known) -> None:
    found = ask(evidence=EVIDENCE)
    assert (found.method, found.title) == ("elr", CANDIDATES["elr"].title)
    assert (found.expected_regret, found.low, found.high) == (0.004, 0.0, 0.021)
    assert (found.score, found.score_error) == (0.796, 0.055)
    assert found.runner_up == found.ranking[1]
    assert found.runner_up.candidate == "cufit"
    assert [e.candidate for e in found.ranking] == ["elr", "cufit", "ce"]
    assert found.class_names == ("benign", "doubtful", "malignant")
    assert found.class_counts.tolist() == np.bincount(Y).tolist()
    assert found.at_risk.tolist() == [False, True, False], "0.2 itself is not above the limit"
    assert found.nearest == (ALIKE,)
    assert (found.n_samples, found.n_features, found.n_classes, found.rows_used) == (N, D, K, N)
    assert found.rate_low <= found.noise_rate <= found.rate_high
    np.testing.assert_allclose(found.T.sum(axis=1), 1)
    assert known["candidate"] == "elr", "the risk is that of the recommended method"
    assert known["classes"]["class_counts"] == np.bincount(Y).tolist()
    assert known["descriptors"] == found.descriptors.scalars()


def test_what_is_asked_for_is_passed_on(known) -> None:
    found = ask(metric="accuracy", methods=["ce", "cufit"], evidence=EVIDENCE)
    assert (known["metric"], known["methods"]) == ("accuracy", ["ce", "cufit"])
    assert (found.metric, found.method, found.runner_up.candidate) == ("accuracy", "cufit", "ce")
    assert ask(methods=["ce"], evidence=EVIDENCE).runner_up is None


@pytest.mark.parametrize(
    "y", [Y, NAMES[Y], Y.astype(float), pd.Series(NAMES[Y], dtype="category"), NAMES[Y].astype(object)]
)
def test_labels_of_any_kind_are_the_same_labels(y, known) -> None:
    found = ask(y=y, X=pd.DataFrame(X) if isinstance(y, pd.Series) else X, evidence=EVIDENCE)
    classes = NAMES.tolist() if np.asarray(y).dtype.kind in "OU" else [0, 1, 2]
    assert list(found.class_names) == classes
    assert found.noise_rate == ask(evidence=EVIDENCE).noise_rate


@pytest.mark.parametrize("given", [pd.DataFrame(X).convert_dtypes(), X.astype(object), X.tolist()])
def test_features_of_any_kind_are_the_same_features(given) -> None:
    np.testing.assert_array_equal(check_data(given, Y).X, X)


def test_json_holds_all_numbers(known) -> None:
    found = ask(evidence=EVIDENCE)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["method"] == "elr"
    assert read["runner_up"]["regret"] == 0.011
    assert read["ranking"][2]["candidate"] == "ce"
    assert read["class_names"] == NAMES.tolist()
    assert read["at_risk"] == [False, True, False]
    assert np.array(read["T"]).tolist() == found.T.tolist()
    assert read["nearest"][0]["condition"]["dataset"] == "pbc"
    assert read["descriptors"]["n_samples"] == N
    assert read["descriptors"]["class_counts"] == np.bincount(Y).tolist()
    for name in vars(found):
        assert name in read


def test_the_evidence_is_that_of_the_data_itself(known) -> None:
    steps: list[tuple[int, int]] = []
    alone = ask(progress=lambda done, work: steps.append((done, work)))
    given = ask(evidence=EVIDENCE)
    assert alone.descriptors.scalars() == pytest.approx(given.descriptors.scalars(), abs=1e-5)
    assert steps[-1][0] == steps[-1][1]


def test_beyond_the_rows_a_part_is_looked_at_and_all_are_counted(known, monkeypatch) -> None:
    seen = []

    def watched(X, y, n_classes, **options):
        seen.append((X, y))
        return collect_evidence(X, y, n_classes, **options)

    monkeypatch.setattr(module, "collect_evidence", watched)
    y = np.where(Y == 2, 1, Y)
    y[np.flatnonzero(Y == 2)[:7]] = 2
    found = ask(y=NAMES[y], max_rows=60)
    ((part, labels),) = seen
    rows = draw_rows(y, 60)
    assert len(rows) == found.rows_used == len(part) <= 60
    assert np.array_equal(part, X[rows])
    assert np.array_equal(labels, y[rows])
    assert (labels == 2).sum() == 7
    counts = np.bincount(y)
    assert found.class_counts.tolist() == found.descriptors.class_counts.tolist() == counts.tolist()
    assert found.descriptors.imbalance == counts.max() / 7
    assert found.descriptors.n_samples == found.n_samples == N
    assert found.descriptors.samples_per_feature == N / D
    text = " ".join(str(found).split())
    assert f"All samples were counted, and {len(rows)} of them looked at closely" in text


def test_draws_keep_rare_classes_and_deal_out_the_rest_in_proportion() -> None:
    y = np.repeat([0, 1, 2, 3], [9000, 900, 80, 3])
    rows = draw_rows(np.random.default_rng(0).permutation(y), 2000)
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(y[draw_rows(y, 2000)])
    # 100, 100, 80 and 3 are kept; 1717 of the 9700 others follow, 8900 to 800.
    assert counts.tolist() == [100 + 8900 * 1717 // 9700, 100 + 800 * 1717 // 9700, 80, 3]
    assert counts.sum() <= 2000
    assert np.array_equal(draw_rows(y, 2000), draw_rows(y, 2000))
    assert not np.array_equal(draw_rows(y, 2000), draw_rows(y, 2000, seed=1))
    assert np.array_equal(draw_rows(y, len(y)), np.arange(len(y)))
    many = np.repeat(np.arange(100), 50)
    assert len(draw_rows(many, 1000)) == 1000, "half of the rows are 5 each, not 100 each"


# Odd data -------------------------------------------------------------------------------------------


def test_equal_rows_share_a_number() -> None:
    points = np.array([[0.0, 1], [2, 3], [-0.0, 1], [2, 3.5], [2, 3], [2 + 1e-12, 3]])
    groups = equal_rows(points)
    assert [groups.tolist().index(g) for g in groups] == [0, 1, 0, 3, 1, 1]
    assert np.array_equal(equal_rows(points.astype(np.float32)), groups)
    many = np.random.default_rng(0).integers(0, 3, (9000, 2)).astype(float)
    expected = np.unique(many @ [1, 10], return_inverse=True)[1]
    pairs = set(zip(equal_rows(many).tolist(), expected.tolist(), strict=True))
    assert len(pairs) == 9


def test_percents_are_never_rounded_to_nothing() -> None:
    shown = [percent(value) for value in (0.0, 0.0004, 0.0006, 0.004, 0.25)]
    assert shown == ["0 %", "below 0.1 %", "0.1 %", "0.4 %", "25 %"]


def test_duplicates_are_counted_and_clashes_named(known) -> None:
    (text,) = check_data(np.concatenate([X, X[:1]]), np.concatenate([Y, Y[:1]])).warnings
    assert text.startswith("1 row repeats the features of another row.")
    twins = np.concatenate([X, X[:4], X[:1]])
    y = np.concatenate([Y, Y[:4], Y[:1]])
    (text,) = check_data(twins, y).warnings
    assert text.startswith("5 rows repeat the features of another row. Copies vouch")
    y[N + 1] = (Y[1] + 1) % K
    (text,) = check_data(twins, y).warnings
    assert "5 rows repeat the features of another row, and 2 rows share theirs with a row of another" in text
    y[N] = (Y[0] + 1) % K
    (text,) = check_data(twins, y).warnings
    assert "and 5 rows share theirs" in text, "three copies with two labels, and two with two"
    found = recommend(twins, y, max_rows=1000)
    assert found.warnings[0] == text


def test_rare_classes_are_named(known) -> None:
    y = np.where(Y == 2, 1, Y)
    y[np.flatnonzero(Y == 2)[:4]] = 2
    found = ask(y=NAMES[y])
    assert found.warnings[0].startswith("1 of 3 classes have fewer than 5 samples: malignant (4). What is")
    y[np.flatnonzero(y == 1)[0]] = 2
    assert check_data(X, y).warnings == ()
    names = np.concatenate([np.repeat("big", 60), [f"rare {i}" for i in range(7)]])
    (text,) = check_data(np.random.default_rng(0).normal(size=(67, 2)), names).warnings
    assert "7 of 8 classes" in text
    assert "rare 4 (1) and 2 more." in text


def test_classes_spelt_in_several_ways_are_named() -> None:
    spelt = np.array(["Naevus", "naevus ", "na evus"])[Y]
    (text,) = check_data(X, spelt).warnings
    assert "count as several: 'Naevus', 'naevus '. Spell" in text
    assert not check_data(X, Y).warnings
    assert not check_data(X, NAMES[Y]).warnings


def test_some_constant_features_are_fine(known) -> None:
    wide = np.column_stack([X, np.ones(N)])
    assert check_data(wide, Y).warnings == ()
    assert ask(X=wide).n_features == D + 1


@pytest.mark.parametrize(
    ("rate", "purity", "text"),
    [
        ((0.4, 0.3, 0.5), [0.9, 0.9, 0.9], "As many as half of the labels may be wrong"),
        ((0.3, 0.2, 0.4), [0.9, 0.4, 0.3], "In 2 of 3 classes (doubtful, malignant) most of the labels"),
        ((0.3, 0.2, 0.4), [0.9, 0.5, 0.8], ""),
    ],
)
def test_hopeless_labels_are_pointed_out(known, monkeypatch, rate, purity, text: str) -> None:
    estimate = SimpleNamespace(
        rate=rate[0], low=rate[1], high=rate[2], T=np.eye(K), purity=np.array(purity), confident_rate=0.1
    )
    monkeypatch.setattr(module, "estimate_noise", lambda *_: estimate)
    known["warning"] = "Unlike anything."
    found = ask(evidence=EVIDENCE)
    assert found.warnings[0] == "Unlike anything."
    assert " ".join(found.warnings[1:]).startswith(text)
    assert len(found.warnings) == 1 + bool(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": X[0]}, r"X has shape \(4,\)"),
        ({"X": X.astype(str)}, "numbers of shape"),
        ({"X": np.where(X[3, 1] == X, None, X)}, "NaN or infinite values in 1 rows, first in row 3"),
        ({"X": np.where(X[3, 1] == X, "x", X.astype(object))}, "dtype object: numbers of shape"),
        ({"X": pd.DataFrame(X).assign(site="a", sex="b")}, "hold numbers: 'site', 'sex'. Pass the columns"),
        ({"X": pd.DataFrame(X).convert_dtypes().where(X[3, 1] != X)}, "in 1 rows, first in row 3"),
        ({"X": scipy.sparse.csr_matrix(X)}, r"X is sparse.* pass X.toarray\(\)"),
        (
            {"X": np.where(np.arange(N)[:, None] == 5, np.nan, X)},
            "NaN or infinite values in 1 rows, first in row 5",
        ),
        ({"X": np.where(np.arange(N)[:, None] > 117, np.inf, X)}, "in 2 rows, first in row 118"),
        ({"X": np.ones((N, D))}, "all 4 features of X are constant"),
        ({"X": X[:-1]}, "y has 120 labels, but X has 119 rows"),
        ({"X": X[:49], "y": Y[:49]}, "X has 49 rows: at least 50 are needed"),
        ({"y": Y + 0.5}, "continuous"),
        ({"y": np.zeros(N)}, "only one class"),
        ({"y": [None, *NAMES[Y[1:]]]}, "no label .* in 1 rows, first in row 0"),
        ({"metric": "auc"}, "metric='auc' is unknown"),
        ({"methods": ["ell"]}, "methods='ell' is unknown.* Did you mean 'elr'"),
        ({"methods": "elr"}, "methods='elr': a list of some of ce, "),
        ({"methods": []}, r"methods=\[\]"),
        ({"max_rows": 49}, "max_rows=49: a whole number of at least 50"),
        ({"max_rows": True}, "max_rows=True"),
        ({"y": np.arange(N) // 3, "max_rows": 79}, "max_rows=79: 40 classes need at least 80 rows"),
        (
            {"y": NAMES[(Y + 1) % K], "evidence": EVIDENCE},
            "evidence is of 120 other labels",
        ),
    ],
)
def test_bad_input_is_named(known, changes: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        ask(**changes)


# How it reads ---------------------------------------------------------------------------------------


@pytest.fixture
def told(known, monkeypatch) -> Recommendation:
    """A recommendation whose every number is known."""
    T = np.array([[0.8, 0.15, 0.05], [0.0, 1.0, 0.0], [0.3, 0.01, 0.69]])
    estimate = SimpleNamespace(rate=0.23, low=0.17, high=0.29, T=T, purity=np.array([0.7, 0.6, 1.0]))
    monkeypatch.setattr(module, "estimate_noise", lambda *_: estimate)
    known["warning"] = "This data set is unlike the archived ones."
    return ask(evidence=EVIDENCE)


def test_the_report(told) -> None:
    expected = REPORT.format(doubtful=(Y == 1).sum())
    assert told.explain("mine.csv", "mine.csv --labels doctor") == expected


REPORT = """\
Which method? mine.csv: 120 samples, 4 features, 3 classes

Use        ELR (--method elr)
           Expect balanced accuracy of about 80 % (the mean over classes of the share that is
           recognised, on clean test data); such forecasts were off by 5.5 points on average.
           That is 0.4 points below the best of 3 methods, which nobody knows beforehand: 0.0 to
           2.1 points in about 8 of 10 cases on kinds of images that the choice had not learned
           from.

Or         CUFIT-head (--method cufit): 1.1 points below the best (0.2 to 3.0), 0.7 more than
           the first; the intervals do not tell the two apart.

Labels     About 23 % of the labels are wrong (90 % interval 17 % to 29 %), some 28 of 120.
           Commonest confusions, as estimated: malignant labelled benign (30 % of true
           malignant); benign labelled doubtful (15 % of true benign); benign labelled malignant
           (5 % of true benign).

Classes    doubtful: {doubtful} samples, 60 % of their labels right; risk 35 % that no test sample of it
           is ever recognised.

Assumed    The features stay as they are and a small head is trained on them. New samples come
           from where these come from. Which labels are wrong depends on the class more than on
           the single sample. No clean label was used.

Beware     - This data set is unlike the archived ones.
           - Look at some of the flagged labels yourself before you act on any of this.

Next       noisylib clean mine.csv --labels doctor --out flagged.csv
           noisylib train mine.csv --labels doctor --method elr --out head.safetensors"""


def test_the_report_fits_a_screen_and_its_commands_can_be_copied(told) -> None:
    lines = str(told).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 96
    long = "x" * 80 + ".parquet"
    copied = [line.strip() for line in told.explain(long).splitlines()]
    assert f"noisylib clean {long} --out flagged.csv" in copied[-2].removeprefix("Next").strip()


def test_wrong_labels_are_counted_in_round_numbers(told) -> None:
    many = Recommendation(**vars(told) | {"n_samples": 123_456})
    assert "some 28,000 of 123,456" in " ".join(str(many).split())


def test_without_classes_at_risk_it_says_so(known) -> None:
    known["risk"] = np.array([0.01, 0.004, 0.12])
    text = " ".join(str(ask(evidence=EVIDENCE)).split())
    assert "None of the 3 seems in danger of being missed altogether (highest risk 12 %, malignant)." in text


def test_many_classes_at_risk_are_cut_short(told) -> None:
    n = 9
    many = Recommendation(
        **vars(told)
        | {
            "class_names": tuple(f"c{i}" for i in range(n)),
            "class_risk": np.linspace(0.3, 0.9, n),
            "at_risk": np.ones(n, bool),
            "purity": np.full(n, 0.5),
            "class_counts": np.full(n, 1234),
            "T": np.eye(n),
        }
    )
    text = " ".join(str(many).split())
    assert "c8: 1,234 samples, 50 % of their labels right; risk 90 %" in text
    assert "... and 3 more classes." in text
    assert "c2:" not in text
    assert "confusions" not in text, "there is none"


def test_one_method_alone_has_no_regret(known) -> None:
    text = " ".join(str(ask(methods=["ce"], evidence=EVIDENCE)).split())
    assert "No other method was in question." in text
    assert "below the best" not in text


def test_a_clear_second_is_not_called_equal(known) -> None:
    text = " ".join(str(ask(methods=["elr", "ce"], evidence=EVIDENCE)).split())
    assert "8.0 points below the best (5.0 to 12.0)." in text
    assert "do not tell the two apart" not in text


def test_recommendation_with_the_rules_that_come_with_the_package() -> None:
    clean, y = blobs(600, 4, 16, spread=0.8)
    rng = np.random.default_rng(0)
    wrong = rng.random(600) < 0.2
    noisy = np.where(wrong, (y + rng.integers(1, 4, 600)) % 4, y)
    found = recommend(clean, noisy)
    assert found.method in CANDIDATES
    assert {e.candidate for e in found.ranking} == set(selector.load_selector().candidates)
    assert found.low <= found.high
    assert found.class_risk.shape == (4,)
    assert abs(found.noise_rate - wrong.mean()) < 0.1
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert f"--method {found.method}" in str(found)
