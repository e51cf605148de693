"""What the chapter on the cost of the choice says: facts in percentage points, tables, and short texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.analysis.cost import choice_cost
from noisylib.analysis.regret import CLEAN, REGIME, by_regime
from noisylib.book.claims import published
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import DAGGER, NBSP, method_titles
from noisylib.plots import NOISE_ORDER, noise_title

if TYPE_CHECKING:
    import pandas as pd

# The two ends that the paper's abstract gives, as fractions.
PUBLISHED = {
    (CLEAN, 0.0): published.CLEAN_COST / 100,
    ("asymmetric", 0.4): published.ASYMMETRIC_COST / 100,
}
LEVEL = 0.95  # of the bands
MEASURES = ("mean", "low", "high", "max", "floor", "noise_floor", "held_out")
ENDS = ("easy", "hard")


def hardest(curve: pd.DataFrame) -> tuple[str, float]:
    """Return type and highest rate of the asymmetric noise, or of the last type if there is none."""
    types = list(curve["noise_type"].unique())
    noise_type = "asymmetric" if "asymmetric" in types else types[-1]
    return noise_type, float(curve.loc[curve["noise_type"] == noise_type, "noise_rate"].max())


def easiest(curve: pd.DataFrame) -> tuple[str, float]:
    """Return the type of `hardest` and its lowest rate."""
    noise_type, _ = hardest(curve)
    return noise_type, float(curve.loc[curve["noise_type"] == noise_type, "noise_rate"].min())


def regime_title(noise_type: str, rate: float) -> str:
    """Return a noise type and rate as a short heading, such as "Asymmetric 40 %"."""
    if rate == 0:
        return noise_title(CLEAN)
    return f"{noise_title(noise_type)} {100 * rate:g}{NBSP}%"


def in_order(regimes: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return noise types and rates as figures have them: clean, then type by type with growing rate."""
    order = (CLEAN, *NOISE_ORDER)
    return sorted(regimes, key=lambda regime: (order.index(regime[0]), regime[1]))


def untold(names: Sequence[str]) -> list[str]:
    """Return the methods that are told nothing of the noise."""
    return [name for name, title in method_titles(names).items() if not title.endswith(DAGGER)]


def free_cost(scores: pd.DataFrame) -> pd.Series:
    """Return the mean cost per noise type and rate among the methods that are told nothing; NaN below two."""
    names = untold(list(scores))
    cost = choice_cost(scores[names] if len(names) > 1 else scores)
    means = cost.groupby(REGIME)["cost"].mean()
    return means if len(names) > 1 else means * np.nan


def cost_facts(curve: pd.DataFrame, free: pd.Series, growth: Mapping[str, float]) -> dict[str, object]:
    """Return what the text says of both ends of the curve, in points.

    Parameters
    ----------
    curve : from `cost.cost_curve`.
    free : from `free_cost`.
    growth : from `cost.cost_growth` between the two ends.
    """
    facts: dict[str, object] = {
        "growth": 100 * growth["difference"],
        "growth_low": 100 * growth["difference_low"],
        "growth_high": 100 * growth["difference_high"],
        "ratio": growth["ratio"],
        "paper_easy": published.CLEAN_COST,
        "paper_hard": published.ASYMMETRIC_COST,
        "paper_noise": _words("asymmetric", 0.4),
        "paper_ratio": published.COST_RATIO,
        "level": 100 * LEVEL,
    }
    for end, regime in (("hard", hardest(curve)), ("easy", easiest(curve))):
        row = curve.set_index(REGIME).loc[regime]
        facts |= {f"{end}_{name}": 100 * float(row[name]) for name in MEASURES}
        facts[f"{end}_untold"] = 100 * float(free[regime])
        facts[f"{end}_noise"] = _words(*regime)
    return facts


def _words(noise_type: str, rate: float) -> str:
    """Return a noise type and rate inside a sentence."""
    return "clean labels" if rate == 0 else f"{100 * rate:g}{NBSP}% {noise_title(noise_type).lower()} noise"


