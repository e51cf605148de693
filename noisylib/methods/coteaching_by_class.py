"""Co-teaching that chooses class by class, so that a rare class is not the first to go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.correction import check_invertible
from noisylib.methods.coteaching import CoTeaching
from noisylib.methods.session import Batch, State, Training


@dataclass(frozen=True)
class CoTeachingQuota(CoTeaching):
    """Co-teaching that forgets the same share R of each observed class of the batch.

    Of the B_c samples labelled c, the max(1, ceil((1 - R) B_c)) of smallest loss are kept: a class that
    is in the batch always keeps a sample. Rounded up, a batch keeps up to K - 1 more samples than
    Co-teaching does, most of them of rare classes. Schedule, exchange and the mean over all kept samples
    are those of Co-teaching. The rate is told, and is the same for all classes.

    Source: class by class as Gui et al. 2021, algorithm 1, whose choice is from the whole training set by
    losses averaged over epochs; here it is made in each batch of Co-teaching (Han et al. 2018).
    """

    name: ClassVar[str] = "coteaching_quota"
    title: ClassVar[str] = "Co-teaching, per-class quota"
    citation: ClassVar[str] = "gui2021towards"
    ranked: ClassVar[bool] = False

    def start(self, training: Training) -> State:
        """Keep the told noise rate as that of every class, (S, H, K)."""
        context = training.context
        return {"class_rate": context.noise_rate.unsqueeze(-1).expand(*context.runs, context.n_classes)}

    def easiest(self, losses: Tensor, targets: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return how many samples are kept, (S, H), and which each network finds easy, (2, S, H, B)."""
        forget = self.forget_rate(batch.epoch, batch.state["class_rate"])
        return small_losses_by_class(losses, targets, forget)


@dataclass(frozen=True)
class ClassAwareCoTeaching(CoTeachingQuota):
    """Co-teaching that forgets of each observed class the share that is wrong in it.

    The rate of class c is 1 - P(true = c | observed = c), from the transition matrix, which the method is
    told, and the counts of the observed labels (see `observed_purity`). It takes the place of the noise
    rate in the schedule, exponent included, and is rounded as in `CoTeachingQuota`: even a class of
    which every label is wrong keeps one sample per batch. Under noise that depends on the class the
    rates differ widely: a rare class that a frequent one flips into can be mostly wrong, while the
    frequent one is hardly touched.

    Source: the rates are the eta_i of Gui et al. 2021, algorithm 1, known instead of estimated and without
    their margins; selection and exchange as in `CoTeachingQuota`.
    """

    name: ClassVar[str] = "coteaching_class_tau"
    title: ClassVar[str] = "Co-teaching, class-aware rate"
    told: ClassVar[tuple[str, ...]] = ("transition",)

    def start(self, training: Training) -> State:
        """Keep the share of wrong labels of every observed class, (S, H, K) float64.

        Raises
        ------
        NoisylibError
            If a transition matrix cannot be inverted: then many priors explain the counts equally well.
        """
        T = training.context.transition
        check_invertible(T)
        purity = observed_purity(T, label_counts(training.y, T.shape[-1]))
        # Rounded: a small exponent would make a rate of what a solver leaves of 0.
        return {"class_rate": (1 - purity).round(decimals=12)}


def small_losses_by_class(losses: Tensor, targets: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many samples are kept, (S, H), and which, shaped like `losses` (nets, S, H, B).

    Of the B_c samples with label c these are the ceil((1 - forget_c) B_c), at least one, of smallest
    loss; ties go to the earlier sample. How many are kept does not depend on the losses.

    Parameters
    ----------
    targets : (S, H, B) labels.
    forget : (S, H, K) in [0, 1].
    """
    counts = label_counts(targets, forget.shape[-1])
    # 1e-9: the ceiling of (1 - 0.7) * 10 must be 3
    quota = ((1 - forget) * counts - 1e-9).ceil().clamp(min=1)
    # All networks have the same labels, so sorted by (label, loss) the same places are kept.
    label = targets.sort(-1).values
    first = counts.cumsum(-1) - counts  # place of the easiest sample of each class
    place = torch.arange(targets.shape[-1], device=targets.device) - first.gather(-1, label)
    easiest = place < quota.gather(-1, label)  # (S, H, B)
    by_loss = losses.argsort(dim=-1, stable=True)
    by_label = targets.expand_as(by_loss).gather(-1, by_loss).argsort(dim=-1, stable=True)
    order = by_loss.gather(-1, by_label)
    chosen = torch.zeros_like(order, dtype=torch.bool).scatter_(-1, order, easiest.expand_as(order))
    return easiest.sum(-1), chosen


def label_counts(y: Tensor, n_classes: int) -> Tensor:
    """Return how often each class occurs in `y` (S, H, n): (S, H, K) int64."""
    return y.new_zeros((*y.shape[:-1], n_classes)).scatter_add_(-1, y, torch.ones_like(y))


def observed_purity(T: Tensor, counts: Tensor) -> Tensor:
    """Return P(true = c | observed = c), (S, H, K) float64, from transition matrices and label counts.

    The class priors pi solve T' pi = f, with f the observed frequencies; negative ones, which only
    labels that `T` did not make can give, become 0 and the rest is scaled to sum to 1. With a realised
    matrix they are the true frequencies exactly. Purity is pi_c T_cc / (T' pi)_c. A class that nothing
    can be observed as has no wrong label: its purity is 1.

    Parameters
    ----------
    T : (S, H, K, K) float64 invertible, T[i, j] = P(observed = j | true = i).
    counts : (S, H, K), samples labelled c; not all 0.
    """
    frequencies = counts.double() / counts.sum(-1, keepdim=True)
    priors = torch.linalg.solve(T.mT, frequencies.unsqueeze(-1)).squeeze(-1).clamp(min=0)
    joint = (priors / priors.sum(-1, keepdim=True)).unsqueeze(-1) * T
    observed = joint.sum(-2)
    purity = joint.diagonal(dim1=-2, dim2=-1) / observed
    return torch.where(observed > 0, purity, 1.0)
