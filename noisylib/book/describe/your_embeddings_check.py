"""How far the report on a file can be checked: against planted noise, and on a part with labels to trust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.detection import auroc
from noisylib.analysis.families import family
from noisylib.analysis.selector import load_selector
from noisylib.book.describe.your_embeddings import SCORES, Report
from noisylib.book.tables import NBSP
from noisylib.methods import METHODS
from noisylib.recommendation_text import percent

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.advice_parameters import YourEmbeddingsParameters
    from noisylib.estimators import NoisyLabelClassifier

BASELINE = "ce"
LISTED = 15  # classes whose recall is listed
TEST_WANTED = 200  # samples with labels to trust that tell two methods apart, as a start
Z = 1.96  # of a 95 % interval
NO_TEST = (
    "**The file has no test part with labels**, so nobody can say how good the trained head is: a score "
    f"against doubtful labels rewards their mistakes. Draw some {TEST_WANTED} samples at random, have two "
    "people label them anew, and mark them `test` in a column or array called `split`. They are then left "
    "out of the training, and this section compares the method with plain cross-entropy on them."
)


@dataclass(frozen=True, eq=False)
class Trusted:
    """Samples that no model saw: features (M, D) and labels (M,), which count as right."""

    X: np.ndarray
    y: np.ndarray


def test_part(found: Report) -> Trusted | None:
    """Return the labelled samples of the file's test part; None if it has none."""
    import pandas as pd

    split = found.read.split
    if split is None or len(found.read.X) == found.read.n_rows:
        return None
    whole = found.given.read("all")
    keep = (whole.split == "test") & pd.notna(whole.labels())
    return Trusted(whole.X[keep], whole.labels()[keep]) if keep.any() else None


def rival(found: Report) -> str:
    """Return the method to compare with: cross-entropy, or the next one if that was trained."""
    if found.model.method_ != BASELINE:
        return BASELINE
    return next(e.candidate for e in found.advice.ranking if e.candidate != BASELINE)


@dataclass(frozen=True, eq=False)
class Scores:
    """Two models on one test part, the report's first.

    Attributes
    ----------
    methods : keys of both.
    hits : (2, M) bool, which samples each recognises.
    codes, classes : (M,) class of each sample by number, and what the numbers stand for.
    """

    methods: tuple[str, str]
    hits: np.ndarray
    codes: np.ndarray
    classes: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """(2,) share of all samples that is recognised."""
        return self.hits.mean(axis=1)

    @property
    def recall(self) -> np.ndarray:
        """(2, K) share of each class that is recognised."""
        member = self.codes[:, None] == np.arange(len(self.classes))
        return self.hits.astype(float) @ member / member.sum(axis=0)

    @property
    def balanced_accuracy(self) -> np.ndarray:
        """(2,) mean recall of the classes."""
        return self.recall.mean(axis=1)

    def gain(self, metric: str) -> tuple[float, float]:
        """Return by how much the first is better, and half of the 95 % interval of that.

        The interval is for other test samples of the same classes; both models stay as they are. A class
        with a single sample says nothing of its own spread and counts with the variance 1.
        """
        ahead = self.hits[0].astype(float) - self.hits[1]
        groups = [ahead[self.codes == c] for c in range(len(self.classes))]
        if metric == "accuracy":
            groups = [ahead]
        spread = sum((part.var(ddof=1) if len(part) > 1 else 1.0) / len(part) for part in groups)
        return float(np.mean([part.mean() for part in groups])), Z * float(np.sqrt(spread)) / len(groups)


def compare(found: Report, other: NoisyLabelClassifier, test: Trusted) -> Scores:
    """Return how the report's model and another one do on a test part."""
    classes, codes = np.unique(test.y, return_inverse=True)
    hits = np.stack([model.predict(test.X) == test.y for model in (found.model, other)])
    return Scores((found.model.method_, other.method_), hits, codes, classes)


def score_table(scores: Scores) -> pd.DataFrame:
    """Return accuracy, balanced accuracy and the recall of the rarest classes, in percent."""
    import pandas as pd

    counts = np.bincount(scores.codes)
    lines = {"Balanced accuracy": scores.balanced_accuracy, "Accuracy": scores.accuracy}
    for c in np.argsort(counts, kind="stable")[:LISTED]:
        lines[f"Recall of {scores.classes[c]} ({counts[c]:,} samples)"] = scores.recall[:, c]
    columns = [METHODS[key].title for key in scores.methods]
    rows = [(name, *(f"{100 * value:.1f}" for value in pair)) for name, pair in lines.items()]
    return pd.DataFrame(rows, columns=["Score (%)", *columns])


