"""The claims of arXiv 2605.22591, with the criterion of every verdict.

Claims are paraphrased from the abstract of Li and Wang (2026). Where the paper's own data are not among
ours, the criterion names what stands in for them.
"""

from __future__ import annotations

from noisylib.analysis.ranking import rank_table
from noisylib.book.claims import measures, published, selector, small_loss
from noisylib.book.claims.claim import OVER_DATASETS, OVER_FAMILIES, OVER_SEEDS, Claim, Study
from noisylib.book.tables import method_titles

OVERVIEW = (("Overview", "overview.ipynb"),)
RANKINGS = (("Rankings", "rankings.ipynb"),)
COST = (("The cost of the choice", "cost.ipynb"),)
COLLAPSE = (
    ("HAM10000", "benchmark-ham10000.ipynb"),
    ("High accuracy, dead classes", "collapse.ipynb"),
)
ADVICE = (("Which method should I use?", "advice.ipynb"),)
DYNAMICS = (("Training dynamics", "dynamics.ipynb"),)

_ALL = "every condition, 0 % under both kinds of noise"
_HAM_ROWS = "dataset ham10000, noise_type asymmetric, noise_rate 0.4, method coteaching"
_CLEAN_ROWS, _HARD_ROWS = "noise_rate 0", "noise_type asymmetric, noise_rate 0.4"

