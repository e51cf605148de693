"""Who is best and worst under which noise, and what always choosing one method loses.

Both count a clean condition once, whatever noise types name it, because the runs are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

REGIME = ["noise_type", "noise_rate"]
CLEAN = "clean"
RANDOM = "random"


def by_regime(values: pd.DataFrame) -> pd.DataFrame:
    """Return `values` (M, k) with conditions in which nothing is noisy once, and under the type "clean".

    The index keeps the names of `CONDITION`.
    """
    import pandas as pd

    index = values.index.to_frame(index=False)
    index["noise_type"] = index["noise_type"].where(index["noise_rate"] > 0, CLEAN)
    once = ~index.duplicated().to_numpy()
    return values[once].set_axis(pd.MultiIndex.from_frame(index[once]), axis=0)


def extremes(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how often each method is best and worst, per regime of `by_regime`; ties share.

    Columns `REGIME`, method, best, worst and n_conditions. Scores are rounded to 1e-9 first.
    """
    rounded = by_regime(scores).round(9)
    counts = {}
    for name, target in (("best", rounded.max(axis=1)), ("worst", rounded.min(axis=1))):
        hit = rounded.eq(target, axis=0)
        counts[name] = hit.div(hit.sum(axis=1), axis=0).groupby(level=REGIME).sum().stack()
    table = counts["best"].rename("best").to_frame().assign(worst=counts["worst"])
    sizes = rounded.groupby(level=REGIME).size().rename("n_conditions")
    return table.rename_axis([*REGIME, "method"]).reset_index().join(sizes, on=REGIME)


def regret(scores: pd.DataFrame) -> pd.DataFrame:
    """Return (M, k) what always choosing the method of the column loses: best minus that method, >= 0.

    The best is known in hindsight only. Clean conditions stand once, as `by_regime` has them, and a last
    column "random" is the expected regret of choosing by lot.
    """
    values = by_regime(scores)
    lost = values.rsub(values.max(axis=1), axis=0)
    return lost.assign(**{RANDOM: lost.mean(axis=1)})


def regret_summary(lost: pd.DataFrame) -> pd.DataFrame:
    """Return mean, p90 and max of `regret` per method, and its lowest mean first; index method."""
    table = lost.agg(["mean", lambda column: column.quantile(0.9), "max"]).T
    return table.set_axis(["mean", "p90", "max"], axis=1).rename_axis("method").sort_values("mean")
