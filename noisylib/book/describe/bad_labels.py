"""What the chapter on wrong labels plants and looks for, and what it says of the labels it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP
from noisylib.comparison import noisy_labels
from noisylib.evidence import Evidence, collect_evidence
from noisylib.noise import NoisyLabels
from noisylib.noise_estimate import NoiseEstimate, estimate_noise
from noisylib.study.label_errors import DETECTORS, Judgement, judgements, measures

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.advice_parameters import BadLabelsParameters
    from noisylib.features import FeatureBank

OURS, HEAD_ONLY, TOLD = "clean_probability", "clean_probability_head", "clean_probability_told"
ISSUES, MARGIN, KNN = "cleanlab_issues", "cleanlab_margin", "knn"
CLEANLAB = tuple(key for key in DETECTORS if key.startswith("cleanlab"))
DASH = "\N{EN DASH}"  # where there is no number
# Detectors that a figure can hold: ours, cleanlab's two common rankings, and neighbours.
DRAWN = (OURS, MARGIN, "cleanlab_self_confidence", KNN)


@dataclass(frozen=True, eq=False)
class Live:
    """The labels of one bank with planted noise, and what every detector says of them.

    Attributes
    ----------
    bank : features and the labels as published.
    seeds : one per run.
    noisy, evidence, estimates, found : one per run; `found` has the judgement of each detector by its key.
    rows : a row per run and detector with the columns of `label_errors.measures`.
    """

    bank: FeatureBank
    seeds: tuple[int, ...]
    noisy: list[NoisyLabels]
    evidence: list[Evidence]
    estimates: list[NoiseEstimate]
    found: list[dict[str, Judgement]]
    rows: pd.DataFrame

    @property
    def y_true(self) -> np.ndarray:
        """(N,) labels of the training split as published."""
        return self.bank.part("train")[1]

    @property
    def means(self) -> pd.DataFrame:
        """`pooled` numbers of `rows`, by detector."""
        return pooled(self.rows, "detector")

    @property
    def realised_rate(self) -> float:
        """Mean share of labels that the planted noise made wrong."""
        return float(np.mean([labels.realised_rate for labels in self.noisy]))


def examine(bank: FeatureBank, params: BadLabelsParameters) -> Live:
    """Plant noise in a bank, once per seed, and let every detector judge every label.

    Raises
    ------
    NoisylibError
        As `comparison.noisy_labels`, such as for asymmetric noise without a class map.
    """
    noisy = noisy_labels(bank, params.noise_type, params.noise_rate, params.seeds)
    X, y = bank.part("train")
    evidence = collect_evidence(
        X, np.stack([labels.y_noisy for labels in noisy]), bank.n_classes, seeds=params.seeds, device="cpu"
    )
    estimates = [estimate_noise(one) for one in evidence]
    found = [
        judgements(one, estimate, labels.realised_T)
        for one, estimate, labels in zip(evidence, estimates, noisy, strict=True)
    ]
    return Live(
        bank, tuple(params.seeds), noisy, evidence, estimates, found,
        measured(found, evidence, y, params.seeds),
    )  # fmt: skip


def measured(
    found: list[dict[str, Judgement]], evidence: list[Evidence], y_true: np.ndarray, seeds: list[int]
) -> pd.DataFrame:
    """Return a row per run and detector with the columns of `label_errors.measures`."""
    import pandas as pd

    return pd.DataFrame(
        {"seed": seed, "detector": key, **measures(key, judged, y_true, one)}
        for seed, judged_by, one in zip(seeds, found, evidence, strict=True)
        for key, judged in judged_by.items()
    )


def pooled(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the mean of every number over runs, by a column.

    Precision is that of all flagged labels together: a mean of precisions would count a run with one flag
    like a run with a thousand.
    """
    means = rows.groupby(by, sort=False).mean(numeric_only=True)
    hits = (rows["precision"].fillna(0) * rows["flagged_share"]).groupby(rows[by]).mean()
    flagged = means["flagged_share"]
    return means.assign(precision=(hits / flagged.where(flagged > 0)).reindex(means.index))


def title(key: str) -> str:
    """Return the title of a detector that can stand alone, without the dots that refer to the line above."""
    name = DETECTORS[key]
    return name.replace("...", f"{DETECTORS[OURS]},") if name.startswith("...") else name