CLAIMS = (
    Claim(
        "B1",
        "A grid of 150 conditions, 6,000 runs",
        f"{published.CONDITIONS} conditions, {published.RUNS:,} runs",
        "as many conditions and runs as in the paper, none of them incomplete",
        "a complete grid of another size",
        _ALL,
        pages=OVERVIEW,
        measure=measures.size,
    ),
    Claim(
        "B2",
        "No method wins everywhere",
        f"the most wins are {100 * published.ELR_WINS / published.CONDITIONS:.0f} % of the conditions",
        "the method with the most wins has fewer than half of the conditions",
        "it has half of them or more, but fewer than nine in ten",
        _ALL,
        OVER_DATASETS,
        RANKINGS,
        measures.no_universal_winner,
    ),
    Claim(
        "B3",
        "ELR wins the most conditions",
        f"{published.ELR_WINS} of {published.CONDITIONS}",
        "ELR has more wins than any other method",
        "at most one method has more",
        _ALL,
        OVER_DATASETS,
        RANKINGS,
        measures.elr_wins_most,
    ),
    Claim(
        "B4",
        "CUFIT has the best mean rank",
        f"{published.CUFIT_RANK} among {published.METHODS}",
        "no method has a better mean rank than CUFIT-head, CUFIT with adapters on the frozen features",
        "one method has a better one",
        _ALL,
        OVER_DATASETS,
        RANKINGS,
        measures.cufit_ranks_best,
    ),
    Claim(
        "B5",
        "The methods differ",
        f"χ² = {published.CHI2}, p = {published.P_VALUE:.3g}",
        "Friedman test over the conditions, p < 0.001 (χ² grows with their number; the interval is that of "
        "Kendall's W, B6)",
        "p < 0.05",
        _ALL,
        pages=RANKINGS,
        measure=measures.methods_differ,
    ),
    Claim(
        "B6",
        "Conditions share the order of the methods in part (Kendall's W)",
        f"W = {published.KENDALL_W:.3f}, from χ²",
        *measures.DIGITS,
        _ALL,
        OVER_DATASETS,
        RANKINGS,
        measures.order_is_shared,
    ),
    Claim(
        "B7",
        "Best minus worst method on clean labels",
        f"{published.CLEAN_COST} pp",
        *measures.DIGITS,
        _CLEAN_ROWS,
        OVER_DATASETS,
        COST,
        measures.cost_is(measures.CLEAN_RATE, published.CLEAN_COST),
    ),
    Claim(
        "B8",
        "Best minus worst method at asymmetric 40 %",
        f"{published.ASYMMETRIC_COST} pp",
        *measures.DIGITS,
        _HARD_ROWS,
        OVER_DATASETS,
        COST,
        measures.cost_is(measures.HARD_RATE, published.ASYMMETRIC_COST),
    ),
    Claim(
        "B9",
        "This cost of the wrong choice grows with the noise",
        f"{published.COST_RATIO:.1f} times",
        "the cost at asymmetric 40 % is at least three times that on clean labels",
        "it is at least one and a half times",
        f"{_CLEAN_ROWS}, and {_HARD_ROWS}",
        OVER_DATASETS,
        COST,
        measures.cost_grows,
    ),
    Claim(
        "B10",
        "Co-teaching's accuracy hides its balanced accuracy",
        f"{published.CO_ACCURACY:.0f} % and {published.CO_BALANCED} % (ISIC 2019), a gap of "
        f"{published.CO_ACCURACY - published.CO_BALANCED:.1f} pp",
        "on HAM10000, which stands in for ISIC 2019, accuracy exceeds balanced accuracy by at least 20 "
        "points, and balanced accuracy is below that of cross entropy",
        "one of the two",
        f"{_HAM_ROWS}, and ce",
        OVER_SEEDS,
        COLLAPSE,
        measures.accuracy_hides,
    ),
    Claim(
        "B11",
        "Co-teaching loses whole classes",
        f"{published.CO_DEAD} classes with zero recall (ISIC 2019)",
        "on HAM10000, which stands in for ISIC 2019, at least one class is lost on average",
        "at least one run loses a class",
        _HAM_ROWS,
        OVER_SEEDS,
        COLLAPSE,
        measures.classes_die,
    ),
    Claim(
        "B12",
        "Losses of clean and mislabelled samples overlap",
        f"{published.OVERLAP[0]} to {published.OVERLAP[1]} % (DINOv2)",
        *small_loss.OVERLAP_CRITERIA,
        small_loss.OVERLAP_ROWS,
        OVER_SEEDS,
        (("Do clean and noisy losses overlap?", "overlap.ipynb"), *DYNAMICS),
        small_loss.losses_overlap,
        table="overlap",
    ),
    Claim(
        "B13",
        "Agreement detects wrong labels more steadily than loss",
        f"precision drops by {published.AGREEMENT_DROP} pp against {published.LOSS_DROP} pp",
        *small_loss.DROP_CRITERIA,
        small_loss.DROP_ROWS,
        OVER_SEEDS,
        (("Who finds the clean samples?", "detection.ipynb"), *DYNAMICS),
        small_loss.agreement_is_steadier,
        table="detection",
    ),
    Claim(
        "B14",
        "A selector on features has low regret",
        "no number in the abstract",
        *selector.CRITERIA,
        selector.ROWS,
        OVER_FAMILIES,
        ADVICE,
        selector.low_regret,
        table="conditions",
    ),
)


def leader_note(study: Study) -> str:
    """Return what part of the leader's lead is there without any noise; empty where nothing can be said.

    The leader has the best mean rank. It is compared with cross entropy on clean labels, in percentage
    points of balanced accuracy and of accuracy, means over data sets, backbones and seeds.
    """
    rows = study.rows
    leader = rank_table(study.blocks.scores).index[0]
    clean = rows[rows["noise_rate"] == 0].groupby("method")[["balanced_accuracy", "accuracy"]].mean() * 100
    if leader == "ce" or not {"ce", leader} <= set(clean.index):
        return ""
    gain = clean.loc[leader] - clean.loc["ce"]
    text = (
        f"On {study.name}, {method_titles([leader])[leader]} has the best mean rank. On clean labels "
        f"already, it differs from cross entropy by {gain['balanced_accuracy']:+.1f} points of balanced "
        f"accuracy and {gain['accuracy']:+.1f} points of accuracy; "
        "that part of its distance is not resistance to noise."
    )
    if leader == "dividemix":
        text += (
            " Its penalty holds the mean prediction near uniform over the classes, which favours rare ones, "
            "as weighting the classes would; and it is told more of the noise than any other method here. "
            "The [chapter on sensitivity](sensitivity.ipynb) takes either away."
        )
    return text
