"""The source paper's claims beside what our rows say, with the criterion of every verdict.

Claims are paraphrased from the abstract of arXiv 2605.22591 (Li and Wang, 2026). A verdict follows from a
criterion that is stated here and does not depend on the rows: "reproduced", "not reproduced", or "cannot
be tested here" with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisylib.book.tables import CONDITION, mean_sd, method_titles, summarise
from noisylib.errors import NoisylibError

if TYPE_CHECKING:
    import pandas as pd

REPRODUCED, FAILED, UNTESTED = "reproduced", "not reproduced", "cannot be tested here"


@dataclass(frozen=True)
class Claim:
    """One statement of the paper.

    Attributes
    ----------
    text, paper : what is claimed, and the paper's own number.
    criterion : what our rows must show for "reproduced".
    measure : rows -> (our value as text, whether the criterion holds); None if nothing can be measured.
        Where the rows do not suffice it returns (the reason, None).
    missing : why it cannot be tested, where it cannot.
    """

    text: str
    paper: str
    criterion: str = ""
    measure: Callable[[pd.DataFrame], tuple[str, bool | None]] | None = None
    missing: str = ""


def condition_scores(rows: pd.DataFrame, *, distinct: bool = False) -> pd.DataFrame:
    """Return balanced accuracy in [0, 1], conditions x methods, each the mean over seeds.

    Parameters
    ----------
    distinct : count the clean condition once, not once under every noise type.

    Raises
    ------
    NoisylibError
        If a method lacks a condition: ranks over unequal sets of conditions mean nothing.
    """
    summary = summarise(rows)
    if distinct:
        types = list(dict.fromkeys(summary["noise_type"]))
        summary = summary[(summary["noise_rate"] > 0) | (summary["noise_type"] == types[0])]
    scores = summary.pivot(index=CONDITION, columns="method", values="balanced_accuracy_mean")
    if scores.isna().to_numpy().any():
        holes = scores.index[scores.isna().any(axis=1)]
        raise NoisylibError(
            f"{len(holes)} of {len(scores)} conditions lack a method, the first is {tuple(holes[0])}: "
            "finish the study with 'noisylib run'."
        )
    return scores[list(method_titles(list(scores.columns)))]


def rank_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank (1 is best, ties share) and wins (ties share) per method, best rank first.

    Scores are rounded to 1e-9 first: equal results that differ by rounding are ties.
    """
    import pandas as pd

    rounded = scores.round(9)
    best = rounded.eq(rounded.max(axis=1), axis=0)
    wins = best.div(best.sum(axis=1), axis=0).sum()
    ranks = rounded.rank(axis=1, ascending=False).mean()
    return pd.DataFrame({"mean_rank": ranks, "wins": wins}).sort_values("mean_rank")


