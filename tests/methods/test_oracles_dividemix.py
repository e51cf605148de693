"""DivideMix: which labels are kept, by whose losses, and what its weights are chosen by."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, step_of, watched_step

from noisylib.methods import make_method
from noisylib.methods.losses import cross_entropy
from noisylib.mixtures import low_posterior, scale_to_unit
from noisylib.training import BankInTraining

K, N = 3, 40
X, Y = blobs(N, K, 4)


def bank(head: str = "mlp", **options) -> BankInTraining:
    """Six epochs, two of warm-up."""
    options = {"unlabelled_weight": 7, "warm_up_penalty": 0.5, "warm_up": 0.34, **options}
    wrong = np.where(np.arange(N) % 4 == 0, np.roll(Y, 7), Y)
    return bank_of(make_method("dividemix", options), X, wrong, K=K, head=head)


def test_no_gradient_or_change_reaches_the_division() -> None:
    training = bank()
    for epoch in range(2):
        training.train_epoch(epoch, None)
    training.method.begin_epoch(training, 2, training.state)
    before = {name: training.state[name].clone() for name in ("clean_weight", "labelled")}
    watched_step(training, batch_of(training, range(8), epoch=2))
    for name, values in before.items():
        assert torch.equal(training.state[name], values)
        assert not values.requires_grad


def test_warm_up_is_a_tenth_of_the_run_and_at_least_one_epoch(monkeypatch) -> None:
    method = make_method("dividemix")
    assert [method.warm_up_epochs(E) for E in (1, 4, 10, 50, 95, 100)] == [1, 1, 1, 5, 10, 10]
    training, calls = bank(), []
    divide = type(training.method).divide
    monkeypatch.setattr(
        type(training.method), "divide", lambda self, t: calls.append(epoch) or divide(self, t)
    )
    views = training.views
    training.views = lambda batch, drops: (
        pytest.fail("warm-up has no views") if epoch < 2 else views(batch, drops)
    )
    for epoch in range(6):
        training.train_epoch(epoch, None)
    assert calls == [2, 3, 4, 5]


def test_warm_up_trains_on_all_labels_with_a_penalty_on_confidence() -> None:
    training, ce = bank(head="linear"), make_method("ce")
    batch = batch_of(training, range(8))
    seen = watched_step(training, batch)
    assert batch.selected.shape == (2, 1, 1, 8)
    assert batch.selected.all()
    y = training.labels(batch)
    z = seen.logits.requires_grad_()
    p = torch.softmax(z, -1)
    loss = ce.loss(z, y, batch) + 0.5 * (p * p.log()).sum(-1).mean(-1)
    torch.testing.assert_close(seen.gradient, torch.autograd.grad(loss.sum(), z)[0], rtol=0, atol=1e-15)
    value = training.method.loss(seen.logits, y, batch)
    torch.testing.assert_close(value, loss, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("rate", "asymmetric", "weight", "penalty"),
    [
        (0.0, False, 0, 0),
        (0.2, False, 0, 0),
        (0.204, False, 0, 0),  # a rate of .2 whose counts were rounded up
        (0.21, False, 25, 0),
        (0.4, False, 25, 0),
        (0.1, True, 0, 1),
        (0.4, True, 0, 1),
    ],
)
def test_published_choice_by_type_and_rate(
    rate: float, asymmetric: bool, weight: float, penalty: float
) -> None:
    """Each run of a bank by its own facts; the other run is at .4, symmetric."""
    batch = step_of(
        make_method("dividemix"), 4, K, runs=(1, 2), rate=torch.tensor([[rate, 0.4]]),
        asymmetric=torch.tensor([[asymmetric, False]]),
    )  # fmt: skip
    assert batch.state["unlabelled_weight"].tolist() == [[weight, 25]]
    assert batch.state["penalty"].tolist() == [[penalty, 0]]


def test_numbers_take_the_place_of_the_published_choice() -> None:
    method = make_method("dividemix", {"unlabelled_weight": 3, "warm_up_penalty": 0.25})
    state = step_of(method, 4, K, rate=0.4, asymmetric=True).state
    assert state["unlabelled_weight"].tolist() == [[3]]
    assert state["penalty"].tolist() == [[0.25]]


def divide(losses: torch.Tensor, **options) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and labelled (2, N) from losses (2, N)."""
    method = make_method("dividemix", options)
    training = SimpleNamespace(losses=lambda: losses.view(2, 1, 1, -1))
    return tuple(values[:, 0, 0] for values in method.divide(training))


