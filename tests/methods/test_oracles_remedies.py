"""Co-teaching that chooses class by class, and balanced softmax, by hand and by their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, labels, logits, one_hot, step_of, watched_step

from noisylib.errors import NoisylibError
from noisylib.methods import make_method
from noisylib.methods.coteaching import small_losses
from noisylib.methods.coteaching_by_class import label_counts, observed_purity, small_losses_by_class
from noisylib.methods.losses import cross_entropy
from noisylib.noise import inject, told
from noisylib.training import train_bank

BY_CLASS = ["coteaching_quota", "coteaching_class_tau"]
# Of 60 and 40 samples each class passes a quarter on to the other: 55 and 45 are observed.
SWAPS = torch.tensor([[0.75, 0.25], [0.25, 0.75]], dtype=F64)


def chosen(losses: list[float], y: list[int], forget: list[float]) -> list[int]:
    """Positions that a network with these losses finds easy."""
    kept, easy = small_losses_by_class(
        torch.tensor(losses, dtype=F64).view(1, 1, 1, -1), labels(*y), torch.tensor([[forget]], dtype=F64)
    )
    assert kept.item() == easy.sum()
    return easy.flatten().nonzero().flatten().tolist()


def two_networks(l1: list[float], l2: list[float], y: list[int]) -> torch.Tensor:
    """Logits (2, 1, 1, B, 3) whose losses on the labels are l1 and l2."""
    l1, l2 = torch.tensor([l1, l2], dtype=F64)
    # Two other logits of 0 and log(2 / (e^l - 1)) on the label.
    z = torch.log(2 / torch.expm1(torch.stack([l1, l2])))
    return (z.unsqueeze(-1) * one_hot(torch.tensor(y), 3))[:, None, None]


def test_a_quota_by_hand() -> None:
    """Half of four, of two and of one sample: two, one and one. The peer's choice is trained on."""
    y = [0, 1, 0, 2, 0, 1, 0]
    l1, l2 = [4.0, 1.0, 3.0, 9.0, 2.0, 5.0, 1.0], [1.0, 2.0, 2.0, 8.0, 3.0, 1.0, 4.0]
    method, z = make_method("coteaching_quota"), two_networks(l1, l2, y)
    batch = step_of(method, 7, 3, rate=0.5)
    loss = method.loss(z, labels(*y), batch).flatten().tolist()
    first, second = [1, 3, 4, 6], [0, 2, 3, 5]  # what networks 1 and 2 find easy
    on = [row.nonzero().flatten().tolist() for row in batch.selected[:, 0, 0]]
    assert on == [second, first]
    assert loss == pytest.approx([(4 + 3 + 9 + 5) / 4, (2 + 8 + 3 + 4) / 4])
    g = method.gradient(z, labels(*y), step_of(method, 7, 3, rate=0.5))[:, 0, 0]
    every = (torch.softmax(z[:, 0, 0], -1) - one_hot(torch.tensor(y), 3)) / 4
    expected = torch.zeros_like(every)
    for net, kept in enumerate((second, first)):
        expected[net, kept] = every[net, kept]
    torch.testing.assert_close(g, expected, rtol=0, atol=1e-15)


def test_a_rare_class_that_coteaching_drops_keeps_its_quota() -> None:
    """Two of ten samples are rare and have the largest losses."""
    y, losses = [0] * 8 + [1, 1], [float(i) for i in range(10)]
    _, whole = small_losses(torch.tensor(losses, dtype=F64), torch.tensor(0.4, dtype=F64))
    assert whole.nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert chosen(losses, y, [0.4, 0.4]) == [0, 1, 2, 3, 4, 8, 9]


@pytest.mark.parametrize(
    ("size", "rate", "kept"),
    [
        (10, 0.7, 3),
        (5, 0.4, 3),
        (4, 0.3, 3),
        (3, 0.9, 1),
        (1, 0.99, 1),
        (9, 0.0, 9),
        (128, 0.4, 77),
        (6, 1.0, 1),
    ],
)
def test_a_class_keeps_the_ceiling_and_at_least_one(size: int, rate: float, kept: int) -> None:
    """Beside a sample of another class, which is always kept."""
    losses = torch.rand(size, generator=torch.Generator().manual_seed(0)).tolist()
    assert len(chosen([*losses, 9.0], [0] * size + [2], [rate, rate, rate])) == kept + 1


