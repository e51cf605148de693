"""Out-of-fold class probabilities of training samples, without a method around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from noisylib.devices import pick_device
from noisylib.errors import NoisylibError
from noisylib.layout import RunLayout
from noisylib.methods.out_of_fold import check_folds, held_out_probabilities
from noisylib.recipe import Recipe
from noisylib.samples import as_heads_see
from noisylib.validation import check_features, check_runs


def cross_validate(
    X: np.ndarray,
    y_noisy: np.ndarray,
    *,
    n_classes: int,
    head: str = "linear",
    seeds: Sequence[int],
    folds: int = 5,
    recipe: Recipe | None = None,
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
) -> np.ndarray:
    """Return class probabilities (R, N, K) float64, each from a head that never saw the sample's label.

    Per run, the samples of each observed class are dealt out evenly over the folds, and one head per
    fold trains with cross entropy on the others, all folds of all runs as one bank.

    Parameters
    ----------
    X : (N, D) features, z-scored as `noisylib.train_bank` does if the recipe says so. The mean and
        deviation are those of all samples, which no label enters.
    y_noisy : (R, N) or (N,) int, the observed labels of each run.
    n_classes : K.
    head : "linear", "mlp" or "adapter".
    seeds : (R,) training seeds: they set the folds, the start of the heads and the batch order.
    folds : parts of the cross-validation, at least 2.
    recipe : optimisation settings of every fold's head, epochs included; by default the package's.
    device, dtype : as `noisylib.train_bank`.

    Raises
    ------
    NoisylibError
        For features with NaN, labels out of range or of the wrong length, a wrong number of seeds or
        folds, or a class that a run observes less often than there are folds.
    """
    X, y_noisy, recipe = check_features(X, "X"), np.atleast_2d(np.asarray(y_noisy)), recipe or Recipe()
    check_cross_validation(X, y_noisy, n_classes, seeds, folds)
    layout, where = RunLayout(seeds), pick_device(device)
    P = held_out_probabilities(
        as_heads_see(X, recipe=recipe, device=where, dtype=dtype)[0],
        layout.spread(torch.as_tensor(y_noisy.astype(np.int64))).to(where),
        tuple(layout.seeds),
        n_classes,
        folds=folds,
        recipe=recipe,
        head=head,
    )
    return layout.gather(P).cpu().numpy()


def check_cross_validation(
    X: np.ndarray, y_noisy: np.ndarray, n_classes: int, seeds: Sequence[int], folds: int
) -> None:
    """Raise NoisylibError unless `cross_validate` can work on this."""
    check_runs(X, y_noisy, n_classes, seeds)
    if not isinstance(folds, int) or folds < 2:
        raise NoisylibError(f"folds={folds!r}: a whole number of at least 2 is needed, such as 5.")
    check_folds(y_noisy, folds, n_classes)