def ranks_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank and wins per method over all conditions and over the distinct ones."""
    import pandas as pd

    every, distinct = (rank_table(condition_scores(rows, distinct=d)) for d in (False, True))
    titles = method_titles(list(every.index))
    return pd.DataFrame(
        {
            "Method": [titles[method] for method in every.index],
            "Mean rank": [f"{v:.2f}" for v in every["mean_rank"]],
            "Wins": [f"{v:.1f}" for v in every["wins"]],
            "Mean rank, distinct": [f"{distinct['mean_rank'][m]:.2f}" for m in every.index],
            "Wins, distinct": [f"{distinct['wins'][m]:.1f}" for m in every.index],
        }
    )


def choice_cost(scores: pd.DataFrame) -> pd.DataFrame:
    """Return best minus worst method (fraction) of every condition, as tidy columns."""
    return (scores.max(axis=1) - scores.min(axis=1)).rename("cost").reset_index()


def leader_note(rows: pd.DataFrame) -> str:
    """Return what part of the leader's lead is there without any noise; empty where nothing can be said.

    The leader has the best mean rank. It is compared with cross entropy on clean labels, in percentage
    points of balanced accuracy and of accuracy, means over data sets and seeds.
    """
    ranks = rank_table(condition_scores(rows))["mean_rank"]
    clean = rows[rows["noise_rate"] == 0].groupby("method")[["balanced_accuracy", "accuracy"]].mean() * 100
    leader = ranks.index[0]
    if leader == "ce" or not {"ce", leader} <= set(clean.index):
        return ""
    gain = clean.loc[leader] - clean.loc["ce"]
    text = (
        f"{method_titles([leader])[leader]} has the best mean rank. On clean labels already, it differs from "
        f"cross entropy by {gain['balanced_accuracy']:+.1f} points of balanced accuracy and "
        f"{gain['accuracy']:+.1f} points of accuracy, so that much of its lead is not resistance to noise."
    )
    if leader == "dividemix":
        text += (
            " Its penalty holds the mean prediction near uniform over the classes, which favours rare ones, "
            "as weighting the classes would; and it is told more of the noise than any other method here."
        )
    return text


def _no_universal_winner(rows: pd.DataFrame) -> tuple[str, bool]:
    wins = rank_table(condition_scores(rows))["wins"].round(9)  # sums of shared wins, such as thirds
    share = wins.max() / wins.sum()
    leaders = method_titles(list(wins.index[wins == wins.max()])).values()
    most, each = ("wins most", "") if len(leaders) == 1 else ("win most", " each")
    text = f"{' and '.join(leaders)} {most}, {100 * share:.0f} % of conditions{each}"
    return text, bool(share < 0.5)


def _elr_wins_most(rows: pd.DataFrame) -> tuple[str, bool | None]:
    wins = rank_table(condition_scores(rows))["wins"].round(9)
    if "elr" not in wins:
        return "ELR is not among the rows", None
    return f"{wins['elr']:.1f} of {wins.sum():.0f}", bool(wins["elr"] > wins.drop("elr").max())


def _cufit_ranks_best(rows: pd.DataFrame) -> tuple[str, bool | None]:
    ranks = rank_table(condition_scores(rows))["mean_rank"]
    if "cufit" not in ranks:
        return "CUFIT-head is not among the rows", None
    best = method_titles([ranks.index[0]])[ranks.index[0]]
    place = int((ranks < ranks["cufit"]).sum()) + 1
    text = f"CUFIT-head has mean rank {ranks['cufit']:.2f} among {len(ranks)} methods, place {place}"
    if place > 1:
        text += f"; {best} has the best, {ranks.iloc[0]:.2f}"
    return text, place == 1


def _methods_differ(rows: pd.DataFrame) -> tuple[str, bool | None]:
    from scipy.stats import friedmanchisquare

    scores = condition_scores(rows).round(9)
    k = scores.shape[1]
    if k < 3:
        return f"the Friedman test needs three methods, the rows have {k}", None
    if (scores.max(axis=1) == scores.min(axis=1)).all():
        return "all methods are equal in every condition", False  # 0 / 0 in the test
    test = friedmanchisquare(*(scores[method] for method in scores))
    text = f"χ² = {test.statistic:.1f} (k = {k}, {len(scores)} conditions), p = {test.pvalue:.1g}"
    return text, bool(test.pvalue < 0.001)


def _cost_grows(rows: pd.DataFrame) -> tuple[str, bool | None]:
    cost = choice_cost(condition_scores(rows))
    clean = cost[cost["noise_rate"] == 0]["cost"]
    asymmetric = cost[(cost["noise_type"] == "asymmetric") & (cost["noise_rate"] > 0)]
    if clean.empty or asymmetric.empty:
        return f"the rows have no {'clean' if clean.empty else 'asymmetric'} condition", None
    highest = asymmetric["noise_rate"].max()
    noisy = asymmetric[asymmetric["noise_rate"] == highest]["cost"]
    text = f"{100 * clean.mean():.1f} pp clean, {100 * noisy.mean():.1f} pp at asymmetric {100 * highest:g} %"
    return text, bool(noisy.mean() > 2 * clean.mean())


def _small_loss_collapse(rows: pd.DataFrame) -> tuple[str, bool | None]:
    part = rows[
        (rows["dataset"] == "ham10000") & (rows["noise_type"] == "asymmetric") & (rows["noise_rate"] > 0)
    ]
    part = part[part["noise_rate"] == part["noise_rate"].max()]
    if not {"ce", "coteaching"} <= set(part["method"]):
        return "Co-teaching and cross entropy under asymmetric noise on HAM10000 are not both there", None
    scores = summarise(part).set_index("method")
    ours, baseline = scores.loc["coteaching"], scores.loc["ce"]
    balanced = [
        mean_sd(100 * row["balanced_accuracy_mean"], 100 * row["balanced_accuracy_sd"])
        for row in (ours, baseline)
    ]
    text = (
        f"HAM10000: accuracy {100 * ours['accuracy_mean']:.1f} %, balanced {balanced[0]} % (cross entropy "
        f"{balanced[1]} %), {ours['dead_classes_mean']:.1f} dead classes"
    )
    lower = ours["balanced_accuracy_mean"] < baseline["balanced_accuracy_mean"]
    return text, bool(ours["dead_classes_mean"] >= 1 and lower)


CLAIMS = (
    Claim(
        "No method wins everywhere.",
        "ELR has the most wins, 49 of 150",
        "no method wins half of the conditions",
        _no_universal_winner,
    ),
    Claim(
        "ELR wins the most conditions.",
        "49 of 150",
        "ELR has more wins than any other method",
        _elr_wins_most,
    ),
    Claim(
        "CUFIT has the best mean rank.",
        "2.51 among 8 methods",
        "no method has a better mean rank than CUFIT-head, CUFIT with adapters on the frozen features",
        _cufit_ranks_best,
    ),
    Claim(
        "The methods differ.",
        "Friedman χ² = 333.2, p = 4.8e-68",
        "Friedman test over conditions, p < 0.001",
        _methods_differ,
    ),
    Claim(
        "The cost of choosing the wrong method grows with the noise.",
        "4.5 pp clean, 18.8 pp at asymmetric 40 %",
        "the mean gap between best and worst method at the highest asymmetric rate is more than twice "
        "that on clean labels",
        _cost_grows,
    ),
    Claim(
        "Small-loss selection fails on imbalanced data while its accuracy looks fine.",
        "Co-teaching on ISIC2019, asymmetric 40 %: accuracy 68 %, balanced 35.1 %, 3 dead classes",
        "on HAM10000, Co-teaching loses at least one class on average and has a lower balanced accuracy than "
        "cross entropy",
        _small_loss_collapse,
    ),
    Claim(
        "Losses of clean and mislabelled samples overlap.",
        "53 to 61 % (DINOv2)",
        missing="needs per-sample losses and a DINOv2 bank; the rows hold neither",
    ),
    Claim(
        "Agreement finds mislabelled samples more reliably than loss ranking.",
        "precision drops by 3 pp against 13 pp",
        missing="needs the detection experiment, which is not part of this study",
    ),
    Claim(
        "A selector on features picks a method with low regret.",
        "described, without a number in the abstract",
        missing="needs the selector, which is not part of this package yet",
    ),
)


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return claim, the paper's value, ours and the verdict, one row per claim."""
    import pandas as pd

    alone = rows["method"].nunique() < 2
    records = []
    for claim in CLAIMS:
        value, holds = claim.measure(rows) if claim.measure and not alone else ("", None)
        if claim.measure and alone:
            value = "the rows have one method, and nothing to compare it with"
        verdict = UNTESTED if holds is None else REPRODUCED if holds else FAILED
        reason = claim.missing or (value if holds is None else "")
        records.append(
            {
                "Claim": claim.text,
                "Paper": claim.paper,
                "Ours": value if holds is not None else "",
                "Verdict": f"**{verdict}**" + (f": {reason}" if reason else ""),
            }
        )
    return pd.DataFrame(records)


def criteria_table() -> pd.DataFrame:
    """Return what our rows must show for each claim that can be measured."""
    import pandas as pd

    measured = [claim for claim in CLAIMS if claim.measure]
    return pd.DataFrame(
        {"Claim": [claim.text for claim in measured], "Reproduced if": [c.criterion for c in measured]}
    )
