"""How likely a class is never predicted: a small logistic regression on what its labels look like.

An outcome is one class of one run: whether its recall on the test split is 0 in every scored epoch. Whether
that happens depends on the class (few samples, doubtful labels, look-alike neighbours) and on the method, so
slopes are shared and each candidate has an intercept of its own. Families count alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.analysis.detection import auroc
from noisylib.errors import NoisylibError, check_name

if TYPE_CHECKING:
    import pandas as pd

INPUTS = {
    "log_count": "logarithm of 1 + samples observed in the class",
    "log_right": "logarithm of 1 + those of them estimated to be right",
    "agreement": "share of their neighbours that carry the class's label",
    "recall": "share of them that a held-out linear head predicts",
}
LISTS = ("class_counts", "class_agreement", "class_recall", "class_purity")
# A class is called at risk if one run in five is expected never to predict it.
RISK = 0.2
PENALTY = 1.0  # variance of the normal prior of slopes and intercepts, on standardised inputs


def class_inputs(lists: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Return (K, 4) inputs, in the order of `INPUTS`, from the lists per class of the descriptors.

    Raises
    ------
    NoisylibError
        A list is absent, of another length than the others, or not finite.
    """
    absent = [name for name in LISTS if name not in lists]
    if absent:
        raise NoisylibError(f"The lists per class lack {', '.join(absent)}: {', '.join(LISTS)} are needed.")
    arrays = [np.asarray(lists[name], dtype=np.float64) for name in LISTS]
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(LISTS, arrays, strict=True))
        raise NoisylibError(f"The lists per class differ in length ({shapes}): give one number per class.")
    counts, agreement, recall, purity = arrays
    if not np.isfinite(arrays).all():
        raise NoisylibError("The lists per class have values that are no finite number.")
    right = counts * np.clip(purity, 0, 1)
    return np.stack([np.log1p(counts), np.log1p(right), agreement, recall], axis=1)


def class_rows(rows: pd.DataFrame, conditions: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Return one row per run and class: family, candidate, the inputs, and whether the class is dead.

    Parameters
    ----------
    rows : one row per run with `key`, candidate, family and recall (K,).
    conditions : one row per condition and seed with `key` and the lists of `LISTS`.
    """
    import pandas as pd

    joined = rows[[*key, "candidate", "family", "recall"]].merge(conditions[[*key, *LISTS]], on=list(key))
    if joined.empty:
        raise NoisylibError("No run has a row of descriptors.")
    tables, sizes = [], []
    for row in joined.to_dict("records"):
        table = class_inputs(row)
        recall = np.asarray(row["recall"], dtype=np.float64)
        there = np.isfinite(recall)  # a class without test samples has no recall
        tables.append(np.column_stack([table, recall == 0])[there])
        sizes.append(int(there.sum()))
    found = pd.DataFrame(np.concatenate(tables), columns=[*INPUTS, "dead"])
    for name in ("family", "candidate"):
        found[name] = np.repeat(joined[name].to_numpy(), sizes)
    return found.assign(dead=found["dead"] == 1)


def fit_class_risk(found: pd.DataFrame) -> dict[str, Any]:
    """Return the regression as plain numbers: inputs with mean, scale and weight, an intercept per candidate.

    Raises
    ------
    NoisylibError
        No class is dead, or every one is.
    """
    from sklearn.linear_model import LogisticRegression

    dead = found["dead"].to_numpy(bool)
    if dead.all() or not dead.any():
        raise NoisylibError(f"{dead.sum()} of {len(dead)} classes are dead: a risk needs both outcomes.")
    X, weights = found[list(INPUTS)].to_numpy(float), _family_weights(found["family"])
    mean = weights @ X
    scale = np.sqrt(weights @ (X - mean) ** 2)
    scale = np.where(scale > 1e-12, scale, 1.0)
    names = sorted(found["candidate"].unique())
    own = found["candidate"].to_numpy()[:, None] == np.array(names)
    model = LogisticRegression(C=PENALTY, max_iter=1000, tol=1e-8)
    model.fit(np.column_stack([(X - mean) / scale, own]), dead, sample_weight=weights * len(dead))
    slopes, intercepts = np.split(model.coef_[0], [len(INPUTS)])
    inputs = zip(INPUTS, mean, scale, slopes, strict=True)
    return {
        "inputs": [
            {"name": name, "mean": float(m), "scale": float(s), "weight": float(w)}
            for name, m, s, w in inputs
        ],
        "candidates": {
            name: float(own + model.intercept_[0]) for name, own in zip(names, intercepts, strict=True)
        },
    }


def class_risk(state: Mapping[str, Any], table: np.ndarray, candidate: str | None = None) -> np.ndarray:
    """Return (K,) probability that `candidate` never predicts each class, from inputs (K, 4).

    Without a candidate it is the mean over all of them.
    """
    if candidate is None:
        return np.mean([class_risk(state, table, name) for name in state["candidates"]], axis=0)
    check_name("candidate", candidate, state["candidates"])
    return _risk(state, table, np.full(len(table), candidate))


def _risk(state: Mapping[str, Any], table: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    mean, scale, weight = (
        np.array([row[part] for row in state["inputs"]]) for part in ("mean", "scale", "weight")
    )
    names, where = np.unique(candidate, return_inverse=True)
    intercepts = np.array([state["candidates"][name] for name in names])
    return 1 / (1 + np.exp(-(intercepts[where] + (table - mean) / scale @ weight)))


def check_class_risk(found: pd.DataFrame) -> pd.DataFrame:
    """Return how well the risk tells dead classes in families that the regression has not seen.

    Index family, with "all" last (every family's held-out risks together); classes, dead (shares), risk
    (mean, to compare with dead), auroc (NaN where a family has no dead class or only such), brier with
    brier_constant, that of the training families' share of dead classes; and for a risk above `RISK`: caught,
    the share of dead classes that it names, and right, the share of those it names that are dead.
    """
    import pandas as pd

    risk, constant = np.full(len(found), np.nan), np.full(len(found), np.nan)
    dead, family = found["dead"].to_numpy(bool), found["family"].to_numpy()
    for name in np.unique(family):
        train, here = found[family != name], family == name
        state = fit_class_risk(train)
        risk[here] = _risk(state, found.loc[here, list(INPUTS)].to_numpy(float), found["candidate"][here])
        constant[here] = _family_weights(train["family"]) @ train["dead"].to_numpy(float)
    rows = {}
    groups = {name: family == name for name in np.unique(family)}
    # Between made data and images most of the contrast is easy, so images are counted by themselves too.
    groups |= {"images": family != "made", "all": np.ones(len(found), bool)}
    for name, here in groups.items():
        if not here.any():
            continue
        both = 0 < dead[here].sum() < here.sum()
        named = risk[here] > RISK
        rows[name] = {
            "classes": int(here.sum()),
            "dead": float(dead[here].mean()),
            "risk": float(risk[here].mean()),
            "auroc": float(auroc(risk[here], ~dead[here])) if both else np.nan,
            "caught": float(named[dead[here]].mean()) if dead[here].any() else np.nan,
            "right": float(dead[here][named].mean()) if named.any() else np.nan,
            "brier": float(np.mean((risk[here] - dead[here]) ** 2)),
            "brier_constant": float(np.mean((constant[here] - dead[here]) ** 2)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("family")


def _family_weights(family: pd.Series) -> np.ndarray:
    """Return (n,) weights that sum to 1, the same total for every family."""
    names, where = np.unique(family.to_numpy(), return_inverse=True)
    return 1 / (len(names) * np.bincount(where)[where])
