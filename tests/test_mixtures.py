"""Mixtures against scikit-learn from the same start, closed forms, and what must not matter."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch.testing import assert_close

from noisylib import mixtures
from noisylib.errors import NoisylibError
from noisylib.mixtures import Mixture, fit_mixture, low_posterior, scale_to_unit

REG = 5e-4
KINDS = {
    "losses": lambda r, n: np.where(r.random(n) < 0.4, r.normal(3.0, 0.6, n), r.exponential(0.4, n)) / 5,
    "imbalanced": lambda r, n: np.where(r.random(n) < 0.02, r.normal(1.0, 0.2, n), r.normal(0.0, 0.1, n)),
    "heavy tails": lambda r, n: r.standard_t(1.5, n),
    "skewed": lambda r, n: r.lognormal(0.0, 2.0, n),
    "uniform": lambda r, n: r.random(n),
    "whole numbers": lambda r, n: r.integers(0, 4, n).astype(float),
    "far from zero": lambda r, n: 1000 + r.exponential(1.0, n),
}


def hard_start(values: np.ndarray, reg: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and variances of 2-means, written out for one problem; ties count as low."""
    threshold, before, tie = values.mean(), -1, 1e-9 * np.ptp(values) / 2
    while True:
        low = values <= threshold + tie
        if low.sum() == before:
            groups = values[low], values[~low]
            return (
                np.array([len(g) / len(values) for g in groups]),
                np.array([g.mean() for g in groups]),
                np.array([g.var() + reg for g in groups]),
            )
        before = low.sum()
        threshold = (values[low].mean() + values[~low].mean()) / 2