def test_every_class_has_its_own_rate_and_every_run_its_own_rates() -> None:
    y = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0]]])
    losses = torch.arange(8, dtype=F64).expand(2, 1, 2, 8)
    forget = torch.tensor([[[0.75, 0.25], [0.5, 1.0]]], dtype=F64)
    kept, easy = small_losses_by_class(losses, y, forget)
    assert kept.tolist() == [[4, 2]]
    assert easy[0, 0].int().tolist() == [[1, 0, 0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0, 0, 1]]
    assert torch.equal(easy[0], easy[1])


def test_ties_within_a_class_go_to_the_earlier_sample() -> None:
    assert chosen([2.0, 1.0, 2.0, 2.0, 1.0, 1.0], [0, 1, 0, 0, 1, 1], [0.4, 0.6]) == [0, 1, 2, 4]


def test_choices_follow_the_samples_under_permutation_and_the_classes_under_renaming() -> None:
    g = torch.Generator().manual_seed(3)
    losses, y = torch.rand(40, generator=g).tolist(), torch.randint(3, (40,), generator=g).tolist()
    straight = chosen(losses, y, [0.2, 0.5, 0.9])
    order = torch.randperm(40, generator=g).tolist()
    moved = chosen([losses[i] for i in order], [y[i] for i in order], [0.2, 0.5, 0.9])
    assert sorted(order[j] for j in moved) == straight
    assert chosen(losses, [(c + 1) % 3 for c in y], [0.9, 0.2, 0.5]) == straight


@pytest.mark.parametrize(("size", "more"), [(10, 0), (5, 0), (7, 1), (9, 1)])
def test_with_one_class_in_the_batch_a_quota_is_coteaching_rounded_up(size: int, more: int) -> None:
    z, y = logits(2, size, 3).detach(), labels(*[1] * size)
    batches = []
    for name in ("coteaching", "coteaching_quota"):
        method = make_method(name)
        batches.append(step_of(method, size, 3, rate=0.4))
        method.gradient(z, y, batches[-1])
    whole, quota = (batch.selected for batch in batches)
    assert (quota.sum(-1) - whole.sum(-1)).flatten().tolist() == [more] * 2
    assert quota[whole].all()


@pytest.mark.parametrize("name", BY_CLASS)
def test_without_noise_each_network_trains_with_ce(name: str) -> None:
    """Rate 0, and the identity for T, which step_of tells."""
    method, ce, z, y = (
        make_method(name),
        make_method("ce"),
        logits(2, 6, 3).detach(),
        labels(0, 1, 2, 0, 0, 2),
    )
    batch = step_of(method, 6, 3)
    torch.testing.assert_close(method.gradient(z, y, batch), ce.gradient(z, y, batch), rtol=0, atol=1e-16)
    assert batch.selected.all()
    torch.testing.assert_close(method.loss(z, y, batch), ce.loss(z, y, batch), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", BY_CLASS)
def test_the_schedule_is_that_of_coteaching(name: str) -> None:
    """Nine tenths at last; a rate of .9 ** 2 with the exponent, a ninth of it in the first epoch."""
    off = (torch.ones((3, 3), dtype=F64) - torch.eye(3, dtype=F64)) / 2
    T = 0.1 * torch.eye(3, dtype=F64) + 0.9 * off  # classes are balanced, so a purity is .1
    for options, epoch, kept in (({}, 0, 18), ({}, 8, 2), ({}, 50, 2), ({"exponent": 2}, 50, 4)):
        method = make_method(name, options)
        batch = step_of(method, 40, 3, N=60, epoch=epoch, rate=0.9, transition=T)
        y = labels(*[0] * 20, *[2] * 20)
        method.gradient(logits(2, 40, 3).detach(), y, batch)
        per_class = batch.selected[:, 0, 0].unflatten(-1, (2, 20)).sum(-1)
        assert per_class.tolist() == [[kept, kept]] * 2


def test_purity_by_hand() -> None:
    purity = observed_purity(SWAPS, torch.tensor([55, 45]))
    assert purity.tolist() == pytest.approx([45 / 55, 30 / 45])


@pytest.mark.parametrize("noise_type", ["symmetric", "asymmetric", "pairflip"])
def test_purity_from_a_realised_matrix_is_the_counted_one(noise_type: str) -> None:
    y_true = np.repeat(np.arange(4), [60, 25, 10, 5])
    more = {"class_map": {0: 1, 1: 0, 2: 0}} if noise_type == "asymmetric" else {}
    noise = inject(y_true, noise_type, 0.4, n_classes=4, seed=1, **more)
    T = torch.as_tensor(told([noise])["transitions"])
    purity = observed_purity(T, torch.as_tensor(np.bincount(noise.y_noisy, minlength=4)[None]))
    np.testing.assert_allclose(purity[0], noise.purity, rtol=0, atol=1e-12)


def test_purity_of_labels_that_the_matrix_did_not_make() -> None:
    """All samples are observed as class 0: priors of (9, -1, -1) / 7 are clipped to (1, 0, 0)."""
    T = 0.7 * torch.eye(3, dtype=F64) + 0.1
    assert observed_purity(T, torch.tensor([12, 0, 0])).tolist() == pytest.approx([1, 0, 0])


def test_a_class_that_nothing_is_observed_as_has_no_wrong_label() -> None:
    T = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]], dtype=F64)
    assert observed_purity(T, torch.tensor([3, 7, 0])).tolist() == [1, 1, 1]


