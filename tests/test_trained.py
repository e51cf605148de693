"""A trained head: the numbers of a bank of one run, and a file that gives back what was kept or refuses."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from small_bank import FREE, SHORT, TRAINED, X_TEST, Y_TEST, D, K, X, facts, noisy, small

from noisylib import facts as facts_of_noise
from noisylib.candidates import CANDIDATES
from noisylib.errors import MissingDataError, NoisylibError, WriteError
from noisylib.facts import rate_of, settle, type_of
from noisylib.head_files import write_head
from noisylib.methods import METHODS
from noisylib.noise_estimate import NoiseEstimate
from noisylib.recipe import Recipe
from noisylib.trained import TrainedHead, load_head, train_head
from noisylib.training import BankInTraining, train_bank

Y_NOISY = noisy(1)[0]
TOLD = {name: values[0] for name, values in facts(1).items()}
GIVEN = {
    "noise_rate": TOLD["noise_rates"],
    "noise_type": TOLD["noise_types"],
    "transition": TOLD["transitions"],
}
# Networks of the method's last bank of heads that predict, where it is not the first.
PREDICTING = {"dividemix": [0, 1], "unicon": [0, 1], "cufit": [1]}
HEADS = ("linear", "mlp", "adapter")


def trained(name: str = "ce", head: str = "adapter", **changes) -> TrainedHead:
    options = {"method": small(name), "head": head, "seed": 3, "recipe": SHORT, "device": "cpu", **GIVEN}
    return train_head(X, Y_NOISY, K, **{**options, **changes})


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("head", HEADS)
def test_head_is_one_run_of_train_bank(name: str, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if (name, head) == ("turn", "mlp"):
        return  # TURN refuses it
    banks = []

    class Seen(BankInTraining):
        def __init__(self, *arguments) -> None:
            banks.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr("noisylib.training.BankInTraining", Seen)
    bank = train_bank(
        X, Y_NOISY, X_TEST, Y_TEST, n_classes=K, method=small(name), head=head, seeds=[3], recipe=SHORT,
        device="cpu", **facts(1),
    )  # fmt: skip
    kept = trained(name, head)
    part = banks[0].networks.banks[1 if name in ("cufit", "turn") else 0]
    assert kept.kind == part.kind
    numbers = PREDICTING.get(name, [0])
    for parameter, values in part.parameters.items():
        np.testing.assert_array_equal(kept.weights[parameter], values[0, numbers].numpy())
    found = kept.logits(X_TEST, dtype=torch.float32)
    if len(numbers) == part.grid[1]:
        np.testing.assert_array_equal(found, bank.test_logits[0])
    np.testing.assert_allclose(found, bank.test_logits[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(kept.logits(X_TEST), bank.test_logits[0], rtol=0, atol=1e-5)
    assert (kept.predict(X_TEST) == Y_TEST).mean() == bank.accuracy_history[-1, 0]


def test_head_of_views_and_without_z_score_is_that_of_the_bank() -> None:
    views = np.stack([X, X + 0.1, X - 0.2])
    recipe = replace(SHORT, standardise=False)
    bank = train_bank(
        X, Y_NOISY, X_TEST, Y_TEST, n_classes=K, method=small("dividemix"), seeds=[3], views=views,
        recipe=recipe, device="cpu", **facts(1),
    )  # fmt: skip
    kept = trained("dividemix", views=views, recipe=recipe)
    np.testing.assert_array_equal(kept.logits(X_TEST, dtype=torch.float32), bank.test_logits[0])
    assert (kept.mean.tolist(), kept.std.tolist()) == ([0.0] * D, [1.0] * D)


def test_z_score_is_that_of_the_training_features() -> None:
    kept = trained()
    np.testing.assert_allclose(kept.mean, X.mean(0), rtol=1e-14)
    np.testing.assert_allclose(kept.std, X.std(0), rtol=1e-14)
    shifted = train_head(5 * X + 7, Y_NOISY, K, method="ce", seed=3, recipe=SHORT, device="cpu")
    np.testing.assert_allclose(shifted.logits(5 * X_TEST + 7), kept.logits(X_TEST), atol=1e-4)


def test_probabilities_by_hand() -> None:
    """Two networks of two features: logits 2a, 3b + 1 and a, 0 sum to 3a, 3b + 1 of z-scored a and b."""
    head = TrainedHead(
        kind="linear",
        weights={
            "W": np.array([[[2, 0], [0, 3]], [[1, 0], [0, 0]]], dtype=np.float32),
            "b": np.array([[[0], [1]], [[0], [0]]], dtype=np.float32),
        },
        mean=np.array([10.0, 20.0]),
        std=np.array([2.0, 5.0]),
        classes=("no", "yes"),
    )
    rows = np.array([[12, 20], [10, 30]])  # a, b = 1, 0 and 0, 2
    np.testing.assert_allclose(head.logits(rows), [[3, 1], [0, 7]], rtol=1e-15)
    odds = np.exp([2, -7])
    np.testing.assert_allclose(head.probabilities(rows)[:, 0], odds / (1 + odds), rtol=1e-14)
    assert head.predict(rows).tolist() == ["no", "yes"]
    assert (head.n_features, head.n_classes) == (2, 2)


def test_score_of_a_sample_does_not_depend_on_those_beside_it() -> None:
    kept, rows = trained(), np.tile(X_TEST, (40, 1))  # more than one block
    together = kept.probabilities(rows)
    alone = np.concatenate([kept.probabilities(rows[i : i + 1]) for i in (0, 31, 1100)])
    np.testing.assert_allclose(together[[0, 31, 1100]], alone, rtol=0, atol=1e-13)


def test_weights_of_samples_reach_the_training() -> None:
    w = np.arange(len(X)) % 3.0
    bank = train_bank(
        X, Y_NOISY, X_TEST, Y_TEST, n_classes=K, method="ce", seeds=[3], recipe=SHORT, device="cpu",
        sample_weight=w,
    )  # fmt: skip
    found = trained(sample_weight=w).logits(X_TEST, dtype=torch.float32)
    np.testing.assert_array_equal(found, bank.test_logits[0])
    assert (found != trained().logits(X_TEST, dtype=torch.float32)).any()


def test_progress_counts_epochs() -> None:
    seen = []
    trained(progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("name", FREE)
def test_methods_that_train_no_head_are_refused(name: str) -> None:
    with pytest.raises(NoisylibError, match=f"method='{name}' votes .* trains no head"):
        trained(method=name)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "turn", "head": "mlp"}, "head='mlp' does not fit"),
        ({"method": "elrr"}, "Did you mean 'elr'"),
        ({"head": "resnet"}, "head='resnet' is unknown"),
        ({"noise_rate": 1.5}, "noise_rates=.1.5."),
        ({"transition": np.ones((K, K))}, "rows sum to 1"),
        ({"classes": ["a", "b"]}, "has shape"),
        ({"classes": ["a", "b", 3]}, "classes="),
        ({"sample_weight": np.ones(3)}, "sample_weight has shape"),
    ],
)
def test_what_cannot_be_trained(changes: dict, text: str) -> None:
    with pytest.raises(NoisylibError, match=text):
        trained(**changes)


def test_features_of_another_width_or_with_nan_are_refused() -> None:
    kept = trained()
    with pytest.raises(NoisylibError, match=rf"X has {D + 1} features, .* trained on {D}"):
        kept.predict(np.ones((2, D + 1)))
    with pytest.raises(NoisylibError, match="X has NaN"):
        kept.predict(np.full((2, D), np.nan))


# What a method is told.

ESTIMATE = NoiseEstimate(
    rate=0.3,
    low=0.2,
    high=0.4,
    confident_rate=0.35,
    T=np.array([[0.7, 0.3, 0], [0.3, 0.7, 0], [0, 0, 1]]),
    class_shares=np.ones(3) / 3,
    purity=np.ones(3),
)
SYMMETRIC = np.full((3, 3), 0.1) + 0.7 * np.eye(3)
COUNTED = np.repeat([0, 1, 2], [10, 20, 30])


def never() -> NoiseEstimate:
    raise AssertionError("nothing needed to be estimated")


def test_given_facts_are_told_and_others_estimated() -> None:
    method, told = settle("coteaching", COUNTED, 3, never, noise_rate=0.25)
    assert (method.name, told.noise_rate, told.estimated) == ("coteaching", 0.25, ())
    _, told = settle("coteaching", COUNTED, 3, lambda: ESTIMATE)
    assert (told.noise_rate, told.estimated) == (0.3, ("noise_rate",))
    _, told = settle("forward_oracle", COUNTED, 3, lambda: ESTIMATE)
    assert told.transition is ESTIMATE.T
    _, told = settle("ce", COUNTED, 3, never, noise_rate=0.25, transition=SYMMETRIC)
    assert told == facts_of_noise.Facts()


@pytest.mark.parametrize(("rate", "told"), [(0.0, 0.01), (0.2, 0.2), (0.8, 0.6)])
def test_estimated_rate_stays_where_a_method_can_use_it(rate: float, told: float) -> None:
    found = settle("coteaching", COUNTED, 3, lambda: replace(ESTIMATE, rate=rate))[1]
    assert found.noise_rate == told


def test_dividemix_by_name_is_told_all_or_nothing() -> None:
    untold = CANDIDATES["dividemix"].method
    assert settle("dividemix", COUNTED, 3, never)[0] == untold
    assert settle("dividemix", COUNTED, 3, never, noise_rate=0.3)[0] == untold
    method, told = settle("dividemix", COUNTED, 3, never, noise_rate=0.3, noise_type="asymmetric")
    assert method == small("dividemix").__class__()
    assert (told.noise_rate, told.noise_type) == (0.3, "asymmetric")
    method, told = settle("dividemix", COUNTED, 3, never, transition=SYMMETRIC)
    assert method == small("dividemix").__class__()
    assert (told.noise_rate, told.noise_type) == (pytest.approx(0.2), "symmetric")


def test_configured_dividemix_that_asks_is_told_the_estimate() -> None:
    method, told = settle(small("dividemix"), COUNTED, 3, lambda: ESTIMATE)
    assert method == small("dividemix")
    assert (told.noise_rate, told.noise_type) == (0.3, "asymmetric")
    assert told.estimated == ("noise_rate", "noise_type")


def test_rate_that_a_matrix_implies() -> None:
    """Of 60 true (0) and 40 true (1), 25 % and 10 % flip: 49 + 51 are observed, and 19 of 100 are wrong."""
    T = np.array([[0.75, 0.25], [0.10, 0.90]])
    assert rate_of(T, np.repeat([0, 1], [49, 51])) == pytest.approx(0.19, abs=1e-12)
    with pytest.raises(NoisylibError, match="cannot be inverted"):
        rate_of(np.full((2, 2), 0.5), np.repeat([0, 1], [49, 51]))


@pytest.mark.parametrize(
    ("T", "expected"),
    [
        (SYMMETRIC, "symmetric"),
        (np.eye(4), "symmetric"),
        (ESTIMATE.T, "asymmetric"),
        # With K = 4 the middle of 1/3 and 1 is 2/3.
        ([[0.7, 0.19, 0.06, 0.05], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "symmetric"),
        ([[0.7, 0.21, 0.05, 0.04], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "asymmetric"),
        ([[0.8, 0.2], [0.11, 0.89]], "symmetric"),
        ([[0.8, 0.2], [0.09, 0.91]], "asymmetric"),
        (np.eye(2), "symmetric"),
    ],
)
def test_type_that_a_matrix_implies(T, expected: str) -> None:
    assert type_of(np.array(T)) == expected


def test_head_remembers_what_it_was_told() -> None:
    assert trained("ce").told == {}
    assert trained("coteaching").told == {"noise_rate": 0.1, "estimated": []}
    rows = trained("forward_oracle").told["transition"]
    np.testing.assert_array_equal(rows, GIVEN["transition"])


def test_missing_fact_is_estimated_from_features_and_labels() -> None:
    told = trained("coteaching", noise_rate=None, transition=None).told
    assert told["estimated"] == ["noise_rate"]
    assert 0.01 <= told["noise_rate"] <= 0.6


# Files.


@pytest.mark.parametrize("name", ["ce", "dividemix", "cufit", "turn", "forward_oracle"])
@pytest.mark.parametrize("head", ["linear", "adapter"])
def test_file_gives_back_the_head(name: str, head: str, tmp_path: Path) -> None:
    kept = trained(name, head, classes=["a", "b", "ü"], feature_names=[f"f{i}" for i in range(D)])
    kept.save(tmp_path / "new" / "head.safetensors")
    back = load_head(tmp_path / "new" / "head.safetensors")
    np.testing.assert_array_equal(back.logits(X_TEST), kept.logits(X_TEST))
    assert back.predict(X_TEST).tolist() == kept.predict(X_TEST).tolist()
    assert set(kept.options) == {option.name for option in fields(METHODS[name])}
    for field in ("kind", "classes", "method", "options", "recipe", "seed", "told", "feature_names"):
        assert getattr(back, field) == getattr(kept, field), field
    assert (back.mean.dtype, back.weights["W"].dtype) == (np.float64, np.float32)


@pytest.mark.parametrize("classes", [("a", "b", "c"), (-4, 0, 9)])
def test_classes_come_back_as_they_were(classes: tuple, tmp_path: Path) -> None:
    trained(classes=classes).save(tmp_path / "h.safetensors")
    back = load_head(tmp_path / "h.safetensors").classes
    assert (back, [type(c) for c in back]) == (classes, [type(c) for c in classes])


def test_truth_values_come_back(tmp_path: Path) -> None:
    kept = train_head(X, Y_NOISY % 2, 2, method="ce", recipe=SHORT, classes=[False, True], device="cpu")
    kept.save(tmp_path / "h.safetensors")
    assert load_head(tmp_path / "h.safetensors").predict(X_TEST).dtype == bool


def test_equal_heads_are_equal_files_and_hold_no_code(tmp_path: Path) -> None:
    for name in ("one", "two"):
        trained("coteaching").save(tmp_path / name)
    data = (tmp_path / "one").read_bytes()
    assert data == (tmp_path / "two").read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert set(json.loads(data[8 : 8 + length])) == {"__metadata__", "mean", "std", "V", "U", "W", "b"}
    assert list(tmp_path.glob(".*")) == []


def test_pickle_gives_back_the_head() -> None:
    kept = trained()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kept)).logits(X_TEST), kept.logits(X_TEST))


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(WriteError, match="cannot write"):
        trained().save(tmp_path / "file" / "head.safetensors")
    assert (tmp_path / "file").read_text() == "kept"


def header_of(path: Path) -> dict:
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["noisylib"])


def rewritten(path: Path, **changes) -> None:
    """Change the header, and leave arrays and checksum as they are."""
    text = {"noisylib": json.dumps(header_of(path) | changes)}
    save_file(load_file(path), path, metadata=text)


def resealed(edit: Callable[[dict, dict], None]) -> Callable[[Path], None]:
    """Change facts or arrays, with a checksum that fits them."""

    def change(path: Path) -> None:
        facts, arrays = json.loads(header_of(path)["facts"]), load_file(path)
        edit(facts, arrays)
        write_head(path, facts, arrays)

    return change


def _nan(facts: dict, arrays: dict) -> None:
    arrays["W"][0, 1, 2] = np.nan


def _one_class_less(facts: dict, arrays: dict) -> None:
    arrays["W"] = arrays["W"][:, 1:]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-7]), "not a readable head"),
        (lambda p: p.write_bytes(b""), "not a readable head"),
        (lambda p: p.write_bytes(pickle.dumps({"W": 1})), "not a readable head"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1] + b"\x3f"), "altered or damaged"),
        (lambda p: rewritten(p, facts="{}"), "altered or damaged"),
        (lambda p: rewritten(p, format="noisylib-head-2"), "format 'noisylib-head-2'.* upgrade"),
        (lambda p: rewritten(p, format="noisylib-bank-1"), "holds a feature bank, not a trained head"),
        (lambda p: save_file({"W": np.ones(3)}, p), "holds something else, not a trained head"),
        (resealed(_nan), "W holds NaN"),
        (resealed(_one_class_less), r"W has shape \(1, 2, 5\): \(1, 3, 5\)"),
        (resealed(lambda f, a: a.pop("U")), r"weights holds .*'b'.* has .*'U'"),
        (resealed(lambda f, a: a.update(extra=np.ones((1, 1, 1)))), "weights holds .*'extra'"),
        (resealed(lambda f, a: a.pop("std")), "no usable head .'std'"),
        (resealed(lambda f, a: a.pop("W")), "'W' is needed"),
        (resealed(lambda f, a: a.update(std=np.zeros(D))), "std holds values that are not above 0"),
        (resealed(lambda f, a: a.update(mean=np.zeros(D - 1))), "has shape"),
        (resealed(lambda f, a: f.update(kind="forest")), "kind='forest' is unknown"),
        (resealed(lambda f, a: f.update(classes=["a", "a", "b"])), "two different labels"),
        (resealed(lambda f, a: f.update(feature_names=["a"] * D)), "feature_names holds 1 different names"),
        (resealed(lambda f, a: f.pop("classes")), "no usable head .'classes'"),
        (resealed(lambda f, a: f["recipe"].update(epochs=0)), "recipe.epochs=0"),
        (resealed(lambda f, a: f["recipe"].update(patience=3)), "unexpected keyword"),
    ],
)
def test_damaged_files_are_refused(damage: Callable[[Path], None], text: str, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    trained().save(path)
    damage(path)
    with pytest.raises(NoisylibError, match=text) as caught:
        load_head(path)
    assert str(path) in str(caught.value)


def test_features_are_ordered_by_name() -> None:
    kept = trained(feature_names=[f"f{i}" for i in range(D)])
    turned = kept.feature_names[::-1]
    assert kept.order_of(turned) == list(range(D))[::-1]
    np.testing.assert_array_equal(X_TEST[:, ::-1][:, kept.order_of(turned)], X_TEST)
    for names in (turned[1:], (*turned, "age")):
        with pytest.raises(NoisylibError, match=r"are missing, .* were not there"):
            kept.order_of(names)


def test_missing_file() -> None:
    with pytest.raises(MissingDataError, match=r"no trained head at nowhere"):
        load_head("nowhere.safetensors")


def test_default_recipe_is_the_packages() -> None:
    assert train_head(X[:20], Y_NOISY[:20] % 2, 2, device="cpu").recipe == Recipe()
