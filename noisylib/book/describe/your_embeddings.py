"""What the chapter on a file of one's own reads and trains, and what it says of file, labels and classes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP
from noisylib.comparison import noisy_labels
from noisylib.embedding_files import Embeddings, read_embeddings
from noisylib.errors import NoisylibError
from noisylib.features import load_bank
from noisylib.label_quality import expected_errors, flag
from noisylib.methods import METHODS
from noisylib.recommendation import recommend
from noisylib.recommendation_inputs import check_data
from noisylib.recommendation_text import percent

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.advice_parameters import YourEmbeddingsParameters
    from noisylib.estimators import NoisyLabelClassifier
    from noisylib.features import FeatureBank
    from noisylib.recommendation import Recommendation
    from noisylib.recommendation_inputs import DoubtfulData

STAND_IN = "my_embeddings.npz"
LISTED = 15  # classes in a table
NOTABLE = 0.02  # shares of a class that are mistaken for another one; below, none is named
SCORES = {"balanced_accuracy": "balanced accuracy", "accuracy": "accuracy"}


@dataclass(frozen=True, eq=False)
class Given:
    """A file that was given, or one that stands in for it.

    Attributes
    ----------
    path : where it is.
    shown : the path as people type it.
    labels : name of its labels, or None for the usual ones.
    truth : (N,) true labels of its training part; None if nobody knows them.
    origin : where it comes from, a sentence.
    """

    path: Path
    shown: str
    labels: str | None
    truth: np.ndarray | None
    origin: str

    @property
    def arguments(self) -> str:
        """File and options as commands need them."""
        words = [self.shown, *(("--labels", self.labels) if self.labels else ())]
        return shlex.join(words)

    def read(self, split: str | None = None) -> Embeddings:
        """Return the embeddings of one part."""
        return read_embeddings(self.path, labels=self.labels, split=split)


def open_file(params: YourEmbeddingsParameters, folder: str | Path) -> Given:
    """Return the file to report on; without one, a bank with planted noise is written to `folder`."""
    if params.path:
        origin = f"This page reads `{Path(params.path).name}`, which was given as `path`."
        return Given(Path(params.path), params.path, params.labels or None, None, origin)
    bank = load_bank(params.dataset, params.backbone)
    path = Path(folder) / STAND_IN
    truth = _write_stand_in(path, bank, params)
    wrong = (read_embeddings(path).labels() != truth).mean()
    origin = (
        f"No file was given, so `{STAND_IN}` stands in for one: {bank_title(params.dataset)}, features of "
        f"{backbone_title(params.backbone)}. {params.noise_type.capitalize()} noise of "
        f"{100 * params.noise_rate:g}{NBSP}% made {100 * wrong:.1f}{NBSP}% of the training labels wrong; the "
        "test part is as it was. The right labels are not in the file. They come in where the truth stands "
        "beside an estimate, and nowhere else."
    )
    return Given(path, STAND_IN, None, truth, origin)


def _write_stand_in(path: Path, bank: FeatureBank, params: YourEmbeddingsParameters) -> np.ndarray:
    """Write a bank's training and test parts, the former with wrong labels; return what is right there."""
    (noisy,) = noisy_labels(bank, params.noise_type, params.noise_rate, [params.seed])
    names = np.array(bank.class_names)
    (X, y), (X_test, y_test) = bank.part("train"), bank.part("test")
    np.savez(
        path,
        X=np.concatenate([X, X_test]),
        y=names[np.concatenate([noisy.y_noisy, y_test])],
        split=np.repeat(["train", "test"], [len(y), len(y_test)]),
    )
    return names[y]