def test_a_class_whose_labels_are_all_wrong_keeps_one_sample_a_batch() -> None:
    """Class 2 does not occur; half of class 0 is called 2."""
    T = torch.tensor([[0.5, 0, 0.5], [0, 1, 0], [0, 0, 1]], dtype=F64)
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.repeat([0, 1, 2], [10, 20, 10])
    bank = bank_of("coteaching_class_tau", X, y, K=3, told={"transitions": T.numpy()})
    assert bank.state["class_rate"][0, 0].tolist() == pytest.approx([0, 0, 1])
    batch = batch_of(bank, list(range(5, 35)), epoch=100)
    watched_step(bank, batch)
    assert label_counts(bank.labels(batch)[batch.selected[0]].view(1, 1, -1), 3).tolist() == [[[5, 20, 1]]]


def test_the_counts_are_those_of_the_observed_labels() -> None:
    X, y = np.random.default_rng(0).normal(size=(100, 3)), np.repeat([0, 1], [55, 45])
    bank = bank_of("coteaching_class_tau", X, y, K=2, told={"transitions": SWAPS.numpy()})
    assert bank.state["class_rate"][0, 0].tolist() == pytest.approx([10 / 55, 15 / 45])


def test_what_a_solver_leaves_of_a_prior_of_0_is_no_noise() -> None:
    """Class 2 never occurs and so lends nothing to class 1, but its solved prior is near 1e-17."""
    T = torch.tensor([[117 / 155, 0, 38 / 155], [0, 1, 0], [0, 0.4, 0.6]], dtype=F64)
    y = np.repeat([0, 1, 2], [117, 2, 38])
    assert observed_purity(T, torch.tensor([117, 2, 38]))[1] < 1
    method = make_method("coteaching_class_tau", {"exponent": 0.1})
    bank = bank_of(method, np.ones((157, 3)), y, K=3, told={"transitions": T.numpy()})
    assert bank.state["class_rate"][0, 0].tolist() == [0, 0, 1]


def test_a_matrix_that_cannot_be_inverted_is_named() -> None:
    X, y = blobs(30, 3, 4)
    with pytest.raises(NoisylibError, match=r"transitions holds .* condition number .* cannot be inverted"):
        train_bank(
            X, y, X, y, n_classes=3, method="coteaching_class_tau", transitions=np.full((3, 3), 1 / 3),
            device="cpu",
        )  # fmt: skip


def counted(name: str, y: list[int], rate: float = 0.0) -> tuple:
    """A method, and a batch of all samples of a training set with these labels, at a late epoch."""
    told = {"noise_rates": [rate]} if name != "ce_balanced" else {}
    bank = bank_of(name, np.random.default_rng(0).normal(size=(len(y), 3)), np.array(y), K=3, told=told)
    return bank.method, labels(*y), batch_of(bank, list(range(len(y))), epoch=100)


