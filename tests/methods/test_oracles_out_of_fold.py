"""Cross-validated probabilities, and the pruning that rests on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, labels, logits, step_of, watched_step

from noisylib.errors import NoisylibError
from noisylib.methods import make_method, out_of_fold
from noisylib.methods.out_of_fold import stratified_folds
from noisylib.seeding import torch_generator
from noisylib.training import BankInTraining, train_bank

K, N = 3, 61
USERS = ("forward", "cl_prune")


def uneven_labels() -> torch.Tensor:
    """Labels (2, 2, N) of four runs, in which classes are of different size."""
    g = torch.Generator().manual_seed(0)
    shares = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    return torch.multinomial(shares, N, replacement=True, generator=g).view(2, 2, N)


def probabilities(bank: BankInTraining, folds: int = 4, epochs: int = 3) -> torch.Tensor:
    return out_of_fold.out_of_fold(bank, folds, epochs)


@pytest.mark.parametrize("folds", [2, 4])
def test_folds_are_stratified(folds: int) -> None:
    y = uneven_labels()
    assert torch.nn.functional.one_hot(y, K).sum(2).min() >= folds
    fold = stratified_folds(y, (3, 8), folds, K)
    for s in range(2):
        for h in range(2):
            for c in range(K):
                sizes = torch.bincount(fold[s, h][y[s, h] == c], minlength=folds)
                assert sizes.max() - sizes.min() <= 1
                assert len(sizes) == folds


def test_samples_of_a_class_go_to_the_folds_in_turn_in_an_order_of_the_seed() -> None:
    y, seeds = uneven_labels(), (3, 8)
    fold = stratified_folds(y, seeds, 4, K)
    for s, seed in enumerate(seeds):
        order = torch.randperm(N, generator=torch_generator("folds", seed))
        for h in range(2):
            for c in range(K):
                members = [i for i in order.tolist() if y[s, h, i] == c]
                assert fold[s, h, members].tolist() == [j % 4 for j in range(len(members))]


def test_a_probability_never_depends_on_the_samples_own_label(monkeypatch) -> None:
    """With folds held, another label of sample i changes P of samples in other folds, never its own."""
    X, y = blobs(N, K, 4)
    fold = torch.arange(N).expand(1, 1, N) % 4
    monkeypatch.setattr(out_of_fold, "stratified_folds", lambda *_: fold)
    before = probabilities(bank_of("ce", X, y, K=K))
    for i in (0, 17, N - 1):
        changed = y.copy()
        changed[i] = (y[i] + 1) % K
        after = probabilities(bank_of("ce", X, changed, K=K))
        same = (after == before).all(-1)[0, 0]
        assert same.tolist() == (fold[0, 0] == fold[0, 0, i]).tolist()


def test_labels_without_meaning_cannot_be_predicted_out_of_fold() -> None:
    """More features than samples: a probe that has seen the labels repeats them, one that has not guesses."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 120)), np.arange(80) % 2
    recipe = {"epochs": 60, "learning_rate": 0.05, "weight_decay": 0.0}
    bank = bank_of("ce", X, y, K=2, **recipe)
    guessed = probabilities(bank, folds=5, epochs=60)[0, 0].argmax(-1)
    assert (guessed.numpy() == y).mean() < 0.75
    for epoch in range(60):
        bank.train_epoch(epoch, None)
    repeated = torch.cat([z.clone() for _, z in bank.sweep()], dim=3)[0, 0, 0].argmax(-1)
    assert (repeated.numpy() == y).all()


def test_each_fold_has_the_probe_that_a_bank_without_its_samples_trains() -> None:
    """One batch an epoch: fold f's probe is cross entropy on the samples of the other folds."""
    X, y = blobs(40, K, 4)
    bank = bank_of("ce", X, y, K=K, batch_size=40, decay_at=(0.5,), learning_rate=0.05)
    fold = stratified_folds(bank.y, (0,), 4, K)[0, 0]
    P = probabilities(bank, epochs=6)[0, 0]
    for f in range(4):
        seen, held_out = (fold != f).numpy(), (fold == f).numpy()
        probe = bank_of("ce", X[seen], y[seen], K=K, batch_size=40, decay_at=(0.5,), learning_rate=0.05)
        # Network f of a run has a start of its own.
        from noisylib.heads import HeadBank

        start = HeadBank("linear", (0,), 4, K, first_net=f, dtype=F64)
        probe.networks.banks[0].flat.copy_(start.flat)
        for epoch in range(6):
            probe.train_epoch(epoch, None)
        z = probe.forward(torch.as_tensor(X[held_out]))[0, 0, 0]
        torch.testing.assert_close(P[torch.as_tensor(held_out)], torch.softmax(z, -1), rtol=0, atol=1e-12)


def test_probabilities_are_distributions_in_double_precision_whatever_the_bank() -> None:
    X, y = blobs(N, K, 4)
    for dtype in (F64, torch.float32):
        P = probabilities(bank_of("ce", X, np.stack([y, np.roll(y, 1)]), K=K, seeds=[4, 4], dtype=dtype))
        assert P.shape == (1, 2, N, K)
        assert P.dtype == F64
        torch.testing.assert_close(P.sum(-1), torch.ones((1, 2, N), dtype=F64), rtol=0, atol=1e-14)


