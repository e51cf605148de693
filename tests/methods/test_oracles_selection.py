"""Methods that choose samples by loss or by agreement: Co-teaching, JoCoR, CUFIT."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, gradient, labels, logits, made, one_hot, step_of, watched_step

from noisylib.methods import make_method
from noisylib.methods.coteaching import small_losses
from noisylib.methods.losses import cross_entropy
from noisylib.training import BankInTraining


def coteaching_batch(l1: list[float], l2: list[float], rate: float, method: str = "coteaching"):
    """Two-class logits whose losses on label 0 are l1 and l2: loss, selection and written gradient."""
    method = make_method(method)
    losses = torch.tensor([l1, l2], dtype=F64)
    z = torch.zeros((2, 1, 1, len(l1), 2), dtype=F64)
    z[:, 0, 0, :, 1] = torch.log(torch.expm1(losses))
    batch, y = step_of(method, len(l1), 2, rate=rate), labels(*[0] * len(l1))
    written = method.gradient(z, y, batch)
    written_for = batch.selected
    loss = method.loss(z, y, batch)
    assert torch.equal(batch.selected, written_for)
    return loss.flatten().tolist(), batch.selected[:, 0, 0], written[:, 0, 0]


def test_coteaching_exchanges_selections() -> None:
    loss, selected, written = coteaching_batch([1, 2, 3, 4], [4, 3, 2, 1], 0.5)
    assert selected.tolist() == [[False, False, True, True], [True, True, False, False]]
    assert loss == pytest.approx([3.5, 3.5])
    # -log p[0] = l, so the gradient of a kept sample is -+(1 - e^-l) / 2.
    pull = (1 - torch.exp(-torch.tensor([3, 4, 4, 3], dtype=F64))) / 2
    assert written[0, 2:, 0].tolist() == pytest.approx((-pull[:2]).tolist())
    assert written[1, :2, 1].tolist() == pytest.approx(pull[2:].tolist())
    assert written[~selected].abs().max() == 0


def test_coteaching_forgetting_nothing_is_two_independent_ce() -> None:
    loss, selected, _ = coteaching_batch([1, 2, 3, 4], [4, 3, 2, 2], 0.0)
    assert loss == pytest.approx([2.5, 2.75])
    assert selected.all()
    method, ce = make_method("coteaching"), make_method("ce")
    z, y = logits(2, 6, 3).detach(), labels(0, 1, 2, 0, 1, 2)
    g = method.gradient(z, y, step_of(method, 6, 3))
    torch.testing.assert_close(g, ce.gradient(z, y, step_of(ce, 6, 3)), rtol=0, atol=1e-16)


@pytest.mark.parametrize(
    ("size", "rate", "kept"),
    [(128, 0.4, 76), (10, 0.3, 7), (5, 0.4, 3), (1, 0.9, 1), (90, 0.3, 63), (3, 0.9, 1)],
)
@pytest.mark.parametrize("method", ["coteaching", "jocor"])
def test_they_keep_the_floor_and_at_least_one(size: int, rate: float, kept: int, method: str) -> None:
    values = torch.rand(size, generator=torch.Generator().manual_seed(0)).add(0.1).tolist()
    _, selected, _ = coteaching_batch(values, values, rate, method)
    assert selected.sum(-1).tolist() == [kept, kept]


def test_coteaching_choice_follows_the_samples_under_permutation() -> None:
    l1, l2 = [0.3, 2.0, 1.1, 0.7, 5.0], [1.0, 0.2, 3.0, 0.9, 0.1]
    order = [3, 1, 4, 0, 2]
    _, straight, _ = coteaching_batch(l1, l2, 0.4)
    _, permuted, _ = coteaching_batch([l1[i] for i in order], [l2[i] for i in order], 0.4)
    assert torch.equal(straight[:, order], permuted)


def test_coteaching_schedule_is_the_released_one() -> None:
    """linspace(0, tau^c, 10) from its second value on, then tau."""
    rate = torch.tensor([0.4], dtype=F64)
    forget = [make_method("coteaching").forget_rate(epoch, rate).item() for epoch in range(12)]
    assert forget[:9] == pytest.approx(np.linspace(0, 0.4, 10)[1:])
    assert forget[9:] == pytest.approx([0.4] * 3)
    short = make_method("coteaching", {"ramp_epochs": 3, "exponent": 2})
    assert [short.forget_rate(epoch, rate).item() for epoch in range(3)] == pytest.approx([0.08, 0.16, 0.16])


def test_the_rate_and_the_epoch_reach_the_selection() -> None:
    """Ten samples: at epoch 0 a rate of .9 forgets a ninth of itself, .1; of .45 half of that, .05."""
    method = make_method("coteaching")
    for epoch, kept in ((0, [[9, 9]]), (3, [[6, 8]]), (8, [[1, 5]]), (50, [[1, 5]])):
        batch = step_of(method, 10, 3, runs=(1, 2), epoch=epoch, rate=torch.tensor([[0.9, 0.45]]))
        y = torch.arange(10).expand(1, 2, 10) % 3
        method.gradient(logits(2, 10, 3, runs=(1, 2)).detach(), y, batch)
        assert batch.selected.sum(-1).tolist() == [kept, kept]


@pytest.mark.parametrize("method", ["coteaching", "jocor"])
def test_where_all_losses_are_equal_the_first_samples_are_kept(method: str) -> None:
    loss, selected, written = coteaching_batch([1.0] * 4, [1.0] * 4, 0.5, method)
    assert selected.tolist() == [[True, True, False, False]] * 2
    assert written[:, 2:].abs().max() == 0
    assert (written[:, :2].abs().sum(-1) > 0.05).all()
    if method == "coteaching":
        assert loss == pytest.approx([1, 1])


def test_ties_at_the_last_place_go_to_the_earlier_sample() -> None:
    losses = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0, 0.5], [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]], dtype=F64)
    kept, easy = small_losses(losses, torch.tensor(0.5, dtype=F64))
    assert kept.item() == 3
    assert easy.int().tolist() == [[0, 1, 1, 0, 0, 1], [1, 1, 1, 0, 0, 0]]


def test_equal_networks_stay_equal_and_learn_at_their_own_pace() -> None:
    X, y = blobs(48, 3, 4)
    bank = bank_of("coteaching", X, np.roll(y, 5), K=3, head="mlp", told={"noise_rates": [0.4]})
    for values in bank.networks.banks[0].parameters.values():
        values[:, 1] = values[:, 0]
    for epoch in range(6):
        bank.train_epoch(epoch, None)
    for values in bank.networks.banks[0].parameters.values():
        assert torch.equal(values[:, 1], values[:, 0])


@pytest.mark.parametrize("name", ["coteaching", "jocor"])
def test_swapping_the_networks_swaps_what_they_learn(name: str) -> None:
    X, y = blobs(48, 3, 4)
    straight, swapped = (
        bank_of(name, X, np.roll(y, 5), K=3, head="mlp", told={"noise_rates": [0.4]}) for _ in range(2)
    )
    for values in swapped.networks.banks[0].parameters.values():
        values.copy_(values.flip(1))
    for bank in (straight, swapped):
        for epoch in range(4):
            bank.train_epoch(epoch, None)
    ours, theirs = (torch.cat([z.clone() for _, z in bank.sweep()], dim=3) for bank in (straight, swapped))
    torch.testing.assert_close(ours, theirs.flip(0), rtol=0, atol=1e-10)
    assert (ours[0] - ours[1]).abs().max() > 1e-2


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p * (p / q).log()).sum(-1)


def joint(z: torch.Tensor, y: torch.Tensor, lam: float) -> torch.Tensor:
    """JoCoR's loss (B,) of each sample by its definition, from logits (2, B, K)."""
    p1, p2 = torch.softmax(z, -1)
    at = y.unsqueeze(-1)
    supervised = -p1.gather(-1, at).log() - p2.gather(-1, at).log()
    return (1 - lam) * supervised[:, 0] + lam * (kl(p1, p2) + kl(p2, p1))


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.9, 1.0])
def test_jocor_by_its_definition(lam: float) -> None:
    """Both networks step on the sum over the n smallest joint losses, divided by n."""
    method, z, y = make_method("jocor", {"lam": lam}), logits(2, 7, 3), labels(0, 1, 2, 0, 1, 2, 0)
    each = joint(z[:, 0, 0], y[0, 0], lam)
    smallest = each.argsort()[:4]  # floor((1 - .4) 7)
    batch = step_of(method, 7, 3, rate=0.4)
    written = method.gradient(z.detach(), y, batch)
    assert method.loss(z, y, batch).sum().item() == pytest.approx(each[smallest].mean().item(), abs=1e-13)
    expected = torch.zeros(7, dtype=torch.bool)
    expected[smallest] = True
    assert torch.equal(batch.selected[:, 0, 0], expected.expand(2, 7))
    (g,) = torch.autograd.grad(each[smallest].mean(), z)
    torch.testing.assert_close(written, g, rtol=0, atol=1e-14)
    assert (written.abs().amax((1, 2, 3, 4)) > 1e-3).all(), "both networks are pulled"