@dataclass(frozen=True, eq=False)
class Report:
    """All that was learned from one file.

    Attributes
    ----------
    given, read, data : the file, what it holds, and the labels as they are used.
    model : the trained classifier, which has also judged the labels.
    advice : which method suits the file, and why.
    flagged : (N,) bool, labels more likely wrong than right.
    """

    given: Given
    read: Embeddings
    data: DoubtfulData
    model: NoisyLabelClassifier
    advice: Recommendation
    flagged: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Positions of the samples, the most suspect label first."""
        return np.argsort(self.model.clean_probability_, kind="stable")

    def explain(self) -> str:
        """Return the recommendation in words."""
        return self.advice.explain(self.given.shown, self.given.arguments)


def report(given: Given, read: Embeddings, model: NoisyLabelClassifier) -> Report:
    """Return the report on a file and the model that was fitted to it."""
    if model.clean_probability_ is None:
        raise NoisylibError("model was fitted without a look at the labels: leave assess_labels on.")
    data = check_data(read.X, read.labels())
    settings = {"metric": model.metric, "seed": model.random_state}
    advice = model.recommendation_ or recommend(read.X, data.classes[data.y], **settings)
    return Report(given, read, data, model, advice, flag(model.clean_probability_))


def found_table(read: Embeddings, data: DoubtfulData) -> pd.DataFrame:
    """Return what was read from a file, a row for each thing to check."""
    import pandas as pd

    few, many = int(data.counts.argmin()), int(data.counts.argmax())
    names = read.feature_names
    left = read.n_rows - len(read.X)
    rows = {
        "Samples": f"{len(read.X):,}" + (f"; {left:,} more belong to other parts" if left else ""),
        "Features": f"{len(names)}: `{names[0]}`" + (f" to `{names[-1]}`" if len(names) > 1 else ""),
        "Labels": f"{len(data.classes)} classes, from `{read.label_name}`",
        "Smallest class": f"{data.classes[few]}, {data.counts[few]:,} samples",
        "Largest class": f"{data.classes[many]}, {data.counts[many]:,} samples",
        "Names of samples": "none, so rows are counted from 0" if read.ids is None else "yes",
        "Not read": ", ".join(f"`{name}`" for name in read.others) or "nothing",
        "To be aware of": " ".join(data.warnings) or "nothing",
    }
    return pd.DataFrame(rows.items(), columns=["What", "Found"])


def ranking(advice: Recommendation) -> pd.DataFrame:
    """Return candidate, title, regret, low and high (fractions) of all methods, the recommended first."""
    import pandas as pd

    from noisylib.candidates import CANDIDATES

    columns = ["candidate", "title", "regret", "low", "high"]
    rows = [(e.candidate, CANDIDATES[e.candidate].title, e.regret, e.low, e.high) for e in advice.ranking]
    return pd.DataFrame(rows, columns=columns)


def class_table(found: Report) -> pd.DataFrame:
    """Return one row per class: its labels, how many are right, what it is taken for, and its risk.

    The riskiest classes come first, then those with the fewest right labels; at most `LISTED` of them.
    """
    import pandas as pd

    advice, truth = found.advice, found.given.truth
    codes, rows = found.data.y, []
    for c in np.lexsort((advice.purity, -np.round(advice.class_risk, 3)))[:LISTED]:
        others = np.where(np.arange(advice.n_classes) == c, -1.0, advice.T[c])
        other = int(others.argmax())
        row = {
            "Class": advice.class_names[c],
            "Labels": f"{advice.class_counts[c]:,}",
            "Right, estimated (%)": f"{100 * advice.purity[c]:.0f}",
        }
        if truth is not None:
            row["Right, in truth (%)"] = f"{100 * np.mean(truth[codes == c] == found.data.classes[c]):.0f}"
        row["Most often labelled as"] = (
            f"{advice.class_names[other]} ({100 * others[other]:.0f} %)" if others[other] >= NOTABLE else "-"
        )
        row["Risk of being missed (%)"] = f"{100 * advice.class_risk[c]:.0f}"
        rows.append(row)
    return pd.DataFrame(rows)


def suspects(found: Report) -> pd.DataFrame:
    """Return all samples as ``noisylib clean`` writes them, the most suspect label first."""
    import pandas as pd

    model, order = found.model, found.order
    columns = {
        "row": found.read.rows,
        "id": found.read.ids,
        "label": found.data.classes[found.data.y],
        "clean_probability": model.clean_probability_.round(4),
        "suggested_label": model.predicted_labels_,
        "flagged": found.flagged.astype(int),
    }
    return pd.DataFrame({name: values[order] for name, values in columns.items() if values is not None})


def suspects_table(found: Report, n: int = 12) -> pd.DataFrame:
    """Return the `n` most suspect labels for people, beside the truth where it is known."""
    first = suspects(found).head(n).drop(columns="flagged")
    first["clean_probability"] = [f"{p:.3f}" for p in first["clean_probability"]]
    if found.given.truth is not None:
        first["truth"] = found.given.truth[found.order[:n]]
    titles = {"row": "Row", "id": "Name", "label": "Label", "clean_probability": "Probability it is right"}
    return first.rename(columns=titles | {"suggested_label": "Suggested", "truth": "Truth"})


def facts(found: Report) -> dict[str, str]:
    """Return what the text and the captions say of file, methods, noise and classes."""
    advice, truth = found.advice, found.given.truth
    return {
        "score": SCORES[advice.metric],
        "source": f"{found.given.path.name}, {len(found.read.X):,} samples.",
        "which": _which(found),
        "noisy": (
            f"About {percent(advice.noise_rate)} of the labels seem to be wrong (90{NBSP}% interval "
            f"{percent(advice.rate_low)} to {percent(advice.rate_high)})."
        ),
        "risky": _risky(advice),
        "beside": "" if truth is None else ", as estimated and in truth",
        "doubtful": _doubtful(found),
        "stacked": "" if truth is None else "; hatched are those that are really wrong",
    }


def _which(found: Report) -> str:
    """Return which method is recommended, whether another was trained, and whether it matters."""
    advice, other = found.advice, found.advice.runner_up
    text = f"Recommended: {advice.title}."
    if found.model.method_ != advice.method:
        text += f" This page was told to train {METHODS[found.model.method_].title} instead."
    if other is None:
        return text
    if other.low <= advice.expected_regret <= other.high:
        return f"{text} The interval of the next one reaches as far, so that it may do as well."
    return f"{text} Even the next one is expected to do worse in most cases."


def _doubtful(found: Report) -> str:
    """Return how many labels are flagged, and how many are expected to be wrong besides."""
    probability, flagged = found.model.clean_probability_, found.flagged
    besides = expected_errors(probability[~flagged])
    return (
        f"{flagged.sum():,} of {len(flagged):,} labels ({percent(flagged.mean())}) are flagged: each is "
        f"judged more likely wrong than right, and some {expected_errors(probability[flagged]):,} of them "
        f"should be wrong. Another {besides:,} or so are expected among the others, which one by one are "
        "judged more likely right than wrong."
    )


def _risky(advice: Recommendation) -> str:
    """Return which classes are in danger, and what to do for them."""
    names = [str(advice.class_names[c]) for c in np.flatnonzero(advice.at_risk)]
    if not names:
        return "No class is in danger here."
    listed = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{listed} {verb} in danger here: checked labels help most there, more images even more, and "
        "merging a class with a related one is better than a class that is never found."
    )


def commands(found: Report, params: YourEmbeddingsParameters) -> str:
    """Return the commands that do on the file what this page did."""
    file = found.given.arguments
    seed = f" --seed {params.seed}" if params.seed else ""
    metric = f" --metric {params.metric}" if params.metric != "balanced_accuracy" else ""
    lines = [
        f"noisylib recommend {file}{metric}{seed}",
        f"noisylib clean {file} --out flagged.csv{seed}",
        f"noisylib train {file} --method {params.method} --epochs {params.epochs}{metric}{seed} "
        "--out head.safetensors",
        "noisylib predict head.safetensors new_embeddings.npz --out predictions.csv",
    ]
    return "\n".join(["```sh", *lines, "```"])
