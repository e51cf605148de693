"""Traced runs on labels of which a known part is wrong: what is learned and kept, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis import metrics
from noisylib.comparison import noisy_labels
from noisylib.methods import make_method
from noisylib.noise import NoisyLabels, told
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults
from noisylib.training import train_bank

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.features import FeatureBank

# A method's answer is its last network's; of peers, which are alike, the mean of both is shown.
ANSWERS_ALONE = {"cufit"}


@dataclass(frozen=True, eq=False)
class Traced:
    """Traced runs of several methods on the same wrong labels.

    Attributes
    ----------
    bank : the features and true labels.
    noisy : what each seed injected into the training labels.
    seeds : of the noise and of the training.
    recipe : how they were trained.
    runs : method -> results with a trace, one run per seed.
    """

    bank: FeatureBank
    noisy: Sequence[NoisyLabels]
    seeds: Sequence[int]
    recipe: Recipe
    runs: Mapping[str, RunResults]

    @property
    def y(self) -> np.ndarray:
        """(N,) true training labels."""
        return self.bank.part("train")[1]

    @property
    def flipped(self) -> np.ndarray:
        """(R, N) bool, where the observed label is wrong."""
        return np.stack([noisy.flipped for noisy in self.noisy])

    @property
    def y_noisy(self) -> np.ndarray:
        """(R, N) observed training labels."""
        return np.stack([noisy.y_noisy for noisy in self.noisy])

    def nets(self, method: str) -> list[int]:
        """Return the networks of a run whose traces stand for the method; the mean over them is shown."""
        last = make_method(method).n_nets - 1
        return [last] if method in ANSWERS_ALONE else list(range(last + 1))


def train_traced(
    bank: FeatureBank,
    methods: Sequence[str],
    noise_type: str,
    noise_rate: float,
    *,
    class_map: Mapping[int, int] | None,
    head: str,
    seeds: Sequence[int],
    recipe: Recipe,
) -> Traced:
    """Train every method on the same wrong labels, and record each epoch.

    Parameters
    ----------
    noise_type, noise_rate, class_map : as `noisylib.comparison.noisy_labels`.
    seeds : one run each; a seed sets the noise as well as the training.
    """
    noisy = noisy_labels(bank, noise_type, noise_rate, seeds, class_map)
    X = bank.part("train")[0]
    runs = {
        method: train_bank(
            X,
            np.stack([labels.y_noisy for labels in noisy]),
            *bank.part("test"),
            n_classes=bank.n_classes,
            method=method,
            head=head,
            seeds=seeds,
            **told(noisy),
            views=bank.training_views(),
            recipe=recipe,
            trace=True,
        )
        for method in methods
    }
    return Traced(bank, noisy, seeds, recipe, runs)


def fit_frame(traced: Traced) -> pd.DataFrame:
    """Return one row per method, seed and epoch (from 1), with fractions in [0, 1].

    Columns: clean_learned, right labels that are predicted; memorised, wrong labels that are predicted;
    recovered, samples with a wrong label whose true class is predicted; balanced_accuracy on the test
    split.
    """
    import pandas as pd

    parts = []
    for method, run in traced.runs.items():
        predicted = run.trace["predicted"][:, traced.nets(method)]  # (E, nets, R, N)
        test = metrics.balanced_accuracy(run.recall_history)  # (E, R)
        for r, seed in enumerate(traced.seeds):
            flipped, said = traced.flipped[r], predicted[:, :, r]
            true, observed = said == traced.y, said == traced.y_noisy[r]
            parts.append(
                pd.DataFrame(
                    {
                        "method": method,
                        "seed": seed,
                        "epoch": np.arange(1, len(said) + 1),
                        "clean_learned": _share(true, ~flipped),
                        "memorised": _share(observed, flipped),
                        "recovered": _share(true, flipped),
                        "balanced_accuracy": test[:, r],
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _share(hit: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the fraction of the samples `among` (N,) that `hit` (E, nets, N) holds, (E,); NaN of none."""
    if not among.any():
        return np.full(len(hit), np.nan)
    return hit[:, :, among].mean((1, 2))


def selection_frame(traced: Traced) -> pd.DataFrame:
    """Return one row per selecting method, seed and epoch: selected and precision, in [0, 1].

    selected is the share of the training samples that was trained on, precision the share of those whose
    label is right. Epochs before a method selects are left out.
    """
    import pandas as pd

    parts = []
    for method, run in traced.runs.items():
        if "selected" not in run.trace:
            continue
        selected = run.trace["selected"][:, traced.nets(method)]  # (E', nets, R, N)
        first = len(run.epochs) - len(selected)
        for r, seed in enumerate(traced.seeds):
            kept = selected[:, :, r]
            right = (kept & ~traced.flipped[r]).sum((1, 2))
            parts.append(
                pd.DataFrame(
                    {
                        "method": method,
                        "seed": seed,
                        "epoch": first + np.arange(1, len(kept) + 1),
                        "selected": kept.mean((1, 2)),
                        "precision": right / np.maximum(kept.sum((1, 2)), 1),
                    }
                )
            )
    columns = ["method", "seed", "epoch", "selected", "precision"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def kept_by_class(traced: Traced) -> pd.DataFrame:
    """Return the share of the right labels of each class that is selected in the last epoch, in [0, 1].

    Rows are methods that select, columns classes; the mean over seeds. NaN: no right label.
    """
    import pandas as pd

    rows = {}
    for method, run in traced.runs.items():
        if "selected" in run.trace:
            kept = run.trace["selected"][-1, traced.nets(method)].mean(0)  # (R, N)
            right = ~traced.flipped
            shares = [kept[right & (traced.y == c)] for c in range(traced.bank.n_classes)]
            rows[method] = [part.mean() if part.size else np.nan for part in shares]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(traced.bank.class_names))
