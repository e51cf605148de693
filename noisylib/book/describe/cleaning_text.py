"""What the chapter on cleaning says of its live part, in words that follow the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.cleaning import Probed, quality, select_globally
from noisylib.book.describe.cleaning_archive import t_interval
from noisylib.book.describe.cleaning_tables import noise_words, percent, signed
from noisylib.book.tables import NBSP
from noisylib.plots import noise_title

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.cleaning_parameters import CleaningParameters

SWEPT = {
    "purity": "Purity of the clean set (%)",
    "recall_right": "Right labels called clean (%)",
    "share": "Called clean (% of all)",
    "lost": "Clean but not drawn (%)",
}


def verdict(low: float, high: float, up: str, down: str, unclear: str) -> str:
    """Return which side of 0 an interval lies on; without an interval it is unclear."""
    return up if low > 0 else down if high < 0 else unclear


def live_facts(probed: Probed, case: Probed, params: CleaningParameters) -> dict[str, Any]:
    """Return what text and captions say of the live part."""
    title = bank_title(params.dataset)
    seeds = len(params.seeds)
    runs = f"{seeds} run{'s' if seeds > 1 else ''}"
    noise = noise_words(params.noise_type, params.noise_rate)
    measured = quality(case.clean(params.tau), case.flipped, case.y, case.n_classes)
    return {
        "condition": f"{title} with {noise} noise",
        "source": f"{title}, {params.backbone}, {noise}, tau {params.tau:g}, {runs}.",
        "swept_source": f"{title}, {params.backbone}, {len(probed.conditions())} conditions, {runs} each.",
        "redraws": params.redraws,
        "probe_epochs": params.epochs,
        **{f"live_{name}": float(np.mean(values)) for name, values in measured.items()},
        "live_right": float(1 - np.mean([labels.realised_rate for labels in case.noisy])),
    }


def mixture_reading(classes: pd.DataFrame, cuts: Mapping[str, int]) -> str:
    """Say what the mixtures do to pure and to impure classes, and whether they are thresholds."""
    own = classes[classes["way"] == "class"].set_index("class")
    pure, impure = own["before"].idxmax(), own["purity"].idxmin()
    text = (
        f"The label {pure} is the purest to begin with, {percent(own.at[pure, 'before'])}{NBSP}% right, and "
        f"the mixture calls {percent(own.at[pure, 'kept'])}{NBSP}% of its right labels clean: two "
        f"components are fitted whether or not there are two groups. {impure} ends least pure: "
        f"{percent(own.at[impure, 'before'])}{NBSP}% of what carries the label is right, and "
        f"{percent(own.at[impure, 'purity'])}{NBSP}% of what is called clean. "
    )
    if worse := own.index[own["purity"] < 0.5].tolist():
        text += (
            f"In {len(worse)} of {len(own)} classes most of the clean set is wrong ({', '.join(worse)}): of "
            "what is low in loss there, most carries a wrong label, and no mixture of losses can know. "
        )
    gaps = cuts["gaps"]
    text += (
        "Over all conditions of this page the mixture was "
        + (
            "always a threshold: no sample was dropped while one of higher loss in its class was kept"
            if not gaps
            else f"no mere threshold in {gaps} of {cuts['mixtures']} classes: a sample was dropped while one "
            "of higher loss was kept"
        )
        + f". Of its {cuts['mixtures']} fits, {cuts['unfinished']} were ended by the last allowed iteration."
    )
    return text


def ways_frame(probed: Probed, tau: float) -> pd.DataFrame:
    """Return, by condition and seed, what mixtures per class have over one for all: differences of fractions.

    Columns noise_type, noise_rate, seed, purity, recall_right and purity_drawn.
    """
    import pandas as pd

    y, flipped, K = probed.y, probed.flipped, probed.n_classes
    own = quality(probed.clean(tau), flipped, y, K)
    pooled = quality(select_globally(probed.losses, tau), flipped, y, K)
    names = ("purity", "recall_right", "purity_drawn")
    return pd.DataFrame(
        {
            "noise_type": [labels.noise_type for labels in probed.noisy],
            "noise_rate": [labels.noise_rate for labels in probed.noisy],
            "seed": probed.seeds,
            **{name: own[name] - pooled[name] for name in names},
        }
    )


def ways_reading(ways: pd.DataFrame, noise_type: str, noise_rate: float) -> str:
    """Say how mixtures per class compare with one for all, in the chosen condition and over all."""
    here = ways[(ways["noise_type"] == noise_type) & (ways["noise_rate"] == noise_rate)]
    found = {name: t_interval(here[name]) for name in ("purity", "recall_right")}
    parts = [
        f"{signed(*numbers)} points of {title}"
        for numbers, title in zip(
            found.values(), ("purity", "the right labels that are called clean"), strict=True
        )
    ]
    mean = ways.groupby(["noise_type", "noise_rate"])[["purity", "recall_right"]].mean()
    purer, more = ((mean[name] > 0).sum() for name in mean)
    lean = verdict(*found["purity"][1:], "purer", "less pure", "neither clearly purer nor clearly less pure")
    return (
        f"Per class instead of one for all changes {' and '.join(parts)} (95{NBSP}% intervals over seeds). "
        f"The clean set is {lean}. Over the {len(mean)} conditions of this page, mixtures per class are "
        f"purer in {purer} and keep more right labels in {more}."
    )


def rate_lines(swept: pd.DataFrame) -> pd.DataFrame:
    """Return a sweep with a `line` for each kind of noise, and the share of right labels before cleaning."""
    return swept.assign(
        line=[f"{noise_title(kind)} noise" for kind in swept["noise_type"]],
        right=1 - swept["realised_rate"],
    )


def tau_lines(swept: pd.DataFrame, noise_rate: float) -> pd.DataFrame:
    """Return a sweep at the chosen rate, the lowest and the highest one, with a `line` for each condition."""
    rates = swept["noise_rate"]
    part = swept[rates.isin([rates.min(), noise_rate, rates.max()])]
    names = [noise_words(*key) for key in zip(part["noise_type"], part["noise_rate"], strict=True)]
    return part.assign(line=names)


def shift_reading(shifts: pd.DataFrame) -> str:
    """Say what the largest constant changes by mixtures per class and by one for all."""
    most, top = shifts.iloc[-1], shifts["per_class"].max()
    own = (
        "stays as it is, sample by sample"
        if top == 0
        else f"changes for up to {percent(top, 1)}{NBSP}% of the samples of a class"
    )
    return (
        f"The selection by a mixture per class {own}. With one mixture for all, {most['shift']:g} nats "
        f"change {percent(most['in_class'], 1)}{NBSP}% of the class's own samples and "
        f"{percent(most['others'], 1)}{NBSP}% of the others, whose losses nobody touched."
    )


def rates_reading(swept: pd.DataFrame, rarest: int) -> str:
    """Say what cleaning adds at the lowest and the highest rate of each kind of noise, and what a draw is.

    Parameters
    ----------
    swept : from `cleaning.sweep` at one tau.
    rarest : images of the rarest class: more samples called clean of any class cannot all be of it.
    """
    parts, draws = [], []
    for kind, rows in swept.groupby("noise_type", sort=False):
        means = rows.groupby("noise_rate").mean(numeric_only=True)
        low, high = means.iloc[0], means.iloc[-1]
        rates = [f"{100 * rate:g}{NBSP}%" for rate in (means.index[0], means.index[-1])]
        parts.append(
            f"under {kind} noise of {rates[0]} {percent(1 - low['realised_rate'])} and "
            f"{percent(low['purity'])}{NBSP}%, of {rates[1]} {percent(1 - high['realised_rate'])} and "
            f"{percent(high['purity'])}{NBSP}%"
        )
        draws.append(
            f"under {kind} noise from {low['n']:.0f} to {high['n']:.0f}, while the right labels in a draw go "
            f"from {percent(low['purity_drawn'])} to {percent(high['purity_drawn'])}{NBSP}%"
        )
    recall = swept.groupby(["noise_type", "noise_rate"])["recall_right"].mean()
    filled = ""
    if swept["n"].max() > rarest:
        filled = (
            f" The rarest class has {rarest:,} images. A larger n is made of wrong labels, at least in part: "
            "noise that spreads evenly over the classes fills the rare ones."
        )
    return (
        f"Right labels in the data and in the clean set: {'; '.join(parts)}. Between {percent(recall.min())} "
        f"and {percent(recall.max())}{NBSP}% of the right labels are called clean. From the lowest to the "
        f"highest rate n goes {'; '.join(draws)}.{filled}"
    )


def taus_reading(swept: pd.DataFrame) -> str:
    """Say how much tau moves purity and the right labels kept, against how much the noise does."""
    means = swept.groupby(["noise_type", "noise_rate", "tau"])[["purity", "recall_right", "n"]].mean()
    wide = {name: means[name].unstack("tau") for name in means}
    low, high = wide["purity"].columns.min(), wide["purity"].columns.max()
    purity = (wide["purity"][high] - wide["purity"][low]).agg(["min", "max"])
    recall = (wide["recall_right"][high] - wide["recall_right"][low]).agg(["min", "max"])
    ratio = (wide["n"][high] / wide["n"][low]).agg(["min", "max"])
    across = np.ptp(wide["purity"].mean(axis=1))
    return (
        f"From tau {low:g} to {high:g} purity moves by {signed(purity['min'])} to {signed(purity['max'])} "
        f"points, the right labels that are called clean by {signed(recall['min'])} to "
        f"{signed(recall['max'])}, and n becomes {ratio['min']:.2f} to {ratio['max']:.2f} of what it was, by "
        f"condition; over the conditions purity differs by {100 * across:.0f} points."
    )


def draw_reading(found: Mapping[str, float], measured: Mapping[str, Any]) -> str:
    """Say what the balanced draw leaves out, and what several draws reach."""
    redraws = measured["redraws"]
    return (
        f"One draw takes {percent(found['one'])}{NBSP}% of the clean samples and leaves "
        f"{percent(found['lost'])}{NBSP}%. {redraws} draw{'s' if redraws > 1 else ''} from the same clean "
        f"set reach {percent(found['union'], 1)}{NBSP}%; {percent(found['expected'], 1)}{NBSP}% are "
        f"expected, {abs(found['z']):.1f} standard errors away. Of the largest class they reach "
        f"{percent(found['largest'])}{NBSP}%, of the smallest {percent(found['smallest'])}{NBSP}%. In a draw "
        f"{percent(measured['live_purity_drawn'])}{NBSP}% of the labels are right, in the clean set it is "
        f"from {percent(measured['live_purity'])}{NBSP}%: each class counts equally in it, whatever the "
        "share of wrong labels among its clean samples."
    )


def small_reading(small: pd.DataFrame, fewest: int) -> str:
    """Say what becomes of classes below the size that a mixture needs, and just above it."""
    cut, full = small[small["size"] > 0], small[small["size"] == 0].iloc[0]
    above = cut[cut["size"] >= fewest]
    text = (
        f"With fewer than {fewest} samples there is no mixture: all are clean, and as pure as the class was. "
    )
    if above.empty:
        return text + "No class of this page has more."
    first, floor = above.iloc[0], above["floor"].max()
    helps = "even so few are purer" if first["purity"] > first["before"] else "so few are not purer"
    never = (
        "never had to keep a class"
        if floor == 0
        else (f"had to keep a class in up to {percent(floor, 1)}{NBSP}% of the cuts of a size")
    )
    return text + (
        f"With {first['size']:.0f} the mixture calls {percent(first['share'])}{NBSP}% clean, "
        f"{percent(first['purity'])}{NBSP}% of them right, where whole classes have {percent(full['share'])} "
        f"and {percent(full['purity'])}{NBSP}%: {helps} than the class before cleaning, "
        f"{percent(first['before'])}{NBSP}%. The floor of one {never}. What a small class costs, it costs "
        f"the others: with {first['size']:.0f} samples left of one class, a draw takes "
        f"{percent(first['drawn'], 1)}{NBSP}% of the clean samples instead of "
        f"{percent(full['drawn'], 1)}{NBSP}%."
    )