def test_balanced_softmax_by_hand() -> None:
    """Observed 3, 1 and never, which counts as 1; odds of the classes are e^z = (1, 2, 4) everywhere."""
    method, y, batch = counted("ce_balanced", [0, 0, 1, 0])
    z = torch.log(torch.tensor([1, 2, 4], dtype=F64)).expand(1, 1, 1, 4, 3)
    q = torch.tensor([3, 2, 4], dtype=F64) / 9
    loss = -(3 * torch.log(q[0]) + torch.log(q[1])) / 4
    assert method.loss(z, y, batch).item() == pytest.approx(loss.item(), abs=1e-15)
    expected = (q - one_hot(y[0, 0], 3)) / 4
    torch.testing.assert_close(method.gradient(z, y, batch)[0, 0, 0], expected, rtol=0, atol=1e-16)
    assert torch.equal(method.scores(z, batch.state), z[0])


def test_without_features_plain_logits_end_up_balanced() -> None:
    """Equal logits are the optimum of balanced softmax, the log of the frequencies that of CE."""
    y = [0] * 6 + [1] * 3 + [2]
    z = torch.zeros((1, 1, 1, 10, 3), dtype=F64)
    pulls = []
    for name in ("ce_balanced", "ce"):
        method = make_method(name)
        batch = counted("ce_balanced", y)[2]
        pulls.append(method.gradient(z, labels(*y), batch).sum(3).flatten().tolist())
    assert pulls[0] == pytest.approx([0, 0, 0], abs=1e-15)
    assert pulls[1] == pytest.approx([1 / 3 - 0.6, 1 / 3 - 0.3, 1 / 3 - 0.1])


def test_the_logit_of_a_class_that_is_never_observed_is_pushed_down() -> None:
    method, y, batch = counted("ce_balanced", [0, 1, 0, 1])
    g = method.gradient(torch.zeros((1, 1, 1, 4, 3), dtype=F64), y, batch)
    assert g[..., 2].flatten().tolist() == pytest.approx([1 / 5 / 4] * 4)


@pytest.mark.parametrize(("name", "plain"), [("ce_balanced", "ce"), ("coteaching_balanced", "coteaching")])
def test_with_classes_of_equal_size_balanced_softmax_changes_nothing(name: str, plain: str) -> None:
    method, y, batch = counted(name, [0, 1, 2, 2, 1, 0], rate=0.4)
    z, other = logits(method.n_nets, 6, 3).detach(), make_method(plain)
    written, chosen_by_it = method.gradient(z, y, batch), batch.selected
    torch.testing.assert_close(written, other.gradient(z, y, batch), rtol=0, atol=1e-15)
    torch.testing.assert_close(method.loss(z, y, batch), other.loss(z, y, batch), rtol=0, atol=1e-14)
    assert chosen_by_it is None or torch.equal(chosen_by_it, batch.selected)


def test_balanced_coteaching_chooses_and_trains_by_the_shifted_logits() -> None:
    y = [0, 0, 0, 0, 0, 1, 1, 2]
    method, targets, batch = counted("coteaching_balanced", y, rate=0.5)
    z, plain = logits(2, 8, 3).detach(), make_method("coteaching")
    shifted = z + torch.log(torch.tensor([5, 2, 1], dtype=F64))
    each = cross_entropy(shifted, targets)[:, 0, 0]
    easy = torch.zeros((2, 8), dtype=torch.bool).scatter_(1, each.argsort(-1)[:, :4], True)
    loss = method.loss(z, targets, batch)
    assert torch.equal(batch.selected[:, 0, 0], easy.flip(0))
    expected = [each[0][easy[1]].mean().item(), each[1][easy[0]].mean().item()]
    assert loss.flatten().tolist() == pytest.approx(expected)
    g, by_shifted = method.gradient(z, targets, batch), batch.selected
    torch.testing.assert_close(g, plain.gradient(shifted, targets, batch), rtol=0, atol=1e-16)
    assert torch.equal(by_shifted[:, 0, 0], easy.flip(0))
    plain.gradient(z, targets, batch)
    assert not torch.equal(by_shifted, batch.selected), "the logits as they are choose others"


def test_every_run_has_its_own_frequencies() -> None:
    X, y = np.random.default_rng(0).normal(size=(8, 3)), np.array([[0] * 6 + [1] * 2, [0] + [2] * 7])
    state = bank_of("ce_balanced", X, y, K=3).state["log_frequency"]
    assert state.shape == (1, 2, 1, 3)
    assert state.exp().flatten().tolist() == pytest.approx([0.75, 0.25, 0.125, 0.125, 0.125, 0.875])
