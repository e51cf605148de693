"""How much memory a bank of heads takes, and how many samples fit into a given amount.

Features are float32 in use. Preparing them takes more than training on them: the z-score is computed in
float64, where features, their difference from the mean and the quotient exist at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from noisylib.analysis.workload import EVALUATION_ROWS, Workload

# Bytes per number of the features.
STORED = 2  # the bank as it lies on disk and in a worker, float16
HANDED = 4  # what train_bank is given, float32
ZSCORE = 24  # of training samples: three float64 copies while they are standardised
DOUBLE = 8  # of test samples, which wait as one float64 copy
# Standardised, and beside them prepared; the prepared training samples are on large pages, so they are a copy
# even where preparing changes nothing.
KEPT = {"linear": 8, "mlp": 8, "adapter": 12}
KEPT_TEST = KEPT_GPU = {"linear": 4, "mlp": 4, "adapter": 12}
# Bytes per label, int64: what is handed over and its checked copy, of all runs; those of the part that trains
# and their grid, which alone lies on a GPU.
LABELS, PART_LABELS, GRID = 16, 16, 8
ORDER = 16  # bytes per sample and seed: the order of an epoch, drawn and then stacked, int64
STATE = 16  # bytes per parameter: value, gradient and two moments of Adam


@dataclass(frozen=True)
class Memory:
    """Bytes of a bank in training on a CPU, or on a GPU and its host.

    Attributes
    ----------
    features, preparing : of the features while heads train, and at most while they are prepared.
    labels, heads, scores : labels and batch orders; parameters, optimiser and buffers of the heads that train
        at a time; logits of the test samples.
    """

    features: float
    preparing: float
    labels: float
    heads: float
    scores: float

    @property
    def peak(self) -> float:
        """Most bytes at any time."""
        return max(self.features + self.heads + self.scores, self.preparing) + self.labels


def bank_memory(work: Workload, *, stored: bool = True) -> Memory:
    """Return the bytes of one bank on a CPU.

    Parameters
    ----------
    stored : whether the bank's file is held too, as by a worker of a study; `train_bank` is given an array.
    """
    training, test = work.samples * work.n_features, work.test_samples * work.n_features
    at_once = min(work.runs, work.heads_at_once)
    held = (training + test) * (HANDED + (STORED if stored else 0))
    return Memory(
        features=held + training * KEPT[work.head] + test * KEPT_TEST[work.head],
        preparing=held + training * ZSCORE + test * DOUBLE,
        labels=work.samples * (LABELS * work.runs + PART_LABELS * at_once + ORDER),
        heads=at_once * head_bytes(work) + batch_bytes(work),
        scores=4 * work.runs * work.test_samples * work.n_classes,
    )


def gpu_memory(work: Workload) -> Memory:
    """Return the bytes of one bank on a GPU, all runs at once; its features are standardised on the host."""
    training, test = work.samples * work.n_features, work.test_samples * work.n_features
    features = (training + test) * KEPT_GPU[work.head]
    return Memory(
        features=features,
        preparing=features,
        labels=work.samples * (GRID * work.runs + ORDER // 2 * work.pieces),  # orders are drawn on the host
        heads=work.runs * head_bytes(work) + work.pieces * batch_bytes(work),
        scores=4 * work.runs * work.test_samples * work.n_classes,
    )


def head_bytes(work: Workload) -> int:
    """Return the bytes of one head in training: parameters, gradient, moments and buffers."""
    buffers = _rows(work) * (2 * work.hidden + work.n_classes)
    if work.head == "adapter":
        buffers += 2 * work.hidden * work.n_classes
    return STATE * work.parameters + 4 * buffers


def batch_bytes(work: Workload) -> int:
    """Return the bytes of the batch that all heads of a seed share."""
    return 4 * _rows(work) * work.inputs


def _rows(work: Workload) -> int:
    """Return the rows that buffers are made for: test samples are scored in blocks larger than a batch."""
    return max(work.batch_size, min(EVALUATION_ROWS, work.test_samples))


def fitting_samples(work: Workload, memory: float, *, gpu: bool = False, test_share: float = 0.0) -> int:
    """Return the most training samples with which a bank stays within `memory` bytes; 0 if none do.

    All else is as in `work`, but for test samples, of which there are `test_share` per training sample.
    """
    find = gpu_memory if gpu else bank_memory

    def peak(samples: int) -> float:
        return find(replace(work, samples=samples, test_samples=int(test_share * samples))).peak

    return _largest(peak, memory)


def _largest(bytes_of: Callable[[int], float], memory: float) -> int:
    """Return the largest n with ``bytes_of(n) <= memory``, by bisection; `bytes_of` grows."""
    if bytes_of(1) > memory:
        return 0
    low, high = 1, 2
    while bytes_of(high) <= memory:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bytes_of(middle) <= memory else (low, middle)
    return low
