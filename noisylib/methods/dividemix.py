"""DivideMix: a loss mixture divides the data, and two networks teach each other half-supervised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import hyper
from noisylib.methods.losses import add_at_label, log_softmax, pick
from noisylib.methods.semisupervised import SemiSupervised
from noisylib.methods.session import Batch, State, Training
from noisylib.mixtures import low_posterior, scale_to_unit

# Their unlabelled weight for symmetric noise: 0 at 20 %, which counts may round up, and 25 at 50 %.
FEW_WRONG_UP_TO, MANY_WRONG = 0.205, 25.0


@dataclass(frozen=True)
class DivideMix(SemiSupervised):
    """A sample is labelled for one network if the other gives its loss a high clean posterior.

    After warm-up, each epoch fits a mixture of two Gaussians to the losses of each network, scaled to
    [0, 1]; w is the posterior of the low-mean part, and a sample with w above the threshold keeps its
    label for the other network. Then MixUp on two augmented views, with soft cross entropy on labelled
    and squared error on unlabelled rows.

    The authors chose the weight of the unlabelled loss by data set, noise type and rate: 0 for asymmetric
    noise and for low rates, 25 at 50 %. Left at None, it follows that rule, and warm-up adds their penalty
    on confident predictions under asymmetric noise; this tells the method rate and type. Give both as
    numbers, and it is told nothing.

    On frozen features a view is a cached augmented feature, or the feature with a tenth of its dimensions
    dropped. What else differs from the paper stands in ``noisylib.methods.semisupervised``.

    Source: Li et al. 2020, algorithm 1 and equations 3 to 13; weights as in the authors' release.
    """

    name: ClassVar[str] = "dividemix"
    title: ClassVar[str] = "DivideMix"
    citation: ClassVar[str] = "li2020dividemix"
    ranked: ClassVar[bool] = True
    n_views: ClassVar[int] = 2
    threshold: float = hyper(
        0.5, "clean posterior above which a label is kept", "Li et al. 2020, table 6", low=0, high=1
    )
    unlabelled_weight: float | None = hyper(
        None, "weight of the unlabelled loss", "Li et al. 2020, table 6: by noise type and rate",
        low=0, high=1000,
    )  # fmt: skip
    warm_up_penalty: float | None = hyper(
        None, "weight of the confidence penalty in warm-up",
        "Li et al. 2020, section 3.2: 1 for asymmetric noise, else 0", low=0, high=100,
    )  # fmt: skip
    drop: float = hyper(
        0.1, "share of features a view drops, without cached views", "ours: mild dropout", low=0, high=0.9
    )

    @property
    def told(self) -> tuple[str, ...]:
        """Rate and type, unless both weights are given."""
        rate = ("noise_rate",) if self.unlabelled_weight is None else ()
        by_type = self.unlabelled_weight is None or self.warm_up_penalty is None
        return (*rate, "noise_type") if by_type else ()

    def start(self, training: Training) -> State:
        """Settle the two weights, (S, H)."""
        context = training.context
        asymmetric, ones = context.asymmetric, torch.ones(context.runs, device=context.device)
        if self.unlabelled_weight is None:
            unlabelled = MANY_WRONG * (~asymmetric & (context.noise_rate > FEW_WRONG_UP_TO))
        else:
            unlabelled = self.unlabelled_weight * ones
        penalty = asymmetric if self.warm_up_penalty is None else self.warm_up_penalty * ones
        return {
            "unlabelled_weight": unlabelled.to(context.dtype),
            "penalty": penalty.to(context.dtype),
        }

    def drops(self) -> tuple[tuple[float, ...], int]:
        """Two alike views, both mixed."""
        return (self.drop, self.drop), 0

    def divide(self, training: Training) -> tuple[Tensor, Tensor]:
        """Return the other network's clean posterior, and where it exceeds the threshold."""
        weight = low_posterior(scale_to_unit(training.losses())).flip(0)
        return weight, weight > self.threshold

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the warm-up loss: cross entropy plus the penalty times the mean of sum_c p log p."""
        log_p = log_softmax(logits)
        confidence = (log_p.exp() * log_p).sum(-1)
        return (pick(log_p, targets).neg() + batch.state["penalty"].unsqueeze(-1) * confidence).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the gradient of the warm-up loss; that of the penalty is p (log p - sum_c p log p)."""
        log_p = log_softmax(logits)
        p = log_p.exp()
        confidence = (p * log_p).sum(-1, keepdim=True)
        penalty = batch.state["penalty"].view(*batch.state["penalty"].shape, 1, 1)
        gradient = p + penalty * p * (log_p - confidence)
        return add_at_label(gradient, targets, -1).div_(targets.shape[-1])
