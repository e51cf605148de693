"""What features and observed labels say about each label, without any clean one.

Two looks that need no method against noise: the class probabilities of a linear head that never saw the
sample's label, and the labels of its nearest neighbours. The estimate of the noise, the probability that a
label is right and the choice of a method are all made from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from noisylib.devices import pick_device
from noisylib.errors import NoisylibError
from noisylib.layout import RunLayout
from noisylib.methods.out_of_fold import held_out_probabilities
from noisylib.neighbours import nearest
from noisylib.recipe import Recipe
from noisylib.samples import as_heads_see
from noisylib.seeding import numpy_generator
from noisylib.validation import check_features, check_runs

NEIGHBOURS = 11
FOLDS = 5
# A linear head has converged after about this many samples; more rows get fewer epochs, but no fewer than 5.
SAMPLES_SEEN, FEWEST_EPOCHS = 600_000, 5
# Fewer rows get more epochs: as many steps as 500 rows take, or a head would hardly leave its start.
FEWEST_STEPS = 200
# Neighbours are searched among this many rows at most, drawn by seed: the time is then linear in N.
REFERENCE_ROWS = 20_000
# Rows whose neighbours are searched between two reports of progress.
QUERY_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of the labels of one data set.

    Attributes
    ----------
    y : (N,) int64 observed labels in 0..K-1.
    held_out : (N, K) float64 class probabilities from a linear head that did not see the sample's label.
    neighbours : (N, k) int64 positions of the nearest other samples, nearest first; k is 11, or N - 1.
    """

    y: np.ndarray
    held_out: np.ndarray
    neighbours: np.ndarray

    @property
    def n_classes(self) -> int:
        """K."""
        return self.held_out.shape[1]

    @cached_property
    def neighbour_votes(self) -> np.ndarray:
        """(N, K) float64 share of the neighbours that carry each label; rows sum to 1."""
        labels = self.y[self.neighbours]
        return np.stack([(labels == c).mean(axis=1) for c in range(self.n_classes)], axis=1)

    @cached_property
    def neighbour_share(self) -> np.ndarray:
        """(N,) share of the neighbours that carry the sample's own observed label."""
        return self.neighbour_votes[np.arange(len(self.y)), self.y]

    @cached_property
    def self_confidence(self) -> np.ndarray:
        """(N,) held-out probability of the sample's own observed label."""
        return self.held_out[np.arange(len(self.y)), self.y]


def collect_evidence(
    X: np.ndarray,
    y_noisy: np.ndarray,
    n_classes: int,
    *,
    seeds: Sequence[int] = (0,),
    folds: int = FOLDS,
    recipe: Recipe | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[Evidence]:
    """Return the evidence on the labels of R runs, each from features and observed labels alone.

    The folds of all runs are trained as one bank of linear heads, and neighbours are searched once for all
    runs. A class that is observed less often than there are folds is dealt out as far as it goes; a label
    that occurs once is never seen by the head that judges it.

    Parameters
    ----------
    X : (N, D) features; z-scored with the mean and deviation of all rows unless the recipe says otherwise.
    y_noisy : (R, N) or (N,) int observed labels.
    n_classes : K, at least 2.
    seeds : (R,) of the folds, the start of the heads and the batch order.
    folds : parts of the cross-validation, from 2 to N.
    recipe : of the linear heads; by default the package's, with fewer epochs beyond 12,000 rows and more
        below 500.
    device : as `noisylib.train_bank`.
    progress : called with (work done, work) in multiplications, after each block of the search for
        neighbours and after the training of the heads.

    Raises
    ------
    NoisylibError
        For features with NaN, labels out of range or of the wrong length, or a wrong number of seeds or
        folds.
    """
    X, y_noisy = check_features(X, "X"), np.atleast_2d(np.asarray(y_noisy))
    _check(X, y_noisy, n_classes, seeds, folds)
    recipe, where = recipe or probe_recipe(len(X)), pick_device(device)
    (seen,) = as_heads_see(X, recipe=recipe, device=where, dtype=torch.float32)
    search, work = _work(seen, len(seeds) * folds * n_classes, recipe)
    neighbours = nearest_others(
        seen,
        NEIGHBOURS,
        seed=seeds[0],
        progress=None if progress is None else lambda done, rows: progress(search * done // rows, work),
    )
    layout = RunLayout(seeds)
    P = held_out_probabilities(
        seen,
        layout.spread(torch.as_tensor(y_noisy.astype(np.int64))).to(where),
        tuple(layout.seeds),
        n_classes,
        folds=folds,
        recipe=recipe,
    )
    held_out = layout.gather(P).cpu().numpy()
    if progress is not None:
        progress(work, work)
    return [
        Evidence(labels.astype(np.int64), held_out[run], neighbours) for run, labels in enumerate(y_noisy)
    ]


def probe_recipe(n_samples: int) -> Recipe:
    """Return the recipe of a linear head on `n_samples` rows: epochs shrink where rows are many.

    Below 500 rows they grow, so that there are at least 200 steps.
    """
    recipe = Recipe()
    steps = -(-n_samples // recipe.batch_size)  # of an epoch
    most = max(FEWEST_EPOCHS, round(SAMPLES_SEEN / n_samples))
    epochs = min(most, max(recipe.epochs, -(-FEWEST_STEPS // steps)))
    return replace(recipe, epochs=epochs, score_epochs=1)


def nearest_others(
    X: Tensor,
    k: int,
    *,
    seed: int = 0,
    reference_rows: int = REFERENCE_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return positions (N, k) of the nearest other rows, nearest first; k is at most N - 1.

    Beyond `reference_rows` rows, only so many of them, drawn by `seed`, can be neighbours. A row is left
    out of its own neighbours by position, so its duplicates stay in.

    Parameters
    ----------
    X : (N, D) features.
    progress : called with (rows done, rows) after each block of rows.
    """
    N, k = len(X), min(k, len(X) - 1)
    drawn = np.arange(N)
    if reference_rows < N:
        drawn = np.sort(numpy_generator("reference-rows", seed).permutation(N)[:reference_rows])
        k = min(k, reference_rows - 1)
    reference = X[torch.as_tensor(drawn, device=X.device)].double() if reference_rows < N else X.double()
    found = np.empty((N, k), dtype=np.int64)
    for start in range(0, N, QUERY_ROWS):
        block = X[start : start + QUERY_ROWS]
        near = drawn[nearest(reference, k + 1, block).cpu().numpy()]
        # A drawn row finds itself, unless k + 1 duplicates of it come first; any other row drops its last.
        own = near == np.arange(start, start + len(block))[:, None]
        own[~own.any(axis=1), -1] = True
        found[start : start + len(block)] = near[~own].reshape(len(block), k)
        if progress is not None:
            progress(start + len(block), N)
    return found


def _work(X: Tensor, heads: int, recipe: Recipe) -> tuple[int, int]:
    """Return roughly how many multiplications the search for neighbours takes, and all that follows too.

    A step of small heads takes about twice its multiplications in time, and looks at each batch twice.
    """
    N, D = X.shape
    search = N * min(N, REFERENCE_ROWS) * D
    return search, search + 4 * heads * N * D * recipe.epochs


def _check(X: np.ndarray, y_noisy: np.ndarray, n_classes: int, seeds: Sequence[int], folds: int) -> None:
    check_runs(X, y_noisy, n_classes, seeds)
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= len(X):
        raise NoisylibError(f"folds={folds!r}: a whole number from 2 to N={len(X)} is needed, such as 5.")
