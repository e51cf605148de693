"""Where each run of a bank sits: runs are grouped by training seed into an (S, H) grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RunLayout:
    """Maps R runs in the caller's order to S seeds x H runs per seed and back.

    Seeds with fewer runs than the fullest one are filled up with copies of their first run, whose
    results are dropped; a run's result does not depend on its neighbours, so nothing else changes.

    Parameters
    ----------
    seeds : (R,) training seed of each run.
    apart : give every run a group of its own, S = R and H = 1, so that runs need not share batches.
    """

    def __init__(self, seeds: Sequence[int], *, apart: bool = False) -> None:
        members: dict[int, list[int]] = {}
        for run, seed in enumerate(seeds):
            members.setdefault(run if apart else int(seed), []).append(run)
        self.seeds = [int(seeds[runs[0]]) for runs in members.values()]
        self.runs_per_seed = max(map(len, members.values()))
        grid = [runs + [runs[0]] * (self.runs_per_seed - len(runs)) for runs in members.values()]
        self._run_at = torch.tensor(grid)  # (S, H)
        where = {
            run: s * self.runs_per_seed + h
            for s, runs in enumerate(members.values())
            for h, run in enumerate(runs)
        }
        self._place_of = torch.tensor([where[run] for run in range(len(where))])  # (R,)

    def spread(self, values: Tensor) -> Tensor:
        """Return (R, ...) values as (S, H, ...)."""
        return values[self._run_at.to(values.device)]

    def gather(self, values: Tensor) -> Tensor:
        """Return (S, H, ...) values as (R, ...), in the caller's order."""
        return values.flatten(0, 1)[self._place_of.to(values.device)]
