"""What the chapter on rankings says of scores: who leads, what the tests find, and its tables.

Scores are conditions x methods in [0, 1], from `analysis.scores.condition_scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis import ranking
from noisylib.analysis.places import dataset_ranks, leaders, leave_one_out, winners
from noisylib.book.claims import published
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.cost import untold
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP, method_titles
from noisylib.placeplots import STRONG
from noisylib.plots import NOISE_ORDER, noise_title
from noisylib.rankplots import Diagram

if TYPE_CHECKING:
    import pandas as pd

LOW_RATE = 0.2  # the highest rate that counts as low


def regimes(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the conditions of each regime: clean first, then every kind of noise, low rates first."""
    index = scores.index.to_frame(index=False)
    clean, low = index["noise_rate"].to_numpy() == 0, index["noise_rate"].to_numpy() <= LOW_RATE + 1e-9
    found = {"Clean": clean}
    for kind in (kind for kind in NOISE_ORDER if kind in set(index["noise_type"])):
        noisy = ~clean & (index["noise_type"] == kind).to_numpy()
        found |= {f"{noise_title(kind)}, low": noisy & low, f"{noise_title(kind)}, high": noisy & ~low}
    return {name: scores[there] for name, there in found.items() if there.any()}


def diagrams(scores: Mapping[str, pd.DataFrame], alpha: float) -> list[Diagram]:
    """Return what a critical-difference diagram shows of each named set of conditions."""
    found = []
    for title, part in scores.items():
        ranks = ranking.rank_table(part)["mean_rank"]
        width = ranking.critical_difference(len(ranks), len(part), alpha)
        found.append(Diagram(title, dict(ranks), width, ranking.cliques(ranks, width)))
    return found


def joined(names: Sequence[str]) -> str:
    """Return names as a list in prose, as titles."""
    titles = list(method_titles(list(names)).values())
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def p_text(p: float) -> str:
    """Return a p-value with two significant digits."""
    return f"{p:.2g}" if p >= 0.001 or p == 0 else f"{p:.1e}"


def rank_rows(boot: pd.DataFrame) -> pd.DataFrame:
    """Return mean ranks and wins with their intervals as text, best rank first.

    Parameters
    ----------
    boot : from `analysis.bootstrap.bootstrap_ranks`.
    """
    import pandas as pd

    boot = boot.sort_values("mean_rank", kind="stable")
    titles = method_titles(list(boot.index))

    def between(low: str, high: str, digits: int) -> list[str]:
        pairs = zip(boot[low], boot[high], strict=True)
        return [f"{a:.{digits}f}{NBSP}to{NBSP}{b:.{digits}f}" for a, b in pairs]

    return pd.DataFrame(
        {
            "Method": [titles[name] for name in boot.index],
            "Mean rank": [f"{v:.2f}" for v in boot["mean_rank"]],
            "Interval of rank": between("low", "high", 2),
            "Wins": [f"{v:.1f}" for v in boot["wins"]],
            "Interval of wins": between("wins_low", "wins_high", 0),
            "Best rank in draws (%)": [f"{100 * v:.0f}" for v in boot["p_best"]],
        }
    )


def friedman_rows(scores: Mapping[str, pd.DataFrame], alpha: float) -> pd.DataFrame:
    """Return the tests of "all methods are equal": a column per named set of conditions, the paper's last.

    Of the paper only the statistic and its p-value are known; the rest of its column follows from them.
    """
    import pandas as pd

    columns = {}
    for title, part in scores.items():
        test = ranking.friedman(part)
        found = (test.statistic, test.p_value, test.F, test.F_p_value, test.kendall_w)
        columns[title] = _friedman_column(test.n_conditions, test.n_methods, *found, alpha)
    m, k, chi2 = published.CONDITIONS, published.METHODS, published.CHI2
    f = (m - 1) * chi2 / (m * (k - 1) - chi2)
    paper = (chi2, ranking.friedman_p(chi2, k), f, _f_p(f, k, m), published.KENDALL_W)
    columns["Paper, from its χ²"] = _friedman_column(m, k, *paper, alpha)
    return pd.DataFrame(columns).rename_axis("Statistic").reset_index()


