"""Bytes of a bank: counted by hand, and against what a bank in training really holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from noisylib.analysis import bank_memory
from noisylib.analysis.bank_memory import bank_memory as bytes_of
from noisylib.analysis.workload import HEADS, Workload
from noisylib.methods import make_method
from noisylib.recipe import Recipe
from noisylib.training import BankInTraining
from noisylib.validation import check_bank_inputs

WORK = Workload(
    runs=20, samples=1000, n_features=8, n_classes=2, test_samples=100, batch_size=128, cache=None
)


def in_training(head: str, samples: int = 50) -> BankInTraining:
    """A bank of one seed with 3 runs, 8 features and 2 classes."""
    X, y = np.random.default_rng(0).standard_normal((samples, 8)), np.arange(samples) % 2
    method = make_method("ce")
    inputs = check_bank_inputs(X, np.stack([y] * 3), X[:6], y[:6], 2, method)
    return BankInTraining(inputs, method, head, Recipe(), torch.device("cpu"), torch.float32)


def kept(*tensors: torch.Tensor) -> int:
    """Return the bytes of tensors, memory that two of them share counted once."""
    return sum({t.data_ptr(): t.nbytes for t in tensors}.values())


@pytest.mark.parametrize("head", sorted(HEADS))
def test_features_are_kept_as_often_as_is_said(head: str) -> None:
    bank = in_training(head, samples=40_000)  # enough for large pages
    assert kept(bank.samples.X, bank._prepared) == 40_000 * 8 * bank_memory.KEPT[head]
    assert kept(bank.samples.X_test, bank.X_test) == 6 * 8 * bank_memory.KEPT_TEST[head]
    assert bank.y.nbytes == 3 * 40_000 * bank_memory.GRID


@pytest.mark.parametrize("head", sorted(HEADS))
def test_parameters_come_with_gradient_and_two_moments(head: str) -> None:
    (bank,) = in_training(head).networks.banks
    assert bank.flat.nbytes + bank.flat_gradient.nbytes == 2 * 4 * bank.flat.numel()
    assert bank_memory.STATE == 4 * 4


@pytest.mark.parametrize("head", sorted(HEADS))
def test_buffers_are_those_of_the_largest_block(head: str) -> None:
    bank = in_training(head)
    (heads,) = bank.networks.banks
    heads.forward(heads.prepare(torch.randn(200, 8)))
    heads.backward(heads.prepare(torch.randn(1, 200, 8)), torch.randn(1, 1, 3, 200, 2))
    buffers = sum(t.nbytes for t in heads._scratch.values())
    work = Workload(3, 50, 8, 2, head=head, batch_size=200)
    state = 16 * work.parameters
    assert buffers == 3 * (bank_memory.head_bytes(work) - state) + bank_memory.batch_bytes(work)


def test_bank_by_hand() -> None:
    # 1,042 parameters, and buffers of 128 samples and of the folded matrices: a part's step goes through
    # 4 * (4 * 1,042 + 130 * 128) = 83,232 bytes a head.
    head, batch = 16 * 1042 + 4 * (128 * 130 + 2 * 64 * 2), 4 * 128 * 16
    work = replace(WORK, cache=10 * 83232)
    memory = bytes_of(work)
    # Stored and handed over, 6 bytes a number, beside what is kept or what the z-score takes.
    features = 8000 * (6 + 12) + 800 * (6 + 12)
    assert memory.features == features
    assert memory.preparing == 8000 * (6 + 24) + 800 * (6 + 8)
    assert memory.labels == 1000 * (16 * 20 + 16 * 10 + 16)
    assert memory.heads == 10 * head + batch
    assert memory.scores == 4 * 20 * 100 * 2
    assert memory.peak == features + 10 * head + batch + 16000 + 1000 * 496
    wide = bytes_of(replace(work, n_features=800, runs=1))
    assert wide.peak == wide.preparing + wide.labels, "many features: the z-score is the peak"
    assert bytes_of(replace(work, head="linear"), stored=False).features == 8000 * 12 + 800 * 8
    assert bytes_of(replace(work, cache=None)).heads == 20 * head + batch


def test_scoring_blocks_set_the_buffers() -> None:
    assert bank_memory.batch_bytes(replace(WORK, test_samples=5000)) == 4 * 1024 * 16
    linear = replace(WORK, head="linear")
    assert bank_memory.head_bytes(linear) == 16 * 18 + 4 * 128 * 2
    assert bank_memory.head_bytes(replace(linear, test_samples=5000)) == 16 * 18 + 4 * 1024 * 2


def test_gpu_by_hand() -> None:
    memory = bank_memory.gpu_memory(WORK)
    head = 16 * 1042 + 4 * (128 * 130 + 2 * 64 * 2)
    features = 8800 * 12
    assert (memory.features, memory.labels) == (features, 1000 * (8 * 20 + 8 * 2)), "orders of two seeds"
    assert memory.heads == 20 * head + 2 * 4 * 128 * 16
    assert memory.peak == memory.features + memory.labels + memory.heads + memory.scores


@pytest.mark.parametrize("gpu", [False, True])
def test_the_largest_bank_that_fits_fits_and_no_larger_one(gpu: bool) -> None:
    size = bank_memory.gpu_memory if gpu else bytes_of
    most = bank_memory.fitting_samples(WORK, 1e9, gpu=gpu, test_share=0.5)

    def peak(samples: int) -> float:
        return size(replace(WORK, samples=samples, test_samples=samples // 2)).peak

    assert peak(most) <= 1e9 < peak(most + 1)
    assert bank_memory.fitting_samples(WORK, 1000, gpu=gpu) == 0


def test_what_fits_by_hand() -> None:
    # One run of a linear head on 100 features: per sample 30 bytes a number at the peak, and 48 of labels.
    work = Workload(1, 1, 100, 2, head="linear")
    assert bank_memory.fitting_samples(work, 3048 * 10**6) == 10**6