def two_groups(seed: int, n: int = 3000) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses from N(.1, .02^2) for the clean 70 % and N(.8, .05^2) else, and which are clean."""
    g = torch.Generator().manual_seed(seed)
    clean = torch.rand(n, generator=g) < 0.7
    noise = torch.randn(n, generator=g, dtype=F64)
    return torch.where(clean, 0.1 + 0.02 * noise, 0.8 + 0.05 * noise), clean


def test_division_comes_from_the_other_network() -> None:
    (one, clean_one), (two, clean_two) = two_groups(1), two_groups(2)
    weight, labelled = divide(torch.stack([one, 10 * two]))
    assert (labelled[0] == clean_two).double().mean() > 0.999
    assert (labelled[1] == clean_one).double().mean() > 0.999
    assert (labelled[0] == clean_one).double().mean() < 0.7
    # w falls with the loss, from 1 to 0 between the two means.
    for w, loss in ((weight[0], two), (weight[1], one)):
        between = (loss > 0.1) & (loss < 0.8)
        assert (w[between][loss[between].argsort()].diff() <= 0).all()
        assert w[loss < 0.15].min() > 0.999
        assert w[loss > 0.7].max() < 0.001


def test_division_does_not_depend_on_the_scale_of_the_losses() -> None:
    losses = torch.stack([two_groups(1)[0], two_groups(2)[0]])
    weight, _ = divide(losses)
    for moved in (1000 * losses, losses + 5, 1e-3 * losses - 1):
        torch.testing.assert_close(divide(moved)[0], weight, rtol=0, atol=1e-6)


def test_the_threshold_is_a_posterior() -> None:
    # Overlapping groups, so that posteriors take all values.
    losses = torch.stack([two_groups(1)[0].abs().sqrt(), two_groups(2)[0]]) + torch.linspace(0, 1, 3000)
    weight, _ = divide(losses)
    assert ((weight > 0.1) & (weight < 0.9)).any()
    for threshold in (0.0, 0.3, 0.9, 1.0):
        again, labelled = divide(losses, threshold=threshold)
        assert torch.equal(again, weight)
        assert torch.equal(labelled, weight > threshold)


def test_equal_losses_are_all_clean() -> None:
    weight, labelled = divide(torch.full((2, 50), 0.7, dtype=F64))
    assert (weight == 1).all()
    assert labelled.all()


@pytest.mark.parametrize("threshold", [1.0, 0.0])
def test_a_part_that_is_empty_leaves_training_finite(threshold: float) -> None:
    training = bank(threshold=threshold)
    for epoch in range(6):
        training.train_epoch(epoch, None)
    if threshold == 1:
        assert not training.state["labelled"].any()
    assert training.networks.banks[0].flat.isfinite().all()


def test_division_is_by_the_present_networks_and_their_own_losses() -> None:
    training = bank()
    training.train_epoch(0, None)
    z = torch.cat([z.clone() for _, z in training.sweep()], dim=3)
    losses = cross_entropy(z, training.y)
    training.method.begin_epoch(training, 2, training.state)
    for net in range(2):
        own = low_posterior(scale_to_unit(losses[1 - net, 0, 0]))
        torch.testing.assert_close(training.state["clean_weight"][net, 0, 0], own, rtol=0, atol=1e-12)
