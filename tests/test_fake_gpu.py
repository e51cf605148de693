"""Training on a GPU that only has shapes: nothing stays on the CPU, and no step makes the host wait."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakegpu import fake_gpu, trained_there
from small_bank import D, N, noisy

from noisylib.devices import send
from noisylib.methods import RANKED, Batch
from noisylib.methods.ce import CrossEntropy
from noisylib.methods.dividemix import DivideMix
from noisylib.training import BankInTraining


@pytest.fixture(autouse=True)
def _division_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixtures are fitted once an epoch, until they converge, which only numbers can tell."""

    def divide(self: DivideMix, training: BankInTraining) -> tuple[torch.Tensor, torch.Tensor]:
        weight = training.losses().sigmoid()
        return weight, weight > self.threshold

    monkeypatch.setattr(DivideMix, "divide", divide)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("head", ["linear", "mlp", "adapter"])
@pytest.mark.parametrize("method", RANKED)
def test_no_step_of_a_ranked_method_makes_the_host_wait(
    method: str, head: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_gpu(monkeypatch) as watch:
        bank = trained_there(method, watch, precision=precision, head=head)
        assert {part.flat.device.type for part in bank.networks.banks} == {"cuda"}
        watch.waits[False].clear()
        bank.train_epoch(1, None)
        between = watch.waits[False]
    assert watch.waits[True] == []
    # Beside the steps, which are not told apart in this last epoch: the order of its batches.
    assert between == ["_to_copy between devices"]


def test_no_step_with_weights_or_cached_views_makes_the_host_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as watch:
        trained_there("dividemix", watch, views=np.zeros((3, N, D)))
        trained_there("gce", watch, sample_weight=np.ones(noisy(4).shape))
    assert watch.waits[True] == []


class Spoilt(CrossEntropy):
    """Cross entropy with something in its step that makes the host wait."""

    def __init__(self, what: str) -> None:
        object.__setattr__(self, "what", what)

    def step(self, training: BankInTraining, batch: Batch) -> None:
        super().step(training, batch)
        x = training.y[0, 0]
        {
            "kept on the CPU": lambda: torch.arange(N) + x,
            "CPU index": lambda: x[torch.tensor([1, 2])],
            "sent": lambda: torch.ones(3).to(x.device),
            "sent and queued": lambda: send(torch.ones(3), x.device),
            "fetched": lambda: x.to("cpu"),
            "fetched and queued": lambda: x.to("cpu", non_blocking=True),
            "number": lambda: x.sum().item(),
            "mask": lambda: x[x > 0],
            "places": lambda: x.nonzero(),
            "comparison": lambda: torch.equal(x, x),
        }[self.what]()


FINE = ("sent and queued",)
RAISED = ("kept on the CPU", "number", "mask", "places", "comparison")  # fakes have no answer
NOTED = {
    "CPU index": "index of tensors on both devices",
    "sent": "_to_copy between devices",
    "fetched": "_to_copy between devices",
    "fetched and queued": "_to_copy between devices",
}


@pytest.mark.parametrize("what", [*FINE, *RAISED, *NOTED])
def test_what_would_make_the_host_wait_is_noticed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch) as watch:
        if what in RAISED:
            with pytest.raises((RuntimeError, NotImplementedError)):
                trained_there(Spoilt(what), watch)
        else:
            trained_there(Spoilt(what), watch)
    noted = set(watch.waits[True])
    if what not in RAISED:
        assert noted == ({NOTED[what]} if what in NOTED else set())
