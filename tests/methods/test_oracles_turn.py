"""TURN-head: the clean samples of each class, the balanced draw, and the change of phase."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, logits, step_of

from noisylib.errors import NoisylibError
from noisylib.methods import make_method
from noisylib.methods.losses import cross_entropy
from noisylib.methods.turn import balanced_draw, clean_by_class
from noisylib.recipe import Recipe
from noisylib.training import BankInTraining, train_bank

K = 3


def separated(seed: int = 0, n: int = 900) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Losses (1, n), in each class a clean and a wrong group of its own; labels; which are clean."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, K, (1, n), generator=g)
    clean = torch.rand((1, n), generator=g) < 0.7
    level = torch.tensor([0.1, 1.0, 3.0], dtype=F64)[y]
    noise = torch.randn((1, n), generator=g, dtype=F64)
    return level + torch.where(clean, 0.05 * noise, 1.5 + 0.2 * noise), y, clean


def test_two_groups_are_told_apart_in_each_class() -> None:
    losses, y, clean = separated()
    found = clean_by_class(losses, y, K, 0.6)
    for c in range(K):
        own = y == c
        precision = (clean & found & own).sum() / (found & own).sum()
        recall = (clean & found & own).sum() / (clean & own).sum()
        assert precision > 0.99
        assert recall > 0.99


def test_a_shift_of_one_class_changes_no_selection() -> None:
    """A mixture over all classes would take the shifted one for wrong as a whole."""
    losses, y, _ = separated()
    found = clean_by_class(losses, y, K, 0.6)
    for shift in (5.0, -3.0, 1000.0):
        moved = losses + shift * (y == 1)
        assert torch.equal(clean_by_class(moved, y, K, 0.6), found)
    # Nor does another scale: losses go from 0 to 1 in each class, so no variance is too small to count.
    for scale in (10.0, 1e-4):
        stretched = torch.where(y == 2, scale * losses, losses)
        assert torch.equal(clean_by_class(stretched, y, K, 0.6), found)


def test_tau_is_a_posterior() -> None:
    losses, y, _ = separated()
    losses = losses + torch.linspace(0, 2, 900)  # the groups overlap
    found = [clean_by_class(losses, y, K, tau) for tau in (0.0, 0.2, 0.6, 0.95, 1.0)]
    sizes = [int(mask.sum()) for mask in found]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 5
    for more, fewer in itertools.pairwise(found):
        assert (more | ~fewer).all()
    assert found[0].all(), "every posterior is positive"


def test_tau_of_one_leaves_each_class_its_most_probable_sample() -> None:
    y = torch.tensor([[0, 0, 0, 0, 0, 2, 2, 2, 2, 2]])
    losses = torch.tensor([[0.9, 0.4, 0.5, 2.0, 2.2, 0.8, 0.7, 0.6, 5.0, 5.5]], dtype=F64)
    found = clean_by_class(losses, y, K, 1.0)
    assert found.sum() == 2
    assert torch.bincount(y[found], minlength=K).tolist() == [1, 0, 1]
    # Low losses, not high ones: among the three of the low group.
    assert losses[0, found[0]].max() < 1


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_class_of_fewer_than_four_is_clean_as_a_whole(size: int) -> None:
    losses, y, _ = separated()
    small = torch.tensor([[0.1, 0.11, 2.0, 2.1]], dtype=F64)[:, :size]
    y = torch.cat([y.clamp(max=1), torch.full((1, size), 2)], 1)
    found = clean_by_class(torch.cat([losses, small], 1), y, K, 0.6)[0, 900:]
    assert found.tolist() == ([True, True, False, False] if size == 4 else [True] * size)


def test_equal_losses_of_a_class_are_all_clean() -> None:
    losses, y, _ = separated()
    losses = torch.where(y == 1, 0.4, losses)
    found = clean_by_class(losses, y, K, 0.6)
    assert found[y == 1].all()
    assert not found[y == 0].all()


def test_runs_are_cleaned_apart() -> None:
    (one, y_one, _), (two, y_two, _) = separated(1), separated(2)
    both = clean_by_class(torch.cat([one, two]), torch.cat([y_one, y_two]), K, 0.6)
    assert torch.equal(both[:1], clean_by_class(one, y_one, K, 0.6))
    assert torch.equal(both[1:], clean_by_class(two, y_two, K, 0.6))


def test_draw_takes_the_smallest_keys_of_each_class() -> None:
    """Clean: 0 2 3 5 of class 0, 1 4 of class 1: two of each, by key."""
    y = torch.tensor([[0, 1, 0, 0, 1, 0, 1]])
    clean = torch.tensor([[True, True, True, True, True, True, False]])
    keys = torch.tensor([[0.7, 0.9, 0.2, 0.8, 0.1, 0.3, 0.0]], dtype=F64)
    drawn = balanced_draw(clean, y, 2, keys)
    assert drawn.nonzero()[:, 1].tolist() == [1, 2, 4, 5]
    # With a third class that is never observed, nothing changes.
    assert torch.equal(balanced_draw(clean, y, 3, keys), drawn)


def order_of(y: torch.Tensor, clean: torch.Tensor, epoch: int, seeds=(0,)) -> torch.Tensor:
    context = SimpleNamespace(seeds=seeds, n_samples=y.shape[-1], n_classes=K)
    training = SimpleNamespace(y=y.unsqueeze(1), context=context)
    return make_method("turn").order(training, epoch, {"phase": 1, "clean": clean})


def test_an_epoch_goes_through_exactly_n_clean_samples_of_each_class_again_and_again() -> None:
    g = torch.Generator().manual_seed(4)
    y = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), 200, replacement=True, generator=g).view(1, 200)
    clean = torch.rand((1, 200), generator=g) < 0.6
    n = min(int((clean & (y == c)).sum()) for c in range(K))
    assert 3 < n < 20
    (order,) = order_of(y, clean, epoch=7)
    assert len(order) == 200
    drawn, times = order.unique(return_counts=True)
    assert torch.bincount(y[0, drawn]).tolist() == [n] * K
    assert clean[0, drawn].all()
    assert set(times.tolist()) <= {200 // (K * n), 200 // (K * n) + 1}
    first = order[: K * n]
    assert len(first.unique()) == K * n
    assert torch.equal(order, first.repeat(200)[:200])
    assert first.tolist() != sorted(first.tolist()), "classes and positions are shuffled"


def test_draws_differ_between_epochs_and_seeds_and_repeat_for_the_same() -> None:
    g = torch.Generator().manual_seed(4)
    y = torch.randint(0, K, (1, 120), generator=g).expand(3, -1)
    clean = torch.rand((1, 120), generator=g).expand(3, -1) < 0.5
    clean = clean & ((y != 2) | (y.cumsum(1) % 5 == 0))  # class 2 is the poorest by far
    one, again, other = order_of(y, clean, 4, seeds=(3, 3, 8))
    assert torch.equal(one, again)
    later = order_of(y, clean, 5, seeds=(3, 3, 8))[0]
    for different in (other, later):
        assert set(different.tolist()) != set(one.tolist())


def test_every_clean_sample_is_drawn_as_often_as_any_other() -> None:
    y = torch.tensor([[0] * 10 + [1] * 3 + [2] * 4])
    clean = torch.ones_like(y, dtype=torch.bool)
    clean[0, 9] = False
    counts = torch.zeros(17)
    for epoch in range(600):
        counts[order_of(y, clean, epoch)[0].unique()] += 1
    assert counts[9] == 0
    # 3 of 9, 3 of 3 and 3 of 4: binomial deviations are at most .02.
    torch.testing.assert_close(counts[:9] / 600, torch.full((9,), 1 / 3), rtol=0, atol=0.08)
    assert (counts[10:13] == 600).all()
    torch.testing.assert_close(counts[13:] / 600, torch.full((4,), 0.75), rtol=0, atol=0.08)


def noisy_blobs(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    X, y = blobs(n, K, 4)
    return X, np.where(np.arange(n) % 5 == 0, (y + 1) % K, y)


def test_phase_one_is_gce_on_a_linear_head() -> None:
    X, y = noisy_blobs()
    more = {
        "n_classes": K, "seeds": [5], "device": "cpu", "dtype": F64,
        "recipe": Recipe(epochs=5, batch_size=16, learning_rate=0.02, score_epochs=5, width=4),
    }  # fmt: skip
    turn = train_bank(X, y, X, y, method=make_method("turn", {"probe": 1}), head="adapter", **more)
    gce = train_bank(X, y, X, y, method="gce", head="linear", **more)
    np.testing.assert_allclose(turn.test_logits, gce.test_logits, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(turn.recall_history, gce.recall_history)


def turn_bank(head: str = "adapter", epochs: int = 6, probe: float = 0.4, **options) -> BankInTraining:
    X, y = noisy_blobs()
    method = make_method("turn", {"probe": probe, **options})
    return bank_of(
        method, X, np.stack([y, np.roll(y, 3)]), K=K, head=head, seeds=[5, 5], epochs=epochs, weight_decay=0.1
    )


def copies(bank: BankInTraining) -> list[torch.Tensor]:
    return [part.flat.clone() for part in bank.networks.banks]


@pytest.mark.parametrize("head", ["linear", "adapter"])
def test_phase_two_starts_from_the_linear_layer_and_each_phase_moves_its_own_head(head: str) -> None:
    """6 epochs, of which round(.4 x 6) = 2 are phase I."""
    bank = turn_bank(head)
    probe, second = bank.networks.banks
    start = copies(bank)
    for epoch in range(2):
        bank.train_epoch(epoch, None)
    assert bank.state["phase"] == 0
    assert torch.equal(second.flat, start[1]), "neither gradient nor weight decay moves the resting head"
    assert not torch.equal(probe.flat, start[0])
    trained = probe.flat.clone()
    bank.method.begin_epoch(bank, 2, bank.state)
    assert bank.state["phase"] == 1
    assert torch.equal(probe.flat, trained)
    for name in ("W", "b"):
        assert torch.equal(second.parameters[name], probe.parameters[name])
    # An adapter adds nothing at its start, so that both heads predict alike.
    z = bank.forward(bank.prepare(bank.X)).clone()
    torch.testing.assert_close(z[1], z[0], rtol=0, atol=1e-14)
    switched = copies(bank)
    for epoch in range(2, 6):
        bank.train_epoch(epoch, None)
    assert torch.equal(probe.flat, switched[0])
    assert not torch.equal(second.flat, switched[1])


@pytest.mark.parametrize(
    ("epochs", "probe", "expected"), [(50, 0.4, 20), (5, 0.01, 1), (6, 0.4, 2), (4, 1, 4)]
)
def test_phase_one_is_a_share_of_the_epochs_and_at_least_one(
    epochs: int, probe: float, expected: int
) -> None:
    bank = turn_bank(epochs=epochs, probe=probe)
    phases = []
    for epoch in range(epochs):
        bank.method.begin_epoch(bank, epoch, bank.state)
        phases.append(bank.state["phase"])
    assert phases == [0] * expected + [1] * (epochs - expected)


def test_phase_one_uses_the_shared_batches_and_phase_two_its_draw() -> None:
    bank = turn_bank()
    assert bank.method.order(bank, 0, bank.state) is None
    bank.method.begin_epoch(bank, 2, bank.state)
    order = bank.method.order(bank, 2, bank.state)
    assert order.shape == (2, 60)
    for run in range(2):
        counts = torch.bincount(bank.y[run, 0, order[run].unique()], minlength=K)
        assert counts.min() == counts.max() > 0


def test_clean_samples_are_found_anew_every_epoch_by_the_losses_of_the_head_in_training() -> None:
    bank = turn_bank()
    for epoch in range(6):
        bank.method.begin_epoch(bank, epoch, bank.state)
        if epoch >= 2:
            z = torch.cat([z.clone() for _, z in bank.sweep()], dim=3)[1]
            losses = cross_entropy(z, bank.y)[:, 0]
            assert torch.equal(bank.state["clean"], clean_by_class(losses, bank.y[:, 0], K, 0.6))
        bank.train_epoch(epoch, None)


@pytest.mark.parametrize("epoch", [0, 3])
def test_each_phase_steps_on_its_own_loss(epoch: int) -> None:
    bank, seen = turn_bank(), SimpleNamespace()
    bank.method.begin_epoch(bank, 2 if epoch else 0, bank.state)
    phase = bank.state["phase"]
    part = bank.networks.banks[phase]
    backward = part.backward
    part.backward = lambda x, g: setattr(seen, "gradient", g.clone()) or backward(x, g)
    batch = batch_of(bank, [7, 7, 1, 30], epoch=epoch)
    z = part.forward(bank.rows(batch.index)[..., : part.n_inputs]).clone()
    bank.method.step(bank, batch)
    rule = make_method("ce") if phase else make_method("gce", {"q": 0.7})
    expected = rule.gradient(z, bank.labels(batch), batch)
    torch.testing.assert_close(seen.gradient, expected, rtol=0, atol=1e-16)
    assert batch.selected.flatten(1).all(1).tolist() == [phase == 0, phase == 1]


def test_loss_of_either_network_is_that_of_its_phase() -> None:
    method, z = make_method("turn", {"q": 0.5}), logits(2, 4, K).detach()
    y = torch.tensor([[[0, 1, 2, 0]]])
    batch = step_of(method, 4, K)
    expected = [make_method("gce", {"q": 0.5}).loss(z[:1], y, batch), make_method("ce").loss(z[1:], y, batch)]
    assert torch.equal(method.loss(z, y, batch), torch.cat(expected))


def test_scores_are_those_of_the_phase() -> None:
    method, z = make_method("turn"), logits(2, 4, K).detach()
    for phase in (0, 1):
        assert torch.equal(method.scores(z, {"phase": phase}), z[phase])
    assert method.head_kinds("linear") == (("linear", 1), ("linear", 1))


def test_an_mlp_has_no_place_for_a_linear_layer() -> None:
    X, y = noisy_blobs()
    with pytest.raises(NoisylibError, match=r"head='mlp' does not fit method 'turn'.*'adapter' or 'linear'"):
        train_bank(X, y, X, y, n_classes=K, method="turn", head="mlp", device="cpu")


def test_a_class_that_is_never_observed_takes_no_part() -> None:
    X, y = noisy_blobs()
    bank = bank_of("turn", X, np.where(y == 2, 1, y), K=K, head="adapter", learning_rate=0.02)
    for epoch in range(6):
        bank.train_epoch(epoch, None)
    assert bank.networks.banks[1].flat.isfinite().all()
    drawn = bank.method.order(bank, 5, bank.state)[0].unique()
    counts = torch.bincount(bank.y[0, 0, drawn], minlength=K).tolist()
    assert counts[0] == counts[1] > 0
    assert counts[2] == 0
