"""MixUp between trusted and distrusted samples: the step that DivideMix and UNICON share.

Both train two networks on a division of the training set into samples whose label is trusted
(labelled) and samples whose label is thrown away (unlabelled). In the papers a step draws as many
samples from either part. Here a step takes the shared batch of all methods, and the division says
which of its samples are labelled: features are then gathered and mixed once for all runs of a
seed, and an epoch has the same steps as for every other method. Both networks step together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import add_at_label, cross_entropy, log_softmax, softmax
from noisylib.methods.mixup import draw_mixup, mix_rows
from noisylib.methods.session import Batch, State, Training


@dataclass(frozen=True)
class SemiSupervised(Method):
    """Base of the methods that divide the training set once an epoch, and mix.

    State: the division, ``clean_weight`` and ``labelled`` (2, S, H, N) as each network is to use them,
    and the full weight of the unlabelled loss, ``unlabelled_weight`` (S, H), set by `start`.
    """

    keeps_state: ClassVar[bool] = True
    step_cost: ClassVar[float] = 2.8
    warm_up: float = hyper(
        0.1, "fraction of the epochs that train on all labels first", "ours: a tenth of the run",
        low=1e-6, high=1,
    )  # fmt: skip
    temperature: float = hyper(0.5, "sharpening temperature T", "Li et al. 2020, table 6", low=1e-3, high=10)
    alpha: float = hyper(
        4.0, "parameter of MixUp's Beta(a, a)", "Li et al. 2020, table 6", low=1e-3, high=100
    )
    ramp_epochs: float = hyper(
        16, "epochs over which the unlabelled loss comes in", "Li et al. 2020, release", low=1e-3, high=10_000
    )
    prior_weight: float = hyper(
        1.0, "weight of the penalty that holds the mean prediction near uniform",
        "Li et al. 2020, equation 12", low=0, high=1000,
    )  # fmt: skip

    def head_kinds(self, head: str) -> tuple[tuple[str, int], ...]:
        """Two networks."""
        return ((head, 2),)

    def scores(self, logits: Tensor, state: State) -> Tensor:
        """Return the sum of both networks' logits."""
        return logits.sum(0)

    def warm_up_epochs(self, epochs: int) -> int:
        """Return the epochs before the first division, at least one."""
        return max(1, round(self.warm_up * epochs))

    def begin_epoch(self, training: Training, epoch: int, state: State) -> None:
        """Divide the training set anew, once warm-up is over."""
        if epoch >= self.warm_up_epochs(training.context.epochs):
            state["clean_weight"], state["labelled"] = self.divide(training)

    def divide(self, training: Training) -> tuple[Tensor, Tensor]:
        """Return clean weight in [0, 1] and labelled (bool) of each sample for each network."""
        raise NotImplementedError

    def drops(self) -> tuple[tuple[float, ...], int]:
        """Return the share of features each view drops, and how many views only make targets."""
        raise NotImplementedError

    def step(self, training: Training, batch: Batch) -> None:
        """Train both networks: on all labels during warm-up, then on a mixed batch."""
        since = batch.epoch + batch.step / batch.n_steps - self.warm_up_epochs(training.context.epochs)
        if since < 0:
            everything = torch.ones_like(batch.flat_index, dtype=torch.bool)
            batch.selected = everything.expand(self.n_nets, *everything.shape)
            return super().step(training, batch)
        batch.selected = batch.take_nets("labelled")
        rows, targets = self._mixed(training, batch)
        x = training.prepare(rows)
        views = rows.shape[1] // batch.index.shape[1]
        labelled = batch.selected.repeat(1, 1, 1, views)
        weight = batch.state["unlabelled_weight"] * min(since / self.ramp_epochs, 1.0)
        training.backward(
            x, mixed_gradient(training.forward(x), targets, labelled, weight, self.prior_weight)
        )
        training.step()

    def _mixed(self, training: Training, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mixed features (S, V B, D) and their targets (2, S, H, V B, K)."""
        drops, only_targets = self.drops()
        views = training.views(batch, drops)  # (V, S, B, D)
        target_views = views[:only_targets] if only_targets else views
        mixed_views = views[only_targets:]
        p = softmax(training.forward(training.prepare(_side_by_side(target_views))))
        q = self._targets(p.unflatten(3, (len(target_views), -1)).mean(3), training.labels(batch), batch)
        rows, q = _side_by_side(mixed_views), q.repeat(1, 1, 1, len(mixed_views), 1)
        lam, permutation = self._mixup(training, batch, rows.shape[1])
        rows = mix_rows(rows, permutation, lam)
        where = permutation[None, :, None].expand(*q.shape[:3], -1)
        lam = lam.view(-1, 1, 1, 1)
        return rows, lam * q + (1 - lam) * q.gather(3, where.unsqueeze(-1).expand_as(q))

    def _targets(self, p: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """Return sharpened targets (2, S, H, B, K) from each network's mean prediction `p` over views.

        Labelled samples mix the label with the network's own prediction (co-refinement); unlabelled ones
        take the mean of both networks (co-guessing).
        """
        weight = batch.take_nets("clean_weight").to(p.dtype).unsqueeze(-1)
        one_hot = torch.nn.functional.one_hot(labels, p.shape[-1]).to(p.dtype)
        refined = weight * one_hot + (1 - weight) * p
        guessed = p.mean(0).expand_as(p)
        return sharpen(torch.where(batch.selected.unsqueeze(-1), refined, guessed), self.temperature)

    def _mixup(self, training: Training, batch: Batch, rows: int) -> tuple[Tensor, Tensor]:
        """Return one weight (S,) of at least a half and one permutation of the rows (S, rows) per seed."""
        lam, permutation = draw_mixup(training, batch, rows, self.alpha)
        return torch.maximum(lam, 1 - lam).to(training.context.dtype), permutation

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the warm-up loss: mean cross entropy."""
        return cross_entropy(logits, targets).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the gradient of the warm-up loss, (p - e_y) / B."""
        return add_at_label(softmax(logits), targets, -1).div_(targets.shape[-1])


def sharpen(q: Tensor, temperature: float) -> Tensor:
    """Return q^(1/T), normalised over the last axis: T = 1 changes nothing, T -> 0 gives the argmax."""
    # The largest is scaled to one first, so that no power underflows everywhere.
    powered = (q / q.amax(-1, keepdim=True)) ** (1 / temperature)
    return powered / powered.sum(-1, keepdim=True)


def mixed_loss(
    logits: Tensor, targets: Tensor, labelled: Tensor, weight: Tensor, prior: float = 1.0
) -> Tensor:
    """Return L_x + weight L_u + prior L_pen of each network, (nets, S, H).

    L_x is the cross entropy with soft targets, a mean over labelled rows; L_u the squared error of
    probabilities, a mean over unlabelled rows and classes; L_pen = sum_c (1/K) log((1/K) / m_c) with m
    the mean prediction over all rows, which keeps it near uniform. An empty part contributes nothing.

    Parameters
    ----------
    logits, targets : (nets, S, H, rows, K).
    labelled : (nets, S, H, rows) bool.
    weight : (S, H) of the unlabelled loss.
    prior : weight of the penalty, 1 in the paper.

    Source: Li et al. 2020, equations 9 to 12.
    """
    K = logits.shape[-1]
    log_p = log_softmax(logits)
    p = log_p.exp()
    supervised = (_share(labelled, p) * -(targets * log_p).sum(-1)).sum(-1)
    squared = (_share(~labelled, p) * ((p - targets) ** 2).mean(-1)).sum(-1)
    penalty = -(K * _mean_prediction(p)).log().mean(-1)
    return supervised + weight * squared + prior * penalty


def mixed_gradient(
    logits: Tensor, targets: Tensor, labelled: Tensor, weight: Tensor, prior: float = 1.0
) -> Tensor:
    """Return d (sum of `mixed_loss`) / d logits."""
    K, rows = logits.shape[-1], logits.shape[-2]
    p = softmax(logits)
    apart = p - targets
    # The unlabelled part and the penalty act through p: dz = p (g - <p, g>) with g = d loss / d p.
    share = 2 / K * weight.unsqueeze(-1) * _share(~labelled, p)
    g = apart * share.unsqueeze(-1) - (prior / (K * rows)) / _mean_prediction(p).unsqueeze(-2)
    through_p = p * (g - (p * g).sum(-1, keepdim=True))
    return apart.mul_(_share(labelled, p).unsqueeze(-1)).add_(through_p)


def _share(part: Tensor, like: Tensor) -> Tensor:
    """Return 1 / (rows of the part) in its rows and 0 elsewhere; an empty part is 0 throughout."""
    part = part.to(like.dtype)
    return part / part.sum(-1, keepdim=True).clamp(min=1)


def _mean_prediction(p: Tensor) -> Tensor:
    """Return the mean over the rows, (nets, S, H, K), never so small that its inverse overflows."""
    return p.mean(-2).clamp(min=torch.finfo(p.dtype).tiny)


def _side_by_side(views: Tensor) -> Tensor:
    """Return views (V, S, B, D) as rows (S, V B, D)."""
    return views.transpose(0, 1).flatten(1, 2)