def test_jocor_without_agreement_and_forgetting_is_the_sum_of_both_ce() -> None:
    method, z, y = make_method("jocor", {"lam": 0}), logits(2, 6, 3).detach(), labels(0, 1, 2, 0, 1, 2)
    batch, expected = step_of(method, 6, 3), cross_entropy(z, y).mean(-1).sum().item()
    assert method.loss(z, y, batch).sum().item() == pytest.approx(expected, abs=1e-14)
    ce = make_method("ce")
    g = method.gradient(z, y, batch)
    torch.testing.assert_close(g, ce.gradient(z, y, batch), rtol=0, atol=1e-15)


def test_jocor_of_equal_networks_has_no_divergence() -> None:
    method, one, y = make_method("jocor", {"lam": 1}), logits(1, 6, 3).detach(), labels(0, 1, 2, 0, 1, 2)
    z = torch.cat([one, one])
    assert method.loss(z, y, step_of(method, 6, 3)).abs().max() < 1e-15
    assert method.gradient(z, y, step_of(method, 6, 3)).abs().max() < 1e-15


def test_jocor_does_not_see_which_network_is_which() -> None:
    method, z, y = make_method("jocor"), logits(2, 7, 3).detach(), labels(0, 1, 2, 0, 1, 2, 0)
    one, two = step_of(method, 7, 3, rate=0.4), step_of(method, 7, 3, rate=0.4)
    assert method.loss(z, y, one).sum().item() == pytest.approx(method.loss(z.flip(0), y, two).sum().item())
    assert torch.equal(one.selected, two.selected)