def sklearn_fit(values: np.ndarray, start=None, *, max_iter=10, tol=1e-2, reg=REG):
    """scikit-learn's mixture of one problem, and its posterior of the component with the lower mean."""
    weights, means, variances = hard_start(values, reg) if start is None else start
    mixture = GaussianMixture(
        2,
        max_iter=max_iter,
        tol=tol,
        reg_covar=reg,
        weights_init=weights,
        means_init=means[:, None],
        precisions_init=1 / variances[:, None, None],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(values[:, None])
    return mixture, mixture.predict_proba(values[:, None])[:, mixture.means_.argmin()]


def assert_agrees(values: np.ndarray, start=None, **options) -> Mixture:
    """Fit all rows (P, N) at once and compare each with scikit-learn's fit of that row."""
    batched = torch.from_numpy(values)
    init = None if start is None else tuple(torch.from_numpy(part) for part in start)
    got = fit_mixture(batched, init=init, **options)
    posterior = got.low_posterior(batched)
    assert torch.equal(low_posterior(batched, init=init, **options), posterior)
    for i, row in enumerate(values):
        expected, low = sklearn_fit(row, None if start is None else [part[i] for part in start], **options)
        order = expected.means_[:, 0].argsort(kind="stable")
        np.testing.assert_allclose(posterior[i].numpy(), low, rtol=0, atol=1e-8)
        np.testing.assert_allclose(got.weights[i].numpy(), expected.weights_[order], rtol=0, atol=1e-8)
        np.testing.assert_allclose(got.means[i].numpy(), expected.means_[order, 0], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(
            got.variances[i].numpy(), expected.covariances_[order, 0, 0], rtol=1e-7, atol=0
        )
        assert (got.iterations[i], got.converged[i]) == (expected.n_iter_, expected.converged_)
    return got


@pytest.mark.parametrize("n", [2, 3, 10, 300, 2500])
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_scikit_learn(kind: str, n: int) -> None:
    random = np.random.default_rng(n)
    values = np.stack([KINDS[kind](random, n) for _ in range(8)])
    values = values[np.ptp(values, axis=1) > 0]
    assert_agrees(values)
    assert_agrees(values, max_iter=3, tol=1e-3, reg=1e-2)
    got = assert_agrees(values, max_iter=60, tol=1e-5, reg=1e-3)
    if n > 100 and kind in ("losses", "imbalanced", "skewed"):
        assert len(set(got.iterations.tolist())) > 3  # rows leave the batch one after the other


@pytest.mark.parametrize(
    "row",
    [
        [0.0, 1.0],
        [0.0, 0.0, 1.0],
        [0.2] * 7 + [0.9] * 2,
        [0.0] * 49 + [1.0],
        [*np.linspace(0.0, 0.01, 30), 40.0],
        [0.0, 0.5, 1.0],
        [5.0, 5.0 + 1e-9],
        [0.0, 1e-5, 2e-5],
    ],
    ids=["two", "three", "two values", "an outlier", "a far outlier", "a tie", "nearly equal", "close"],
)
def test_agrees_with_scikit_learn_on_degenerate_values(row: list[float]) -> None:
    assert_agrees(np.array([row]))
    assert_agrees(np.array([row, row[::-1]]), max_iter=1)


@pytest.mark.parametrize("empty_mean", [60.0, -60.0])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_empty_component_goes_where_scikit_learn_puts_it(empty_mean: float, offset: float) -> None:
    """Its mean goes to 0, wherever the values are: for three iterations, before it takes up values again."""
    values = np.random.default_rng(0).normal(0.5, 0.1, (2, 400)) + offset
    start = [np.array([pair, pair]) for pair in ([0.5, 0.5], [0.5 + offset, empty_mean], [0.01, 0.01])]
    got = assert_agrees(values, start, max_iter=1)
    assert got.weights.amin(1).tolist() == pytest.approx([0.0, 0.0], abs=1e-15)
    assert_agrees(values, start, max_iter=3, tol=0.0)


def test_equal_components_stay_equal() -> None:
    """All posteriors are 1/2, so their product over a row would underflow if it were taken at once."""
    values = np.random.default_rng(0).random((1, 2500))
    start = [np.array([pair]) for pair in ([0.5, 0.5], [0.5, 0.5], [0.1, 0.1])]
    got = assert_agrees(values, start)
    assert (got.iterations.item(), got.converged.item()) == (2, True)


@pytest.mark.parametrize("row", [[0.7] * 5, [0.0] * 5, [-3.0]])
def test_degenerate_problem_has_one_component(row: list[float]) -> None:
    values = torch.tensor([row, row], dtype=torch.float64)
    got = fit_mixture(values)
    assert torch.equal(low_posterior(values), torch.ones_like(values))
    assert got.weights.tolist() == [[1.0, 0.0]] * 2
    assert got.means.tolist() == [[row[0]] * 2] * 2
    assert got.variances.tolist() == [[REG] * 2] * 2
    assert (got.iterations.tolist(), got.converged.tolist()) == ([0, 0], [True, True])


def test_degenerate_problems_do_not_disturb_others() -> None:
    values = torch.rand(3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values[1] = 0.3
    assert_close(low_posterior(values)[::2], low_posterior(values[::2]), rtol=0, atol=1e-12)
    assert torch.equal(low_posterior(values)[1], torch.ones(40, dtype=torch.float64))


def test_mask_equals_dropping() -> None:
    """Whatever is under the mask; classes of 900, 37, 2, 1 and 0 values, and one of equal values."""
    random = np.random.default_rng(1)
    values = torch.from_numpy(np.stack([KINDS["losses"](random, 900) for _ in range(6)]))
    mask = torch.zeros(values.shape, dtype=torch.bool)
    for row, count in enumerate((900, 37, 2, 1, 0, 20)):
        mask[row, torch.from_numpy(random.permutation(900)[:count])] = True
    values[5, mask[5]] = 0.25
    hidden = values.clone()
    hidden[~mask] = torch.tensor([math.nan, math.inf, -5.0]).to(values)[torch.arange((~mask).sum()) % 3]
    got, scaled = low_posterior(hidden, mask), scale_to_unit(hidden, mask)
    fitted = fit_mixture(hidden, mask)
    assert not got[~mask].any()
    assert not scaled[~mask].any()
    for row in range(4):
        alone = values[row, mask[row]]
        assert_close(got[row, mask[row]], low_posterior(alone), rtol=0, atol=1e-12)
        assert_close(scaled[row, mask[row]], scale_to_unit(alone), rtol=0, atol=0)
        dropped = fit_mixture(alone)
        assert_close(fitted.means[row], dropped.means, rtol=0, atol=1e-12)
        assert fitted.iterations[row] == dropped.iterations
    assert got[3, mask[3]].tolist() == [1.0]
    assert got[5, mask[5]].tolist() == [1.0] * 20
    assert fitted.weights[4].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("block", [1, 1000, 2**18])
def test_result_does_not_depend_on_neighbours(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mixtures.BLOCK, "cpu", block)
    random = np.random.default_rng(2)
    values = torch.from_numpy(np.stack([make(random, 400) for make in KINDS.values() for _ in range(3)]))
    options = {"max_iter": 40, "tol": 1e-4}
    together = fit_mixture(values, **options)
    posterior = low_posterior(values, **options)
    assert len(set(together.iterations.tolist())) > 5
    for i, row in enumerate(values):
        alone = fit_mixture(row, **options)
        assert together.iterations[i] == alone.iterations
        assert_close(posterior[i], alone.low_posterior(row), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_values_does_not_matter(kind: str) -> None:
    random = np.random.default_rng(3)
    values = torch.from_numpy(KINDS[kind](random, 300))
    order = torch.from_numpy(random.permutation(300))
    assert_close(low_posterior(values[order]), low_posterior(values)[order], rtol=0, atol=1e-10)


def test_order_does_not_decide_a_tie() -> None:
    """The mean of 0.1 to 0.9 is 0.5 but for rounding, which depends on the order of the sum."""
    random = np.random.default_rng(0)
    orders = torch.from_numpy(np.stack([random.permutation(9) for _ in range(200)]))
    values = torch.arange(1, 10, dtype=torch.float64) / 10
    expected = low_posterior(values)[orders]
    assert_close(low_posterior(values[orders]), expected, rtol=0, atol=1e-10)


def test_separates_two_gaussians() -> None:
    """N(.1, .02^2) and N(.8, .05^2): nearly no error, and the posterior falls between the means."""
    random = np.random.default_rng(4)
    from_low = np.arange(5000) < 3000
    values = np.where(from_low, random.normal(0.1, 0.02, 5000), random.normal(0.8, 0.05, 5000))
    mixture = fit_mixture(torch.from_numpy(values))
    accuracy = ((mixture.low_posterior(torch.from_numpy(values)).numpy() > 0.5) == from_low).mean()
    assert accuracy > 0.999
    between = mixture.low_posterior(torch.linspace(0.1, 0.8, 200, dtype=torch.float64))
    assert (between.diff() <= 0).all()
    # Strictly, but for where it rounds to 1.
    assert (between.diff() < 0)[between[1:] < 1 - 1e-12].all()
    assert between[0] > 0.999
    assert between[-1] < 1e-9
    # Within 6 standard errors of the truth; the variances carry `reg`.
    assert mixture.weights.tolist() == pytest.approx([0.6, 0.4], abs=1e-9)
    assert mixture.means.tolist() == pytest.approx([0.1, 0.8], abs=6 * 0.05 / math.sqrt(2000))
    assert mixture.variances.tolist() == pytest.approx(
        [0.02**2 + REG, 0.05**2 + REG], rel=6 / math.sqrt(1000)
    )


def test_shift_of_one_problem_changes_nothing() -> None:
    """A fit per class does not see a class whose losses are all higher; one fit for all does."""
    random = np.random.default_rng(5)
    values = torch.from_numpy(np.stack([KINDS["losses"](random, 500) for _ in range(3)]))
    moved = values + torch.tensor([[0.0], [2.0], [-7.0]], dtype=torch.float64)
    assert_close(low_posterior(moved), low_posterior(values), rtol=0, atol=1e-10)
    assert (low_posterior(moved.flatten()) - low_posterior(values.flatten())).abs().max() > 0.5


def test_scale_to_unit_by_hand() -> None:
    values = torch.tensor([[[2.0, 4.0, 3.0], [7.0, 7.0, 7.0]]])
    assert scale_to_unit(values).tolist() == [[[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]]
    mask = torch.tensor([[[True, False, True], [False, False, False]]])
    assert scale_to_unit(values, mask).tolist() == [[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]]


@pytest.mark.parametrize("shape", [(6,), (2, 6), (2, 3, 6), (0, 6), (2, 0, 6), (4, 1)])
def test_leading_axes_are_problems(shape: tuple[int, ...]) -> None:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    given, mask = values.clone(), torch.ones(shape, dtype=torch.bool)
    mixture = fit_mixture(values)
    for pair in (mixture.weights, mixture.means, mixture.variances):
        assert (pair.shape, pair.dtype) == ((*shape[:-1], 2), torch.float64)
    assert mixture.iterations.shape == mixture.converged.shape == shape[:-1]
    for result in (low_posterior(values), low_posterior(values, mask), scale_to_unit(values, mask)):
        assert (result.shape, result.dtype) == (shape, torch.float64)
    assert_close(low_posterior(values, mask), low_posterior(values), rtol=0, atol=1e-12)
    flat = values.reshape(-1, shape[-1])
    assert_close(low_posterior(values).reshape(flat.shape), low_posterior(flat), rtol=0, atol=0)
    assert torch.equal(values, given)


def test_takes_losses_that_are_views_and_have_gradients() -> None:
    """One row of losses seen by three classes."""
    losses = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = (torch.arange(50) % 3) == torch.arange(3)[:, None]
    got = low_posterior(losses.expand(3, 50), mask)
    assert not got.requires_grad
    for k in range(3):
        assert_close(got[k, mask[k]], low_posterior(losses[mask[k]]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e20, 1e90])
def test_extreme_scales_stay_finite(scale: float) -> None:
    """The last row's high values are so near each other that their variance rounds to less than nothing."""
    rows = [[0.0, 0.1, 0.2, 0.9, 1.0], [1.0, 1.0, 1.0, 1.0, -1.0], [0.0, *(1 - 1e-11 * k for k in range(7))]]
    low = [[1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0], [1.0] + [0.0] * 7]
    for row, expected in zip(rows, low, strict=True):
        values = scale * torch.tensor(row, dtype=torch.float64)
        posterior = low_posterior(values)
        assert ((posterior >= 0) & (posterior <= 1)).all()
        assert fit_mixture(values).variances.isfinite().all()
        if scale > 1:
            assert posterior.round().tolist() == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
@pytest.mark.parametrize("function", [low_posterior, fit_mixture, scale_to_unit])
def test_values_that_are_not_finite_are_an_error(function, bad: float) -> None:
    values = torch.rand(3, 8, dtype=torch.float64)
    values[1, 4] = bad
    with pytest.raises(NoisylibError, match="values: 1 of 3 problems"):
        function(values)
    with pytest.raises(NoisylibError, match="values: 1 of 3 problems"):
        function(values, torch.ones(3, 8, dtype=torch.bool))


V = torch.linspace(0, 1, 8, dtype=torch.float64).expand(2, 8)
PAIR = torch.ones(2, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_mixture(V, max_iter=0), "max_iter=0 must be at least 1"),
        (lambda: fit_mixture(V, tol=-1.0), "tol=-1.0 must be 0 or more"),
        (lambda: fit_mixture(V, tol=math.nan), "tol=nan"),
        (lambda: fit_mixture(V, reg=0.0), "reg=0.0 must be positive"),
        (lambda: low_posterior(V, reg=math.inf), "reg=inf must be positive and finite"),
        (lambda: fit_mixture(V[0, 0]), r"values has shape \(\)"),
        (lambda: fit_mixture(V[:, :0]), r"values has shape \(2, 0\)"),
        (lambda: low_posterior(V, V), "mask is torch.float64"),
        (lambda: scale_to_unit(V, (V > 0.5)[0]), r"mask is torch.bool of shape \(8,\)"),
        (lambda: fit_mixture(V, init=(PAIR[0], PAIR, PAIR)), r"init: the weights, of shape \(2,\)"),
        (lambda: fit_mixture(V, init=(PAIR, PAIR * math.nan, PAIR)), "init: the means"),
        (lambda: fit_mixture(V, init=(PAIR, PAIR, 0 * PAIR)), "init: the variances.* positive"),
        (lambda: fit_mixture(V).low_posterior(V[:1]), r"the leading axes of the mixture are \(2,\)"),
        (lambda: fit_mixture(V).low_posterior(V * math.nan), "values: 2 of 2 problems"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        call()
