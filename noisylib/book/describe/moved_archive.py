"""Archived movement of a real backbone: what each condition moved, what that gave, and what goes with it.

Scores are balanced accuracies on clean test images. The gain of a tuned network is its score minus that of
the linear probe with the same loss, images, wrong labels and seed: LP-GCE for TURN, which starts from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisylib.analysis.movement import nearest_agreement
from noisylib.analysis.rank_correlation import RankCorrelation, rank_correlation
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overlap_tables import noise_words
from noisylib.errors import NoisylibError
from noisylib.movementplots import MapPanel

if TYPE_CHECKING:
    import pandas as pd

# Tuned row -> the linear probe with the same loss.
PARTNERS = {"FFT-CE": "LP-CE", "FFT-GCE": "LP-GCE", "FFT-ELR": "LP-ELR", "TURN": "LP-GCE"}
SHOWN = ("FFT-CE", "TURN")  # in figures, where all would be too many
CONDITION = ["dataset", "backbone", "image_size", "noise_type", "noise_rate"]
RUN = [*CONDITION, "seed"]
# What may go with the gain: column of the cells -> title.
MEASURES = {
    "moved": "movement of the feature, 1 - CKA",
    "weights": "relative change of the weights",
    "probe_gain": "change of the clean probe",
    "probe_before": "clean probe before",
    "noise_rate": "noise rate",
}
AXES = {
    "moved": "Movement, 1 - CKA",
    "probe_gain": "Clean probe (pp)",
    "probe_before": "Clean probe before (%)",
}
NOISES = ("symmetric", "pairflip", "asymmetric", "instance", "human")
ALIKE = 1e-9  # differences below are none


def run_frame(rows: pd.DataFrame, movement: pd.DataFrame) -> pd.DataFrame:
    """Return one row per tuned run: gain and what may explain it.

    Columns besides `RUN` and label: own and lp (fractions), gain and probe_gain (percentage points),
    probe_before, probe_after, moved (1 - CKA of the feature) and weights (relative change, mean over blocks).

    Parameters
    ----------
    rows, movement : of the tables "turn_small" and "turn_small_movement".

    Raises
    ------
    NoisylibError
        No tuned run has rows in both tables and its linear probe beside it.
    """
    scores = rows.pivot_table(index=RUN, columns="label", values="balanced_accuracy", sort=False)
    final = movement[movement["last"]]
    inner = movement[~movement["last"] & movement["relative_change"].notna()]
    weights = inner.groupby([*RUN, "label"], sort=False)["relative_change"].mean().rename("weights")
    parts = []
    for label, partner in PARTNERS.items():
        if label not in scores or partner not in scores:
            continue
        both = scores[[label, partner]].dropna().set_axis(["own", "lp"], axis=1).reset_index()
        parts.append(both.assign(label=label))
    if not parts:
        raise NoisylibError(
            f"rows have the labels {', '.join(scores)}: a tuned row and its probe are needed, one of "
            f"{', '.join(f'{a} with {b}' for a, b in PARTNERS.items())}."
        )
    import pandas as pd

    known = ["cka", "probe_before", "probe_after", "probe_noisy_after"]
    found = pd.concat(parts).merge(final[[*RUN, "label", *known]], on=[*RUN, "label"])
    found = found.merge(weights.reset_index(), on=[*RUN, "label"], how="left")
    if found.empty:
        raise NoisylibError("rows and movement have no tuned run in common: they are of different studies.")
    return found.assign(
        gain=100 * (found["own"] - found["lp"]),
        probe_gain=100 * (found["probe_after"] - found["probe_before"]),
        moved=1 - found["cka"],
    )


def by_condition(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the order of their data set, kind and rate of noise; otherwise as they come."""
    sets = {name: i for i, name in enumerate(dict.fromkeys(rows["dataset"]))}
    keys = rows.assign(
        dataset=rows["dataset"].map(sets),
        noise_type=[NOISES.index(name) for name in rows["noise_type"]],
    )
    columns = ["dataset", "noise_type", "noise_rate"]
    return rows.loc[keys.reset_index().sort_values(columns, kind="stable")["index"]]


