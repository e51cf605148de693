"""Adam over the flat parameters of banks, in one fused pass and without bookkeeping between steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from noisylib import pages

BETAS, EPS = (0.9, 0.999), 1e-8


class FusedAdam:
    """Adam with weight decay added to the gradient; a step is what ``torch.optim.Adam(fused=True)`` does.

    That class spends more time on finding what to do, step after step, than a matrix product of a bank of
    ten heads takes. A parameter whose ``grad`` is None rests: nothing of it moves.

    Parameters
    ----------
    parameters : flat tensors with ``grad``.
    learning_rate, weight_decay : of every step; the rate may be changed between steps.

    Source: Kingma and Ba 2015, algorithm 1.
    """

    def __init__(self, parameters: Sequence[Tensor], *, learning_rate: float, weight_decay: float) -> None:
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._parts = [
            (
                p,
                *pages.zeros(2, len(p), dtype=p.dtype, device=p.device).unbind(),
                p.new_zeros((), dtype=torch.float32),
            )
            for p in parameters
        ]  # parameter, first and second moment, steps taken

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for p, first, second, taken in self._parts:
            if p.grad is None:
                continue
            taken += 1
            torch._fused_adam_(
                [p],
                [p.grad],
                [first],
                [second],
                [],
                [taken],
                lr=self.learning_rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=self.weight_decay,
                eps=EPS,
                amsgrad=False,
                maximize=False,
            )
