"""Rows of tuned networks compared run by run: linear probes, full fine-tuning and TURN on the same labels.

Scores are percent and differences percentage points, as in the paper's tables. All rows of a data set and a
seed share images and wrong labels, so a difference is paired, and the unit that is drawn for an interval is
the pair of data set and seed. Pairs of one data set share its images: what the interval says is how far the
noise, the start and the batch order move a number on these data sets, and little about others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims.claim import DRAWS, LEVEL, CannotTestError
from noisylib.book.describe.overlap_tables import noise_words
from noisylib.errors import NoisylibError
from noisylib.plots import NOISE_ORDER
from noisylib.seeding import numpy_generator
from noisylib.study.finetune_methods import ROWS

if TYPE_CHECKING:
    import pandas as pd

TABLE = "turn_small"
PROBES, TUNED = (tuple(label for how, _, label in ROWS.values() if how == kind) for kind in ("lp", "fft"))
TURN = "TURN"
LABELS = tuple(label for *_, label in ROWS.values())  # in the order of the tables
SET = ["dataset", "backbone", "image_size"]
NOISE = ["noise_type", "noise_rate"]
RUN = [*SET, *NOISE, "seed"]
PAIR = ["dataset", "seed"]
Noise = tuple[str, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs of data set and seed, with bootstrap intervals.

    Attributes
    ----------
    mean : each pair counts once.
    ends : interval when pairs are drawn; None with fewer than two.
    set_ends : interval when whole data sets are drawn with all their seeds; None with fewer than two.
    by_dataset : data set -> mean, in the order of the rows.
    pairs : their number.
    """

    mean: float
    ends: tuple[float, float] | None
    set_ends: tuple[float, float] | None
    by_dataset: dict[str, float]
    pairs: int


def score_table(rows: pd.DataFrame, score: str = "accuracy") -> pd.DataFrame:
    """Return scores in percent, one row per data set, noise and seed (index `RUN`), one column per label.

    Raises
    ------
    NoisylibError
        Two rows are the same run.
    """
    known = rows[rows["label"].isin(LABELS)]
    if known.duplicated([*RUN, "label"]).any():
        twice = known[known.duplicated([*RUN, "label"])].iloc[0]
        raise NoisylibError(
            f"The rows have {twice['label']} on {twice['dataset']}, seed {twice['seed']}, twice under one "
            "noise: keep the rows of one study only."
        )
    wide = 100 * known.set_index([*RUN, "label"])[score].unstack("label", sort=False)
    return wide[[label for label in LABELS if label in wide]]


def noises_of(table: pd.DataFrame) -> list[Noise]:
    """Return the kinds and rates of noise of a table: kind by kind, rates from low to high."""
    found = set(zip(*(table.index.get_level_values(name) for name in NOISE), strict=True))
    return sorted(found, key=lambda noise: (NOISE_ORDER.index(noise[0]), noise[1]))


def scores_under(table: pd.DataFrame, label: str, noise: Noise) -> pd.Series:
    """Return the scores of one row under one noise, index `SET` and seed, or say what is missing."""
    if label not in table:
        raise CannotTestError(f"{label} is not among the rows")
    kind, rate = (table.index.get_level_values(name) for name in NOISE)
    found = table.loc[(kind == noise[0]) & np.isclose(rate, noise[1]), label].dropna().droplevel(NOISE)
    if found.empty:
        raise CannotTestError(f"no row has {noise_words(*noise)} noise{_highest(table, noise[0])}")
    return found


def _highest(table: pd.DataFrame, kind: str) -> str:
    """Return the highest rate of a kind of noise that the rows do have, as the end of a sentence."""
    rates = [rate for name, rate in noises_of(table) if name == kind]
    return f"; the highest rate of that kind is {100 * max(rates):g} %" if rates else ""