def cells(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over seeds of every condition and label, and the number of seeds."""
    grouped = runs.groupby([*CONDITION, "label"], sort=False)
    means = grouped.mean(numeric_only=True).drop(columns="seed").assign(seeds=grouped.size())
    return by_condition(means.reset_index()).reset_index(drop=True)


def associations(found: pd.DataFrame) -> dict[str, dict[str, RankCorrelation]]:
    """Return label -> measure -> its rank correlation with the gain over cells, groups being data sets."""
    return {
        label: {
            measure: rank_correlation(part[measure], part["gain"], part["dataset"]) for measure in MEASURES
        }
        for label, part in _by_label(found)
    }


@dataclass(frozen=True)
class Tally:
    """In how many conditions the backbone's move was good, for the features and for the score.

    Attributes
    ----------
    n : conditions.
    gained : the tuned network beats its linear probe.
    better : the clean probe reads more from the features than before.
    better_gained, worse_lost : both good, both bad.
    spoilt : features better, score worse: what the features gained, the head lost on wrong labels.
    rescued : features worse, score better.
    gain, probe_gain : means over conditions in percentage points.
    """

    n: int
    gained: int
    better: int
    better_gained: int
    worse_lost: int
    spoilt: int
    rescued: int
    gain: float
    probe_gain: float

    @classmethod
    def of(cls, part: pd.DataFrame) -> Tally:
        """Count the cells of one label; no change counts as not good."""
        gained, better = part["gain"] > ALIKE, part["probe_gain"] > ALIKE
        return cls(
            n=len(part),
            gained=int(gained.sum()),
            better=int(better.sum()),
            better_gained=int((better & gained).sum()),
            worse_lost=int((~better & ~gained).sum()),
            spoilt=int((better & ~gained).sum()),
            rescued=int((~better & gained).sum()),
            gain=float(part["gain"].mean()),
            probe_gain=float(part["probe_gain"].mean()),
        )


def tallies(found: pd.DataFrame) -> dict[str, Tally]:
    """Return label -> `Tally` over all cells."""
    return {label: Tally.of(part) for label, part in _by_label(found)}


def _by_label(found: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    parts = ((label, found[found["label"] == label]) for label in PARTNERS)
    return [(label, part) for label, part in parts if len(part)]


def shown_set(movement: pd.DataFrame, asked: str) -> tuple[str, str]:
    """Return which archived data set is drawn: the one asked for, or the first and a remark that says so."""
    sets = list(movement["dataset"].unique())
    return (asked, "") if asked in sets else (sets[0], f" ({bank_title(asked)} is not in it.)")


def block_frame(movement: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the rows of one data set as `movementplots.block_curves` takes them; changes in percent."""
    part = movement[(movement["dataset"] == dataset) & movement["label"].isin(SHOWN)]
    part = by_condition(part.reset_index(drop=True))
    noise = [noise_words(*pair) for pair in zip(part["noise_type"], part["noise_rate"], strict=True)]
    order = {label: i for i, label in enumerate(SHOWN)}
    found = part.assign(tuning=part["label"], condition=noise, change=100 * part["relative_change"])
    return found.sort_values("tuning", key=lambda labels: labels.map(order), kind="stable")


def probe_frame(found: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of the shown labels as `movementplots.probe_panels` takes them."""
    part = found[found["label"].isin(SHOWN)]
    noise = [noise_words(*pair) for pair in zip(part["noise_type"], part["noise_rate"], strict=True)]
    return part.assign(panel=[bank_title(name) for name in part["dataset"]], row=noise, tuning=part["label"])


def map_grid(maps: pd.DataFrame, dataset: str) -> tuple[list[list[MapPanel | None]], str]:
    """Return the archived maps of a data set, a row per noise: before, and after each tuning; and the set.

    Another data set is taken if the one asked for has no maps. Where a table holds maps of several sizes or
    backbones, those of the first are shown.
    """
    sets = list(maps["dataset"].unique())
    dataset = dataset if dataset in sets else sets[0]
    part = by_condition(maps[maps["dataset"] == dataset].reset_index(drop=True))
    for column in ("backbone", "image_size"):
        part = part[part[column] == part[column].iloc[0]]
    first, last = part["stage"].iloc[0], part["stage"].iloc[-1]
    grid: list[list[MapPanel | None]] = []
    for (noise_type, rate), noise in part.groupby(["noise_type", "noise_rate"], sort=False):
        words = noise_words(noise_type, rate)
        there = list(noise["label"].unique())
        labels = [label for label in SHOWN if label in there] or there
        before = noise[(noise["label"] == labels[0]) & (noise["stage"] == first)]
        row = [_panel("Before, and after LP", before)] if not grid else [None]
        for label in labels:
            row.append(
                _panel(f"{label}, {words}", noise[(noise["label"] == label) & (noise["stage"] == last)])
            )
        grid.append(row)
    return grid, dataset


def _panel(title: str, part: pd.DataFrame) -> MapPanel:
    points, classes = part[["x", "y"]].to_numpy(float), part["true_class"].to_numpy(int)
    return MapPanel(
        title, f"neighbours alike: {100 * nearest_agreement(points, classes):.0f} %", points, classes
    )


def class_names(dataset: str) -> tuple[str, ...]:
    """Return the class names of a catalogued data set."""
    from noisylib.data.catalog import dataset_info

    return dataset_info(dataset).classes


def by_noise(found: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """Return noise in words -> its cells, in order."""
    keys = sorted(
        found[["noise_type", "noise_rate"]].drop_duplicates().itertuples(index=False, name=None),
        key=lambda key: (NOISES.index(key[0]), key[1]),
    )
    return {
        noise_words(*key): found[(found["noise_type"] == key[0]) & (found["noise_rate"] == key[1])]
        for key in keys
    }
