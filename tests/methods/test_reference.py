"""Every method equals a plain loop over single samples, in float64, over its whole schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from blobs import blobs
from reference import plain_loop
from reference.semisupervised import published_choice

from noisylib.methods import METHODS, make_method
from noisylib.recipe import Recipe
from noisylib.training import train_bank

K, D, WIDTH = 3, 6, 5
COUNTS = (14, 9, 6)  # 29 samples in batches of 12: the last batch holds 5; the last class is rare
EPOCHS, BATCH, RATE, DECAY, DECAY_AT = 6, 12, 0.02, 0.01, (0.67, 0.9)
# Two runs share a seed and its batches but neither labels nor what they are told.
SEEDS = [3, 8, 3]
NOISE_RATES = [0.1, 0.25, 0.3]
NOISE_TYPES = ["symmetric", "symmetric", "asymmetric"]
TRANSITIONS = np.array(
    [
        [[0.90, 0.05, 0.05], [0.04, 0.90, 0.06], [0.05, 0.05, 0.90]],
        [[0.75, 0.15, 0.10], [0.10, 0.75, 0.15], [0.20, 0.05, 0.75]],
        [[0.60, 0.40, 0.00], [0.00, 1.00, 0.00], [0.25, 0.00, 0.75]],
    ]
)
ALL_HEADS = ("linear", "mlp", "adapter")


@dataclass(frozen=True)
class Case:
    """A method with options under which six epochs hold its whole schedule."""

    name: str
    options: dict[str, float] = field(default_factory=dict)
    heads: tuple[str, ...] = ALL_HEADS
    views: int = 0
    copies: int = 1
    label: str = ""


SEMI = {
    "warm_up": 0.34,
    "ramp_epochs": 2.5,
    "temperature": 0.5,
    "alpha": 4.0,
    "prior_weight": 1.0,
}  # two epochs of warm-up
NUMBERS = {"unlabelled_weight": 7.0, "warm_up_penalty": 0.5, "threshold": 0.6, "drop": 0.25}
FOLDS = {"folds": 3, "fold_epochs": 4}
UNICON = {"filter": 5.0, "unlabelled_weight": 30.0, "weak_drop": 0.1, "strong_drop": 0.2}
CASES = [
    Case("ce"),
    Case("ls", {"smoothing": 0.1}),
    Case("gce", {"q": 0.7}),
    # Weights of one for two epochs, then refreshed at epochs 2 and 4.
    Case("tgce", {"q": 0.7, "k": 0.5, "start_at": 0.3333, "refresh": 2}),
    Case("sce", {"alpha": 0.1, "beta": 1.0, "log_zero": -4.0}),
    Case("elr", {"lam": 3.0, "beta": 0.7}),
    Case("forward", {**FOLDS, "percentile": 97}),
    Case("forward_oracle"),
    Case("backward"),
    # A ramp of 4 epochs inside 6 covers the rise, the corner and the plateau.
    Case("coteaching", {"ramp_epochs": 4, "exponent": 1}),
    Case("jocor", {"ramp_epochs": 4, "exponent": 1, "lam": 0.9}),
    Case("coteaching_quota", {"ramp_epochs": 4, "exponent": 1}),
    Case("coteaching_class_tau", {"ramp_epochs": 4, "exponent": 0.5}),
    Case("coteaching_balanced", {"ramp_epochs": 4, "exponent": 1}),
    Case("ce_balanced"),
    Case("cufit"),
    Case("cl_prune", FOLDS),
    Case("dividemix", {**SEMI, "threshold": 0.5, "drop": 0.1}, label="told"),
    Case("dividemix", {**SEMI, **NUMBERS}, views=3, label="views"),
    Case("dividemix", {**SEMI, **NUMBERS, "prior_weight": 0.3}, label="prior"),
    Case("unicon", {**SEMI, **UNICON, "d_mu": 0.3, "filter": 4.0}),
    Case("unicon", {**SEMI, **UNICON, "d_mu": 0.7}, views=5, label="views"),
    Case("turn", {"q": 0.7, "probe": 0.4, "tau": 0.6}, ("linear", "adapter")),
    Case("rcal", {"neighbours": 7, "heads": 1, "mix": 0.5, "cap": 5, "alpha": 1.0}),
    Case("rcal", {"neighbours": 5, "heads": 3, "mix": 0.3, "cap": 1, "alpha": 0.4}, label="capped"),
    # Three times the samples: these look at up to 51 neighbours.
    Case("knn", {"k": 11}, ("linear",), copies=3),
    Case("ann", {"kmin": 11, "kmax": 51}, ("linear",), copies=3),
    Case("wann", {"kmin": 11, "kmax": 51}, ("linear",), copies=3),
    Case("wann", {"kmin": 3, "kmax": 9}, ("linear",), label="few"),
]
RUNS = [
    pytest.param(case, head, id="-".join(filter(None, [case.name, case.label, head])))
    for case in CASES
    for head in case.heads
]


def _data(copies: int) -> tuple[np.ndarray, np.ndarray]:
    """X (N, D) and observed labels (R, N): few wrong, many wrong, and wrong in one direction."""
    X, y = blobs(400, K, D)
    rows = np.concatenate([np.flatnonzero(y == c)[: copies * n] for c, n in enumerate(COUNTS)])
    rows = np.random.default_rng(5).permutation(rows)
    X, y, at = X[rows], y[rows], np.arange(len(rows))
    X[[4, 11, 23]] *= 4  # far out, for RCAL to drop
    one_way = np.where((y == 0) & (at % 5 < 2), 1, np.where((y == 2) & (at % 4 == 0), 0, y))
    return X, np.stack([(y + (at % 10 == 0)) % K, (y + (at % 4 == 0) * (1 + at % 2)) % K, one_way])


def _views(X: np.ndarray, count: int) -> np.ndarray | None:
    return X + np.random.default_rng(7).normal(size=(count, *X.shape)) * 0.4 if count else None


def _reference_rule(case: Case, run: int) -> dict:
    """The options of the case and what this run is told of its noise."""
    told = {}
    if case.name in ("coteaching", "jocor", "coteaching_quota", "coteaching_balanced"):
        told = {"noise_rate": NOISE_RATES[run]}
    if case.name in ("forward_oracle", "backward", "coteaching_class_tau"):
        told = {"transition": TRANSITIONS[run]}
    if case.name == "dividemix":
        told = published_choice(NOISE_RATES[run], NOISE_TYPES[run] == "asymmetric")
    return {"name": case.name, **told, **case.options}


def test_every_registered_method_has_a_reference() -> None:
    assert {case.name for case in CASES} == set(METHODS) == set(plain_loop.RULES)


@pytest.mark.parametrize(("case", "head"), RUNS)
def test_method_equals_plain_loop(case: Case, head: str) -> None:
    _compare(case, head, *_data(case.copies))


FEW = [
    "dividemix",
    "unicon",
    "turn",
    "rcal",
    "knn",
    "coteaching_class_tau",
    "coteaching_balanced",
    "ce_balanced",
]


@pytest.mark.parametrize("name", FEW)
def test_method_equals_plain_loop_where_a_class_has_few_labels_or_none(name: str) -> None:
    X, y_noisy = _data(1)
    for labels, left in zip(y_noisy, (0, 2, 3), strict=True):
        labels[np.flatnonzero(labels == 2)[left:]] = 1
    assert [(labels == 2).sum() for labels in y_noisy] == [0, 2, 3]
    _compare(next(case for case in CASES if case.name == name), "linear", X, y_noisy)


def _compare(case: Case, head: str, X: np.ndarray, y_noisy: np.ndarray) -> None:
    X_test, y_test = blobs(12, K, D, seed=1)
    views = _views(X, case.views)
    recipe = Recipe(
        epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE, weight_decay=DECAY, score_epochs=EPOCHS,
        decay_at=DECAY_AT, width=WIDTH,
    )  # fmt: skip
    result = train_bank(
        X, y_noisy, X_test, y_test, n_classes=K, method=make_method(case.name, case.options), head=head,
        seeds=SEEDS, noise_rates=NOISE_RATES, noise_types=NOISE_TYPES, transitions=TRANSITIONS,
        views=views, recipe=recipe, dtype=torch.float64, device="cpu",
    )  # fmt: skip
    for run, seed in enumerate(SEEDS):
        history, _ = plain_loop.train(
            X, y_noisy[run], X_test, _reference_rule(case, run), kind=head, seed=seed, K=K, epochs=EPOCHS,
            batch_size=BATCH, lr=RATE, decay=DECAY, decay_at=DECAY_AT, width=WIDTH, views=views,
        )  # fmt: skip
        np.testing.assert_allclose(result.test_logits[run], history[-1], rtol=0, atol=1e-10)
        accuracy = (history.argmax(-1) == y_test).mean(-1)
        np.testing.assert_allclose(result.accuracy_history[:, run], accuracy, rtol=0, atol=1e-12)
