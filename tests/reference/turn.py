"""TURN on frozen features: a robust linear probe, then an adapter on cleaned, balanced data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from reference.heads import ce
from reference.mixture import low_posterior, scale_to_unit
from reference.run import Batch, Rule, Run
from torch import Tensor

from noisylib.seeding import torch_generator


@dataclass
class TURN(Rule):
    q: float
    probe: float
    tau: float
    drawn: list[int] = field(default_factory=list, init=False)
    probing: bool = field(default=True, init=False)

    def networks(self, kind: str) -> list[str]:
        return ["linear", kind]

    def begin_epoch(self, run: Run, epoch: int) -> None:
        probe_epochs = max(1, round(self.probe * run.epochs))
        self.probing = epoch < probe_epochs
        if epoch == probe_epochs:
            with torch.no_grad():
                for name in ("W", "b"):
                    run.heads[1][name].copy_(run.heads[0][name])
        if not self.probing:
            self.drawn = self.draw(run, epoch)

    def draw(self, run: Run, epoch: int) -> list[int]:
        """The same number of clean samples of each class, at random, in a random order."""
        with torch.no_grad():
            own = np.array([ce(run.logits(1, x), y).item() for x, y in zip(run.X, run.y, strict=True)])
        clean = {}
        for c in sorted(set(run.y)):
            members = [i for i in range(run.N) if run.y[i] == c]
            clean[c] = [members[j] for j in clean_positions(own[members], self.tau)]
        n = min(len(members) for members in clean.values())
        generator = torch_generator("redraw", run.seed, epoch)
        keys = torch.rand(run.N, generator=generator, dtype=torch.float64).tolist()
        order = torch.randperm(run.N, generator=generator).tolist()
        chosen = set()
        for members in clean.values():
            chosen |= set(sorted(members, key=lambda i: (keys[i], i))[:n])
        return [i for i in order if i in chosen]

    def order(self, run: Run, epoch: int) -> list[int]:
        if self.probing:
            return super().order(run, epoch)
        return [self.drawn[t % len(self.drawn)] for t in range(run.N)]

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        net = 0 if self.probing else 1
        total = 0.0
        for i in batch.samples:
            own = ce(run.logits(net, run.X[i]), run.y[i])
            total = total + ((1 - torch.exp(-own) ** self.q) / self.q if self.probing else own)
        mean = total / len(batch.samples)
        return [mean, None] if self.probing else [None, mean]

    def scores(self, run: Run, x: Tensor) -> Tensor:
        return run.logits(0 if self.probing else 1, x)


def clean_positions(losses: np.ndarray, tau: float) -> list[int]:
    """Positions in one class of the samples whose loss belongs to the lower of two components."""
    if len(losses) < 4 or losses.max() == losses.min():
        return list(range(len(losses)))
    posterior = low_posterior(scale_to_unit(losses))
    clean = [j for j in range(len(losses)) if posterior[j] > tau]
    return clean or [int(posterior.argmax())]