def score_text(found: Report, scores: Scores | None) -> str:
    """Return which of the two is better on the test part, how surely, and what had been expected.

    Without a test part, return how to make one.
    """
    if scores is None:
        return NO_TEST
    metric = found.advice.metric
    first, second = (METHODS[key].title for key in scores.methods)
    gain, half = scores.gain(metric)
    if abs(gain) <= half:
        verdict = f"so that these {len(scores.codes):,} samples do not tell the two apart"
    else:
        verdict = f"so that {first if gain > 0 else second} is the better of the two here"
    text = (
        f"On the test part, the {SCORES[metric]} of {first} differs by {100 * gain:+.1f} points from that of "
        f"{second} (95{NBSP}% interval {100 * (gain - half):+.1f} to {100 * (gain + half):+.1f}), {verdict}. "
        "Another seed would move both a little, which the interval does not know."
    )
    if found.model.method_ == found.advice.method:
        reached, hoped = getattr(scores, metric)[0], found.advice.score
        text += (
            f" The recommendation expected {percent(hoped)} for it, and it has {percent(reached)}; forecasts "
            f"were off by {100 * found.advice.score_error:.1f} points on average."
        )
    ahead = scores.recall[0] - scores.recall[1]
    if ahead.min() < 0:
        c = int(ahead.argmin())
        text += (
            f" {first} is not ahead in every class: of {scores.classes[c]} it recognises "
            f"{percent(scores.recall[0, c])}, {second} {percent(scores.recall[1, c])}."
        )
    return text


def truth_table(found: Report) -> pd.DataFrame:
    """Return what was said of the training labels beside what is true of them."""
    import pandas as pd

    advice, wrong = found.advice, wrong_labels(found)
    caught = wrong & found.flagged
    counts = _true_counts(found)
    there = counts.sum(1) > 0
    kept = np.diag(counts)[there] / counts.sum(1)[there]
    off = np.abs(np.diag(advice.T)[there] - kept).mean()
    doubt = 1 - found.model.clean_probability_
    hoped = float(doubt[found.flagged].sum())
    said = f"{percent(advice.noise_rate)} ({percent(advice.rate_low)} to {percent(advice.rate_high)})"
    rows = [
        ("Wrong labels", said, f"{100 * wrong.mean():.1f}{NBSP}%"),
        ("Share of each class that keeps its label", "", f"{100 * off:.1f} points off on average"),
        ("Labels flagged as wrong", f"{found.flagged.sum():,}", f"{wrong.sum():,} are wrong"),
        (
            "Flagged labels that are wrong",
            _share(hoped, found.flagged.sum()),
            _share(caught.sum(), found.flagged.sum()),
        ),
        ("Wrong labels that are flagged", _share(hoped, doubt.sum()), _share(caught.sum(), wrong.sum())),
    ]
    if wrong.any() and not wrong.all():
        area = auroc(found.model.clean_probability_, wrong)
        rows.append(("Pairs of a right and a wrong label in the right order", "", f"{100 * area:.1f}{NBSP}%"))
    return pd.DataFrame(rows, columns=["What", "Said", "True"])


def transitions(found: Report) -> dict[str, np.ndarray]:
    """Return the estimated transition matrix (K, K) by title, and the true one where it is known."""
    matrices = {"Estimated": found.advice.T}
    if found.given.truth is not None:
        counts = _true_counts(found)
        total = counts.sum(1, keepdims=True)
        matrices["True"] = np.divide(counts, total, out=np.eye(len(counts)), where=total > 0)
    return matrices


def truth_text(found: Report, params: YourEmbeddingsParameters) -> str:
    """Return what the truth says of the report, or that it is not known."""
    if found.given.truth is None:
        return (
            "Whether the labels were judged well cannot be told from the file, as nobody knows which of its "
            f"labels are right. Look at some {TEST_WANTED // 4} of the flagged samples and at as many "
            "others, drawn at random: the shares that you find wrong are what `flagged` is worth."
        )
    rate = float(wrong_labels(found).mean())
    inside = found.advice.rate_low <= rate <= found.advice.rate_high
    seen = {row["family"] for row in load_selector().content["conditions"]}
    text = (
        f"The true share of wrong labels, {percent(rate)}, is {'inside' if inside else 'outside'} the "
        "interval of its estimate."
    )
    if family(params.dataset) in seen:
        text += (
            " Images of this kind are among those that the selector and the estimate of the rate learned "
            "from, so that a file of another kind may be judged less well."
        )
    return text


def wrong_labels(found: Report) -> np.ndarray | None:
    """Return which training labels (N,) are wrong, or None if nobody knows."""
    truth = found.given.truth
    return None if truth is None else truth != found.data.classes[found.data.y]


def _true_counts(found: Report) -> np.ndarray:
    """Return the samples (K, K) of each true class that carry each label, of classes that are labelled."""
    classes, truth = found.data.classes, found.given.truth
    known = np.isin(truth, classes)
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (np.searchsorted(classes, truth[known]), found.data.y[known]), 1)
    return counts


def _share(part: float, whole: float) -> str:
    return f"{part:,.0f} of {whole:,.0f}" + (f" ({100 * part / whole:.0f}{NBSP}%)" if whole else "")