def test_a_run_does_not_see_the_others_and_blocks_change_nothing() -> None:
    X, y = blobs(1100, K, 4)
    runs = np.stack([y, np.roll(y, 1), y])
    together = probabilities(bank_of("ce", X, runs, K=K, seeds=[1, 1, 2], batch_size=256), epochs=2)
    for run, (s, h) in enumerate([(0, 0), (0, 1), (1, 0)]):
        alone = probabilities(bank_of("ce", X, runs[run], K=K, seeds=[1 + s], batch_size=256), epochs=2)
        torch.testing.assert_close(together[s, h], alone[0, 0], rtol=0, atol=1e-13)


def test_folds_come_from_the_seed_and_batches_from_seed_and_epoch(monkeypatch) -> None:
    X, y = blobs(N, K, 4)
    asked = []
    monkeypatch.setattr(
        out_of_fold, "torch_generator", lambda *parts: asked.append(parts) or torch_generator(*parts)
    )
    probabilities(bank_of("ce", X, np.stack([y, y]), K=K, seeds=[3, 8]), epochs=3)
    batches = [("fold-batches", seed, epoch) for epoch in range(3) for seed in (3, 8)]
    assert asked == [("folds", 3), ("folds", 8), *batches]


def test_a_batch_of_one_fold_leaves_its_probe_without_a_sample() -> None:
    X, y = blobs(12, 2, 4)
    P = probabilities(bank_of("ce", X, y, K=2, batch_size=1), folds=2, epochs=1)
    assert P.isfinite().all()


@pytest.mark.parametrize("method", USERS)
@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_class_with_fewer_samples_than_folds_is_named(method: str, left: int, monkeypatch) -> None:
    monkeypatch.setattr(BankInTraining, "train_epoch", lambda *_: pytest.fail("training has begun"))
    X, y = blobs(60, K, 4)
    short = y.copy()
    short[np.flatnonzero(y == 2)[left:]] = 1
    message = rf"y_noisy\[1\] has class 2 only {left} times: .*folds=5 needs at least 5 .*fewer folds"
    with pytest.raises(NoisylibError, match=message):
        train_bank(X, np.stack([y, short]), X, y, n_classes=K, method=method, seeds=[3, 8], device="cpu")


def test_as_many_samples_as_folds_suffice() -> None:
    y = labels(*[0] * 5, *[1] * 5)
    fold = stratified_folds(y, (0,), 5, 2)[0, 0]
    assert sorted(fold[:5].tolist()) == sorted(fold[5:].tolist()) == list(range(5))


def test_pruning_is_cross_entropy_on_what_is_kept() -> None:
    """Kept: samples 1 and 3 of 4. Their mean, not a sum over the batch."""
    method, ce = make_method("cl_prune"), make_method("ce")
    z, y, batch = logits(1, 4, 3).detach(), labels(0, 1, 2, 0), step_of(make_method("cl_prune"), 4, 3)
    batch.state["kept"] = torch.zeros_like(batch.state["kept"])
    batch.state["kept"][..., [1, 3]] = 1
    expected = ce.loss(z[..., [1, 3], :], y[..., [1, 3]], batch).item()
    assert method.loss(z, y, batch).item() == pytest.approx(expected, abs=1e-15)
    assert batch.selected.flatten().tolist() == [False, True, False, True]
    g = method.gradient(z, y, batch)[0, 0, 0]
    assert g[[0, 2]].abs().max() == 0
    of_kept = ce.gradient(z[..., [1, 3], :], y[..., [1, 3]], batch)[0, 0, 0]
    torch.testing.assert_close(g[[1, 3]], of_kept, rtol=0, atol=1e-16)


def test_pruning_nothing_is_ce_and_a_batch_without_a_kept_sample_rests() -> None:
    method, ce = make_method("cl_prune"), make_method("ce")
    z, y, batch = logits(1, 4, 3).detach(), labels(0, 1, 2, 0), step_of(make_method("cl_prune"), 4, 3)
    batch.state["kept"] = torch.ones_like(batch.state["kept"])
    assert method.loss(z, y, batch).item() == pytest.approx(ce.loss(z, y, batch).item(), abs=1e-15)
    torch.testing.assert_close(method.gradient(z, y, batch), ce.gradient(z, y, batch), rtol=0, atol=1e-16)
    batch.state["kept"].zero_()
    assert method.loss(z, y, batch).item() == 0
    assert method.gradient(z, y, batch).abs().max() == 0


def test_flipped_labels_of_far_apart_classes_are_pruned_and_no_others() -> None:
    X, y = blobs(300, K, 5, spread=10)
    flipped = np.random.default_rng(1).random((2, 300)) < np.array([[0.1], [0.3]])
    noisy = np.where(flipped, (y + 1) % K, y)
    bank = bank_of(
        make_method("cl_prune", {"fold_epochs": 30}), X, noisy, K=K, standardise=True, learning_rate=0.02
    )
    kept = bank.state["kept"][0].numpy()
    # As many as the estimated joint says are pruned: a handful may be off, the order is right.
    for run in range(2):
        assert (kept[run][flipped[run]] == 0).mean() > 0.95
        assert (kept[run][~flipped[run]] == 1).mean() > 0.99
    before = bank.state["kept"].clone()
    bank.train_epoch(0, None)
    assert torch.equal(bank.state["kept"], before), "the mask is made once"
    seen = watched_step(bank, batch_of(bank, np.arange(10)))
    assert ((seen.gradient[0, 0].abs().sum(-1) > 0).numpy() == (kept[:, :10] > 0)).all()
