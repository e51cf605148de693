"""Closed forms of the losses of one network: CE, label smoothing, GCE, truncated GCE, SCE, ELR."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, gradient, labels, logits, one_hot, step_of, watched_step

from noisylib.methods import Batch, make_method
from noisylib.methods.losses import cross_entropy, log_softmax


def value(method, z: torch.Tensor, y: torch.Tensor) -> float:
    return method.loss(z, y, step_of(method, y.shape[-1], z.shape[-1])).item()


@pytest.mark.parametrize("K", [2, 5])
def test_uniform_prediction_costs_log_k(K: int) -> None:
    z = torch.zeros((1, 1, 1, 4, K), dtype=F64)
    assert value(make_method("ce"), z, labels(0, 1, 0, 1)) == pytest.approx(math.log(K), abs=1e-15)


def test_ce_gradient_is_p_minus_label() -> None:
    method, y, z = make_method("ce"), labels(0, 2, 1), logits(1, 3, 3)
    expected = torch.softmax(z.detach(), -1) - one_hot(y, 3)
    torch.testing.assert_close(gradient(method, z, y, step_of(method, 3, 3)), expected)


def test_ce_of_two_classes_is_logistic_regression() -> None:
    z, y = logits(1, 6, 2).detach(), labels(0, 1, 1, 0, 1, 0)
    margin = (z[..., 1] - z[..., 0]) * (2 * y - 1)
    expected = torch.log1p(torch.exp(-margin)).mean().item()
    assert value(make_method("ce"), z, y) == pytest.approx(expected, abs=1e-14)


def test_log_softmax_survives_huge_logits() -> None:
    z = torch.tensor([[1000.0, 0.0], [-1000.0, -1001.0]], dtype=F64)
    expected = torch.tensor(
        [[0.0, -1000.0], [-math.log1p(math.exp(-1)), -1 - math.log1p(math.exp(-1))]], dtype=F64
    )
    torch.testing.assert_close(log_softmax(z), expected)


def test_ls_optimum_has_the_known_probability_and_gap() -> None:
    a, K = 0.1, 5
    gap = math.log((1 - a + a / K) / (a / K))
    assert gap == pytest.approx(3.8286, abs=5e-5)
    method = make_method("ls", {"smoothing": a})
    z = torch.zeros((1, 1, 1, 1, K), dtype=F64)
    z[..., 2] = gap
    assert torch.softmax(z, -1)[..., 2].item() == pytest.approx(0.92)
    assert method.gradient(z, labels(2), step_of(method, 1, K)).abs().max() < 1e-15


def test_ls_is_ce_against_the_mixed_target() -> None:
    a, z, y = 0.3, logits(1, 4, 3).detach(), labels(0, 2, 1, 1)
    target = (1 - a) * one_hot(y, 3) + a / 3
    expected = -(target * torch.log_softmax(z, -1)).sum(-1).mean().item()
    assert value(make_method("ls", {"smoothing": a}), z, y) == pytest.approx(expected, abs=1e-14)


def test_ls_without_smoothing_is_ce_bit_for_bit() -> None:
    z, y = logits(1, 7, 4).detach(), labels(0, 1, 2, 3, 0, 1, 2)
    assert value(make_method("ce"), z, y) == value(make_method("ls", {"smoothing": 0}), z, y)


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_gce_gradient_is_ce_times_p_to_the_q(q: float) -> None:
    method, y, z = make_method("gce", {"q": q}), labels(0, 2, 1, 3), logits(1, 4, 4)
    p = torch.softmax(z.detach(), -1)
    weight = p.gather(-1, y[None, ..., None]) ** q
    torch.testing.assert_close(gradient(method, z, y, step_of(method, 4, 4)), weight * (p - one_hot(y, 4)))


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("scale", [0.1, 3, 100])
def test_gce_sum_over_classes_is_bounded(q: float, scale: float) -> None:
    K = 6
    method, z = make_method("gce", {"q": q}), scale * logits(1, 1, K).detach()
    total = sum(value(method, z, labels(c)) for c in range(K))
    assert (K - K ** (1 - q)) / q - 1e-12 <= total <= (K - 1) / q + 1e-12
    if q == 1:
        assert total == pytest.approx(K - 1, abs=1e-12)


def test_gce_at_q_1_is_the_missing_probability_and_near_0_is_ce() -> None:
    z, y = logits(1, 5, 3).detach(), labels(0, 1, 2, 0, 1)
    missing = (1 - torch.softmax(z, -1).gather(-1, y[None, ..., None])).mean().item()
    assert value(make_method("gce", {"q": 1}), z, y) == pytest.approx(missing, abs=1e-14)
    ce = value(make_method("ce"), z, y)
    assert value(make_method("gce", {"q": 1e-6}), z, y) == pytest.approx(ce, rel=1e-5)
    assert abs(value(make_method("gce", {"q": 1e-4}), z, y) - ce) < 1e-3


@pytest.mark.parametrize("name", ["gce", "tgce"])
def test_gce_of_an_impossible_label_is_flat(name: str) -> None:
    """p^q is 0: the loss is at its bound 1/q, or (k^q - 0)/q, and does not pull at all."""
    method, z = make_method(name, {"q": 0.7}), torch.tensor([2000.0, 0.0], dtype=F64).view(1, 1, 1, 1, 2)
    bound = 1 / 0.7 if name == "gce" else 0.5**0.7 / 0.7
    assert value(method, z, labels(1)) == pytest.approx(bound, abs=1e-14)
    assert method.gradient(z, labels(1), step_of(method, 1, 2)).tolist() == [[[[[0, 0]]]]]


def test_truncated_gce_by_hand() -> None:
    """Samples kept: 1 and 2; p[y] = .9 .8 .2, so (.5^q - p^q)/q of these over the whole batch of 3."""
    method = make_method("tgce", {"q": 0.7, "k": 0.5})
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]], dtype=F64)
    batch, y = step_of(method, 3, 2), labels(0, 1, 0)
    batch.state["kept"][..., 0] = 0
    z = p.log().view(1, 1, 1, 3, 2)
    expected = ((0.5**0.7 - 0.8**0.7) + (0.5**0.7 - 0.2**0.7)) / 0.7 / 3
    assert method.loss(z, y, batch).item() == pytest.approx(expected, abs=1e-15)
    assert batch.selected.flatten().tolist() == [False, True, True]
    gce = make_method("gce", {"q": 0.7})
    g, full = method.gradient(z, y, batch)[0, 0, 0], gce.gradient(z, y, step_of(gce, 3, 2))[0, 0, 0]
    assert g[0].tolist() == [0, 0]
    torch.testing.assert_close(g[1:], full[1:], rtol=0, atol=1e-16)


def test_truncated_gce_keeps_all_at_first_and_prunes_on_its_schedule() -> None:
    """12 epochs, first pruning at 0.25 of them, then every 4: at epochs 3, 7 and 11."""
    method = make_method("tgce", {"start_at": 0.25, "refresh": 4, "k": 0.5})
    state = step_of(method, 3, 2).state
    assert state["kept"].min() == 1
    swept = []

    def losses() -> torch.Tensor:
        swept.append(epoch)
        p = torch.tensor([0.500001, 0.499999, 0.9 if epoch < 7 else 0.1], dtype=F64)
        return -p.log().view(1, 1, 1, 3)

    training = SimpleNamespace(context=SimpleNamespace(epochs=12, dtype=F64), losses=losses)
    kept = []
    for epoch in range(12):
        method.begin_epoch(training, epoch, state)
        kept.append(state["kept"].flatten().int().tolist())
    assert swept == [3, 7, 11]
    assert kept == [kept[0]] * 3 + [[1, 0, 1]] * 4 + [[1, 0, 0]] * 5


@pytest.mark.parametrize(("epochs", "first"), [(30, 10), (50, 17), (120, 40)])
def test_truncated_gce_starts_after_a_third_of_the_epochs(epochs: int, first: int) -> None:
    method, swept = make_method("tgce"), []

    def losses() -> torch.Tensor:
        swept.append(epoch)
        return torch.zeros((1, 1, 1, 3), dtype=F64)

    training = SimpleNamespace(context=SimpleNamespace(epochs=epochs, dtype=F64), losses=losses)
    for epoch in range(epochs):
        method.begin_epoch(training, epoch, {})
    assert swept == list(range(first, epochs, 10))


def test_truncated_gce_judges_by_the_head_as_it_is_before_the_epoch() -> None:
    X, y = blobs(40, 3, 4)
    method = make_method("tgce", {"start_at": 0, "refresh": 2})
    bank = bank_of(method, X, np.stack([y, np.roll(y, 1)]), K=3)
    for epoch in range(4):
        if epoch % 2 == 0:
            z = torch.cat([z.clone() for _, z in bank.sweep()], dim=3)[0]
            p = torch.softmax(z, -1).gather(-1, bank.y[..., None])[..., 0]
        bank.train_epoch(epoch, None)
        assert torch.equal(bank.state["kept"], (p > 0.5).to(F64))
    assert 0 < bank.state["kept"].mean() < 1


def test_sce_is_the_weighted_sum_of_ce_and_its_reverse() -> None:
    """RCE by its definition: -sum_k p_k log q_k with q one-hot and log 0 = A."""
    z, y, A = logits(1, 5, 3).detach(), labels(0, 1, 2, 0, 1), -4.0
    p = torch.softmax(z, -1)
    log_q = torch.where(one_hot(y, 3) > 0, 0.0, A)
    rce = -(p * log_q).sum(-1).mean().item()
    ce = value(make_method("ce"), z, y)
    assert value(make_method("sce"), z, y) == pytest.approx(0.1 * ce + rce, abs=1e-14)
    mixed = make_method("sce", {"alpha": 2, "beta": 0.5, "log_zero": -4})
    assert value(mixed, z, y) == pytest.approx(2 * ce + 0.5 * rce, abs=1e-14)


def test_sce_limits() -> None:
    """Without the reverse it is CE; the reverse alone, with A = -1, is GCE at q = 1, and sums to K - 1."""
    z, y = logits(1, 5, 3).detach(), labels(0, 1, 2, 0, 1)
    ce = value(make_method("ce"), z, y)
    assert value(make_method("sce", {"alpha": 1, "beta": 0}), z, y) == pytest.approx(ce, abs=1e-15)
    reverse = make_method("sce", {"alpha": 0, "log_zero": -1})
    gce = value(make_method("gce", {"q": 1}), z, y)
    assert value(reverse, z, y) == pytest.approx(gce, abs=1e-15)
    total = sum(value(reverse, 3 * z[..., :1, :], labels(c)) for c in range(3))
    assert total == pytest.approx(2, abs=1e-14)


def test_elr_without_weight_is_ce() -> None:
    z, y = logits(1, 5, 3).detach(), labels(0, 1, 2, 0, 1)
    assert value(make_method("ce"), z, y) == value(make_method("elr", {"lam": 0}), z, y)


def test_elr_first_visit_in_closed_form() -> None:
    lam, beta = 3.0, 0.7
    method, z, y = make_method("elr"), logits(1, 1, 4), labels(1)
    p = torch.softmax(z.detach(), -1)[0, 0, 0, 0]
    expected = -math.log(p[1]) + lam * math.log(1 - (1 - beta) * float((p**2).sum()))
    batch = step_of(method, 1, 4)
    assert method.loss(z, y, batch).item() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(batch.state["target"][0, 0, 0], (1 - beta) * p)


def test_elr_remembers_a_share_of_one_minus_beta_to_the_visits() -> None:
    method, z, y = make_method("elr", {"beta": 0.9}), logits(1, 1, 4).detach(), labels(1)
    batch = step_of(method, 1, 4)
    for visits in range(1, 11):
        method.gradient(z, y, batch)
        assert batch.state["target"][0, 0, 0].sum().item() == pytest.approx(1 - 0.9**visits, abs=1e-14)
    assert batch.state["target"][0, 0, 0].sum().item() == pytest.approx(0.65, abs=2e-3)


def test_elr_clamps_and_renormalises_what_it_remembers() -> None:
    method, batch = make_method("elr"), step_of(make_method("elr"), 1, 3)
    z = torch.tensor([40.0, 0.0, 0.0], dtype=F64).view(1, 1, 1, 1, 3)
    loss = method.loss(z, labels(0), batch).item()
    p = torch.tensor([1 - 1e-4, 1e-4, 1e-4], dtype=F64)
    t = 0.3 * p / p.sum()
    torch.testing.assert_close(batch.state["target"][0, 0, 0], t, rtol=1e-14, atol=0)
    assert loss == pytest.approx(3 * math.log(1 - float((p * t).sum())), abs=1e-12)


@pytest.mark.parametrize("lam", [0.5, 1.0, 2.5])
def test_elr_gradient_with_a_buffer_on_another_class(lam: float) -> None:
    """With t = e_c and label j != c: (1 - lam) p_c at c, and p_j - 1 + lam p_j p_c / (1 - p_c) at j."""
    c, j = 0, 2
    method = make_method("elr", {"lam": lam, "beta": 0.9999})
    z, batch = logits(1, 1, 3), step_of(method, 1, 3)
    batch.state["target"][0, 0, 0, c] = 1.0
    p = torch.softmax(z.detach(), -1)[0, 0, 0, 0]
    g = method.gradient(z, labels(j), batch)[0, 0, 0, 0]
    # beta < 1 mixes in 1e-4 of the present prediction, hence the tolerance.
    assert g[c].item() == pytest.approx((1 - lam) * p[c].item(), abs=1e-3)
    at_j = p[j] - 1 + lam * p[j] * p[c] / (1 - p[c])
    assert g[j].item() == pytest.approx(at_j.item(), abs=1e-3)


def test_elr_gradient_by_finite_differences_with_the_buffer_held() -> None:
    method, z, y = make_method("elr"), logits(1, 1, 4), labels(3)
    start = torch.rand(4, generator=torch.Generator().manual_seed(1), dtype=F64) * 0.2

    def fresh() -> Batch:
        batch = step_of(method, 1, 4)
        batch.state["target"][0, 0, 0] = start
        return batch

    held = fresh()
    method.loss(z, y, held)
    t = held.state["target"][0, 0, 0].clone()

    def regularised(v: torch.Tensor) -> float:
        p = torch.softmax(v, -1)
        return float(-torch.log(p[3]) + method.lam * torch.log(1 - (p * t).sum()))

    v, eps = z.detach()[0, 0, 0, 0], 1e-6
    numeric = [
        (regularised(v + eps * e) - regularised(v - eps * e)) / (2 * eps) for e in torch.eye(4, dtype=F64)
    ]
    np.testing.assert_allclose(method.gradient(z, y, fresh())[0, 0, 0, 0].detach(), numeric, atol=1e-8)


def test_elr_buffer_follows_the_sample_not_its_place_in_the_batch() -> None:
    method, z = make_method("elr"), logits(1, 3, 3).detach()
    y = labels(0, 1, 2)
    a, b = step_of(method, 3, 3, N=9, index=[7, 2, 5]), step_of(method, 3, 3, N=9, index=[5, 7, 2])
    order = [2, 0, 1]
    method.loss(z, y, a)
    method.loss(z[..., order, :], y[..., order], b)
    torch.testing.assert_close(a.state["target"], b.state["target"], rtol=0, atol=0)
    assert (a.state["target"][0, 0].sum(-1) > 0).nonzero().flatten().tolist() == [2, 5, 7]
    # A second visit, in another order, finds what the first one left.
    first = a.state["target"][0, 0, [7, 2, 5]].clone()
    again = step_of(method, 3, 3, N=9, index=[2, 5, 7])
    again.state = a.state
    method.gradient(z[..., [1, 2, 0], :], y[..., [1, 2, 0]], again)
    torch.testing.assert_close(a.state["target"][0, 0, [7, 2, 5]], (1 + method.beta) * first)


def test_elr_buffers_of_runs_are_their_own() -> None:
    X, y = blobs(24, 3, 4)
    bank = bank_of("elr", X, np.stack([y, y, np.roll(y, 1)]), K=3, seeds=[0, 0, 4])
    before = torch.cat([z.clone() for _, z in bank.sweep()], dim=3)[0]
    watched_step(bank, batch_of(bank, [20, 3]))
    t = bank.state["target"]
    assert t.shape == (2, 2, 24, 3)
    torch.testing.assert_close(
        t[:, :, [3, 20]], 0.3 * torch.softmax(before, -1)[:, :, [3, 20]], atol=2e-4, rtol=0
    )
    assert (t.sum((0, 1, 3)) > 0).nonzero().flatten().tolist() == [3, 20]


def test_elr_regulariser_is_never_positive() -> None:
    method = make_method("elr")
    z, y, batch = 10 * logits(1, 50, 3).detach(), labels(*([0, 1] * 25)), step_of(method, 50, 3)
    for _ in range(30):
        assert method.loss(z, y, batch).item() <= cross_entropy(z, y).mean().item()