def _friedman_column(
    m: int, k: int, chi2: float, p: float, f: float, f_p: float, w: float, alpha: float
) -> dict[str, str]:
    return {
        "Conditions": str(m),
        "Methods": str(k),
        "Friedman χ²": f"{chi2:.1f}",
        "p-value of χ²": p_text(p),
        "Iman-Davenport F": f"{f:.1f}",
        "p-value of F": p_text(f_p),
        "Kendall's W": f"{w:.2f}",
        "Critical difference": f"{ranking.critical_difference(k, m, alpha):.2f}",
    }


def _f_p(f: float, k: int, m: int) -> float:
    from scipy.stats import f as f_distribution

    return float(f_distribution.sf(f, k - 1, (k - 1) * (m - 1)))


def leave_one_out_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Return who leads by mean rank, and by wins, without each data set in turn."""
    import pandas as pd

    datasets = scores.index.get_level_values("dataset")
    records = []
    for left_out, ranks in leave_one_out(scores).iterrows():
        part = scores[datasets != left_out]
        best = leaders(ranks)
        others = ranks.drop(best)
        wins = ranking.rank_table(part)["wins"]
        most = leaders(wins, highest=True)
        records.append(
            {
                "Left out": bank_title(left_out) if left_out else "*none*",
                "Conditions": str(len(part)),
                "Best mean rank": f"{joined(best)}, {ranks.min():.2f}",
                "Next": f"{joined(leaders(others))}, {others.min():.2f}" if len(others) else "nobody",
                "Most wins": f"{joined(most)}, {wins.max():.1f}",
            }
        )
    return pd.DataFrame(records)


def pair_rows(tests: pd.DataFrame, bayes: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pair of methods: differences in points, the corrected p-value and probabilities.

    Parameters
    ----------
    tests, bayes : from `pairwise.wilcoxon_holm` and `pairwise.bayesian_signed_rank`.
    """
    import pandas as pd

    both = tests.merge(bayes, on=["a", "b"], validate="one_to_one")
    titles = method_titles(list({*both["a"], *both["b"]}))
    return pd.DataFrame(
        {
            "A": both["a"].map(titles),
            "B": both["b"].map(titles),
            "Mean A - B (pp)": [f"{100 * v:+.1f}" for v in both["mean_difference"]],
            "Median (pp)": [f"{100 * v:+.1f}" for v in both["median_difference"]],
            "p, Holm": [p_text(v) for v in both["p_holm"]],
            "A better (%)": [f"{100 * v:.0f}" for v in both["p_a_better"]],
            "Equal (%)": [f"{100 * v:.0f}" for v in both["p_equivalent"]],
            "B better (%)": [f"{100 * v:.0f}" for v in both["p_b_better"]],
        }
    )


def test_facts(
    every: pd.DataFrame, distinct: pd.DataFrame, tests: pd.DataFrame, bayes: pd.DataFrame, alpha: float
) -> dict[str, str | float]:
    """Return what the text says of the tests: on all conditions Friedman's, on the distinct ones the pairs'.

    Of `pairs` pairs, `nemenyi` are told apart by mean ranks; `same_order` of these have one order on every
    data set. `sure` is the probability, in percent, that counts as sure.
    """
    friedman = ranking.friedman(every)
    ranks = ranking.rank_table(distinct)["mean_rank"]
    width = ranking.critical_difference(len(ranks), len(distinct), alpha)
    signs = dataset_ranks(distinct).round(9)
    apart = [(a, b) for a, b in zip(tests["a"], tests["b"], strict=True) if abs(ranks[a] - ranks[b]) >= width]
    same = [abs(np.sign(signs.loc[a] - signs.loc[b]).sum()) == signs.shape[1] for a, b in apart]
    return {
        "chi2": friedman.statistic,
        "p": p_text(friedman.p_value),
        "kendall_w": friedman.kendall_w,
        "paper_chi2": published.CHI2,
        "paper_p": p_text(ranking.friedman_p(published.CHI2, published.METHODS)),
        "published_p": p_text(published.P_VALUE),
        "paper_w": published.KENDALL_W,
        "alpha": alpha,
        "pairs": len(tests),
        "nemenyi": len(apart),
        "same_order": int(sum(same)),
        "wilcoxon": int((tests["p_holm"] < alpha).sum()),
        "sure": 100 * (1 - alpha),
        "bayes_better": int((bayes[["p_a_better", "p_b_better"]].max(axis=1) > 1 - alpha).sum()),
        "bayes_equal": int((bayes["p_equivalent"] > 1 - alpha).sum()),
    }