def reading(facts: Mapping[str, Any]) -> str:
    """Return in words whether the cost grows, how much of it is seed noise, and what the told methods add."""
    if np.isnan(facts["growth_low"]):
        text = "A single data set has no band, so nothing is said of other data sets."
    elif facts["growth_low"] > 0:
        text = "The band lies above 0: the cost grows with the noise in nearly every draw of data sets."
    elif facts["growth_high"] < 0:
        text = "The band lies below 0: the cost falls with the noise in nearly every draw of data sets."
    else:
        text = "The band holds 0: with these data sets, growth and decline are both possible."
    if np.isnan(facts["hard_noise_floor"]):
        text += " One seed says nothing of its noise, so how much is luck is not known here."
    else:
        ends = [f"{facts[f'{end}_noise_floor']:.1f} points on {facts[f'{end}_noise']}" for end in ENDS]
        held = [f"{facts[f'{end}_held_out']:.1f}" for end in ENDS]
        text += (
            f" Equal methods with the seed noise of these would show a gap of {' and '.join(ends)}. "
            f"Picked on the other seeds, best and worst still differ by {' and '.join(held)} points."
        )
    if not np.isnan(facts["hard_untold"]):
        free = [f"{facts[f'{end}_untold']:.1f}" for end in ENDS]
        text += (
            f" Among the methods that are told nothing of the noise the cost is {' and '.join(free)} points."
        )
    return text


def growth_by_dataset(scores: pd.DataFrame, hard: tuple[str, float], easy: tuple[str, float]) -> str:
    """Return in words on how many data sets the cost grows from `easy` to `hard`, where least and most."""
    means = 100 * choice_cost(scores).groupby([*REGIME, "dataset"])["cost"].mean()
    change = (means[hard] - means[easy]).round(9).sort_values() + 0.0  # no "-0.0"
    if len(change) < 2:
        return ""
    ends = [f"{bank_title(change.index[i])}, {change.iloc[i]:+.1f}" for i in (0, -1)]
    return (
        f"It grows on {int((change > 0).sum())} of {len(change)} data sets, least on {ends[0]} points, and "
        f"most on {ends[1]}."
    )


def cost_table(curve: pd.DataFrame, free: pd.Series) -> pd.DataFrame:
    """Return the curve in points, clean once, beside the published ends; arguments as in `cost_facts`."""
    import pandas as pd

    first = curve[(curve["noise_rate"] > 0) | ~curve["noise_rate"].duplicated()].set_index(REGIME)
    first.index = pd.MultiIndex.from_tuples([_clean(*regime) for regime in first.index])
    alone = {_clean(*key): value for key, value in free.items()}
    records = []
    for regime in in_order(first.index):
        row = 100 * first.loc[regime]
        records.append(
            {
                "Noise": regime_title(*regime),
                "Mean": f"{row['mean']:.1f}",
                "Band": _band(row["low"], row["high"]),
                "Highest": f"{row['max']:.1f}",
                "Held-out seed": points(row["held_out"]),
                "Floor: seeds": points(row["noise_floor"]),
                "Floor: shuffled": points(row["floor"]),
                "Mean, told nothing": points(100 * alone.get(regime, np.nan)),
                "Paper": points(100 * PUBLISHED.get(regime, np.nan)),
            }
        )
    return pd.DataFrame(records)


def _clean(noise_type: str, rate: float) -> tuple[str, float]:
    return (CLEAN, 0.0) if rate == 0 else (noise_type, rate)


def points(value: float) -> str:
    """Return points with one decimal; nothing for NaN."""
    return "" if np.isnan(value) else f"{value:.1f}"


def _band(low: float, high: float) -> str:
    return "" if np.isnan(low) else f"{low:.1f}{NBSP}to{NBSP}{high:.1f}"


def cost_matrix(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the cost in points, data set and backbone (titles) x noise type and rate, clean once."""
    cost = choice_cost(by_regime(scores))
    cost["dataset"], cost["backbone"] = cost["dataset"].map(bank_title), cost["backbone"].map(backbone_title)
    wide = 100 * cost.pivot(index=["dataset", "backbone"], columns=REGIME, values="cost")
    return wide[in_order(wide.columns)]
