"""What a second look at suspect labels costs and what it brings, beside doing without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.bad_labels import DASH, DRAWN, ISSUES, KNN, MARGIN, OURS, Live, percent, title
from noisylib.book.tables import NBSP
from noisylib.study.label_errors import Judgement

if TYPE_CHECKING:
    import pandas as pd

BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)  # of all labels
SECONDS = 30  # of a look, for the hours in a table
POINTS = 60  # of a curve


def hits(scores: np.ndarray, wrong: np.ndarray, looked_at: np.ndarray) -> np.ndarray:
    """Return how many wrong labels are among the lowest scores, for each number looked at.

    Labels of one score come in any order, so that a number that ends among them gets its share of them.

    Parameters
    ----------
    scores : (N,) higher for a label that looks right;  wrong : (N,) bool.
    looked_at : (M,) numbers of labels from 0 to N.
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    found = np.bincount(place, weights=wrong, minlength=len(counts))
    return np.interp(looked_at, np.append(0, counts.cumsum()), np.append(0, found.cumsum()))


def curves(live: Live) -> pd.DataFrame:
    """Return detector, fraction looked at, precision and recall of the reviewed labels, means over runs.

    They end at twice the wrong labels, or beyond the largest flagged set that is drawn.
    """
    import pandas as pd

    n, ends = len(live.y_true), flagged_sets(live)["fraction"]
    end = min(1.0, max(2 * live.realised_rate, 1.1 * ends.max()))
    looked_at = np.unique(np.maximum(np.round(np.linspace(0, end * n, POINTS + 1)[1:]), 1))
    records = []
    for key in DRAWN:
        found = _hits(live, key, looked_at)
        wrong = np.array([labels.flipped.sum() for labels in live.noisy])
        precision, recall = (found / looked_at).mean(0), (found / wrong[:, None]).mean(0)
        records += [(key, *row) for row in zip(looked_at / n, precision, recall, strict=True)]
    return pd.DataFrame(records, columns=["detector", "fraction", "precision", "recall"])


def _hits(live: Live, key: str, looked_at: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            hits(judged[key].scores, labels.flipped, looked_at)
            for judged, labels in zip(live.found, live.noisy, strict=True)
        ]
    )


def flagged_sets(live: Live) -> pd.DataFrame:
    """Return detector, fraction, precision and recall of the flagged labels that are drawn as points."""
    rows = live.means.loc[[OURS, ISSUES], ["flagged_share", "precision", "recall"]]
    return rows.rename(columns={"flagged_share": "fraction"}).reset_index()


def budget_table(live: Live) -> pd.DataFrame:
    """Return what looking at a share of all labels finds, by each ranking: wrong labels and looks for each.

    Means over runs. The hours are of `SECONDS` for each look.
    """
    import pandas as pd

    n, wrong = len(live.y_true), live.realised_rate * len(live.y_true)
    records = []
    for share in BUDGETS:
        looked_at = max(1, round(share * n))
        record = {
            "Looked at": f"{100 * share:g}{NBSP}%",
            "Labels": f"{looked_at:,}",
            "Hours": f"{looked_at * SECONDS / 3600:.1f}",
        }
        for key in (OURS, MARGIN, KNN):
            found = float(_hits(live, key, np.array([looked_at])).mean())
            record[title(key)] = f"{found:,.0f} ({percent(found / wrong)}{NBSP}%)"
        record["At random"] = f"{wrong * looked_at / n:,.0f} ({percent(looked_at / n)}{NBSP}%)"
        records.append(record)
    return pd.DataFrame(records)


def looks(live: Live) -> str:
    """Return what a wrong label costs in looks, among as many labels as are flagged."""
    flagged = [int(judged[OURS].flagged.sum()) for judged in live.found]
    if not sum(flagged):
        return "No label is flagged, so nothing says where to look first."
    found = {
        key: sum(
            float(hits(judged[key].scores, labels.flipped, np.array([m]))[0])
            for judged, labels, m in zip(live.found, live.noisy, flagged, strict=True)
        )
        for key in (OURS, MARGIN)
    }
    costs = {
        "the clean probability": found[OURS],
        "cleanlab's normalised margin": found[MARGIN],
    }
    each = " and ".join(f"{sum(flagged) / value:.1f} ({name})" for name, value in costs.items() if value)
    wrong = sum(int(labels.flipped.sum()) for labels in live.noisy)
    return (
        f"Among the {np.mean(flagged):,.0f} most suspect labels, as many as are flagged, "
        f"each wrong one that is found takes {each} looks; at random it takes "
        f"{1 / live.realised_rate:.1f}. Among the labels that are not flagged, "
        f"{(wrong - found[OURS]) / len(flagged):,.0f} wrong ones are left; the sum of their probabilities of "
        f"being wrong, which one can know, says {_expected_left(live):,.0f}."
    )


def _expected_left(live: Live) -> float:
    """Return how many wrong labels the probabilities expect among those that are not flagged."""
    return float(np.mean([(1 - judged[OURS].scores[~judged[OURS].flagged]).sum() for judged in live.found]))


def action_table(live: Live) -> pd.DataFrame:
    """Return what is left after doing something about the flagged labels: labels, and wrong ones among them.

    Means over runs. A look is taken to end with the right label. The last column is the class that loses the
    largest share of its right labels, with that share.
    """
    import pandas as pd

    y, K, outcomes = live.y_true, live.bank.n_classes, {}
    for labels, judged in zip(live.noisy, live.found, strict=True):
        for name, (kept, now) in _ways(labels.y_noisy, y, judged[OURS]).items():
            lost = ~labels.flipped & ~(kept & (now == y))
            counts = [kept.sum(), (kept & (now != y)).sum(), lost.sum()]
            classes = np.bincount(y[~labels.flipped], minlength=K)
            shares = np.bincount(y[lost], minlength=K) / np.maximum(classes, 1)
            outcomes.setdefault(name, []).append(np.concatenate([counts, shares]))
    records = []
    for name, runs in outcomes.items():
        left, wrong, lost, *shares = np.mean(runs, axis=0)
        most = int(np.argmax(shares))
        of_class = f"{live.bank.class_names[most]}, {percent(shares[most])}{NBSP}%"
        records.append(
            {
                "What is done": name,
                "Labels left": f"{left:,.0f}",
                "Wrong": f"{wrong:,.0f}",
                "Wrong (%)": percent(wrong / left) if left else DASH,
                "Right ones lost": f"{lost:,.0f}",
                "Most from a class": of_class if lost else DASH,
            }
        )
    return pd.DataFrame(records)


def _ways(y: np.ndarray, y_true: np.ndarray, judged: Judgement) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return which labels are kept, and as what, by what is done about the flagged ones."""
    everything, flagged = np.ones(len(y), bool), judged.flagged
    return {
        "nothing": (everything, y),
        "delete the flagged": (~flagged, y),
        "relabel the flagged as suggested": (everything, np.where(flagged, judged.suggested, y)),
        "look at the flagged, correct what is wrong": (everything, np.where(flagged, y_true, y)),
    }
