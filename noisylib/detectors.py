"""Detectors of clean samples: scores that are higher the likelier an observed label is right.

Four designs answer "who finds the clean samples?". Under "same model" the loss of a classifier is set
against the agreement of the same classifier with the label: a control, because both are nearly one
thing. Under "as deployed" each comes from the model that uses it, the loss from the trained classifier or
from Co-teaching, the agreement from CUFIT's linear module. "repeated" ranks by agreement over epochs, over
folds or over neighbours, and "other" holds rules of other methods. With a linear head under study the linear
module is the classifier, and the first two designs differ in nothing but Co-teaching's loss.

No detector looks at a clean label. :mod:`noisylib.signal_rows` judges them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from noisylib.confident import keep_mask
from noisylib.errors import NoisylibError
from noisylib.methods.turn import FEWEST
from noisylib.mixtures import low_posterior, scale_to_unit
from noisylib.signals import Signals

LAST_EPOCHS = 10  # as many as a run's score is the mean of


@dataclass(frozen=True)
class Detector:
    """A score of every sample that is higher the likelier its observed label is right.

    Attributes
    ----------
    key, title : name in rows, and what people read.
    design : "same model", "as deployed", "repeated" or "other".
    matched_to : key of the set whose size it is cut at; a set names itself.
    scores : Signals -> (R, N) float64; of a set 1 inside and 0 outside.
    """

    key: str
    title: str
    design: str
    matched_to: str
    scores: Callable[[Signals], np.ndarray]

    @property
    def is_set(self) -> bool:
        """Whether it names a set of a size of its own, and ranks nothing."""
        return self.matched_to == self.key


def present(signals: Signals) -> list[Detector]:
    """Return the detectors whose signals were trained: all, or all but Co-teaching's loss."""
    return [d for d in DETECTORS.values() if d.key != "peer_loss" or signals.peer_losses is not None]


def _loss(signals: Signals) -> np.ndarray:
    return -signals.losses[-1].astype(np.float64)


def _peer_loss(signals: Signals) -> np.ndarray:
    if signals.peer_losses is None:
        raise NoisylibError(
            "the signals have no peer_losses, which 'peer_loss' needs: call train_signals with peers=True."
        )
    return -signals.peer_losses.astype(np.float64)


def _agreement_same(signals: Signals) -> np.ndarray:
    return (signals.predicted[-1] == signals.y_noisy).astype(np.float64)


def _agreement(signals: Signals) -> np.ndarray:
    return (signals.probe_predicted[-1] == signals.y_noisy).astype(np.float64)


def _agreement_epochs(signals: Signals) -> np.ndarray:
    return (signals.probe_predicted[-LAST_EPOCHS:] == signals.y_noisy).mean(0)


def _agreement_folds(signals: Signals) -> np.ndarray:
    """Return P(observed label), plus 1 where it is the likeliest: agreement first, then the probability."""
    own = np.take_along_axis(signals.held_out, signals.y_noisy[..., None], -1)[..., 0]
    return (signals.held_out.argmax(-1) == signals.y_noisy) + own


def _agreement_neighbours(signals: Signals) -> np.ndarray:
    return signals.neighbours


def _held_out_loss(signals: Signals) -> np.ndarray:
    return -signals.held_out_losses


def _wann(signals: Signals) -> np.ndarray:
    return 1 / signals.confirming


def _confident(signals: Signals) -> np.ndarray:
    """Return P(observed label) less the largest other, plus 2 where confident learning keeps the label.

    The first part is in [-1, 1], so what is kept comes first.
    """
    P, y = signals.held_out, signals.y_noisy
    own = np.take_along_axis(P, y[..., None], -1)[..., 0]
    others = P.copy()
    np.put_along_axis(others, y[..., None], -1, -1)
    return own - others.max(-1) + 2 * keep_mask(y, P).numpy()


def _mixture(signals: Signals) -> np.ndarray:
    losses = torch.as_tensor(signals.losses[-1], dtype=torch.float64)
    return low_posterior(scale_to_unit(losses)).numpy()


def _mixture_class(signals: Signals) -> np.ndarray:
    """Return the posterior under its observed class's mixture; of a tiny class it is 1, as in TURN."""
    losses = torch.as_tensor(signals.losses[-1], dtype=torch.float64)
    y = torch.as_tensor(signals.y_noisy)
    member = torch.nn.functional.one_hot(y, signals.n_classes).mT.bool()  # (R, K, N)
    per_class = losses.unsqueeze(1).expand(member.shape)
    posterior = low_posterior(scale_to_unit(per_class, member), member)
    posterior = torch.where(member.sum(-1, keepdim=True) < FEWEST, 1.0, posterior)
    return posterior.gather(1, y.unsqueeze(1)).squeeze(1).numpy()


SAME, DEPLOYED, REPEATED, OTHER = "same model", "as deployed", "repeated", "other"
DETECTORS: dict[str, Detector] = {
    detector.key: detector
    for detector in (
        Detector("loss_same", "Small loss", SAME, "agreement_same", _loss),
        Detector("agreement_same", "Agreement of the classifier", SAME, "agreement_same", _agreement_same),
        Detector("loss", "Small loss", DEPLOYED, "agreement", _loss),
        Detector("peer_loss", "Small loss of Co-teaching", DEPLOYED, "agreement", _peer_loss),
        Detector("agreement", "Agreement of the linear module", DEPLOYED, "agreement", _agreement),
        Detector(
            "agreement_epochs", "Agreement over the last epochs", REPEATED, "agreement", _agreement_epochs
        ),
        Detector("agreement_folds", "Agreement out of fold", REPEATED, "agreement", _agreement_folds),
        Detector(
            "agreement_neighbours",
            "Agreement of the neighbours",
            REPEATED,
            "agreement",
            _agreement_neighbours,
        ),
        Detector("held_out_loss", "Small loss out of fold", OTHER, "agreement", _held_out_loss),
        Detector("wann", "Reliability of WANN", OTHER, "agreement", _wann),
        Detector("confident", "Confident learning", OTHER, "agreement", _confident),
        Detector("mixture", "Mixture of losses", OTHER, "agreement", _mixture),
        Detector("mixture_class", "Mixture of losses per class", OTHER, "agreement", _mixture_class),
    )
}
