"""The balanced redraw of the chapter on cleaning: what a draw leaves out, how often, and small classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from noisylib.book.describe.cleaning import Probed, counts, posteriors, select
from noisylib.methods.turn import balanced_draw
from noisylib.seeding import numpy_generator, torch_generator

if TYPE_CHECKING:
    import pandas as pd

SIZES = (1, 2, 3, 4, 5, 8, 12, 20, 50)  # samples of a class that is cut
CUTS = 40  # random cuts of each size


def expected_union(clean: np.ndarray, n: int, redraws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of how many samples of each class are in at least one of some draws.

    Parameters
    ----------
    clean : (K,) samples to draw from, each at least `n`.
    n : samples drawn of each class, without replacement; every draw is independent of the others.
    redraws : number of draws E.

    Notes
    -----
    A sample of a class of m is missed by one draw with probability 1 - n / m, by all with its E-th power; two
    samples are missed by one draw with probability (m - n) (m - n - 1) / (m (m - 1)).
    """
    m = np.asarray(clean, dtype=float)
    missed = (1 - n / m) ** redraws
    both = np.where(m > 1, (m - n) * (m - n - 1) / np.maximum(m * (m - 1), 1), 0.0) ** redraws
    variance = m * missed + m * (m - 1) * both - (m * missed) ** 2
    return m * (1 - missed), np.maximum(variance, 0.0)


def draw(clean: np.ndarray, y: np.ndarray, n_classes: int, seeds: Sequence[int], epoch: int) -> np.ndarray:
    """Return the balanced draw of one epoch, (R, N) bool, with the random numbers of TURN."""
    shape = clean.shape[1]
    keys = [
        torch.rand(shape, generator=torch_generator("redraw", seed, epoch), dtype=torch.float64)
        for seed in seeds
    ]
    return balanced_draw(torch.as_tensor(clean), torch.as_tensor(y), n_classes, torch.stack(keys)).numpy()


def union_frame(probed: Probed, tau: float, redraws: int) -> pd.DataFrame:
    """Return how many clean samples at least one of the first draws has, by run, class and number of draws.

    The clean set stays the same from draw to draw, so that only the draw is measured. Columns seed, class,
    clean, n, draws (1 to `redraws`), union (measured), expected and variance.
    """
    import pandas as pd

    y, K, clean = probed.y, probed.n_classes, probed.clean(tau)
    observed = counts(np.ones_like(clean), y, K) > 0
    totals, records = counts(clean, y, K), []
    seen = np.zeros_like(clean)
    for epoch in range(redraws):
        seen |= draw(clean, y, K, probed.seeds, epoch)
        reached = counts(seen, y, K)
        for r, seed in enumerate(probed.seeds):
            present = np.flatnonzero(observed[r])
            n = int(totals[r, present].min())
            expected, variance = expected_union(totals[r, present], n, epoch + 1)
            for i, c in enumerate(present):
                records.append(
                    {
                        "seed": seed,
                        "class": probed.bank.class_names[c],
                        "clean": int(totals[r, c]),
                        "n": n,
                        "draws": epoch + 1,
                        "union": int(reached[r, c]),
                        "expected": float(expected[i]),
                        "variance": float(variance[i]),
                    }
                )
    return pd.DataFrame(records)


def union_facts(unions: pd.DataFrame) -> dict[str, float]:
    """Return what all draws together reach of the clean samples, and how far from what is expected.

    Shares of all clean samples of all runs: one (the first draw), union and expected (all draws), lost
    (1 - one); z : the distance of measured from expected in standard errors; largest, smallest : shares of
    the clean samples of the largest and of the smallest class (by its clean samples) that are reached.
    """
    last = unions[unions["draws"] == unions["draws"].max()]
    first = unions[unions["draws"] == 1]
    total, spread = last["clean"].sum(), float(np.sqrt(last["variance"].sum()))
    distance = float(last["union"].sum() - last["expected"].sum())
    by_class = last.groupby("class", sort=False)[["clean", "union"]].sum()
    reached = by_class["union"] / by_class["clean"]
    return {
        "one": float(first["union"].sum() / total),
        "lost": float(1 - first["union"].sum() / total),
        "union": float(last["union"].sum() / total),
        "expected": float(last["expected"].sum() / total),
        "z": distance / spread if spread > 0 else 0.0,
        "largest": float(reached[by_class["clean"].idxmax()]),
        "smallest": float(reached[by_class["clean"].idxmin()]),
    }


def small_frame(probed: Probed, tau: float, sizes: Sequence[int] = SIZES, cuts: int = CUTS) -> pd.DataFrame:
    """Return what becomes of a class of which only a few samples are there: each in turn is cut many times.

    The losses stay those of the probe that was trained on all samples, and only the mixture sees fewer.

    Parameters
    ----------
    sizes : samples that are left at random. The last row is of the whole classes, with size 0.
    cuts : random cuts per size, run and observed class; a class with fewer samples than the size is left out.

    Returns
    -------
    One row per size, all means over pairs of class and run: size; classes, the number of pairs; share called
    clean; low and high, the 5th and 95th percentile of the number called clean; purity, the share of right
    labels among those called clean; before, the same of all samples of the class; floor, the share of cuts in
    which no posterior exceeds tau, so that the floor of one keeps the class; drawn, n times the observed
    classes over the clean samples of the whole classes.
    """
    import pandas as pd

    y, K, clean = probed.y, probed.n_classes, probed.clean(tau)
    observed, totals = counts(np.ones_like(clean), y, K), counts(clean, y, K)
    pairs = [(r, c) for r in range(len(y)) for c in np.flatnonzero(observed[r])]
    records = []
    for size in (*sizes, 0):
        parts = []
        for r, c in (pair for pair in pairs if observed[pair] >= size):
            others = np.delete(totals[r], np.append(np.flatnonzero(observed[r] == 0), c))
            part = _cut(probed, tau, r, c, size, cuts if size else 1)
            n = np.minimum(part["found"], others.min(initial=clean.shape[1]))
            part["drawn"] = n * np.count_nonzero(observed[r]) / totals[r].sum()
            parts.append(part)
        if parts:
            records.append({"size": size, "classes": len(parts), **_over_cuts(parts)})
    return pd.DataFrame(records)


def _cut(probed: Probed, tau: float, run: int, label: int, size: int, cuts: int) -> dict[str, np.ndarray]:
    """Return, for each cut of one class to `size` samples (0: all), what is called clean of it."""
    member = np.flatnonzero(probed.y[run] == label)
    if size:
        generator = numpy_generator("small class", probed.seeds[run], int(label), size)
        rows = np.stack([generator.choice(member, size, replace=False) for _ in range(cuts)])
    else:
        rows = member[None]
    one = np.zeros(rows.shape, dtype=np.int64)
    posterior = posteriors(probed.losses[run][rows], one, 1)
    clean, right = select(posterior, one, 1, tau), ~probed.flipped[run][rows]
    return {
        "found": clean.sum(1),
        "share": clean.mean(1),
        "purity": (clean & right).sum() / clean.sum(),
        "before": (~probed.flipped[run][member]).mean(),
        "floor": (posterior <= tau).all(1),
    }


def _over_cuts(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
    found = np.concatenate([part["found"] for part in parts])
    names = ("share", "purity", "before", "floor", "drawn")
    means = {name: float(np.mean([np.mean(part[name]) for part in parts])) for name in names}
    low, high = np.percentile(found, (5, 95))
    return {**means, "low": float(low), "high": float(high)}