def argmax_logits(*predictions: list[int]) -> torch.Tensor:
    """Logits (nets, 1, 1, B, 3) that predict these classes, otherwise at random."""
    z = logits(len(predictions), len(predictions[0]), 3).detach()
    return z + 9 * one_hot(torch.tensor(predictions), 3)[:, None, None]


def test_cufit_masks_come_from_the_module_before() -> None:
    """All labels are 0. The LPM says so of samples 0 1 2, the IAM of 2 3, the LAM of 4."""
    z = argmax_logits([0, 0, 0, 1, 2, 1], [1, 2, 0, 0, 1, 1], [1, 1, 2, 1, 0, 2])
    method, y = make_method("cufit"), labels(0, 0, 0, 0, 0, 0)
    batch = step_of(method, 6, 3)
    loss, ce = method.loss(z, y, batch)[:, 0, 0], cross_entropy(z, y)[:, 0, 0]
    on = [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]]
    assert batch.selected[:, 0, 0].int().tolist() == on
    # Divided by the size of the batch, not by how many are kept.
    expected = [ce[0].sum() / 6, ce[1, :3].sum() / 6, ce[2, 2:4].sum() / 6]
    assert loss.tolist() == pytest.approx([v.item() for v in expected], abs=1e-15)
    batch = step_of(method, 6, 3)
    g = method.gradient(z, y, batch)[:, 0, 0]
    assert batch.selected[:, 0, 0].int().tolist() == on
    p = torch.softmax(z[:, 0, 0], -1)
    every = (p - one_hot(y[0, 0], 3)) / 6
    torch.testing.assert_close(g, every * torch.tensor(on, dtype=F64).unsqueeze(-1), rtol=0, atol=1e-16)


