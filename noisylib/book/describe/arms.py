"""What the arms beside the ranking say: scores by variant, class maps, settings, outsiders, margins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.scores import SEEDS
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

HEAD_TITLES = {"linear": "linear", "mlp": "MLP"}
MAPS = {"look-alike pairs": "default", "into the majority": "majority", "cyclic": "cyclic"}


def percent(rate: float) -> str:
    """Return a rate as a reader sees it."""
    return f"{100 * rate:g}{NBSP}%"


def noise_panels(rows: pd.DataFrame, rate: float) -> pd.DataFrame:
    """Return the rows of clean labels and of `rate`, with a column panel that says which."""
    from noisylib.plots import NOISE_ORDER, noise_title

    part = rows[(rows["noise_rate"] == 0) | np.isclose(rows["noise_rate"], rate)]
    order = part["noise_type"].map(NOISE_ORDER.index) * (part["noise_rate"] > 0)
    part = part.loc[order.sort_values(kind="stable").index].sort_values("noise_rate", kind="stable")
    titles = [
        f"{noise_title(kind)}, {percent(r)}" if r else "Clean labels"
        for kind, r in zip(part["noise_type"], part["noise_rate"], strict=True)
    ]
    return part.assign(panel=titles)


def rate_panels(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the noisy rows with a column panel that says their rate."""
    part = rows[rows["noise_rate"] > 0].sort_values("noise_rate", kind="stable")
    return part.assign(panel=[percent(rate) for rate in part["noise_rate"]])


