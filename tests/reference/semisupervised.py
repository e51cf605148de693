"""DivideMix and UNICON: some labels are kept, the others guessed, and all rows are mixed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from reference.heads import F64, ce, log_p, soft_ce
from reference.mixture import low_posterior, scale_to_unit
from reference.run import Batch, Rule, Run
from torch import Tensor

from noisylib.seeding import numpy_generator, torch_generator


@dataclass
class SemiSupervised(Rule):
    """What the two share. A subclass divides the samples and names its views.

    `weight` and `labelled` hold, per network, N numbers and N truth values.
    """

    warm_up: float
    temperature: float
    alpha: float
    ramp_epochs: float
    prior_weight: float
    unlabelled_weight: float
    weight: list = field(default_factory=list, init=False)
    labelled: list = field(default_factory=list, init=False)

    drops = ()
    target_views = ()
    row_views = ()
    penalty = 0.0

    def networks(self, kind: str) -> list[str]:
        return [kind, kind]

    def scores(self, run: Run, x: Tensor) -> Tensor:
        return run.logits(0, x) + run.logits(1, x)

    def warm_epochs(self, run: Run) -> int:
        return max(1, round(self.warm_up * run.epochs))

    def begin_epoch(self, run: Run, epoch: int) -> None:
        if epoch >= self.warm_epochs(run):
            self.divide(run)

    def divide(self, run: Run) -> None:
        raise NotImplementedError

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        if batch.epoch < self.warm_epochs(run):
            return [self.warm_loss(run, net, batch) for net in range(2)]
        views = views_of(run, batch, self.drops)
        rows = [x for v in self.row_views for x in views[v]]
        said = [
            [[run.probabilities(net, x) for x in views[v]] for v in self.target_views] for net in range(2)
        ]
        return [self.mixed_loss(run, net, batch, rows, said) for net in range(2)]

    def warm_loss(self, run: Run, net: int, batch: Batch) -> Tensor:
        total = 0.0
        for i in batch.samples:
            z = run.logits(net, run.X[i])
            negative_entropy = (torch.exp(log_p(z)) * log_p(z)).sum()
            total = total + ce(z, run.y[i]) + self.penalty * negative_entropy
        return total / len(batch.samples)

    def target(self, run: Run, net: int, i: int, said: list[list[Tensor]]) -> Tensor:
        """What network `net` is to learn of sample i; `said` is [network][weak view] -> probabilities."""
        if self.labelled[net][i]:
            w = self.weight[net][i]
            given = torch.zeros(run.K, dtype=F64)
            given[run.y[i]] = 1
            guess = w * given + (1 - w) * sum(said[net]) / len(said[net])
        else:
            guess = sum(sum(own) for own in said) / sum(len(own) for own in said)
        sharp = guess ** (1 / self.temperature)
        return sharp / sharp.sum()

    def mixed_loss(self, run: Run, net: int, batch: Batch, rows: list[Tensor], said: list) -> Tensor:
        """Loss over two views of each sample; `said` is [network][weak view][position]."""
        B = len(batch.samples)
        targets = [
            self.target(run, net, i, [[view[j] for view in own] for own in said])
            for j, i in enumerate(batch.samples)
        ] * 2
        random = numpy_generator("mixup", run.seed, batch.epoch, batch.step)
        lam = random.beta(self.alpha, self.alpha)
        partner = random.permutation(2 * B)
        lam = max(lam, 1 - lam)
        known, guessed, mean_p = [], [], torch.zeros(run.K, dtype=F64)
        for row in range(2 * B):
            z = run.logits(net, lam * rows[row] + (1 - lam) * rows[partner[row]])
            q = lam * targets[row] + (1 - lam) * targets[partner[row]]
            p = torch.exp(log_p(z))
            mean_p = mean_p + p / (2 * B)
            if self.labelled[net][batch.samples[row % B]]:
                known.append(soft_ce(z, q))
            else:
                guessed.append(((p - q) ** 2).sum() / run.K)
        loss = self.prior_weight * sum((1 / run.K) * torch.log((1 / run.K) / mean_p[c]) for c in range(run.K))
        if known:
            loss = loss + sum(known) / len(known)
        if guessed:
            loss = loss + self.ramp(run, batch) * sum(guessed) / len(guessed)
        return loss

    def ramp(self, run: Run, batch: Batch) -> float:
        elapsed = batch.epoch + batch.step / batch.n_steps - self.warm_epochs(run)
        return self.unlabelled_weight * min(1.0, max(0.0, elapsed / self.ramp_epochs))


@dataclass
class DivideMix(SemiSupervised):
    """A mixture over the other network's losses says how far each label is believed."""

    threshold: float
    warm_up_penalty: float
    drop: float

    target_views = row_views = (0, 1)

    def __post_init__(self) -> None:
        self.drops = (self.drop, self.drop)
        self.penalty = self.warm_up_penalty

    def divide(self, run: Run) -> None:
        posterior = []
        for net in range(2):
            with torch.no_grad():
                own = [ce(run.logits(net, x), y).item() for x, y in zip(run.X, run.y, strict=True)]
            posterior.append(low_posterior(scale_to_unit(np.array(own))))
        self.weight = [posterior[1].tolist(), posterior[0].tolist()]
        self.labelled = [[w > self.threshold for w in weights] for weights in self.weight]