def suspects(live: Live, rows: int, which: str = "first") -> pd.DataFrame:
    """Return suspect labels of the first run, the most suspect first.

    Parameters
    ----------
    rows : how many, at most.
    which : "first": those that look most wrong; "last": the flagged that are nearest to not being flagged;
        "right": those that look most wrong and are right.
    """
    import pandas as pd

    labels, judged, y = live.noisy[0], live.found[0][OURS], live.y_true
    order = np.argsort(judged.scores, kind="stable")
    picked = {
        "first": order[:rows],
        "last": order[judged.flagged[order]][-rows:],
        "right": order[~labels.flipped[order]][:rows],
    }[which]
    names, places = live.bank.class_names, live.bank.indices("train")
    records = []
    for i in picked:
        given, suggested = labels.y_noisy[i], judged.suggested[i]
        hit = "" if suggested in (given, y[i]) else ", and so is the suggestion"
        verdict = f"wrong{hit}" if labels.flipped[i] else "right"
        record = {
            "Row": f"{places[i]}",
            "Label": names[given],
            "Right with (%)": small_percent(judged.scores[i]),
            "Suggested": names[suggested] if suggested != given else "keep it",
        }
        records.append(
            record | ({} if which == "right" else {"Published": names[y[i]], "The label is": verdict})
        )
    columns = ["Row", "Label", "Right with (%)", "Suggested"]
    truth = [] if which == "right" else ["Published", "The label is"]
    return pd.DataFrame(records, columns=[*columns, *truth])


def small_percent(share: float) -> str:
    """Return a probability in percent with one decimal, or that it is below what that can show."""
    return "below 0.1" if share < 0.0005 else f"{100 * share:.1f}"


def percent(share: float) -> str:
    """Return a fraction in percent with one decimal, a dash for NaN."""
    return DASH if np.isnan(share) else f"{100 * share:.1f}"


def short(live: Live) -> str:
    """Return what the page found, in a few sentences: the flagged labels, and cleanlab's beside them."""
    means = live.means
    ours, issues = means.loc[OURS], means.loc[ISSUES]
    best = means.loc[list(CLEANLAB), "auroc"].idxmax()
    gap = 100 * (ours["auroc"] - means.loc[best, "auroc"])
    n = len(live.y_true)
    flags = "flags none"
    if ours["flagged_share"]:
        flags = (
            f"flags {n * ours['flagged_share']:,.0f}: {percent(ours['precision'])}{NBSP}% of these are "
            f"wrong, and they are {percent(ours['recall'])}{NBSP}% of all wrong labels"
        )
    worse = "" if abs(gap) < 0.05 else f", {abs(gap):.1f} points {'more' if gap > 0 else 'less'} than"
    return (
        f"Of {n:,} labels, {100 * live.realised_rate:.1f}{NBSP}% are wrong. The clean probability "
        f"{flags}. cleanlab's `find_label_issues` flags "
        f"{n * issues['flagged_share']:,.0f}, of which {percent(issues['precision'])}{NBSP}% are wrong, and "
        f"finds {percent(issues['recall'])}{NBSP}%. Of a right and a wrong label, the clean probability puts "
        f"the wrong one first in {percent(ours['auroc'])} of 100 pairs{worse or ', as often as'} the best "
        f"ranking of cleanlab here ({title(best).removeprefix('cleanlab, ')})."
    )


def facts(live: Live, params: BadLabelsParameters) -> dict[str, object]:
    """Return what text and captions of the live part say of the runs."""
    seeds = f"{len(params.seeds)} seed{'' if len(params.seeds) == 1 else 's'}"
    rate = f"{100 * params.noise_rate:g}{NBSP}%"
    rates = np.array([(one.rate, one.low, one.high) for one in live.estimates]).mean(0)
    return {
        "source": f"{bank_title(params.dataset)}, features of {backbone_title(params.backbone)}, "
        f"{params.noise_type} noise of {rate}, {seeds}",
        "images": f"{len(live.y_true):,}",
        "n_classes": live.bank.n_classes,
        "noise_type": params.noise_type,
        "realised": percent(live.realised_rate),
        "estimated": percent(rates[0]),
        "estimated_low": percent(rates[1]),
        "estimated_high": percent(rates[2]),
    }
