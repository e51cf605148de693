"""What the chapters show of feature banks: titles, counts, 2-D maps and probes on clean labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import check_name
from noisylib.features.probe import linear_probe, stored_probe
from noisylib.seeding import derive_seed, numpy_generator

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.features import FeatureBank

PROBE_IMAGES = 2000  # a linear probe of more takes minutes


def bank_title(name: str) -> str:
    """Return the catalogue's title of a dataset, or the name of a bank that is not in it."""
    from noisylib.data.catalog import DATASETS

    return DATASETS[name].title if name in DATASETS else name


def class_map_of(name: str, class_map: str = "default") -> dict[int, int] | None:
    """Return a dataset's class map for asymmetric noise; None for a bank that is not in the catalogue."""
    from noisylib.data.catalog import DATASETS

    return DATASETS[name].map_indices(class_map) if name in DATASETS else None


def test_facts(bank: FeatureBank) -> dict[str, float | int]:
    """Return size of the test split and its trivial scores in percent.

    ``standard_error`` is the binomial one of the accuracy of always answering the largest class.
    """
    _, y = bank.part("test")
    counts = np.bincount(y, minlength=bank.n_classes)
    majority = counts.max() / len(y)
    return {
        "test_images": len(y),
        "n_classes": bank.n_classes,
        "smallest_class": int(counts.min()),
        "chance": 100 / bank.n_classes,
        "majority": 100 * float(majority),
        "standard_error": 100 * float(np.sqrt(majority * (1 - majority) / len(y))),
    }


def class_counts(banks: Mapping[str, FeatureBank]) -> pd.DataFrame:
    """Return one row per dataset, class and split with the number of samples."""
    import pandas as pd

    records = [
        {"dataset": bank_title(key), "class": name, "split": split, "samples": int((labels == c).sum())}
        for key, bank in banks.items()
        for split in ("train", "val", "test")
        for labels in (bank.labels[bank.indices(split)],)
        for c, name in enumerate(bank.class_names)
    ]
    return pd.DataFrame(records)


def counts_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Return data set, class, and samples per split as a table."""
    wide = counts.pivot_table(index=["dataset", "class"], columns="split", values="samples", sort=False)
    wide = wide[["train", "val", "test"]].astype(int).reset_index()
    wide.columns = ["Data set", "Class", "Train", "Validation", "Test"]
    wide.loc[wide["Data set"].duplicated(), "Data set"] = ""
    return wide


def sizes_table(banks: Mapping[str, FeatureBank]) -> pd.DataFrame:
    """Return classes, samples per split and imbalance of each bank.

    The imbalance is the training samples of the largest class over those of the smallest.
    """
    import pandas as pd

    records = []
    for name, bank in banks.items():
        train = np.bincount(bank.labels[bank.indices("train")], minlength=bank.n_classes)
        splits = (("Train", "train"), ("Validation", "val"), ("Test", "test"))
        records.append(
            {
                "Data set": bank_title(name),
                "Classes": bank.n_classes,
                **{label: f"{len(bank.indices(split)):,}" for label, split in splits},
                "Imbalance": f"{train.max() / train.min():.1f}",
            }
        )
    return pd.DataFrame(records)


def sources_table(banks: Mapping[str, FeatureBank]) -> pd.DataFrame:
    """Return what the images of each bank are, where they come from, and their licence."""
    import pandas as pd

    from noisylib.data.catalog import DATASETS

    return pd.DataFrame(
        {
            "Data set": bank_title(name),
            "Images": DATASETS[name].modality if name in DATASETS else "",
            "Licence": bank.meta.licence,
            "Source": f"{{cite:p}}`{bank.meta.citation}`" if bank.meta.citation else "",
        }
        for name, bank in banks.items()
    )


def projection_points(
    banks: Mapping[str, FeatureBank], projection: str, max_points: int, seed: int
) -> pd.DataFrame:
    """Return a 2-D map of each bank's training features: columns dataset, class, x, y.

    Parameters
    ----------
    projection : "pca" (first two components) or "tsne" (perplexity 30, started from PCA).
    max_points : training samples drawn at random from each bank.
    """
    import pandas as pd
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    check_name("projection", projection, ("pca", "tsne"))
    parts = []
    for name, bank in banks.items():
        X, y = bank.part("train")
        rows = numpy_generator("projection", name, seed).permutation(len(y))[:max_points]
        X, y = standardise(X, X)[rows], y[rows]
        if projection == "pca":
            xy = PCA(2).fit_transform(X)
        else:
            state = derive_seed("tsne", name, seed) % 2**32
            compact = PCA(min(30, *X.shape), random_state=state).fit_transform(X)
            perplexity = min(30, (len(X) - 1) / 3)
            xy = TSNE(2, perplexity=perplexity, init="pca", random_state=state).fit_transform(compact)
        classes = np.array(bank.class_names)[y]
        parts.append(
            pd.DataFrame({"dataset": bank_title(name), "class": classes, "x": xy[:, 0], "y": xy[:, 1]})
        )
    return pd.concat(parts, ignore_index=True)


def standardise(X: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return X (N, D) z-scored with the mean and deviation of `reference`; constant columns become 0."""
    deviation = reference.std(0)
    return (X - reference.mean(0)) / np.where(deviation == 0, 1, deviation)