def score_frame(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return mean balanced accuracy by panel, variant and method, in what all variants have in common.

    Parameters
    ----------
    parts : variant -> rows with a column panel. Only data sets, backbones and seeds that every variant
        has in a panel count, so that a difference is one of variants; a backbone that is itself the
        variant must be made equal before.
    """
    import pandas as pd

    keys = ["panel", "dataset", "backbone", *SEEDS]
    found = [pd.MultiIndex.from_frame(rows[keys]).unique() for rows in parts.values()]
    common = found[0]
    for index in found[1:]:
        common = common[common.isin(index)]
    frames = [
        rows[pd.MultiIndex.from_frame(rows[keys]).isin(common)].assign(variant=name)
        for name, rows in parts.items()
    ]
    means = pd.concat(frames).groupby(["panel", "variant", "method"], sort=False)["balanced_accuracy"].mean()
    return means.rename("score").reset_index()


def head_frame(rows: pd.DataFrame, arm: pd.DataFrame) -> pd.DataFrame:
    """Return `score_frame` of the heads: those of the arm beside that of the rows, clean and highest rate."""
    rate = arm["noise_rate"].max()
    parts = [*rows.groupby("head"), *arm.groupby("head")]
    return score_frame({HEAD_TITLES.get(h, h): noise_panels(part, rate) for h, part in parts})


def backbone_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `score_frame` of the backbones, on clean labels and at the highest rate."""
    rate = rows["noise_rate"].max()
    parts = {backbone_title(b): part.assign(backbone="any") for b, part in rows.groupby("backbone")}
    return score_frame({title: noise_panels(part, rate) for title, part in parts.items()})


def instance_frame(rows: pd.DataFrame, arm: pd.DataFrame) -> pd.DataFrame:
    """Return `score_frame` of instance-dependent noise beside the noise types of the rows, per rate."""
    from noisylib.plots import NOISE_ORDER, noise_title

    by_type = dict(tuple(rows.groupby("noise_type"))) | {"instance": arm}
    ordered = sorted(by_type, key=NOISE_ORDER.index)
    return score_frame({noise_title(kind): rate_panels(by_type[kind]) for kind in ordered})


def high_rate_rows(rows: pd.DataFrame, arm: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the arm and those of its lower rates: same sets, backbones, noise and seeds.

    Column panel is the title of the data set.
    """
    import pandas as pd

    keys = ["dataset", "backbone", "noise_type", *SEEDS]
    lower = rows[pd.MultiIndex.from_frame(rows[keys]).isin(pd.MultiIndex.from_frame(arm[keys]))]
    every = pd.concat([lower, arm], ignore_index=True)
    return every.assign(panel=every["dataset"].map(bank_title))


def map_rows(rows: pd.DataFrame, arms: pd.DataFrame) -> pd.DataFrame:
    """Return asymmetric and clean rows of the sets that were also trained under other maps, all maps.

    Column panel names the map; clean labels stand under every one. Seeds are those all maps have.
    """
    import pandas as pd

    others = {"into the majority": "map_majority", "cyclic": "map_cyclic"}
    parts = {name: arms[arms["study"] == study] for name, study in others.items()}
    parts = {name: part for name, part in parts.items() if len(part)}
    if not parts:
        return rows.iloc[:0].assign(panel="")
    arm = pd.concat(parts.values())
    base = rows[rows["dataset"].isin(arm["dataset"]) & rows["seed_train"].isin(arm["seed_train"])]
    base = base[base["backbone"].isin(arm["backbone"]) & (base["noise_type"] == "asymmetric")]
    clean = base[base["noise_rate"] == 0]
    shown = base[base["noise_rate"].isin([0.0, *arm["noise_rate"]])]
    panels = [shown.assign(panel=next(iter(MAPS)))]
    for name, part in parts.items():
        panels += [part.assign(panel=name), clean.assign(panel=name)]
    return pd.concat(panels, ignore_index=True)


def purity(counts: Sequence[int], T: np.ndarray) -> np.ndarray:
    """Return (K,) P(true = c | observed = c) that class counts and a transition matrix lead to."""
    joint = np.asarray(counts, float)[:, None] * T
    return np.diag(joint) / joint.sum(0)


def map_purity(dataset: str, rate: float) -> pd.DataFrame:
    """Return the purity of every class (columns) under each map (rows), from the official class counts.

    The column rate is the overall rate of wrong labels.
    """
    import pandas as pd

    from noisylib.data.catalog import dataset_info
    from noisylib.noise import transition_matrix

    info = dataset_info(dataset)
    counts = np.array(info.class_counts)
    records = {}
    for title, name in MAPS.items():
        if name == "cyclic":
            T = transition_matrix("pairflip", rate, info.n_classes)
        elif name in info.class_maps:
            T = transition_matrix("asymmetric", rate, info.n_classes, info.map_indices(name))
        else:
            continue
        wrong = 1 - counts @ np.diag(T) / counts.sum()
        records[title] = {"rate": wrong} | dict(zip(info.classes, purity(counts, T), strict=True))
    return pd.DataFrame(records).T


def purity_table(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return `map_purity` in percent, below half in bold, with the images of each class in the heading."""
    from noisylib.data.catalog import dataset_info

    info = dataset_info(dataset)
    cells = frame.drop(columns="rate").map(lambda v: f"**{100 * v:.0f}**" if v < 0.5 else f"{100 * v:.0f}")
    counts = dict(zip(info.classes, info.class_counts or (), strict=True))
    cells.columns = [f"{name} ({counts[name]:,})" for name in cells.columns]
    cells.insert(0, "Wrong labels", [f"{100 * v:.1f}" for v in frame["rate"]])
    cells.insert(0, "Map", list(frame.index))
    return cells.reset_index(drop=True)


def recall_drops(rows: pd.DataFrame, frame: pd.DataFrame, rate: float) -> pd.DataFrame:
    """Return purity and lost recall of each class under each map: columns panel, class, purity, drop.

    The drop is recall on clean labels minus recall at `rate`, each the mean over methods, backbones and
    seeds; fractions.

    Parameters
    ----------
    rows : from `map_rows`.
    frame : from `map_purity` at the same rate.
    """
    import pandas as pd

    classes = list(frame.columns.drop("rate"))
    records = []
    for panel, part in rows.groupby("panel", sort=False):
        clean, noisy = (
            np.stack(list(part[np.isclose(part["noise_rate"], r)]["recall"])).mean(0) for r in (0.0, rate)
        )
        for c, name in enumerate(classes):
            records.append((panel, name, frame.at[panel, name], clean[c] - noisy[c]))
    return pd.DataFrame(records, columns=["panel", "class", "purity", "drop"])


def map_notes(rows: pd.DataFrame, frame: pd.DataFrame, rate: float) -> str:
    """Return one bullet per map: how many labels it makes wrong, of which classes, and what that does."""
    at = rows[np.isclose(rows["noise_rate"], rate)].groupby("panel")
    means, shares = at[["balanced_accuracy", "dead_classes"]].mean(), frame.drop(columns="rate")
    return "\n".join(
        f"- **{name}**: {100 * frame.at[name, 'rate']:.1f} % of all labels are wrong, and "
        f"{int((shares.loc[name] < 0.5).sum())} of {shares.shape[1]} classes have a mostly wrong label; the "
        f"methods' mean balanced accuracy is {100 * means.at[name, 'balanced_accuracy']:.1f} %, with "
        f"{means.at[name, 'dead_classes']:.2f} dead classes per run."
        for name in frame.index.intersection(means.index, sort=False)
    )