def leads(
    table: pd.DataFrame, better: str, worse: str, noise: Noise, other: Noise | None = None
) -> pd.Series:
    """Return by how many points one row exceeds another on the same images and seed.

    Parameters
    ----------
    table : from `score_table`.
    noise, other : noise of `better`, and of `worse` where that differs.

    Raises
    ------
    CannotTestError
        A row or a noise is missing, or no data set and seed has both.
    """
    first = scores_under(table, better, noise)
    found = (first - scores_under(table, worse, other or noise).reindex(first.index)).dropna()
    if found.empty:
        raise CannotTestError(f"no data set and seed has both {better} and {worse} under these noises")
    return found


def over_pairs(values: pd.Series) -> Estimate:
    """Return the mean of values over pairs of data set and seed, with its intervals.

    Parameters
    ----------
    values : index with the levels dataset and seed; several values of a pair are averaged first.
    """
    pairs = values.groupby(level=PAIR, sort=False).mean()
    by_set = pairs.groupby(level="dataset", sort=False)
    sums = by_set.agg(["sum", "size"]).to_numpy(float)
    ones = np.column_stack([pairs.to_numpy(float), np.ones(len(pairs))])
    return Estimate(float(pairs.mean()), _ends(ones), _ends(sums), by_set.mean().to_dict(), len(pairs))


def _ends(clusters: np.ndarray) -> tuple[float, float] | None:
    """Return the percentile interval of a mean when clusters (n, 2), of sum and count, are drawn again."""
    n = len(clusters)
    if n < 2:
        return None
    draws = numpy_generator("claims bootstrap", n).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    drawn = draws @ clusters
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs in which every label of the table was trained, or say that there is none."""
    found = table.dropna()
    if found.empty or table.shape[1] < 2:
        raise CannotTestError("no data set, noise and seed has two rows of the table to compare")
    return found


def column_means(table: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds: the columns of the paper's table, one row per data set and noise."""
    return complete(table).groupby(level=[*SET, *NOISE], sort=False).mean()


def wins(scores: pd.DataFrame) -> pd.DataFrame:
    """Return 1 where a label has the highest score of its row, shared among ties, else 0."""
    top = scores.round(9).eq(scores.round(9).max(axis=1), axis=0)
    return top.div(top.sum(axis=1), axis=0)


def lead_over_best(table: pd.DataFrame, label: str, rivals: tuple[str, ...]) -> pd.Series:
    """Return by how many points a label exceeds the best of its rivals, index `RUN`.

    The best is that of the mean over seeds of a data set and noise, as in a printed table: it is chosen
    in hindsight, which favours the rivals.
    """
    known = [name for name in rivals if name in table]
    if label not in table or not known:
        raise CannotTestError(f"{label} or all of {', '.join(rivals)} are not among the rows")
    scores = complete(table[[label, *known]])
    best = scores[known].groupby(level=[*SET, *NOISE], sort=False).transform("mean").idxmax(axis=1)
    picked = scores.to_numpy()[np.arange(len(scores)), scores.columns.get_indexer(best)]
    return scores[label] - picked


def lead_over_picked(table: pd.DataFrame, label: str, rivals: tuple[str, ...]) -> pd.Series:
    """Return by how many points a label exceeds a rival that was picked on the other seeds, index `RUN`.

    A rival that is chosen on the runs it is scored on is chosen for its luck too; this one is not. With a
    single seed there is no other, and the choice is that of `lead_over_best`.
    """
    known = [name for name in rivals if name in table]
    if label not in table or not known:
        raise CannotTestError(f"{label} or all of {', '.join(rivals)} are not among the rows")
    scores = complete(table[[label, *known]])
    columns = scores[known].groupby(level=[*SET, *NOISE], sort=False)
    others = columns.transform("sum") - scores[known]
    # Sums order the rivals as means do: all of a column have the same seeds.
    alone = columns.transform("size") == 1
    best = others.where(~alone, scores[known]).idxmax(axis=1)
    picked = scores.to_numpy()[np.arange(len(scores)), scores.columns.get_indexer(best)]
    return scores[label] - picked
