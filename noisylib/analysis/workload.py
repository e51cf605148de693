"""What a bank of heads computes and holds, counted in closed form: operations, numbers and bytes.

The counts follow what `noisylib.heads` executes and `noisylib.training` keeps; tests compare them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from noisylib.errors import NoisylibError, check_name

KINDS = ("products", "activation", "optimiser", "loss", "gather")
HEADS = {"linear": 0, "mlp": 256, "adapter": 64}  # kind -> default width, as in noisylib.heads
EVALUATION_ROWS = 1024  # test samples that are scored at once
# Heads of one part on a processor: at least so many, and more while a step stays below these bytes, as in
# noisylib.parts.
LEAST_CPU_RUNS, CPU_STEP_BYTES = 10, 2**21


@dataclass(frozen=True)
class Workload:
    """Runs of one method on one matrix of features.

    Attributes
    ----------
    runs, samples, n_features, n_classes : R, N, D and K.
    head, width : kind of head, and its hidden units; None is the default of the kind.
    batch_size, epochs, score_epochs, test_samples : B, E, epochs that end with a scoring, N_test.
    runs_per_seed : H, runs that share batches.
    cache : bytes that a step of a part of many heads may go through, as on a processor; None puts all runs
        into one part, as on a GPU that has memory for them.
    """

    runs: int
    samples: int
    n_features: int
    n_classes: int
    head: str = "adapter"
    width: int | None = None
    batch_size: int = 128
    epochs: int = 50
    score_epochs: int = 10
    test_samples: int = 0
    runs_per_seed: int = 10
    cache: float | None = CPU_STEP_BYTES

    def __post_init__(self) -> None:
        check_name("head", self.head, HEADS)
        for name in ("runs", "samples", "n_features", "n_classes", "batch_size", "runs_per_seed"):
            if getattr(self, name) < 1:
                raise NoisylibError(f"{name}={getattr(self, name)!r}: at least 1 is needed.")

    @property
    def hidden(self) -> int:
        """Hidden units of a head, h; 0 for a linear one."""
        return HEADS[self.head] if self.width is None else self.width

    @property
    def inputs(self) -> int:
        """F, columns of prepared features: the adapter's normalised copy lies beside the features."""
        return self.n_features * (2 if self.head == "adapter" else 1)

    @property
    def parameters(self) -> int:
        """P, parameters of one head."""
        D, K, h = self.n_features, self.n_classes, self.hidden
        return {
            "linear": K * D + K,
            "mlp": h * D + h + K * h + K,
            "adapter": 2 * h * D + K * D + K,
        }[self.head]

    @property
    def heads_at_once(self) -> int:
        """Most heads of one part of the bank, which is one tensor program."""
        if self.cache is None:
            return self.runs
        each = 4 * (4 * self.parameters + (2 * self.hidden + self.n_classes) * self.batch_size)
        return max(LEAST_CPU_RUNS, int(self.cache // each))

    @property
    def pieces(self) -> int:
        """Pieces that runs of one seed lie in: each piece gathers its batch once."""
        seeds, rest = divmod(self.runs, self.runs_per_seed)
        at_once = self.heads_at_once
        return seeds * math.ceil(self.runs_per_seed / at_once) + math.ceil(rest / at_once)

    @property
    def parts(self) -> int:
        """Tensor programs that the bank is trained as, one after the other; small pieces share one."""
        if self.heads_at_once >= self.runs:
            return 1
        longest = min(self.runs, self.runs_per_seed)
        piece = math.ceil(longest / math.ceil(longest / self.heads_at_once))
        return math.ceil(self.pieces / max(1, self.heads_at_once // piece))

    def batches(self) -> list[tuple[int, int]]:
        """Return (steps, samples of each) of an epoch: full batches and the rest, if there is one."""
        full, rest = divmod(self.samples, self.batch_size)
        return [(count, rows) for count, rows in ((full, self.batch_size), (1, rest)) if count and rows]


def step_flops(work: Workload, rows: int) -> int:
    """Floating-point operations of one head's matrix products in a step on `rows` samples.

    Forward and backward pass; no gradient flows to the features. The adapter folds its two last matrices into
    one, K x h, and two gradients pass through that, whatever the batch.
    """
    D, K, h = work.n_features, work.n_classes, work.hidden
    first = {"linear": D * K, "mlp": D * h, "adapter": D * (h + K)}[work.head]
    return 2 * rows * (2 * first + 3 * h * K) + (6 * D * h * K if work.head == "adapter" else 0)


def step_work(work: Workload, rows: int) -> dict[str, float]:
    """Return the units of each of `KINDS` in one step of all runs on `rows` samples per seed.

    - products: floating-point operations of the matrix products,
    - activation: values that GELU and its gradient go through,
    - optimiser: parameters that Adam goes through,
    - loss: logits that loss and its gradient go through,
    - gather: numbers copied from the features into the batch, once per seed and part.
    """
    R = work.runs
    return {
        "products": R * step_flops(work, rows),
        "activation": 2 * R * work.hidden * rows,
        "optimiser": R * work.parameters,
        "loss": R * work.n_classes * rows,
        "gather": work.pieces * rows * work.inputs,
    }


def scoring_work(work: Workload, rows: int) -> dict[str, float]:
    """Return the units of each of `KINDS` when all runs score a block of `rows` samples: a forward pass."""
    D, K, h, R = work.n_features, work.n_classes, work.hidden, work.runs
    first = {"linear": D * K, "mlp": D * h, "adapter": D * (h + K)}[work.head]
    folding = 2 * D * h * K if work.head == "adapter" else 0
    return {
        "products": R * (2 * rows * (first + h * K) + folding),
        "activation": R * h * rows,
        "optimiser": 0,
        "loss": R * K * rows,
        "gather": 0,
    }


def run_flops(work: Workload) -> int:
    """Floating-point operations of the products of one run's training, scoring left out."""
    return work.epochs * sum(count * step_flops(work, rows) for count, rows in work.batches())
