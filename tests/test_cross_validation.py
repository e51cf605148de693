"""Cross-validated probabilities of any head: the same as a method's, and never from the own label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of

from noisylib.cross_validation import cross_validate
from noisylib.errors import NoisylibError
from noisylib.heads import HEAD_KINDS
from noisylib.methods import out_of_fold
from noisylib.methods.out_of_fold import stratified_folds
from noisylib.recipe import Recipe

K, N, D = 3, 61, 4
X, Y = blobs(N, K, D)
RUNS = np.stack([Y, np.roll(Y, 1), (Y + (np.arange(N) % 7 == 0)) % K])
SEEDS = [4, 9, 4]
SHORT = Recipe(epochs=3, batch_size=16, learning_rate=0.03, score_epochs=1, width=4)


def probabilities(y: np.ndarray = RUNS, **changes) -> np.ndarray:
    """Probabilities (R, N, K) of the small bank in float64."""
    options = {"n_classes": K, "seeds": SEEDS[: len(np.atleast_2d(y))], "folds": 4, "recipe": SHORT}
    options |= {"X": X, "device": "cpu", "dtype": F64} | changes
    return cross_validate(options.pop("X"), y, **options)


def test_a_linear_head_gives_what_the_methods_see() -> None:
    bank = bank_of("ce", X, RUNS, K=K, seeds=SEEDS, standardise=True, **_settings(SHORT))
    expected = bank.layout.gather(out_of_fold.out_of_fold(bank, 4, SHORT.epochs))
    assert np.array_equal(probabilities(head="linear"), expected.numpy())
    assert np.array_equal(probabilities(), expected.numpy()), "the linear head is the default"


def _settings(recipe: Recipe) -> dict[str, object]:
    return {name: getattr(recipe, name) for name in ("epochs", "batch_size", "learning_rate", "width")}


@pytest.mark.parametrize("head", HEAD_KINDS)
def test_each_fold_has_the_head_that_a_bank_without_its_samples_trains(head: str) -> None:
    """One batch an epoch: fold f's head is cross entropy on the samples of the other folds."""
    recipe = {"epochs": 6, "batch_size": N, "learning_rate": 0.05, "decay_at": (0.5,), "width": 4}
    P = probabilities(Y, head=head, recipe=Recipe(**recipe, standardise=False, score_epochs=1))[0]
    fold = stratified_folds(torch.as_tensor(Y).view(1, 1, N), (SEEDS[0],), 4, K)[0, 0].numpy()
    for f in range(4):
        seen = fold != f
        alone = bank_of("ce", X[seen], Y[seen], K=K, head=head, seeds=SEEDS[:1], **recipe)
        # Network f of a run has a start of its own.
        start = out_of_fold.HeadBank(head, SEEDS[:1], D, K, first_net=f, width=4, dtype=F64)
        alone.networks.banks[0].flat.copy_(start.flat)
        for epoch in range(6):
            alone.train_epoch(epoch, None)
        z = alone.forward(alone.prepare(torch.as_tensor(X[~seen])))[0, 0, 0]
        np.testing.assert_allclose(P[~seen], z.softmax(-1).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("head", HEAD_KINDS)
def test_a_probability_never_depends_on_the_samples_own_label(head: str, monkeypatch) -> None:
    """With folds held, another label of sample i changes P of samples in other folds, never its own."""
    fold = torch.arange(N).expand(1, 1, N) % 4
    monkeypatch.setattr(out_of_fold, "stratified_folds", lambda *_: fold)
    before = probabilities(Y, head=head)[0]
    for i in (0, 17, N - 1):
        changed = Y.copy()
        changed[i] = (Y[i] + 1) % K
        same = (probabilities(changed, head=head)[0] == before).all(-1)
        assert same.tolist() == (fold[0, 0] == fold[0, 0, i]).tolist()


@pytest.mark.parametrize("head", HEAD_KINDS)
def test_runs_do_not_see_each_other_and_come_back_in_order(head: str) -> None:
    together = probabilities(head=head)
    assert together.shape == (3, N, K)
    for run, seed in enumerate(SEEDS):
        alone = probabilities(RUNS[run], head=head, seeds=[seed])
        np.testing.assert_allclose(together[run], alone[0], rtol=0, atol=1e-13)
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_probabilities_are_distributions_in_double_precision() -> None:
    P = probabilities(dtype=torch.float32)
    assert P.dtype == np.float64
    np.testing.assert_allclose(P.sum(-1), 1, rtol=0, atol=1e-14)


def test_the_whole_recipe_counts() -> None:
    base = probabilities()
    for changes in ({"epochs": 4}, {"learning_rate": 0.05}, {"batch_size": 8}, {"standardise": False}):
        settings = _settings(SHORT) | {"score_epochs": 1} | changes
        assert np.abs(probabilities(recipe=Recipe(**settings)) - base).max() > 1e-3, changes


def test_without_a_recipe_it_is_the_default_one(monkeypatch) -> None:
    seen = {}
    monkeypatch.setattr(
        "noisylib.cross_validation.held_out_probabilities",
        lambda X, y, *_, **options: seen.update(options) or torch.zeros((*y.shape, K), dtype=F64),
    )
    cross_validate(X, RUNS, n_classes=K, seeds=SEEDS, device="cpu")
    assert seen == {"folds": 5, "recipe": Recipe(), "head": "linear"}


FEW = np.where((Y == 2) & (np.cumsum(Y == 2) > 3), 1, Y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.stack([Y, FEW]), "seeds": [0, 0]}, r"y_noisy\[1\] has class 2 only 3 times.*fewer folds"),
        ({"n_classes": 4}, r"class 3 only 0 times.*folds=4"),
        ({"folds": 1}, "folds=1: .*at least 2"),
        ({"folds": True}, "folds=True"),
        ({"folds": 2.5}, "folds=2.5"),
        ({"seeds": [1]}, "seeds has length 1, but y_noisy has 3"),
        ({"y": RUNS[:, 1:]}, "60 labels per run, but X has 61"),
        ({"y": RUNS + 1}, r"y_noisy\[0\].*outside 0\.\.2"),
        ({"y": RUNS[:0], "seeds": []}, "no run"),
        ({"X": np.r_[X[1:], [[np.nan] * D]]}, "X has NaN"),
        ({"head": "tree"}, "head='tree'"),
    ],
)
def test_what_cannot_be_cross_validated_is_named(changes: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        probabilities(changes.pop("y", RUNS), **changes)
