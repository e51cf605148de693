"""Closed forms that each method must satisfy."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.methods import METHODS, BankContext, Batch, make_method
from noisylib.methods.losses import cross_entropy, log_softmax

F64 = torch.float64


def step_of(
    method, B: int, K: int, *, N: int | None = None, runs=(1, 1), epoch=100, rate=0.0, index=None
) -> Batch:
    """A batch of the samples `index` (default 0..B-1) with fresh state."""
    S, H = runs
    N = N or B
    context = BankContext(
        runs, tuple(range(S)), N, K, 200, torch.full(runs, rate, dtype=F64), None, None, F64, torch.device("cpu")
    )
    index = torch.arange(B) if index is None else torch.as_tensor(index)
    flat = torch.arange(S * H).view(S, H, 1) * N + index
    state = method.start(SimpleNamespace(context=context))
    return Batch(epoch, 0, 1, index.expand(S, -1), flat, state)


def logits(nets: int, B: int, K: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn((nets, 1, 1, B, K), generator=g, dtype=F64).requires_grad_()


def gradient(method, z: torch.Tensor, y: torch.Tensor, batch: Batch) -> torch.Tensor:
    """d (B x loss) / d logits: per-sample gradients of the mean."""
    (g,) = torch.autograd.grad(method.loss(z, y, batch).sum() * y.shape[-1], z)
    return g


def labels(*values: int) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, -1)


def one_hot(y: torch.Tensor, K: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(y, K).to(F64)


@pytest.mark.parametrize("K", [2, 5])
def test_uniform_prediction_costs_log_k(K: int) -> None:
    method = make_method("ce")
    loss = method.loss(torch.zeros((1, 1, 1, 4, K), dtype=F64), labels(0, 1, 0, 1), step_of(method, 4, K))
    assert loss.item() == pytest.approx(math.log(K), abs=1e-15)


def test_ce_gradient_is_p_minus_label() -> None:
    method, y, z = make_method("ce"), labels(0, 2, 1), logits(1, 3, 3)
    expected = torch.softmax(z.detach(), -1) - one_hot(y, 3)
    torch.testing.assert_close(gradient(method, z, y, step_of(method, 3, 3)), expected)


@pytest.mark.parametrize("name", list(METHODS))
def test_written_gradients_are_those_of_the_loss(name: str) -> None:
    method = make_method(name)
    z, y = 2 * logits(method.n_nets, 6, 3).detach(), labels(0, 2, 1, 1, 0, 2)
    z = z.mT.contiguous().mT  # as the heads hand them over: classes before samples in memory
    kept = z.clone()
    written = method.gradient(z, y, step_of(method, 6, 3, rate=0.3))
    leaf = z.clone().requires_grad_()
    loss = method.loss(leaf, y, step_of(method, 6, 3, rate=0.3)).sum()
    torch.testing.assert_close(written, torch.autograd.grad(loss, leaf)[0], rtol=0, atol=1e-14)
    assert torch.equal(z, kept), "the logits must be left as they are"


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
    z.requires_grad_()
    assert torch.softmax(z, -1)[..., 2].item() == pytest.approx(0.92)
    assert gradient(method, z, labels(2), step_of(method, 1, K)).abs().max() < 1e-15


def test_ls_without_smoothing_is_ce_bit_for_bit() -> None:
    z, y = logits(1, 7, 4), labels(0, 1, 2, 3, 0, 1, 2)
    ce, ls = make_method("ce"), make_method("ls", {"smoothing": 0})
    assert torch.equal(ce.loss(z, y, step_of(ce, 7, 4)), ls.loss(z, y, step_of(ls, 7, 4)))


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_gce_gradient_is_ce_times_p_to_the_q(q: float) -> None:
    method, y, z = make_method("gce", {"q": q}), labels(0, 2, 1, 3), logits(1, 4, 4)
    p = torch.softmax(z.detach(), -1)
    weight = p.gather(-1, y[None, ..., None]) ** q
    torch.testing.assert_close(gradient(method, z, y, step_of(method, 4, 4)), weight * (p - one_hot(y, 4)))


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_gce_sum_over_classes_is_bounded(q: float) -> None:
    K = 6
    method, z = make_method("gce", {"q": q}), 3 * logits(1, 1, K).detach()
    total = sum(method.loss(z, labels(c), step_of(method, 1, K)).item() for c in range(K))
    assert (K - K ** (1 - q)) / q - 1e-12 <= total <= (K - 1) / q + 1e-12
    if q == 1:
        assert total == pytest.approx(K - 1, abs=1e-12)


def test_gce_tends_to_ce() -> None:
    z, y = logits(1, 5, 3), labels(0, 1, 2, 0, 1)
    ce, gce = make_method("ce"), make_method("gce", {"q": 1e-6})
    assert gce.loss(z, y, step_of(gce, 5, 3)).item() == pytest.approx(
        ce.loss(z, y, step_of(ce, 5, 3)).item(), rel=1e-5
    )


def test_elr_without_weight_is_ce() -> None:
    z, y = logits(1, 5, 3), labels(0, 1, 2, 0, 1)
    ce, elr = make_method("ce"), make_method("elr", {"lam": 0})
    assert torch.equal(ce.loss(z, y, step_of(ce, 5, 3)), elr.loss(z, y, step_of(elr, 5, 3)))


def test_elr_first_visit_in_closed_form() -> None:
    lam, beta = 3.0, 0.7
    method, z, y = make_method("elr"), logits(1, 1, 4), labels(1)
    p = torch.softmax(z.detach(), -1)[0, 0, 0, 0]
    expected = -math.log(p[1]) + lam * math.log(1 - (1 - beta) * float((p**2).sum()))
    batch = step_of(method, 1, 4)
    assert method.loss(z, y, batch).item() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(batch.state["target"][0, 0, 0], (1 - beta) * p)


def test_elr_clamps_and_renormalises_what_it_remembers() -> None:
    method, batch = make_method("elr"), step_of(make_method("elr"), 1, 3)
    z = torch.tensor([40.0, 0.0, 0.0], dtype=F64).view(1, 1, 1, 1, 3)
    loss = method.loss(z, labels(0), batch).item()
    p = torch.tensor([1 - 1e-4, 1e-4, 1e-4], dtype=F64)
    t = 0.3 * p / p.sum()
    torch.testing.assert_close(batch.state["target"][0, 0, 0], t, rtol=1e-14, atol=0)
    assert loss == pytest.approx(3 * math.log(1 - float((p * t).sum())), abs=1e-12)


def test_elr_gradient_with_a_buffer_on_another_class() -> None:
    """With t = e_c and label j != c: (1 - lam) p_c at c, and p_j - 1 + lam p_j p_c / (1 - p_c) at j."""
    lam, c, j = 2.5, 0, 2
    method = make_method("elr", {"lam": lam, "beta": 0.9999})
    z, batch = logits(1, 1, 3), step_of(method, 1, 3)
    batch.state["target"][0, 0, 0, c] = 1.0
    p = torch.softmax(z.detach(), -1)[0, 0, 0, 0]
    g = gradient(method, z, labels(j), batch)[0, 0, 0, 0]
    # beta < 1 mixes in 1e-4 of the present prediction, hence the tolerance.
    assert g[c].item() == pytest.approx((1 - lam) * p[c].item(), abs=1e-3)
    at_j = p[j] - 1 + lam * p[j] * p[c] / (1 - p[c])
    assert g[j].item() == pytest.approx(at_j.item(), abs=1e-3)
    assert g.sum().item() == pytest.approx(0, abs=1e-12)


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

    def value(v: torch.Tensor) -> float:
        p = torch.softmax(v, -1)
        return float(-torch.log(p[3]) + method.lam * torch.log(1 - (p * t).sum()))

    v, eps = z.detach()[0, 0, 0, 0], 1e-6
    numeric = [(value(v + eps * e) - value(v - eps * e)) / (2 * eps) for e in torch.eye(4, dtype=F64)]
    np.testing.assert_allclose(gradient(method, z, y, fresh())[0, 0, 0, 0].numpy(), numeric, atol=1e-8)


def test_elr_buffer_follows_the_sample_not_its_place_in_the_batch() -> None:
    method, z = make_method("elr"), logits(1, 3, 3).detach()
    y = labels(0, 1, 2)
    a, b = step_of(method, 3, 3, N=9, index=[7, 2, 5]), step_of(method, 3, 3, N=9, index=[5, 7, 2])
    order = [2, 0, 1]
    method.loss(z, y, a)
    method.loss(z[..., order, :], y[..., order], b)
    torch.testing.assert_close(a.state["target"], b.state["target"], rtol=0, atol=0)
    assert (a.state["target"][0, 0].sum(-1) > 0).nonzero().flatten().tolist() == [2, 5, 7]


def test_elr_regulariser_is_never_positive() -> None:
    method = make_method("elr")
    z, y, batch = 10 * logits(1, 50, 3).detach(), labels(*([0, 1] * 25)), step_of(method, 50, 3)
    for _ in range(30):
        assert method.loss(z, y, batch).item() <= cross_entropy(z, y).mean().item()


def coteaching_batch(l1: list[float], l2: list[float], rate: float):
    """Two-class logits whose losses on label 0 are l1 and l2."""
    method = make_method("coteaching")
    losses = torch.tensor([l1, l2], dtype=F64)
    z = torch.zeros((2, 1, 1, len(l1), 2), dtype=F64)
    z[:, 0, 0, :, 1] = torch.log(torch.expm1(losses))
    batch = step_of(method, len(l1), 2, rate=rate)
    return method.loss(z, labels(*[0] * len(l1)), batch), batch.selected[:, 0, 0]


def test_coteaching_exchanges_selections() -> None:
    loss, selected = coteaching_batch([1, 2, 3, 4], [4, 3, 2, 1], 0.5)
    assert selected.tolist() == [[False, False, True, True], [True, True, False, False]]
    assert loss.flatten().tolist() == pytest.approx([3.5, 3.5])


def test_coteaching_forgetting_nothing_is_two_independent_ce() -> None:
    loss, selected = coteaching_batch([1, 2, 3, 4], [4, 3, 2, 2], 0.0)
    assert loss.flatten().tolist() == pytest.approx([2.5, 2.75])
    assert selected.all()


@pytest.mark.parametrize(
    ("size", "rate", "kept"), [(128, 0.4, 76), (10, 0.3, 7), (5, 0.4, 3), (1, 0.9, 1), (90, 0.3, 63)]
)
def test_coteaching_keeps_the_floor_and_at_least_one(size: int, rate: float, kept: int) -> None:
    values = torch.rand(size, generator=torch.Generator().manual_seed(0)).add(0.1).tolist()
    _, selected = coteaching_batch(values, values, rate)
    assert selected.sum(-1).tolist() == [kept, kept]


def test_coteaching_choice_follows_the_samples_under_permutation() -> None:
    l1, l2 = [0.3, 2.0, 1.1, 0.7, 5.0], [1.0, 0.2, 3.0, 0.9, 0.1]
    order = [3, 1, 4, 0, 2]
    _, straight = coteaching_batch(l1, l2, 0.4)
    _, permuted = coteaching_batch([l1[i] for i in order], [l2[i] for i in order], 0.4)
    assert torch.equal(straight[:, order], permuted)


def test_coteaching_schedule_is_the_released_one() -> None:
    method, rate = make_method("coteaching"), torch.tensor([0.4], dtype=F64)
    forget = [method.forget_rate(epoch, rate).item() for epoch in range(12)]
    assert forget[:9] == pytest.approx(np.linspace(0, 0.4, 10)[1:])
    assert forget[9:] == pytest.approx([0.4] * 3)


def test_coteaching_all_losses_equal_keeps_the_first_samples() -> None:
    _, selected = coteaching_batch([1.0] * 4, [1.0] * 4, 0.5)
    assert selected.tolist() == [[True, True, False, False]] * 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("elr", {"lamda": 1}, "Did you mean 'lam'"),
        ("elf", {}, "Did you mean 'elr'"),
        ("gce", {"q": 0}, "q=0"),
        ("ls", {"smoothing": 1.5}, r"\[0, 1\]"),
        ("elr", {"beta": "high"}, "beta='high'"),
        ("elr", {"lam": math.nan}, "lam=nan"),
    ],
)
def test_unknown_or_impossible_options_are_named(name: str, options: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        make_method(name, options)


def test_every_method_declares_itself() -> None:
    assert list(METHODS) == [cls.name for cls in METHODS.values()]
    for cls in METHODS.values():
        assert cls.title
        assert cls.citation
        method = cls()
    with pytest.raises(UnknownNameError):
        make_method("")
