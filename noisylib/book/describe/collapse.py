"""What the chapter on dead classes says of traced runs: scores, recall per class, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.case_parameters import CollapseParameters
from noisylib.book.describe.banks import class_map_of
from noisylib.book.traces import Traced, kept_by_class, train_traced
from noisylib.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.features import FeatureBank

MOST_CLASSES = 12  # panels that fit a page: of more classes, the rarest


def train(bank: FeatureBank, params: CollapseParameters) -> Traced:
    """Train the chapter's methods on its condition, with traces."""
    recipe = Recipe(epochs=params.epochs, score_epochs=min(10, params.epochs))
    return train_traced(
        bank, params.methods, params.noise_type, params.noise_rate,
        class_map=class_map_of(params.dataset), head=params.head, seeds=params.seeds, recipe=recipe,
    )  # fmt: skip


def live_rows(traced: Traced, head: str) -> pd.DataFrame:
    """Return one row per method and seed with the columns of a study that tables need; fractions."""
    import pandas as pd

    meta = traced.bank.meta
    return pd.DataFrame(
        {
            "dataset": meta.dataset,
            "backbone": meta.backbone,
            "head": head,
            "noise_type": traced.noisy[r].noise_type,
            "noise_rate": traced.noisy[r].noise_rate,
            "method": method,
            "seed": seed,
            "accuracy": float(run.accuracy[r]),
            "balanced_accuracy": float(run.balanced_accuracy[r]),
            "dead_classes": int(run.dead_classes[r]),
            "recall": run.recall[r],
        }
        for method, run in traced.runs.items()
        for r, seed in enumerate(traced.seeds)
    )


def class_frame(traced: Traced) -> pd.DataFrame:
    """Return one row per class, the most frequent first.

    Columns: class (its number), name, images, right (labels) and observed in the training split, purity of
    the observed label (NaN if nobody has it), test images; means over seeds.
    """
    import pandas as pd

    bank, K = traced.bank, traced.bank.n_classes
    counts = [np.bincount(y, minlength=K) for y in (traced.y, bank.part("test")[1])]
    right = np.stack([np.bincount(traced.y[~f], minlength=K) for f in traced.flipped])
    observed = np.stack([np.bincount(y, minlength=K) for y in traced.y_noisy])
    purity = np.divide(right, observed, out=np.full(right.shape, np.nan), where=observed > 0)
    frame = pd.DataFrame(
        {
            "class": np.arange(K),
            "name": list(bank.class_names),
            "images": counts[0],
            "right": right.mean(0),
            "observed": observed.mean(0),
            "purity": purity.mean(0),
            "test": counts[1],
        }
    )
    return frame.sort_values(["images", "class"], ascending=[False, True], ignore_index=True)


def recall_frame(traced: Traced) -> pd.DataFrame:
    """Return the recall on the test split: method, seed, epoch (from 1), class and recall, a fraction."""
    import pandas as pd

    parts = []
    for method, run in traced.runs.items():
        E, _, K = run.recall_history.shape
        epoch, klass = (part.ravel() for part in np.indices((E, K)))
        for r, seed in enumerate(traced.seeds):
            recall = run.recall_history[:, r].ravel()
            parts.append(
                pd.DataFrame(
                    {"method": method, "seed": seed, "epoch": epoch + 1, "class": klass, "recall": recall}
                )
            )
    return pd.concat(parts, ignore_index=True)


def dead_frame(recalls: pd.DataFrame) -> pd.DataFrame:
    """Return how many classes have a recall of 0 after each epoch: method, seed, epoch, dead."""
    dead = (recalls["recall"] == 0).rename("dead")
    keys = [recalls[name] for name in ("method", "seed", "epoch")]
    return dead.groupby(keys, sort=False).sum().reset_index()


def floors(traced: Traced) -> tuple[float, float]:
    """Return accuracy and balanced accuracy of always answering the largest observed class; fractions."""
    test = traced.bank.part("test")[1]
    largest = np.bincount(traced.y_noisy.ravel()).argmax()
    return float((test == largest).mean()), 1 / len(np.unique(test))


def kept_frame(traced: Traced, rows: pd.DataFrame) -> pd.DataFrame:
    """Return kept (share of its right labels in the last epoch; NaN without selection) and recall of classes.

    Columns method, class (number), kept, recall: fractions, means over seeds.
    """
    import pandas as pd

    kept = kept_by_class(traced)
    parts = []
    for method in traced.runs:
        recall = np.stack(list(rows.loc[rows["method"] == method, "recall"])).mean(0)
        shares = kept.loc[method].to_numpy(float) if method in kept.index else np.full(len(recall), np.nan)
        klass = np.arange(len(recall))
        parts.append(pd.DataFrame({"method": method, "class": klass, "kept": shares, "recall": recall}))
    return pd.concat(parts, ignore_index=True)


def hidden_recall(classes: pd.DataFrame) -> float:
    """Return the recall, a fraction, with which the smallest test class is missed once in twenty test sets.

    Its n test images are all missed with probability (1 - recall)^n if they are independent.
    """
    n = classes.loc[classes["test"] > 0, "test"].min()
    return float(1 - 0.05 ** (1 / n))


def chooser(kept: pd.DataFrame) -> str:
    """Return the method whose choice is looked into: Co-teaching, else the first that selects; "" if none."""
    methods = list(kept.dropna(subset=["kept"])["method"].unique())
    return "coteaching" if "coteaching" in methods else next(iter(methods), "")


def headings(classes: pd.DataFrame) -> dict[int, str]:
    """Return class -> what stands over its panel, at most `MOST_CLASSES` of them: the rarest."""
    return {
        row[1]: f"{row.name}: {row.images:,} images\npurity {percent(row.purity)} %"
        for row in classes.tail(MOST_CLASSES).itertuples()
    }


def choice_table(traced: Traced, method: str, classes: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Return what a selecting method keeps in the last epoch by observed class, and what it learns of it.

    Parameters
    ----------
    method : a method that selects, from `chooser`; "" gives "none" wherever a selection is counted.
    classes, kept : from `class_frame` and `kept_frame`.
    """
    import pandas as pd

    if method:
        selected = traced.runs[method].trace["selected"][-1, traced.nets(method)].mean(0)  # (R, N)
    else:
        selected = np.full(traced.y_noisy.shape, np.nan)
    own = kept[kept["method"] == method].set_index("class").reindex(classes["class"])
    records = []
    for row in classes.itertuples():
        labelled = traced.y_noisy == row[1]
        wrong = labelled & traced.flipped
        both, false = selected[labelled].sum(), selected[wrong].sum()
        records.append(
            {
                "Class": row.name,
                "Images": f"{row.images:,}",
                "Labelled so": f"{row.observed:,.0f}",
                "Purity": percent(row.purity),
                "Right labels kept": percent(own.at[row[1], "kept"]),
                "Wrong labels kept": percent(false / wrong.sum() if wrong.any() else np.nan),
                "Right among the kept": percent(1 - false / both if both else np.nan),
                "Recall": percent(own.at[row[1], "recall"]),
            }
        )
    return pd.DataFrame(records)


def percent(share: float) -> str:
    """Return a fraction as whole percent; "none" for NaN: there is nothing to count."""
    return "none" if np.isnan(share) else f"{100 * share:.0f}"