def published_choice(noise_rate: float, asymmetric: bool) -> dict[str, float]:
    """DivideMix's weight of the guessed part and of the warm-up penalty when neither is given."""
    return {
        "unlabelled_weight": 0.0 if asymmetric or noise_rate <= 0.2 else 25.0,
        "warm_up_penalty": 1.0 if asymmetric else 0.0,
    }


@dataclass
class UNICON(SemiSupervised):
    """As many labels are believed in each class: those nearest to the mean prediction."""

    d_mu: float
    filter: float
    weak_drop: float
    strong_drop: float

    target_views = (0, 1)
    row_views = (2, 3)

    def __post_init__(self) -> None:
        self.drops = (self.weak_drop, self.weak_drop, self.strong_drop, self.strong_drop)

    def divide(self, run: Run) -> None:
        J = []
        for x, y in zip(run.X, run.y, strict=True):
            J.append(jensen_shannon((run.probabilities(0, x) + run.probabilities(1, x)) / 2, y))
        cut = sum(J) / run.N
        if cut > self.d_mu:
            cut -= (cut - min(J)) / self.filter
        ratio = sum(j < cut for j in J) / run.N
        quota = math.floor(ratio * run.N / run.K + 1e-9)
        labelled = [False] * run.N
        for c in range(run.K):
            members = sorted((J[i], i) for i in range(run.N) if run.y[i] == c)
            for _, i in members[:quota]:
                labelled[i] = True
        self.labelled = [labelled] * 2
        self.weight = [[1.0 if j < 0.5 else 1 - j for j in J]] * 2


def jensen_shannon(p: Tensor, y: int) -> float:
    """Jensen-Shannon divergence, in bits, of p (K,) and the one-hot of y."""
    total = 0.0
    for c, value in enumerate(p.tolist()):
        own = float(c == y)
        middle = (value + own) / 2
        for part in (value, own):
            if part > 0:
                total += 0.5 * part * math.log2(part / middle)
    return total


def views_of(run: Run, batch: Batch, drops: tuple[float, ...]) -> list[list[Tensor]]:
    """Return [view][position] -> features (D,): cached views drawn without repeats, or feature dropout."""
    generator = torch_generator("views", run.seed, batch.epoch, batch.step)
    B, D = len(batch.samples), run.X.shape[1]
    if run.views is not None:
        order = torch.rand((B, len(run.views)), generator=generator).argsort(1).tolist()
        return [[run.views[order[j][v]][i] for j, i in enumerate(batch.samples)] for v in range(len(drops))]
    u = torch.rand((len(drops), B, D), generator=generator)
    return [
        [run.X[i] * (u[v, j] >= drop) / (1 - drop) for j, i in enumerate(batch.samples)]
        for v, drop in enumerate(drops)
    ]
