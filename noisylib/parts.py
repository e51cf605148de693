"""Cuts the runs of a bank into parts that fit the processor, and puts their results together.

Runs share features and batch orders and nothing else, so how they are cut changes no result beyond the
last digits of a float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import chain

import numpy as np
import torch

from noisylib.errors import NoisylibError
from noisylib.heads import HeadBank
from noisylib.methods import Method
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults

# A step of a few runs is mostly the overhead of its operations; one of many goes through more memory than
# a core's cache holds. Ten adapters on 192 features are 5 MB, and were seen to train a tenth faster than
# fifty; of linear heads on 768 features, 0.1 MB each, twenty were best.
LEAST_CPU_RUNS, CPU_STEP_BYTES = 10, 2**21
GPU_SHARE = 0.7  # of what is free, since an estimate of a method's temporaries is rough
RUN_AXIS = {"recall_history": 1, "accuracy_history": 1}  # of results whose first axis is another


def step_bytes(method: Method, head: str, n_features: int, n_classes: int, recipe: Recipe) -> int:
    """Return the bytes that one run's step goes through, in single precision, beside the features.

    They are parameters, gradients, two moments and the activations.
    """
    total = 0
    for kind, count in method.head_kinds(head):
        parameters, activations = HeadBank.sizes(kind, n_features, n_classes, recipe.width)
        total += count * 4 * (4 * parameters + activations * recipe.batch_size)
    return total


def runs_at_once(
    method: Method,
    head: str,
    *,
    n_samples: int,
    n_features: int,
    n_classes: int,
    recipe: Recipe,
    device: torch.device,
) -> int:
    """Return how many runs one bank should have: what fits a CPU's cache, or a GPU's free memory.

    Features count as already there.
    """
    each = max(1, step_bytes(method, head, n_features, n_classes, recipe))
    if device.type == "cpu":
        return max(LEAST_CPU_RUNS, CPU_STEP_BYTES // each)
    # Labels, and for each network losses in double precision with what sorting or mixtures take beside them.
    remembered = n_samples * (8 + 48 * method.n_nets + (4 * n_classes if method.keeps_state else 0))
    return max(1, int(GPU_SHARE * free_bytes(device) / (each + remembered)))


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU, what this process has set aside and does not use included."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def split_runs(seeds: Sequence[int], at_once: int) -> list[list[int]]:
    """Return positions of runs in parts of at most `at_once`, runs of one seed together where they fit.

    A seed with more runs is cut into pieces of nearly one size.
    """
    members: dict[int, list[int]] = {}
    for run, seed in enumerate(seeds):
        members.setdefault(int(seed), []).append(run)
    pieces = [
        piece.tolist()
        for runs in members.values()
        for piece in np.array_split(runs, -(-len(runs) // at_once))
    ]
    parts: list[list[int]] = []
    for piece in pieces:
        if parts and len(parts[-1]) + len(piece) <= at_once:
            parts[-1] += piece
        else:
            parts.append(piece)
    return parts


def train_halving(
    train: Callable[[list[int]], RunResults], runs: list[int], seeds: Sequence[int]
) -> list[tuple[list[int], RunResults]]:
    """Return what `train` makes of `runs`; if memory runs out, of each half of them, and so on.

    Raises
    ------
    NoisylibError
        A single run is too large.
    """
    try:
        return [(runs, train(runs))]
    except torch.OutOfMemoryError as error:
        if len(runs) == 1:
            raise NoisylibError(
                "the device has too little free memory for a single run: free some, use device='cpu', or "
                f"lower recipe.batch_size or recipe.width. It said: {error}"
            ) from error
    # Outside of the handler, whose traceback keeps what did not fit alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    halves = split_runs([seeds[run] for run in runs], -(-len(runs) // 2))
    return list(chain.from_iterable(train_halving(train, [runs[i] for i in half], seeds) for half in halves))


def merge(parts: Sequence[tuple[list[int], RunResults]]) -> RunResults:
    """Return the results of all runs, in the order of their positions; the seconds add up."""
    if len(parts) == 1 and parts[0][0] == sorted(parts[0][0]):
        return parts[0][1]
    place = np.argsort(list(chain.from_iterable(runs for runs, _ in parts)))
    results = [result for _, result in parts]
    first = results[0]

    def joined(arrays: list[np.ndarray], axis: int) -> np.ndarray:
        return np.concatenate(arrays, axis=axis).take(place, axis=axis)

    merged = {
        field.name: joined([getattr(r, field.name) for r in results], RUN_AXIS.get(field.name, 0))
        for field in fields(RunResults)
        if isinstance(getattr(first, field.name), np.ndarray)
    }
    return RunResults(
        **merged,
        epochs=first.epochs,
        trace={name: joined([r.trace[name] for r in results], 2) for name in first.trace},
        views=first.views,
        seconds=sum(r.seconds for r in results),
    )