def best_untold(boot: pd.DataFrame) -> str:
    """Return which method leads among those that are told nothing of the noise; empty where all are alike.

    Parameters
    ----------
    boot : from `analysis.bootstrap.bootstrap_ranks`.
    """
    free = untold(list(boot.index))
    if len(free) in (0, len(boot)):
        return ""
    ranks = boot.loc[free, "mean_rank"]
    return (
        f"Among the methods that are told nothing of the noise, the best mean rank is {ranks.min():.2f}: "
        f"{joined(leaders(ranks))}."
    )


def ranking_facts(
    every: pd.DataFrame, distinct: pd.DataFrame, boot: pd.DataFrame, rope: float
) -> dict[str, str | float]:
    """Return what the text says of who leads; names are titles, shares are percent, `rope` is in points.

    Parameters
    ----------
    every, distinct : scores over all conditions, and with the clean one counted once.
    boot : from `analysis.bootstrap.bootstrap_ranks` on `every`.
    """
    ranks, wins = boot["mean_rank"], boot["wins"]
    first, most = leaders(ranks), leaders(wins, highest=True)
    won = winners(distinct)
    others = leave_one_out(every).drop(index="")
    n_datasets = every.index.get_level_values("dataset").nunique()
    return {
        "conditions": len(every),
        "distinct": len(distinct),
        "methods": every.shape[1],
        "datasets": n_datasets,
        "backbones": every.index.get_level_values("backbone").nunique(),
        "leader": joined(first),
        "leader_rank": float(ranks.min()),
        "leader_low": float(boot.loc[first[0], "low"]),
        "leader_high": float(boot.loc[first[0], "high"]),
        "leader_draws": 100 * float(boot.loc[first[0], "p_best"]),
        "most": joined(most),
        "most_wins": float(wins.max()),
        "most_share": 100 * float(wins.max() / wins.sum()),
        "winning": won.loc[won["winner"] != "", "winner"].nunique(),
        "rope": 100 * rope,
        "narrow": int((won["lead"] < rope - 1e-9).sum()),
        "narrow_share": 100 * float((won["lead"] < rope - 1e-9).mean()),
        "left_out": len(others),
        "stays": sum(leaders(row) == first for _, row in others.iterrows()),
        "smallest_p": 0.5 ** (n_datasets - 1),
        "low_rate": 100 * LOW_RATE,
        "strong": 100 * STRONG,
        "regimes": regime_leaders(distinct),
    }


def regime_leaders(scores: pd.DataFrame) -> str:
    """Return who has the best mean rank in each regime, as one sentence."""
    parts = []
    for name, part in regimes(scores).items():
        ranks = ranking.rank_matrix(part).mean()
        parts.append(f"{joined(leaders(ranks))} ({name[0].lower()}{name[1:]}, {ranks.min():.2f})")
    return "; ".join(parts)


def condition_titles(won: pd.DataFrame) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (dataset, backbone) -> their titles, for every pair of the winners' table."""
    pairs = won[["dataset", "backbone"]].drop_duplicates().itertuples(index=False, name=None)
    return {
        (dataset, backbone): (bank_title(dataset), backbone_title(backbone)) for dataset, backbone in pairs
    }
