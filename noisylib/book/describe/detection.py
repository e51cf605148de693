"""What the chapter on detection trains live, and what it says of it: curves, tables and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.drops import LEVEL, interval, points, seed_drops
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import DAGGER, NBSP, mean_sd
from noisylib.comparison import noisy_labels
from noisylib.data.catalog import DATASETS
from noisylib.detectors import DETECTORS, SAME
from noisylib.errors import NoisylibError
from noisylib.noise import check_rate
from noisylib.recipe import Recipe
from noisylib.signal_rows import cut, detection_rows
from noisylib.signals import Signals, train_signals

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.case_parameters import DetectionParameters
    from noisylib.features import FeatureBank

# Rankings that the curves show: one or two of each kind, so that lines can be told apart.
DRAWN = ("loss", "peer_loss", "agreement_epochs", "agreement_folds", "agreement_neighbours", "confident")
FRACTIONS = np.linspace(0.02, 1, 50)


@dataclass(frozen=True, eq=False)
class Live:
    """Signals of one condition and of its counterpart, and how every detector did.

    Attributes
    ----------
    bank, signals : features, and what was trained on them.
    noise_types : the condition's own first, then its counterpart if there is one.
    rows : of `signal_rows.detection_rows`, with the columns of a condition, as archived rows have them.
    """

    bank: FeatureBank
    signals: Signals
    noise_types: tuple[str, ...]
    rows: pd.DataFrame

    @property
    def hard(self) -> str:
        """The noise that is not symmetric; "" where there is none."""
        return next((kind for kind in self.noise_types if kind != "symmetric"), "")

    @property
    def own(self) -> pd.DataFrame:
        """Rows of the condition that was asked for."""
        return self.rows[self.rows["noise_type"] == self.noise_types[0]]

    def runs(self, noise_type: str) -> list[int]:
        """Return the runs under one kind of noise."""
        return [r for r, labels in enumerate(self.signals.noisy) if labels.noise_type == noise_type]


def counterpart(bank: FeatureBank, noise_type: str, noise_rate: float) -> str:
    """Return the noise to compare with: symmetric, or asymmetric for symmetric; "" where there is none."""
    name = bank.meta.dataset
    if noise_type == "symmetric" and (name not in DATASETS or not DATASETS[name].class_maps):
        return ""
    other = "asymmetric" if noise_type == "symmetric" else "symmetric"
    try:
        check_rate(other, noise_rate, bank.n_classes)
    except NoisylibError:
        return ""
    return other


def train(bank: FeatureBank, params: DetectionParameters) -> Live:
    """Train the signals of the chapter's condition and of its counterpart, all runs at once."""
    import pandas as pd

    kinds = (params.noise_type, counterpart(bank, params.noise_type, params.noise_rate))
    kinds = tuple(kind for kind in kinds if kind)
    noisy = [labels for kind in kinds for labels in noisy_labels(bank, kind, params.noise_rate, params.seeds)]
    recipe = Recipe(epochs=params.epochs, score_epochs=min(10, params.epochs))
    signals = train_signals(bank, noisy, [*params.seeds] * len(kinds), head=params.head, recipe=recipe)
    rows = pd.DataFrame(detection_rows(signals))
    told = {"dataset": params.dataset, "backbone": params.backbone, "head": params.head}
    rows = rows.assign(
        **told,
        noise_rate=params.noise_rate,
        noise_type=[noisy[run].noise_type for run in rows["run"]],
        realised_rate=[noisy[run].realised_rate for run in rows["run"]],
        seed=[signals.seeds[run] for run in rows["run"]],
    )
    return Live(bank, signals, kinds, rows)


def title(key: str) -> str:
    """Return the title of a detector, with a dagger if what it rests on is told of the noise."""
    return DETECTORS[key].title + (DAGGER if key == "peer_loss" else "")


def dagger(keys: Sequence[str]) -> str:
    """Return the footnote to `title`; empty if none of the detectors has a dagger."""
    note = f" {DAGGER} Co-teaching is told the share of wrong labels that were really injected."
    return note if "peer_loss" in keys else ""


def curves(live: Live) -> pd.DataFrame:
    """Return the precision of the best-ranked part of the samples: noise_type, detector, fraction, precision.

    Means over seeds. Equal scores are drawn in the order of the tables, so that a curve at the number m of a
    table has the precision of that table.
    """
    import pandas as pd

    records, flipped = [], live.signals.flipped
    sizes = np.floor(FRACTIONS * flipped.shape[1] + 1e-9).astype(int)
    drawn = [key for key in DRAWN if key in set(live.rows["detector"])]
    for key in drawn:
        scores = DETECTORS[key].scores(live.signals)
        for kind in live.noise_types:
            for m in sizes[sizes > 0]:
                kept = [~flipped[r][cut(scores[r], m, live.signals.seeds[r])] for r in live.runs(kind)]
                records.append((kind, key, m / flipped.shape[1], float(np.mean(kept))))
    return pd.DataFrame(records, columns=["noise_type", "detector", "fraction", "precision"])


