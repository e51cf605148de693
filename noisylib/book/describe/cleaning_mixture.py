"""The mixtures of the chapter on cleaning: class by class, against one for all, and where they cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from noisylib.book.describe.cleaning import Probed, posteriors, select, select_globally
from noisylib.cleaningplots import ClassPanel
from noisylib.methods.turn import FEWEST
from noisylib.mixtures import Mixture, fit_mixture, scale_to_unit

if TYPE_CHECKING:
    import pandas as pd

BINS, POINTS = 40, 400  # of a histogram, and of a curve
MOST_CLASSES = 12  # panels that fit a page: of more classes, the most frequent


def class_panels(probed: Probed, tau: float, run: int = 0) -> list[ClassPanel]:
    """Return the panel of each observed class of one run, at most `MOST_CLASSES`: the most frequent."""
    y, clean, flipped = probed.y[run], probed.clean(tau)[run], probed.flipped[run]
    sizes = np.bincount(y, minlength=probed.n_classes)
    shown = sorted(np.argsort(-sizes, kind="stable")[:MOST_CLASSES])
    panels = []
    for c in (c for c in shown if sizes[c]):
        rows = y == c
        panels.append(
            _panel(probed.bank.class_names[c], probed.losses[run][rows], flipped[rows], clean[rows])
        )
    return panels


def _panel(name: str, losses: np.ndarray, wrong: np.ndarray, clean: np.ndarray) -> ClassPanel:
    edges = np.histogram_bin_edges(losses, BINS)
    counted = [np.histogram(losses[rows], edges)[0] for rows in (~wrong, wrong)]
    x = low = high = np.empty(0)
    if len(losses) >= FEWEST and np.ptp(losses) > 0:
        x = np.linspace(losses.min(), losses.max(), POINTS)
        expected = component_densities(losses, x) * len(losses) * (edges[1] - edges[0])
        low, high = expected
    return ClassPanel(
        name, edges, *counted, x, low, high, float(losses[clean].max()), float(1 - wrong[clean].mean())
    )


def component_densities(losses: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return weight times density per nat, (2, P) at `x` (P,), of the components fitted to losses (N,)."""
    low, reach = losses.min(), np.ptp(losses)
    mixture = _fit(losses)
    weights, means, variances = (
        part.numpy()[:, None] for part in (mixture.weights, mixture.means, mixture.variances)
    )
    units = (x - low) / reach  # the mixture was fitted to losses scaled to [0, 1]
    density = np.exp(-((units - means) ** 2) / (2 * variances)) / np.sqrt(2 * np.pi * variances)
    return weights * density / reach


def _fit(losses: np.ndarray) -> Mixture:
    return fit_mixture(scale_to_unit(torch.as_tensor(losses)))


def cut_facts(probed: Probed, tau: float) -> dict[str, int]:
    """Return how the mixtures of all runs and observed classes cut.

    mixtures : that were fitted; unfinished : those that the last iteration ended; gaps : classes in which
    some sample is not called clean although one of higher loss is. Without a gap the mixture is a threshold.
    """
    clean, facts = probed.clean(tau), {"mixtures": 0, "unfinished": 0, "gaps": 0}
    for r, labels in enumerate(probed.y):
        for c in np.unique(labels):
            losses, kept = probed.losses[r][labels == c], clean[r][labels == c]
            if len(losses) < FEWEST or np.ptp(losses) == 0:
                continue
            facts["mixtures"] += 1
            facts["unfinished"] += int(not _fit(losses).converged)
            facts["gaps"] += int(not kept.all() and losses[kept].max() > losses[~kept].min())
    return facts


def shift_frame(probed: Probed, tau: float, shifts: Sequence[float] = (0.5, 1.0, 2.0, 4.0)) -> pd.DataFrame:
    """Return what adding a constant to all losses of one observed class changes, each class in its turn.

    Columns shift (nats); per_class and in_class: share of the class's own samples whose selection changes, by
    mixtures per class and by one for all; others: share of the other samples that change by one mixture for
    all. Means over runs and observed classes, but per_class is the largest share.
    """
    import pandas as pd

    y, K, losses = probed.y, probed.n_classes, probed.losses
    clean, pooled = probed.clean(tau), select_globally(losses, tau)
    records = []
    for shift in shifts:
        own, inside, outside = [], [], []
        for c in range(K):
            member = y == c
            moved = losses + shift * member
            again = select(posteriors(moved, y, K), y, K, tau) != clean
            jointly = select_globally(moved, tau) != pooled
            for rows, a, b in zip(member, again, jointly, strict=True):
                if rows.any() and not rows.all():
                    own.append(a.mean())
                    inside.append(b[rows].mean())
                    outside.append(b[~rows].mean())
        means = [float(np.mean(values)) for values in (inside, outside)]
        records.append((shift, float(np.max(own)), *means))
    return pd.DataFrame(records, columns=["shift", "per_class", "in_class", "others"])


def class_frame(probed: Probed, tau: float) -> pd.DataFrame:
    """Return one row per observed class and way to select ("class" or "pooled"), means over runs.

    Columns way, class, images (truly of the class), observed, before (share of right labels among the
    observed), clean (samples called clean), kept (share of the right labels called clean) and purity. NaN
    where there is nothing to count.
    """
    import pandas as pd

    y, flipped, names = probed.y, probed.flipped, probed.bank.class_names
    true = np.bincount(probed.bank.part("train")[1], minlength=probed.n_classes)
    ways = {"class": probed.clean(tau), "pooled": select_globally(probed.losses, tau)}
    records = []
    for way, clean in ways.items():
        for c in np.unique(y):
            member, right = y == c, (y == c) & ~flipped
            both = clean & right
            numbers = {
                "observed": member.sum(1),
                "before": _share(right, member),
                "clean": (clean & member).sum(1),
                "kept": _share(both, right),
                "purity": _share(both, clean & member),
            }
            means = {name: float(np.mean(values)) for name, values in numbers.items()}
            records.append({"way": way, "class": names[c], "images": int(true[c]), **means})
    return pd.DataFrame(records)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return the share of `whole` (R, N) that is in `part`, (R,); NaN where there is nothing."""
    total = whole.sum(1)
    return np.divide(part.sum(1), total, out=np.full(len(total), np.nan), where=total > 0)