def test_cufit_without_agreement_pulls_at_nothing_but_the_probe() -> None:
    z = argmax_logits([1, 2, 1], [2, 1, 1], [0, 0, 0])
    method, y = make_method("cufit"), labels(0, 0, 0)
    g = method.gradient(z, y, step_of(method, 3, 3))
    assert g[0].abs().max() > 0.1
    assert g[1:].abs().max() == 0
    assert method.loss(z, y, step_of(method, 3, 3)).flatten()[1:].tolist() == [0, 0]


def test_cufit_with_full_agreement_trains_each_module_with_ce() -> None:
    z = argmax_logits([0, 2, 1], [0, 2, 1], [1, 1, 2])
    method, y, ce = make_method("cufit"), labels(0, 2, 1), make_method("ce")
    batch = step_of(method, 3, 3)
    torch.testing.assert_close(method.gradient(z, y, batch), ce.gradient(z, y, batch), rtol=0, atol=1e-16)


def test_cufit_ties_of_the_teacher_go_to_the_lowest_class() -> None:
    z = torch.zeros((3, 1, 1, 3, 3), dtype=F64)
    batch = step_of(make_method("cufit"), 3, 3)
    make_method("cufit").gradient(z, labels(0, 1, 2), batch)
    assert batch.selected[1:, 0, 0].int().tolist() == [[1, 0, 0]] * 2


def test_cufit_masks_carry_no_gradient_to_the_teacher() -> None:
    method, z, y = make_method("cufit"), logits(3, 4, 3), labels(0, 1, 2, 0)
    (g,) = torch.autograd.grad(method.loss(z, y, step_of(method, 4, 3))[1:].sum(), z)
    assert g[0].abs().max() == 0


def cufit_bank(head: str) -> BankInTraining:
    X, y = blobs(60, 3, 4)
    return bank_of("cufit", X, np.where(np.arange(60) % 4 == 0, np.roll(y, 7), y), K=3, head=head)


@pytest.mark.parametrize("head", ["linear", "mlp", "adapter"])
def test_the_last_cufit_module_moves_no_other(head: str) -> None:
    alone, disturbed = cufit_bank(head), cufit_bank(head)
    for bank in (alone, disturbed):
        for epoch in range(3):
            if bank is disturbed:
                for values in bank.networks.banks[1].parameters.values():
                    values[:, 1] += 0.5  # the LAM is the second network of the second bank
            bank.train_epoch(epoch, None)
    for first, second in zip(alone.networks.banks, disturbed.networks.banks, strict=True):
        for name, values in first.parameters.items():
            assert torch.equal(values[:, 0], second.parameters[name][:, 0])
    lam = [bank.networks.banks[1].parameters["W"][:, 1] for bank in (alone, disturbed)]
    assert (lam[0] - lam[1]).abs().max() > 0.1


def test_cufit_predicts_with_its_last_module() -> None:
    bank = cufit_bank("mlp")
    bank.train_epoch(0, None)
    seen = watched_step(bank, batch_of(bank, [1, 2, 3]))
    assert torch.equal(bank.method.scores(seen.logits, bank.state), seen.logits[2])
    kinds = [(part.kind, part.grid[1]) for part in bank.networks.banks]
    assert kinds == [("linear", 1), ("mlp", 2)]


def test_automatic_gradient_of_made_logits_agrees() -> None:
    """Two networks, three samples, everything written out."""
    method = make_method("coteaching")
    z = made([[[2, 0], [0, 0], [0, 2]], [[0, 2], [0, 0], [2, 0]]]).requires_grad_()
    y = labels(0, 0, 0)
    g = gradient(method, z, y, step_of(method, 3, 2, rate=0.5))[:, 0, 0] / 3
    # Each keeps floor(1.5) = 1 sample: the one its peer finds easy and it finds hard.
    hard = 1 / (1 + np.exp(-2))
    expected = torch.zeros((2, 3, 2), dtype=F64)
    expected[0, 2] = expected[1, 0] = torch.tensor([-hard, hard])
    torch.testing.assert_close(g, expected, rtol=0, atol=1e-15)