def probe_scores(
    banks: Mapping[str, FeatureBank], neighbours: int, max_train: int = PROBE_IMAGES
) -> pd.DataFrame:
    """Return clean-label sanity scores on the test split, as fractions, one row per bank.

    Columns: majority (accuracy of the most frequent training class), chance (1 / K), and accuracy and
    balanced accuracy of k nearest neighbours (Euclidean, z-scored) and of the linear probe of the data
    card: the score that is stored beside the bank, else one measured on at most `max_train` images.
    """
    import pandas as pd
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.neighbors import KNeighborsClassifier

    records = []
    for name, bank in banks.items():
        (X, y), (X_test, y_test) = bank.part("train"), bank.part("test")
        nearest = KNeighborsClassifier(min(neighbours, len(y))).fit(standardise(X, X), y)
        found = nearest.predict(standardise(X_test, X))
        linear = stored_probe(bank) or linear_probe(bank, max_train)
        records.append(
            {
                "dataset": bank_title(name),
                "majority": float((y_test == np.bincount(y).argmax()).mean()),
                "chance": 1 / bank.n_classes,
                "knn_accuracy": accuracy_score(y_test, found),
                "knn_balanced": balanced_accuracy_score(y_test, found),
                "linear_accuracy": linear["accuracy"],
                "linear_balanced": linear["balanced_accuracy"],
            }
        )
    return pd.DataFrame(records)


def probe_facts(scores: pd.DataFrame) -> dict[str, str | float]:
    """Return which bank the linear probe knows most and least about, in percentage points.

    ``strongest`` and ``weakest`` by balanced accuracy above chance; ``closest`` is the bank whose
    accuracy is nearest to always answering the largest class.
    """
    named = scores.set_index("dataset")
    gain = 100 * (named["linear_balanced"] - named["chance"])
    over = 100 * (named["linear_accuracy"] - named["majority"])
    return {
        "strongest": gain.idxmax(),
        "strongest_gain": float(gain.max()),
        "weakest": gain.idxmin(),
        "weakest_gain": float(gain.min()),
        "closest": over.idxmin(),
        "closest_over": float(over.min()),
    }


def probe_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return `probe_scores` in percent, under readable headings."""
    table = scores.set_index("dataset").mul(100).round(1).map("{:.1f}".format).reset_index()
    table.columns = [
        "Data set",
        "Largest class: accuracy",
        "Chance: balanced",
        "k-NN: accuracy",
        "k-NN: balanced",
        "Linear: accuracy",
        "Linear: balanced",
    ]
    return table
