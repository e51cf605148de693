"""UNICON: a class-balanced division by Jensen-Shannon divergence, then semi-supervised training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import hyper
from noisylib.methods.losses import pick, softmax
from noisylib.methods.semisupervised import SemiSupervised
from noisylib.methods.session import State, Training

_SOURCE = "Karim et al. 2022, experiments"


@dataclass(frozen=True)
class UNICON(SemiSupervised):
    """The same number of samples of each observed class keep their label: those of least divergence.

    d is the Jensen-Shannon divergence between the label and the mean prediction of both networks. The
    cut is the mean of d, lowered by a fifth of its distance to the smallest d where it exceeds d_mu. The
    share R of samples below the cut gives each class its quota, R N / K. A labelled sample weighs 1 if
    d < 0.5, else 1 - d. Weak views make the targets, strong views are mixed.

    Two defects of the public code are repaired. It takes natural logarithms, so that d never exceeds
    0.69 and the adjustment at 0.7 never happens: here d is in bits, in [0, 1]. And it fills the list of a
    class that is smaller than its quota with copies of sample 0: here such a class gives what it has.
    Its contrastive loss trains the backbone and is left out on frozen features.

    Source: Karim et al. 2022, section 3 and algorithm 1.
    """

    name: ClassVar[str] = "unicon"
    title: ClassVar[str] = "UNICON"
    citation: ClassVar[str] = "karim2022unicon"
    n_views: ClassVar[int] = 4
    d_mu: float = hyper(0.7, "divergence above which the cut is lowered", _SOURCE, low=0, high=1)
    filter: float = hyper(5.0, "divisor of the cut's distance to the smallest", _SOURCE, low=1, high=1000)
    unlabelled_weight: float = hyper(30.0, "weight of the unlabelled loss", _SOURCE, low=0, high=1000)
    weak_drop: float = hyper(
        0.1, "share of features a weak view drops, without cached views", "ours", low=0, high=0.9
    )
    strong_drop: float = hyper(
        0.2, "share of features a strong view drops, without cached views", "ours", low=0, high=0.9
    )

    def start(self, training: Training) -> State:
        """Keep the weight of the unlabelled loss, (S, H)."""
        context = training.context
        weight = torch.full(context.runs, self.unlabelled_weight, dtype=context.dtype, device=context.device)
        return {"unlabelled_weight": weight}

    def drops(self) -> tuple[tuple[float, ...], int]:
        """Two weak views for the targets, two strong ones to mix."""
        return (self.weak_drop, self.weak_drop, self.strong_drop, self.strong_drop), 2

    def divide(self, training: Training) -> tuple[Tensor, Tensor]:
        """Return weights and the balanced selection; the same for both networks."""
        K = training.context.n_classes
        blocks = [pick(softmax(z.double()).mean(0), training.y[:, :, rows]) for rows, z in training.sweep()]
        d = divergence_from_label(torch.cat(blocks, dim=2))  # (S, H, N)
        labelled = balanced_selection(d, training.y, K, self.d_mu, self.filter)
        weight = torch.where(d < 0.5, 1, 1 - d)
        return weight.expand(2, *d.shape), labelled.expand(2, *d.shape)


def divergence_from_label(p: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence, in bits, between a prediction and its one-hot label.

    It depends on the probability `p` of the label only, and falls from 1 at p = 0 to 0 at p = 1.
    """
    both = torch.where(p > 0, p * (2 * p / (1 + p)).clamp(min=1e-300).log2(), 0)
    return 0.5 * (both + (1 - p) + (2 / (1 + p)).log2())


def balanced_selection(d: Tensor, y: Tensor, n_classes: int, d_mu: float, filter: float) -> Tensor:
    """Return which samples (..., N) are labelled: per observed class, those of smallest `d`, by quota."""
    cut = d.mean(-1, keepdim=True)
    cut = torch.where(cut > d_mu, cut - (cut - d.amin(-1, keepdim=True)) / filter, cut)
    # Values that are all equal must not fall below their own mean by rounding.
    quota = ((d < cut - 1e-12).sum(-1, keepdim=True) / n_classes + 1e-9).floor()
    order = d.argsort(dim=-1, stable=True)
    one_hot = torch.nn.functional.one_hot(y.gather(-1, order), n_classes)
    place = (one_hot.cumsum(-2) * one_hot).sum(-1)  # from 1, within the class
    return torch.zeros_like(order).scatter_(-1, order, (place <= quota).long()).bool()
