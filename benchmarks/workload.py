"""The work that is timed: what is trained, on which data, and how noisylib trains it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from noisylib.heads import HeadBank
from noisylib.methods import make_method
from noisylib.parts import runs_at_once
from noisylib.recipe import Recipe
from noisylib.recorder import Recorder
from noisylib.seeding import numpy_generator
from noisylib.training import BankInTraining, train_bank
from noisylib.validation import check_bank_inputs


@dataclass(frozen=True)
class Setting:
    """Sizes of the benchmark.

    Attributes
    ----------
    seeds, runs_per_seed : S and H; R = S H runs.
    repeats : timed rounds; each round times every case once.
    loop_runs : runs per round of the peers that train one run at a time.
    gemm_sizes : edges of the square float32 products that measure the machine.
    """

    n_features: int = 192
    n_classes: int = 7
    n_samples: int = 8000
    seeds: int = 5
    runs_per_seed: int = 10
    batch_size: int = 128
    head: str = "adapter"
    method: str = "ce"
    repeats: int = 7
    loop_runs: int = 4
    gemm_sizes: tuple[int, ...] = (512, 768, 1024, 1536)

    @property
    def runs(self) -> int:
        """R."""
        return self.seeds * self.runs_per_seed


QUICK = Setting(
    n_features=16,
    n_samples=256,
    seeds=3,
    runs_per_seed=2,
    batch_size=64,
    repeats=2,
    loop_runs=1,
    gemm_sizes=(64,),
)


def clock(device: torch.device) -> float:
    """Return the time in seconds, once all work queued on `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass
class TimedEpochs:
    """Batch orders of two epochs, for a peer to iterate over; the second epoch is the one that is timed.

    An epoch lasts from the request for its order to the request for the next, so that the peers are
    timed as the bank is: drawing the order counts, and setting up and the first epoch do not. A peer that
    trains one run at a time iterates once per run, and the seconds add up.
    """

    n_samples: int
    device: torch.device
    seconds: float = 0.0

    def __iter__(self) -> Iterator[Tensor]:
        yield self._order()
        start = clock(self.device)
        yield self._order()
        self.seconds += clock(self.device) - start

    def _order(self) -> Tensor:
        return torch.randperm(self.n_samples).to(self.device)


@dataclass
class Workload:
    """Made features and labels, the same in every process. Speed does not depend on their values."""

    setting: Setting
    device: torch.device
    X: np.ndarray = field(init=False)
    Y: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        s, random = self.setting, numpy_generator("benchmark", "heads")
        self.X = random.standard_normal((s.n_samples, s.n_features)).astype(np.float32)
        self.Y = random.integers(0, s.n_classes, (s.runs, s.n_samples))

    @property
    def recipe(self) -> Recipe:
        """Two epochs at a constant rate, scored once: the second epoch is the one that is timed."""
        return Recipe(
            epochs=2, batch_size=self.setting.batch_size, decay_at=(), score_epochs=1, standardise=False
        )

    def chunks(self) -> list[list[int]]:
        """Return the seeds of each bank that a study would split the R runs into."""
        s = self.setting
        at_once = runs_at_once(
            make_method(s.method), s.head, n_samples=s.n_samples, n_features=s.n_features,
            n_classes=s.n_classes, recipe=self.recipe, device=self.device,
        )  # fmt: skip
        per_bank = max(1, min(s.seeds, at_once // s.runs_per_seed))
        every = list(range(s.seeds))
        return [every[first : first + per_bank] for first in range(0, s.seeds, per_bank)]

    def train(self, seeds: Sequence[int]) -> float:
        """Train the runs of `seeds` for two epochs as a study does, and return the seconds of the second.

        The first epoch pays for buffers and optimiser state, as it would once in fifty. The second goes
        from one report of progress to the next: batch order, gathers, steps and the scoring of K samples.
        """
        stamps: list[float] = []
        arguments, runs = self._arguments(len(seeds) * self.setting.runs_per_seed)
        train_bank(
            *arguments,
            n_classes=self.setting.n_classes,
            method=self.setting.method,
            head=self.setting.head,
            seeds=[seeds[run // self.setting.runs_per_seed] for run in runs],
            recipe=self.recipe,
            device=str(self.device),
            progress=lambda *_: stamps.append(clock(self.device)),
        )
        # A bank that `train_bank` trains in parts reports the epochs of one part after the other.
        return sum(last - first for first, last in zip(stamps[::2], stamps[1::2], strict=True))

    def train_at_once(self, seeds: Sequence[int], runs_per_seed: int) -> float:
        """Train S x H runs as one bank, whether or not it fits the processor; return seconds as `train`."""
        s, rule = self.setting, make_method(self.setting.method)
        arguments, runs = self._arguments(len(seeds) * runs_per_seed)
        inputs = check_bank_inputs(
            *arguments, s.n_classes, rule, seeds=[seeds[run // runs_per_seed] for run in runs]
        )
        bank = BankInTraining(inputs, rule, s.head, self.recipe, self.device, torch.float32)
        recorder = Recorder(bank, arguments[-1], trace=False)
        for epoch in range(self.recipe.epochs):
            start = clock(self.device)
            bank.train_epoch(epoch, None)
            recorder.after_epoch(epoch)
        return clock(self.device) - start

    def _arguments(self, runs: int) -> tuple[tuple[np.ndarray, ...], range]:
        """Return features and labels of so many runs, and the runs' numbers.

        There is one test sample per class: evaluation is not what is timed.
        """
        K = self.setting.n_classes
        return (self.X, self.Y[:runs], self.X[:K], np.arange(K)), range(runs)

    def _bank(self) -> HeadBank:
        return HeadBank(self.setting.head, [0], self.setting.n_features, self.setting.n_classes)

    def flops_per_head_epoch(self) -> int:
        """Floating-point operations of the products that one head computes in one pass over the samples."""
        s, bank = self.setting, self._bank()
        whole, rest = divmod(s.n_samples, s.batch_size)
        return whole * bank.step_flops(s.batch_size) + (bank.step_flops(rest) if rest else 0)

    def plain_flops_per_head_epoch(self) -> int:
        """The same of a forward and backward pass sample by sample, without what is done once per batch."""
        return self.setting.n_samples * self._bank().flops_per_sample()
