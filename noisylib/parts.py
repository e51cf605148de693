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
EVALUATION_ROWS = 1024  # samples that are scored at once
GPU_SHARE = 0.7  # of what is free, since an estimate of a method's temporaries is rough
RUN_AXIS = {"recall_history": 1, "accuracy_history": 1}  # of results whose first axis is another


def step_bytes(
    method: Method, head: str, n_features: int, n_classes: int, recipe: Recipe, rows: int = 0
) -> int:
    """Return the bytes that one run's step goes through, in single precision, beside the features.

    They are parameters, gradients, two moments and the activations, of a batch or of `rows` if that is more.
    """
    total = 0
    for kind, count in method.head_kinds(head):
        parameters, activations = HeadBank.sizes(kind, n_features, n_classes, recipe.width)
        total += count * 4 * (4 * parameters + activations * max(rows, recipe.batch_size))
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
    sizes = method, head, n_features, n_classes, recipe
    if device.type == "cpu":
        return max(LEAST_CPU_RUNS, CPU_STEP_BYTES // max(1, step_bytes(*sizes)))
    each = max(1, step_bytes(*sizes, rows=EVALUATION_ROWS))  # scoring takes more than a step
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
    train: Callable[[list[int]], RunResults], seeds: Sequence[int], at_once: int
) -> list[tuple[list[int], RunResults]]:
    """Return what `train` makes of every part of the runs of `seeds`, and which runs they are.

    If memory runs out for a part, it and all that is left are cut into parts of at most half its runs.

    Raises
    ------
    NoisylibError
        A single run is too large.
    """
    done, left = [], split_runs(seeds, at_once)
    while left:
        try:
            done.append((left[0], train(left[0])))
            left = left[1:]
            continue
        except torch.OutOfMemoryError as error:
            if len(left[0]) == 1:
                raise NoisylibError(
                    "the device has too little free memory for a single run: free some, use device='cpu', or "
                    f"lower recipe.batch_size or recipe.width. It said: {error}"
                ) from error
        # Outside of the handler, whose traceback keeps what did not fit alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        runs, half = list(chain.from_iterable(left)), -(-len(left[0]) // 2)
        left = [[runs[i] for i in part] for part in split_runs([seeds[run] for run in runs], half)]
    return done


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