def sets(live: Live) -> pd.DataFrame:
    """Return noise_type, detector, fraction kept and precision of the agreement sets, means over seeds."""
    rows = live.rows[[DETECTORS[key].is_set for key in live.rows["detector"]]]
    rows = rows.assign(fraction=rows["m"] / len(live.signals.y))
    keys = ["noise_type", "detector"]
    return rows.groupby(keys, sort=False)[["fraction", "precision"]].mean().reset_index()


def live_table(live: Live, rule: str) -> pd.DataFrame:
    """Return every detector at one number kept, best precision under the chapter's own noise first.

    Percent, "mean ± sd" over seeds; the drop in points with its interval where there is a counterpart.
    At the fixed number there are no sets, which have a size of their own, and the classifier's loss stands
    once.
    """
    import pandas as pd

    rows = live.rows[live.rows["rule"] == rule]
    if rule == "fixed":
        rows = rows[rows["design"] != SAME]
    if len(live.noise_types) > 1:
        drops = seed_drops(rows, rule, live.hard)
    first = rows[rows["noise_type"] == live.noise_types[0]]
    order = first.groupby("detector", sort=False)["precision"].mean()
    records = []
    for key in order.sort_values(ascending=False, kind="stable").index:
        part = rows[rows["detector"] == key]
        own = first[first["detector"] == key]
        record = {"Detector": title(key), "Design": DETECTORS[key].design, "m": f"{own['m'].mean():,.0f}"}
        for kind in live.noise_types:
            precision = 100 * part.loc[part["noise_type"] == kind, "precision"]
            record[f"Precision, {kind}"] = mean_sd(precision.mean(), precision.std())
        record["Recall"] = f"{100 * own['recall'].mean():.1f}"
        record["AUROC"] = f"{100 * own['auroc'].mean():.1f}"
        if len(live.noise_types) > 1:
            record["Drop"] = points(*interval(drops[key]))
        records.append(record)
    return pd.DataFrame(records)


def short(live: Live) -> str:
    """Return what the page found, in a few sentences: both rivals at the matched m, and their drops."""
    own = live.own[live.own["rule"] == "matched"].groupby("detector")[["precision", "m"]].mean()
    loss, agreement = (float(own.loc[key, "precision"]) for key in ("loss", "agreement"))
    m, n = own.loc["agreement", "m"], len(live.signals.y)
    text = (
        f"With {live.noise_types[0]} noise, the linear module agrees with {m:,.0f} of {n:,} labels, and "
        f"{_percent(agreement)} of these are right. Of as many labels with the smallest losses, "
        f"{_percent(loss)} are; of as many drawn at random, {_percent(float(live.own['chance'].mean()))}."
    )
    if len(live.noise_types) == 1:
        return f"{text} There is no second kind of noise to compare with on this bank at this rate."
    drops = seed_drops(live.rows, "matched", live.hard)
    parts = {key: points(*interval(drops[key])) for key in ("loss", "agreement")}
    brackets = (
        f" (in square brackets {100 * LEVEL:.0f}{NBSP}% t intervals over seeds)" if len(drops) > 1 else ""
    )
    return (
        f"{text} From symmetric to {live.hard} noise, the loss ranking loses {parts['loss']} points of "
        f"precision and agreement {parts['agreement']}{brackets}."
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}{NBSP}%"


def facts(live: Live, params: DetectionParameters) -> dict[str, object]:
    """Return what text and captions of the live part say of the runs."""
    seeds = f"{len(params.seeds)} seed{'' if len(params.seeds) == 1 else 's'}"
    trained = (
        f"{bank_title(params.dataset)}, features of {backbone_title(params.backbone)}, {params.head} head, "
        f"{params.epochs} epochs"
    )
    rate = f"{100 * params.noise_rate:g}{NBSP}%"
    return {
        "noise_type": params.noise_type,
        "hard": live.hard or "another kind of",
        "images": f"{len(live.signals.y):,}",
        "source": f"{trained}, {' and '.join(live.noise_types)} noise of {rate}, {seeds} each.",
        "own_source": f"{trained}, {params.noise_type} noise of {rate}, {seeds}.",
        "dagger": dagger(list(live.rows["detector"])),
    }
