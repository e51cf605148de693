"""The mixed step that DivideMix and UNICON share: targets, MixUp, its loss and its ramp."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, labels, logits, one_hot, watched_step

from noisylib.methods import make_method, mixup, semisupervised
from noisylib.methods.losses import cross_entropy
from noisylib.methods.semisupervised import mixed_gradient, mixed_loss, sharpen
from noisylib.training import BankInTraining

K, N = 3, 40
X, Y = blobs(N, K, 4)
NUMBERS = {"unlabelled_weight": 7, "warm_up_penalty": 0.5}
ALL, NONE = torch.tensor(True), torch.tensor(False)


def bank(name: str = "dividemix", *, views=None, head: str = "mlp", **options) -> BankInTraining:
    options = {**(NUMBERS if name == "dividemix" else {}), "warm_up": 0.34, "ramp_epochs": 2.5, **options}
    wrong = np.where(np.arange(N) % 4 == 0, np.roll(Y, 7), Y)
    return bank_of(make_method(name, options), X, wrong, K=K, head=head, views=views)


def divided(training: BankInTraining, weight: torch.Tensor, labelled: torch.Tensor) -> None:
    """Set a division (2, N) by hand."""
    training.state["clean_weight"] = weight.to(F64).view(2, 1, 1, N)
    training.state["labelled"] = labelled.view(2, 1, 1, N)


def fix_mixup(monkeypatch, lam: float, permutation) -> None:
    """Mix by `lam` with the rows in the order `permutation(number of rows)`."""
    drawn = SimpleNamespace(beta=lambda a, b: lam, permutation=permutation)
    monkeypatch.setattr(mixup, "numpy_generator", lambda *parts: drawn)


def backwards(rows: int) -> np.ndarray:
    return np.arange(rows)[::-1].copy()


@pytest.fixture
def mixed(monkeypatch) -> SimpleNamespace:
    """What the last mixed step was given, and every weight of the unlabelled loss so far."""
    seen = SimpleNamespace(weights=[])

    def spy(z, targets, labelled, weight, prior):
        seen.logits, seen.targets, seen.labelled, seen.weight = (
            t.clone() for t in (z, targets, labelled, weight)
        )
        seen.weights.append(weight.flatten().tolist())
        seen.gradient = mixed_gradient(z, targets, labelled, weight, prior)
        return seen.gradient

    monkeypatch.setattr(semisupervised, "mixed_gradient", spy)
    return seen


def test_sharpening() -> None:
    q = torch.tensor([[0.2, 0.5, 0.3], [0.25, 0.25, 0.5]], dtype=F64)
    torch.testing.assert_close(sharpen(q, 1), q, rtol=0, atol=1e-15)
    assert sharpen(torch.tensor([0.8, 0.2], dtype=F64), 0.5).tolist() == pytest.approx([64 / 68, 4 / 68])
    torch.testing.assert_close(sharpen(q, 1e-3), one_hot(q.argmax(-1), 3), rtol=0, atol=1e-15)
    torch.testing.assert_close(sharpen(q, 1e6), torch.full_like(q, 1 / 3), rtol=0, atol=1e-5)
    tiny = torch.tensor([1e-30, 1e-32], dtype=torch.float32)
    assert sharpen(tiny, 0.1).isfinite().all(), "no power underflows everywhere"


def test_certain_labels_without_the_other_terms_cost_ce() -> None:
    """Weight 1 and no mixing make one-hot targets; the penalty is taken off by hand."""
    z, y = logits(2, 6, K).detach(), labels(0, 1, 2, 2, 1, 0)
    targets = sharpen(one_hot(y, K).expand(2, 1, 1, 6, K), 0.5)
    loss = mixed_loss(z, targets, ALL.expand(2, 1, 1, 6), torch.zeros((1, 1), dtype=F64))
    penalty = -(K * torch.softmax(z, -1).mean(-2)).log().mean(-1)
    torch.testing.assert_close(loss - penalty, cross_entropy(z, y).mean(-1), rtol=0, atol=1e-14)


def penalty_of(p: torch.Tensor, prior: float = 1.0) -> float:
    """The loss where no row is labelled and the unlabelled ones do not count: the penalty."""
    z = p.log().view(1, 1, 1, *p.shape)
    part, nothing = NONE.expand(z.shape[:-1]), torch.zeros((1, 1), dtype=F64)
    return mixed_loss(z, torch.full_like(z, 1 / p.shape[-1]), part, nothing, prior).item()


def test_penalty_is_zero_for_a_uniform_mean_and_positive_else() -> None:
    g = torch.Generator().manual_seed(3)
    assert penalty_of(torch.full((4, 3), 1 / 3, dtype=F64)) == pytest.approx(0, abs=1e-15)
    # Each row leans to another class; their mean is uniform.
    leaning = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], dtype=F64)
    assert penalty_of(leaning) == pytest.approx(0, abs=1e-15)
    for _ in range(20):
        assert penalty_of(torch.softmax(torch.randn((5, 4), generator=g, dtype=F64), -1)) > 1e-6
    # KL(uniform | mean), by hand.
    p, divergence = torch.tensor([[0.5, 0.5], [0.7, 0.3]], dtype=F64), -0.5 * math.log(4 * 0.6 * 0.4)
    assert penalty_of(p) == pytest.approx(divergence, abs=1e-15)
    assert penalty_of(p, 0.25) == pytest.approx(0.25 * divergence, abs=1e-15)


def test_the_weight_of_the_penalty_reaches_the_step(monkeypatch) -> None:
    given = []

    def spy(z, targets, labelled, weight, prior):
        given.append(prior)
        return torch.zeros_like(z)

    monkeypatch.setattr(semisupervised, "mixed_gradient", spy)
    training = bank(prior_weight=0.25)
    divided(training, torch.zeros((2, N)), torch.zeros((2, N), dtype=torch.bool))
    watched_step(training, batch_of(training, torch.tensor([2, 9, 4]), epoch=4))
    assert given == [0.25]


@pytest.mark.parametrize("K", [2, 5])
def test_unlabelled_loss_of_a_uniform_prediction(K: int) -> None:
    """Against a one-hot target: ((K - 1) / K^2 + (1 - 1/K)^2) / K = (K - 1) / K^2."""
    z = torch.zeros((1, 1, 1, 4, K), dtype=F64)
    targets, part = one_hot(labels(0, 1, 1, 0), K)[None], NONE.expand(1, 1, 1, 4)
    for weight in (1.0, 25.0):
        loss = mixed_loss(z, targets, part, torch.full((1, 1), weight, dtype=F64)).item()
        assert loss == pytest.approx(weight * (K - 1) / K**2, abs=1e-14)


def test_mixed_loss_by_a_loop_over_rows() -> None:
    g = torch.Generator().manual_seed(1)
    z = logits(2, 5, K).detach()
    targets = torch.softmax(torch.randn((2, 1, 1, 5, K), generator=g, dtype=F64), -1)
    on = torch.tensor([[1, 0, 0, 1, 1], [0, 0, 1, 0, 0]], dtype=torch.bool)
    loss = mixed_loss(z, targets, on[:, None, None], torch.full((1, 1), 7.0, dtype=F64))
    for net in range(2):
        p, q = torch.softmax(z[net, 0, 0], -1), targets[net, 0, 0]
        x = [-(q[i] * p[i].log()).sum() for i in range(5) if on[net, i]]
        u = [((p[i] - q[i]) ** 2).sum() / K for i in range(5) if not on[net, i]]
        mean = p.sum(0) / 5
        expected = sum(x) / len(x) + 7 * sum(u) / len(u) + sum(-torch.log(K * m) / K for m in mean)
        assert loss[net].item() == pytest.approx(expected.item(), abs=1e-13)


def test_mixed_gradient_is_that_of_the_mixed_loss() -> None:
    """In one run nothing is labelled, in another everything."""
    g = torch.Generator().manual_seed(2)
    z = 2 * logits(2, 6, 4, runs=(2, 2)).detach()
    z = z.mT.contiguous().mT.requires_grad_()
    targets = torch.softmax(torch.randn(z.shape, generator=g, dtype=F64), -1)
    labelled = torch.rand(z.shape[:-1], generator=g) < 0.5
    labelled[:, 0, 0], labelled[:, 1, 1] = False, True
    weight = torch.tensor([[7.0, 0.0], [1.0, 25.0]], dtype=F64)
    kept = z.detach().clone()
    for prior in (1.0, 0.3, 0.0):
        written = mixed_gradient(z.detach(), targets, labelled, weight, prior)
        (expected,) = torch.autograd.grad(mixed_loss(z, targets, labelled, weight, prior).sum(), z)
        torch.testing.assert_close(written, expected, rtol=0, atol=1e-14)
    assert torch.equal(z.detach(), kept)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_predictions_that_shun_a_class_leave_the_mixed_step_finite(dtype: torch.dtype) -> None:
    z = torch.zeros((2, 1, 1, 4, K), dtype=dtype)
    z[..., 0] = 2000
    targets, weight = torch.full_like(z, 1 / K), torch.ones((1, 1), dtype=dtype)
    labelled = torch.tensor([True, True, False, False]).expand(2, 1, 1, 4)
    assert mixed_loss(z, targets, labelled, weight).isfinite().all()
    assert mixed_gradient(z, targets, labelled, weight).isfinite().all()


def test_labels_are_refined_by_the_own_network_and_guessed_by_both(mixed, monkeypatch) -> None:
    """No dropping, no mixing: the targets of the step in closed form, sharpened with T = 1/2."""
    fix_mixup(monkeypatch, 1.0, np.arange)
    training, index = bank(drop=0.0), torch.tensor([5, 17, 30, 2])
    weight = torch.linspace(0, 1, 2 * N).view(2, N)
    labelled = torch.arange(2 * N).view(2, N) % 3 > 0
    divided(training, weight, labelled)
    p = torch.softmax(training.forward(training.X[index]).clone(), -1)[:, 0, 0]
    batch = batch_of(training, index, epoch=4)
    seen = watched_step(training, batch)
    expected = torch.empty((2, 4, K), dtype=F64)
    for net in range(2):
        for b, i in enumerate(index.tolist()):
            w, e = weight[net, i], one_hot(training.y[0, 0, i], K)
            q = w * e + (1 - w) * p[net, b] if labelled[net, i] else (p[0, b] + p[1, b]) / 2
            expected[net, b] = q**2 / (q**2).sum()
    torch.testing.assert_close(mixed.targets[:, 0, 0], expected.repeat(1, 2, 1), rtol=0, atol=1e-7)
    assert torch.equal(batch.selected[:, 0, 0], labelled[:, index])
    assert torch.equal(mixed.labelled[:, 0, 0], labelled[:, index].repeat(1, 2))
    torch.testing.assert_close(seen.x[0], training.X[index].repeat(2, 1), rtol=0, atol=1e-15)
    # What reaches the heads is the gradient of the mixed loss at these rows.
    z = seen.logits.requires_grad_()
    loss = mixed_loss(z, mixed.targets, mixed.labelled, mixed.weight)
    torch.testing.assert_close(seen.gradient, torch.autograd.grad(loss.sum(), z)[0], rtol=0, atol=1e-14)


def test_targets_average_over_the_views(mixed, monkeypatch) -> None:
    fix_mixup(monkeypatch, 1.0, np.arange)
    views = X + np.random.default_rng(1).normal(size=(2, N, 4))
    training, index = bank(views=views), torch.tensor([5, 17, 30])
    divided(training, torch.zeros((2, N)), ALL.expand(2, N))  # weight 0: what the own network says
    p = torch.softmax(training.forward(torch.as_tensor(views)[:, index].flatten(0, 1)).clone(), -1)
    said = p[:, 0, 0].unflatten(1, (2, 3)).mean(1)
    seen = watched_step(training, batch_of(training, index, epoch=4))
    torch.testing.assert_close(mixed.targets[:, 0, 0], sharpen(said, 0.5).repeat(1, 2, 1), rtol=0, atol=1e-12)
    rows = seen.x[0].view(2, 3, 4)
    for b, i in enumerate(index.tolist()):
        drawn = {tuple(row) for row in rows[:, b].tolist()}
        assert drawn == {tuple(row) for row in views[:, i].tolist()}, "each view once"


@pytest.mark.parametrize("drawn", [0.25, 0.75])
def test_mixup_keeps_the_larger_share_and_the_part_of_the_own_sample(
    mixed, monkeypatch, drawn: float
) -> None:
    """Rows mix 3 : 1 with those in reverse; a row counts as labelled if its own sample is."""
    training, index = bank(drop=0.0), torch.tensor([5, 17, 30, 2])
    labelled = torch.zeros((2, N), dtype=torch.bool)
    labelled[0, [5, 17]] = labelled[1, 2] = True
    start = training.networks.banks[0].flat.clone()
    targets, rows = [], []
    for lam, order in ((1.0, np.arange), (drawn, backwards)):
        training.networks.banks[0].flat.copy_(start)
        divided(training, torch.full((2, N), 0.6), labelled)
        fix_mixup(monkeypatch, lam, order)
        rows.append(watched_step(training, batch_of(training, index, epoch=4)).x[0])
        targets.append(mixed.targets[:, 0, 0])
        on = [[1, 1, 0, 0] * 2, [0, 0, 0, 1] * 2]
        assert mixed.labelled[:, 0, 0].int().tolist() == on
    for plain, mixed_up, axis in ((*rows, 0), (*targets, 1)):
        expected = 0.75 * plain + 0.25 * plain.flip(axis)
        torch.testing.assert_close(mixed_up, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.01, 0.95, 1), (4, 0.57, 0.72), (100, 0.5, 0.55)])
def test_mixup_draws_one_share_of_at_least_a_half_and_one_permutation(
    monkeypatch, alpha: float, low: float, high: float
) -> None:
    """Beta(a, a) is near 0 and 1 for a small a, near a half for a large one."""
    training = bank(alpha=alpha)
    asked = []
    original = mixup.numpy_generator
    monkeypatch.setattr(mixup, "numpy_generator", lambda *parts: asked.append(parts) or original(*parts))
    batch = batch_of(training, range(6), epoch=3, step=1)
    shares = []
    for step in range(50):
        batch.step = step
        lam, permutation = training.method._mixup(training, batch, 12)
        assert sorted(permutation[0].tolist()) == list(range(12))
        shares.append(lam.item())
    assert asked == [("mixup", 0, 3, step) for step in range(50)]
    assert min(shares) >= 0.5
    assert low < np.mean(shares) < high


def test_unlabelled_loss_comes_in_linearly_after_warm_up(mixed) -> None:
    """6 epochs of 3 steps, 2 of warm-up, a ramp of 2.5 epochs to 7."""
    training = bank()
    for epoch in range(6):
        training.train_epoch(epoch, None)
    expected = [7 * min((e + s / 3 - 2) / 2.5, 1) for e in range(2, 6) for s in range(3)]
    assert [w for (w,) in mixed.weights] == pytest.approx(expected, abs=1e-12)
    assert expected[0] == 0
    assert expected[-1] == 7


@pytest.mark.parametrize("name", ["dividemix", "unicon"])
def test_swapping_the_networks_swaps_what_they_learn(name: str) -> None:
    straight, swapped = bank(name), bank(name)
    for values in swapped.networks.banks[0].parameters.values():
        values.copy_(values.flip(1))
    for training in (straight, swapped):
        for epoch in range(5):
            training.train_epoch(epoch, None)
    ours, theirs = (torch.cat([z.clone() for _, z in t.sweep()], dim=3) for t in (straight, swapped))
    torch.testing.assert_close(ours, theirs.flip(0), rtol=0, atol=1e-9)
    assert (ours[0] - ours[1]).abs().max() > 1e-2


def test_dropped_views_keep_the_mean_of_a_feature() -> None:
    """A tenth of the features is zero, the rest is scaled by 1 / .9; both views are drawn apart."""
    x, y = np.ones((400, 50)), np.arange(400) % 2
    training = bank_of(make_method("dividemix", NUMBERS), x, y, K=2)
    views = training.views(batch_of(training, range(400)), (0.1, 0.6))
    assert set(views[0].unique().tolist()) == {0, 1 / (1 - 0.1)}
    assert (views[0] == 0).double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (views[1] == 0).double().mean().item() == pytest.approx(0.6, abs=0.02)
    assert views.mean((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=0.03)
    both = ((views[0] == 0) & (views[1] == 0)).double().mean().item()
    assert both == pytest.approx(0.06, abs=0.01)
    assert training.method.drops() == ((0.1, 0.1), 0)


def test_dropped_views_are_drawn_anew_in_every_step() -> None:
    training = bank()
    drawn = [
        training.views(batch_of(training, range(8), epoch, step), (0.5, 0.5))
        for epoch, step in ((2, 0), (2, 0), (2, 1), (3, 0))
    ]
    assert torch.equal(drawn[0], drawn[1])
    for other in drawn[2:]:
        assert not torch.equal(drawn[0] == 0, other == 0)


def test_cached_views_are_drawn_per_sample_and_standardised_as_the_features_are() -> None:
    """View v of X is X + v: what is drawn of each sample can be read off."""
    shift = np.arange(3.0)[:, None, None]
    training = bank_of(
        make_method("dividemix", NUMBERS), X, Y, K=K, views=X + shift, standardise=True, batch_size=N
    )
    views = training.views(batch_of(training, range(N), epoch=2), (0.1, 0.1))
    moved = (views - training.X) * torch.as_tensor(X.std(0))
    which = moved.mean(-1).round()
    torch.testing.assert_close(moved, which.unsqueeze(-1).expand_as(moved), rtol=0, atol=1e-12)
    pairs = {tuple(pair) for pair in which[:, 0].T.int().tolist()}
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}, "each view once, in any order"
