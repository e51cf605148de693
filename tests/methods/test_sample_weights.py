"""Sample weights: what they do to a step, which methods take them, and that 1 is no weight."""

from __future__ import annotations

import numpy as np
import pytest
from blobs import blobs
from reference import plain_loop
from reference.heads import ce
from reference.remedies import balanced
from reference.run import Batch, Run
from small_bank import SHORT, X_TEST, D, K, N, X, facts, noisy, small, train
from steps import bank_of, batch_of, watched_step
from torch import Tensor

from noisylib.errors import NoisylibError
from noisylib.methods import METHODS, Method

WEIGHTED = [name for name, cls in METHODS.items() if cls.mean_of_samples]
# Whatever these estimate or count is of all samples, those of weight 0 included.
COUNTING = ["forward", "ce_balanced"]


def weights(runs: int, n: int = N) -> np.ndarray:
    """Weights (runs, n) from 0 to 3, other ones in each run, of no particular mean."""
    return np.random.default_rng(3).integers(0, 4, (runs, n)).astype(float)


def scaled(w: np.ndarray) -> np.ndarray:
    return w / w.mean(-1, keepdims=True)


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("value", [1.0, 3.0, 1e308])
def test_equal_weights_change_nothing_bit_for_bit(name: str, value: float) -> None:
    without = train(noisy(2), name)
    weighted = train(noisy(2), name, sample_weight=np.full((2, N), value))
    np.testing.assert_array_equal(weighted.test_logits, without.test_logits)


@pytest.mark.parametrize("name", WEIGHTED)
def test_weighted_run_equals_plain_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the plain loop each sample's loss is multiplied by its weight over the mean weight."""
    w, y, told = weights(2), noisy(2), facts(2)
    result = train(y, name, seeds=[3, 3], sample_weight=w, head="linear")
    for run in range(2):
        each = scaled(w)[run].tolist()
        rule = type("Weighted", (plain_loop.RULES[name],), {"losses": LOSSES.get(name, mean_loss)(each)})
        monkeypatch.setitem(plain_loop.RULES, name, rule)
        options = {**vars(small(name)), "name": name}
        if METHODS[name].told:
            options["transition"] = told["transitions"][run]
        history, _ = plain_loop.train(
            X, y[run], X_TEST, options, kind="linear", seed=3, K=K, epochs=SHORT.epochs,
            batch_size=SHORT.batch_size, lr=SHORT.learning_rate, decay=SHORT.weight_decay,
            decay_at=SHORT.decay_at, width=SHORT.width,
        )  # fmt: skip
        monkeypatch.undo()
        np.testing.assert_allclose(result.test_logits[run], history[-1], rtol=0, atol=1e-10)


def mean_loss(w: list[float]):
    def losses(rule, run: Run, batch: Batch) -> list[Tensor]:
        each = [w[i] * rule.sample_loss(run.logits(0, run.X[i]), run.y[i], i) for i in batch.samples]
        return [sum(each) / len(each)]

    return losses


def cufit_losses(w: list[float]):
    def losses(rule, run: Run, batch: Batch) -> list[Tensor]:
        totals = [0.0, 0.0, 0.0]
        for i in batch.samples:
            z = [run.logits(net, run.X[i]) for net in range(3)]
            agrees = [float(int(z[net].argmax()) == run.y[i]) for net in range(2)]
            for net, mask in enumerate([1.0, *agrees]):
                totals[net] = totals[net] + w[i] * mask * ce(z[net], run.y[i])
        return [total / len(batch.samples) for total in totals]

    return losses


def balanced_losses(w: list[float]):
    def losses(rule, run: Run, batch: Batch) -> list[Tensor]:
        each = [w[i] * balanced(run, run.logits(0, run.X[i]), run.y[i]) for i in batch.samples]
        return [sum(each) / len(each)]

    return losses


LOSSES = {"cufit": cufit_losses, "ce_balanced": balanced_losses}


@pytest.mark.parametrize("name", WEIGHTED)
def test_weight_multiplies_the_samples_part_of_the_gradient(name: str) -> None:
    """15 samples, one of weight 2: the mean is 16/15, its part 30/16 of what it was, that of others 15/16."""
    points, y = blobs(15, K, D)
    w = np.ones(15)
    w[3] = 2
    told = {key: values[:1] for key, values in facts(1).items()}
    seen = [
        watched_step(bank, batch_of(bank, [0, 3, 7, 11])).gradient.numpy()
        for bank in (
            bank_of(small(name), points, y, K=K, told=told),
            bank_of(small(name), points, y, K=K, told=told | {"sample_weight": w}),
        )
    ]
    share = np.array([15 / 16, 30 / 16, 15 / 16, 15 / 16])[:, None]
    np.testing.assert_allclose(seen[1], seen[0] * share, rtol=1e-13, atol=0)
    assert np.abs(seen[0]).max() > 0.01


@pytest.mark.parametrize("name", [name for name in WEIGHTED if name not in COUNTING])
def test_weight_zero_is_absence_in_full_batches(name: str) -> None:
    y, kept = noisy(1), np.arange(N) % 4 > 0
    settings = {"batch_size": N, "standardise": False}
    recipe = SHORT.__class__(**{**vars(SHORT), **settings})
    weighted = train(y, name, recipe=recipe, sample_weight=kept.astype(float))
    without = train(y[:, kept], name, recipe=recipe, X=X[kept])
    every = train(y, name, recipe=recipe)
    np.testing.assert_allclose(weighted.test_logits, without.test_logits, rtol=0, atol=1e-9)
    assert np.abs(weighted.test_logits - every.test_logits).max() > 1e-3


def test_runs_have_weights_of_their_own() -> None:
    w, y = weights(3), noisy(3)
    together = train(y, "gce", seeds=[4, 1, 4], sample_weight=w)
    for run, seed in enumerate([4, 1, 4]):
        alone = train(y[run], "gce", seeds=[seed], sample_weight=w[run])
        np.testing.assert_allclose(together.test_logits[run], alone.test_logits[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WEIGHTED])
def test_other_methods_refuse_weights(name: str) -> None:
    with pytest.raises(NoisylibError, match=rf"sample_weight does not fit method '{name}'.*: ce, ls, gce"):
        train(noisy(1), name, sample_weight=np.ones(N))


def test_weighted_methods_keep_the_step_that_weighs() -> None:
    assert set(WEIGHTED) >= {"ce", "ls", "gce", "sce", "elr", "forward", "cufit"}
    assert all(METHODS[name].step is Method.step for name in WEIGHTED)


@pytest.mark.parametrize(
    ("w", "text"),
    [
        (np.ones(N - 1), rf"shape \(1, {N - 1}\)"),
        (np.ones((2, N)), rf"shape \(2, {N}\): \(1, {N}\)"),
        (np.r_[-1, np.ones(N - 1)], "negative"),
        (np.r_[np.nan, np.ones(N - 1)], "NaN"),
        (np.r_[np.inf, np.ones(N - 1)], "infinite"),
        (np.zeros(N), "0 throughout"),
        (["heavy"] * N, "not an array of numbers"),
    ],
)
def test_weights_that_make_no_sense(w, text: str) -> None:
    with pytest.raises(NoisylibError, match=text):
        train(noisy(1), sample_weight=w)
