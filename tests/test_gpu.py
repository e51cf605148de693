"""On a real GPU: rows agree with those of a CPU, steps do not wait, and memory that runs out is no end.

The fake GPU of ``test_fake_gpu.py`` needs none; what only a real one can show is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from blobs import blobs
from small_bank import SHORT, D, K, N, noisy, train

from noisylib import training
from noisylib.errors import NoisylibError
from noisylib.heads import HEAD_KINDS
from noisylib.methods import METHODS, RANKED, Batch, Method
from noisylib.recorder import RunResults
from noisylib.training import BankInTraining

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU here; a fake one is tested elsewhere"
)

GPU, F32, F64 = "cuda", torch.float32, torch.float64
RUNS = 4
# The same draws feed both processors, so that only the order of additions differs.
LOGITS_64, LOGITS_32 = 1e-8, 2e-3
ROWS = 0.01  # of accuracy and balanced accuracy in single precision, on 300 test samples
LOW_LOGITS = {"tf32": 0.02, "bfloat16": 0.1}  # medians
X_TEST, Y_TEST = blobs(300, K, D, seed=1)


def trained(device: str, method: str | Method, **more) -> RunResults:
    more = {"dtype": F32, "seeds": [3, 8, 3, 8], "X_test": X_TEST, "y_test": Y_TEST} | more
    return train(noisy(RUNS), method, device=device, **more)


@pytest.mark.parametrize("head", HEAD_KINDS)
@pytest.mark.parametrize("method", RANKED)
def test_rows_of_cpu_and_gpu_agree(method: str, head: str) -> None:
    cpu, gpu = (trained(device, method, head=head) for device in ("cpu", GPU))
    assert np.median(np.abs(gpu.test_logits - cpu.test_logits)) < LOGITS_32
    np.testing.assert_allclose(gpu.accuracy, cpu.accuracy, rtol=0, atol=ROWS)
    np.testing.assert_allclose(gpu.balanced_accuracy, cpu.balanced_accuracy, rtol=0, atol=ROWS)


@pytest.mark.parametrize("head", HEAD_KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_in_double_precision_cpu_and_gpu_do_the_same(method: str, head: str) -> None:
    if method == "turn" and head == "mlp":
        head = "linear"  # TURN does not take this head
    cpu, gpu = (trained(device, method, head=head, dtype=F64, trace=True) for device in ("cpu", GPU))
    np.testing.assert_allclose(gpu.test_logits, cpu.test_logits, rtol=0, atol=LOGITS_64)
    assert gpu.trace.keys() == cpu.trace.keys()
    for name, values in cpu.trace.items():
        np.testing.assert_allclose(gpu.trace[name], values, rtol=0, atol=LOGITS_64, err_msg=name)


def test_cached_views_and_weights_do_the_same() -> None:
    cached = np.random.default_rng(0).normal(size=(3, N, D))
    weights = np.random.default_rng(1).random((RUNS, N))
    for method, more in (("dividemix", {"views": cached}), ("elr", {"sample_weight": weights})):
        cpu, gpu = (trained(device, method, dtype=F64, **more) for device in ("cpu", GPU))
        np.testing.assert_allclose(gpu.test_logits, cpu.test_logits, rtol=0, atol=LOGITS_64)


@pytest.mark.parametrize("precision", LOW_LOGITS)
@pytest.mark.parametrize("head", HEAD_KINDS)
@pytest.mark.parametrize("method", RANKED)
def test_lower_precision_trains_much_the_same(method: str, head: str, precision: str) -> None:
    cpu = trained("cpu", method, head=head)
    low = trained(GPU, method, head=head, precision=precision)
    assert low.test_logits.dtype == np.float32
    assert np.median(np.abs(low.test_logits - cpu.test_logits)) < LOW_LOGITS[precision]


def test_lower_precision_is_really_used() -> None:
    """A product of 1 + 2**-12 by 1 is rounded to 1 by either, and by nothing in single precision."""
    fine = torch.full((512, 512), 1 + 2.0**-12, device=GPU)
    eye = torch.eye(512, device=GPU)
    with training.products_in("float32", torch.device(GPU)):
        assert torch.equal(fine @ eye, fine)
    with training.products_in("tf32", torch.device(GPU)):
        assert not torch.equal(fine @ eye, fine)
    low = trained(GPU, "ce", precision="bfloat16")
    assert np.abs(low.test_logits - trained(GPU, "ce").test_logits).max() > 1e-5


@pytest.fixture
def _no_waiting_in_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a step that waits for the GPU an error."""
    before = torch.cuda.get_sync_debug_mode()
    original = BankInTraining.train_epoch

    def train_epoch(bank: BankInTraining, epoch: int, *more: object) -> None:
        method, rule = bank.method, type(bank.method)

        def step(self: Method, in_training: BankInTraining, batch: Batch) -> None:
            # The first steps make buffers and load libraries; what they wait for is paid once.
            torch.cuda.set_sync_debug_mode("error" if batch.epoch and batch.step else before)
            method.step(in_training, batch)
            torch.cuda.set_sync_debug_mode(before)

        bank.method = object.__new__(type("Watched", (rule,), {"step": step}))
        bank.method.__dict__.update(method.__dict__)
        original(bank, epoch, *more)
        bank.method = method

    monkeypatch.setattr(BankInTraining, "train_epoch", train_epoch)
    yield
    torch.cuda.set_sync_debug_mode(before)


@pytest.mark.usefixtures("_no_waiting_in_steps")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", RANKED)
def test_no_step_waits(method: str, precision: str) -> None:
    trained(GPU, method, precision=precision)


@pytest.fixture
def _little_memory() -> Iterator[None]:
    """Leave 256 MB more than is in use; the whole of the GPU afterwards."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**28) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def wide(runs: int, width: int, device: str = GPU) -> RunResults:
    """Runs of 10 parameters, four times 8 bytes each, per unit of width, and 60 activations."""
    recipe = replace(SHORT, epochs=2, score_epochs=1, width=width)
    return train(noisy(runs), "ce", head="adapter", recipe=recipe, dtype=F64, device=device)


@pytest.mark.usefixtures("_little_memory")
def test_memory_that_runs_out_cuts_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen runs of about 50 MB each do not fit; some do."""
    monkeypatch.setattr(training, "runs_at_once", lambda *a, **k: 100)
    banks, build = [], BankInTraining._build

    def counted(bank: BankInTraining, head: str) -> None:
        banks.append(len(bank.layout.gather(bank.y)))
        build(bank, head)

    monkeypatch.setattr(BankInTraining, "_build", counted)
    gpu = wide(16, width=60_000)
    assert banks[0] == 16
    assert len(banks) > 2
    np.testing.assert_allclose(gpu.test_logits, wide(16, 60_000, "cpu").test_logits, rtol=0, atol=LOGITS_64)


@pytest.mark.usefixtures("_little_memory")
def test_a_single_run_that_is_too_large_is_an_error() -> None:
    with pytest.raises(NoisylibError, match="single run"):
        wide(1, width=2_000_000)


def test_nothing_stays_on_the_gpu() -> None:
    trained(GPU, "coteaching")
    before = torch.cuda.memory_allocated()
    trained(GPU, "coteaching")
    assert torch.cuda.memory_allocated() == before
