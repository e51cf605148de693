"""Which samples TURN calls clean, and which of them it trains on in one epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from noisylib.errors import NoisylibError
from noisylib.methods.turn import above, balanced_draw, class_posteriors
from noisylib.noise import check_labels
from noisylib.seeding import torch_generator


@dataclass(frozen=True, eq=False)
class Selection:
    """The samples of one epoch.

    Attributes
    ----------
    losses : (N,) cross entropy of every training sample with its observed label, in nats.
    posterior : (N,) probability in [0, 1] to belong to the component of lower loss of its observed class.
    clean : (N,) bool, posterior above tau, or the likeliest of its class.
    drawn : (N,) bool, clean and used in this epoch.
    counts : (K,) clean samples per observed class.
    n : samples drawn of each observed class; the smallest of `counts` over the observed classes.
    """

    losses: np.ndarray
    posterior: np.ndarray
    clean: np.ndarray
    drawn: np.ndarray
    counts: np.ndarray
    n: int


def select(
    losses: np.ndarray,
    y_noisy: np.ndarray,
    n_classes: int,
    *,
    tau: float = 0.6,
    balanced: bool = True,
    seed: int = 0,
    epoch: int = 0,
) -> Selection:
    """Divide samples by their losses, a mixture of two Gaussians per observed class, and draw from the clean.

    Parameters
    ----------
    losses : (N,) finite, in nats.
    y_noisy : (N,) int observed labels in 0..K-1.
    n_classes : K.
    tau : posterior above which a sample is clean.
    balanced : draw as many of each class as the class with fewest clean samples has, without replacement.
        False takes all clean samples.
    seed, epoch : what the draw depends on.

    Raises
    ------
    NoisylibError
        Losses that are not finite or not one per label, or no sample of any class above tau.

    Notes
    -----
    A class of fewer than four samples, or of equal losses, is clean as a whole, and each observed class keeps
    its likeliest sample: an empty class would make n, and so the whole draw, empty. If no class has a sample
    above tau, nothing was found to be clean, and that is an error.

    Source: Ahn et al. 2024, algorithm 1; the floor is ours.
    """
    losses, y_noisy = np.asarray(losses, dtype=np.float64), check_labels(y_noisy, n_classes, "y_noisy")
    if losses.shape != y_noisy.shape:
        raise NoisylibError(
            f"losses has shape {losses.shape}, must have one value per label, {y_noisy.shape}."
        )
    if bad := int((~np.isfinite(losses)).sum()):
        raise NoisylibError(
            f"losses: {bad} of {losses.size} are not finite, so training has diverged. Lower the learning "
            "rates (lr_backbone, lr_head) or set clip."
        )
    if not 0 <= tau <= 1:
        raise NoisylibError(f"tau={tau}: a probability in [0, 1] is needed; 0.6 is that of the paper.")
    values, y = torch.as_tensor(losses)[None], torch.as_tensor(y_noisy)[None]
    posterior = class_posteriors(values, y, n_classes)
    if not bool((posterior > tau).any()):
        raise NoisylibError(
            f"tau={tau} leaves the clean set empty: the highest posterior of {losses.size} samples is "
            f"{float(posterior.max()):.4f}. Lower tau; 0.6 is that of the paper."
        )
    clean = above(posterior, y, n_classes, tau)
    drawn = clean
    if balanced:
        generator = torch_generator("redraw", seed, epoch)
        keys = torch.rand(1, losses.size, generator=generator, dtype=torch.float64)
        drawn = balanced_draw(clean, y, n_classes, keys)
    posterior, clean, drawn = (part[0].numpy() for part in (posterior, clean, drawn))
    counts = np.bincount(y_noisy[clean], minlength=n_classes)
    observed = np.bincount(y_noisy, minlength=n_classes) > 0
    return Selection(losses, posterior, clean, drawn, counts, int(counts[observed].min()))
