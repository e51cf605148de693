"""What the chapter on overlap trains and measures: one condition live, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis import metrics
from noisylib.analysis.detection import auroc
from noisylib.analysis.overlap import ESTIMATORS, LossHistogram, class_overlap, loss_histogram, overlap
from noisylib.analysis.overlap_bootstrap import OverlapEstimate, bootstrap_overlap
from noisylib.book.describe.overlap_archive import ceiling, seed_interval
from noisylib.comparison import noisy_labels
from noisylib.noise import NoisyLabels, max_rate
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults
from noisylib.signals import Signals, best_epoch, train_signals
from noisylib.training import train_bank

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.case_parameters import OverlapParameters
    from noisylib.features import FeatureBank

DRAWS = 200  # of the bootstrap; its standard error is then known to 5 %


@dataclass(frozen=True, eq=False)
class Live:
    """What was trained.

    Attributes
    ----------
    bank : features and true labels.
    noise_type : that of `signals`.
    signals : of the chosen condition, a run per seed.
    recipe : how all of it was trained.
    other : another noise type at the same rate, with its labels and a traced run per seed; None if the data
        set has no class map for it, or the rate is too high.
    """

    bank: FeatureBank
    noise_type: str
    signals: Signals
    recipe: Recipe
    other: tuple[str, Sequence[NoisyLabels], RunResults] | None

    @property
    def decays(self) -> list[int]:
        """Epochs after which the learning rate falls."""
        return [round(fraction * self.recipe.epochs) for fraction in self.recipe.decay_at]


def train(bank: FeatureBank, params: OverlapParameters) -> Live:
    """Train the chosen condition with its cross-validation, and the other noise type without one."""
    recipe = Recipe(epochs=params.epochs, score_epochs=min(10, params.epochs))
    noisy = noisy_labels(bank, params.noise_type, params.noise_rate, params.seeds)
    signals = train_signals(bank, noisy, params.seeds, head=params.head, recipe=recipe, peers=False)
    other = other_noise(bank, params.noise_type, params.noise_rate)
    if other is None:
        return Live(bank, params.noise_type, signals, recipe, None)
    labels = noisy_labels(bank, other, params.noise_rate, params.seeds)
    results = train_bank(
        bank.part("train")[0],
        np.stack([each.y_noisy for each in labels]),
        *bank.part("test"),
        n_classes=bank.n_classes,
        head=params.head,
        seeds=params.seeds,
        recipe=recipe,
        trace=True,
    )
    return Live(bank, params.noise_type, signals, recipe, (other, labels, results))


def other_noise(bank: FeatureBank, noise_type: str, noise_rate: float) -> str | None:
    """Return symmetric noise beside any other, asymmetric beside symmetric; None if it cannot be."""
    from noisylib.data.catalog import DATASETS

    other = "asymmetric" if noise_type == "symmetric" else "symmetric"
    if noise_rate >= max_rate(other, bank.n_classes):
        return None
    info = DATASETS.get(bank.meta.dataset)
    return other if other == "symmetric" or (info is not None and info.class_maps) else None


def views(signals: Signals) -> dict[str, np.ndarray]:
    """Return the losses (R, N) in nats of each of `VIEWS`; "best" is each run's epoch of highest AUROC."""
    best = best_epoch(signals)
    return {
        "last": signals.losses[-1],
        "best": signals.losses[best, np.arange(len(best))],
        "held_out": signals.held_out_losses,
    }


def estimates(live: Live, draws: int = DRAWS) -> pd.DataFrame:
    """Return one row per view and estimator, in the order of both.

    Columns view, estimator, value and corrected (plain and bias-corrected, means over runs), low, high (see
    `seed_interval`; whole lesions are drawn where they are known), auroc (mean over runs), and ceiling: what
    the corrected headline gives on average if clean and flipped losses have one and the same distribution.
    """
    import pandas as pd

    signals, records = live.signals, []
    for view, losses in views(signals).items():
        shared = {"view": view, "auroc": float(auroc(-losses, signals.flipped).mean())}
        counts = loss_histogram(losses[0], signals.flipped[0])
        shared["ceiling"] = ceiling(counts.clean, counts.flipped)
        for estimator in ESTIMATORS:
            found = [
                bootstrap_overlap(*run, estimator=estimator, groups=signals.groups, draws=draws)
                for run in zip(losses, signals.flipped, strict=True)
            ]
            plain = float(np.mean([f.value for f in found]))
            records.append({**shared, "estimator": estimator, "value": plain, **_over_runs(found)})
    return pd.DataFrame(records)


def _over_runs(found: Sequence[OverlapEstimate]) -> dict[str, float]:
    numbers = seed_interval([f.corrected for f in found], [f.se for f in found])
    return dict(zip(("corrected", "low", "high"), numbers, strict=True))


def histograms(live: Live) -> dict[str, LossHistogram]:
    """Return the bins of the headline estimator for each view, over the samples of all runs together."""
    flipped = live.signals.flipped.ravel()
    return {view: loss_histogram(losses.ravel(), flipped) for view, losses in views(live.signals).items()}


def epoch_frame(live: Live) -> pd.DataFrame:
    """Return one row per noise type, seed and epoch (from 1), of the training samples' losses.

    Columns noise_type, seed, epoch, overlap (headline estimator, not corrected), auroc, and the
    balanced_accuracy on the test split; fractions.
    """
    import pandas as pd

    trained = [(live.noise_type, live.signals.noisy, live.signals.classifier)]
    trained += [live.other] if live.other is not None else []
    records = []
    for noise_type, noisy, results in trained:
        losses = results.trace["loss"][:, 0]  # (E, R, N)
        flipped = np.stack([labels.flipped for labels in noisy])
        score, tested = auroc(-losses, flipped), metrics.balanced_accuracy(results.recall_history)
        for epoch in range(len(losses)):
            for run, seed in enumerate(live.signals.seeds):
                records.append(
                    {
                        "noise_type": noise_type,
                        "seed": seed,
                        "epoch": epoch + 1,
                        "overlap": overlap(losses[epoch, run], flipped[run]),
                        "auroc": float(score[epoch, run]),
                        "balanced_accuracy": float(tested[epoch, run]),
                    }
                )
    return pd.DataFrame(records)


def class_frame(live: Live, draws: int = DRAWS) -> pd.DataFrame:
    """Return one row per view ("last", "held_out") and observed class.

    Columns view, class, n_clean, n_flipped (means over runs), corrected, low, high (mean over runs, see
    `seed_interval`), and ceiling: what the corrected estimate gives on average if clean and flipped losses
    have one and the same distribution. The last four are NaN where a run has fewer than 20 clean or 20
    flipped samples of the class.
    """
    import pandas as pd

    records = []
    chosen = {view: losses for view, losses in views(live.signals).items() if view != "best"}
    for view, losses in chosen.items():
        for c, name in enumerate(live.bank.class_names):
            records.append({"view": view, "class": name, **_one_class(live.signals, losses, c, draws)})
    return pd.DataFrame(records)


def _one_class(signals: Signals, losses: np.ndarray, c: int, draws: int) -> dict[str, float]:
    """Return the numbers of `class_frame` for the samples that are labelled `c`; losses (R, N)."""
    found, ceilings, sizes = [], [], []
    for loss, wrong, labels in zip(losses, signals.flipped, signals.y_noisy, strict=True):
        members = labels == c
        sizes.append(((members & ~wrong).sum(), (members & wrong).sum()))
        if np.isnan(class_overlap(loss, wrong, labels, signals.n_classes)[c]):
            continue
        groups = None if signals.groups is None else signals.groups[members]
        found.append(bootstrap_overlap(loss[members], wrong[members], groups=groups, draws=draws))
        counts = loss_histogram(loss[members], wrong[members])
        ceilings.append(ceiling(counts.clean, counts.flipped))
    numbers = dict(zip(("n_clean", "n_flipped"), np.mean(sizes, axis=0).tolist(), strict=True))
    if len(found) < len(losses):
        return numbers | dict.fromkeys(("corrected", "low", "high", "ceiling"), np.nan)
    return numbers | _over_runs(found) | {"ceiling": float(np.mean(ceilings))}
