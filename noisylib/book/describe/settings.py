"""Methods outside the ranking, and changed settings of those inside it, beside the ranked methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from noisylib.analysis.ranking import rank_table
from noisylib.analysis.scores import CONDITION, SEEDS, condition_scores
from noisylib.book.tables import NBSP, method_titles
from noisylib.errors import check_name

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.methods import Method
    from noisylib.study.config import MethodSpec


def outsiders_table(rows: pd.DataFrame, extras: pd.DataFrame) -> pd.DataFrame:
    """Return all methods on the conditions and seeds of the extras: rank among all, and balanced accuracy.

    Parameters
    ----------
    rows, extras : runs of the ranked methods and of those outside the ranking.
    """
    import pandas as pd

    from noisylib.methods import METHODS

    everyone = beside(rows, extras)
    scores = condition_scores(everyone, distinct=True)
    ranks = rank_table(scores)
    by_noise = noise_means(everyone)
    table = {
        "Method": method_titles_in(ranks.index),
        "Ranked": ["yes" if name in set(rows["method"]) else "no" for name in ranks.index],
        "Is told": [told_text(METHODS[name]()) for name in ranks.index],
        "Mean rank": [f"{value:.1f}" for value in ranks["mean_rank"]],
    }
    for noise in by_noise:
        table[noise] = [f"{100 * by_noise.at[name, noise]:.1f}" for name in ranks.index]
    return pd.DataFrame(table)


def outsiders_note(rows: pd.DataFrame, extras: pd.DataFrame) -> str:
    """Return where the best method outside the ranking stands, and how many stand before the best in it."""
    ranks = rank_table(condition_scores(beside(rows, extras), distinct=True))["mean_rank"].round(9)
    inside = ranks.index.isin(rows["method"].unique())
    best_in, best_out = ranks[inside], ranks[~inside]
    ahead = int((best_out < best_in.iloc[0]).sum())
    in_title, out_title = method_titles_in([best_in.index[0], best_out.index[0]])
    return (
        f"Among all {len(ranks)} methods, {in_title} has the best mean rank of the ranked ones, "
        f"{best_in.iloc[0]:.1f}, and {out_title} the best of the others, {best_out.iloc[0]:.1f}; {ahead} of "
        f"the {len(best_out)} others stand before the best ranked one, and "
        f"{int((best_out > best_in.iloc[-1]).sum())} behind the last."
    )


def beside(rows: pd.DataFrame, extras: pd.DataFrame) -> pd.DataFrame:
    """Return both kinds of rows on the conditions and seeds of the extras, whatever their heads."""
    import pandas as pd

    keys = [*[name for name in CONDITION if name != "head"], *SEEDS]
    asked = pd.MultiIndex.from_frame(extras[keys])
    ranked = rows[pd.MultiIndex.from_frame(rows[keys]).isin(asked)]
    return pd.concat([ranked, extras]).assign(head="any")


def noise_means(rows: pd.DataFrame, score: str = "balanced_accuracy") -> pd.DataFrame:
    """Return the mean score (fraction) of each method on clean labels and per noise type, all rates."""
    from noisylib.plots import NOISE_ORDER, noise_title

    kinds = [
        "Clean" if rate == 0 else noise_title(kind)
        for kind, rate in zip(rows["noise_type"], rows["noise_rate"], strict=True)
    ]
    means = rows.assign(noise=kinds).groupby(["method", "noise"])[score].mean().unstack("noise")
    return means[sorted(means, key=["Clean", *map(noise_title, NOISE_ORDER)].index)]


def settings_frame(
    rows: pd.DataFrame, settings: pd.DataFrame, specs: Mapping[str, MethodSpec]
) -> pd.DataFrame:
    """Return how each changed setting does beside the method's default and beside cross entropy.

    Columns label, noise ("Clean", "Symmetric", ...), balanced_accuracy and accuracy (changed minus default),
    lead and default_lead (balanced accuracy of each minus that of cross entropy): fractions, means over the
    conditions and seeds that all three have.
    """
    import pandas as pd

    keys = [*CONDITION, *SEEDS]
    parts = []
    for label in settings["method"].unique():
        spec = specs[check_name("label of a setting", label, specs)]
        three = {
            "changed": settings[settings["method"] == label],
            "default": rows[rows["method"] == spec.name],
            "ce": rows[rows["method"] == "ce"],
        }
        common = three["changed"][keys]
        for part in three.values():
            common = common.merge(part[keys], on=keys)
        both = pd.concat([part.merge(common, on=keys).assign(method=m) for m, part in three.items()])
        balanced, plain = noise_means(both), noise_means(both, "accuracy")
        frame = pd.DataFrame(
            {
                "balanced_accuracy": balanced.loc["changed"] - balanced.loc["default"],
                "accuracy": plain.loc["changed"] - plain.loc["default"],
                "lead": balanced.loc["changed"] - balanced.loc["ce"],
                "default_lead": balanced.loc["default"] - balanced.loc["ce"],
            }
        )
        parts.append(frame.reset_index().assign(label=label))
    return pd.concat(parts, ignore_index=True)


def points(value: float) -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return f"{round(100 * value, 1) + 0.0:+.1f}"  # the sum turns -0.0 into 0.0


def settings_table(frame: pd.DataFrame, specs: Mapping[str, MethodSpec]) -> pd.DataFrame:
    """Return `settings_frame` as a table; a cell is the change of balanced accuracy / of accuracy."""
    import pandas as pd

    records = []
    for label, part in frame.groupby("label", sort=False):
        spec = specs[label]
        records.append(
            {
                "Setting": f"`{label}`",
                "Of": method_titles([spec.name])[spec.name],
                "Changed": ", ".join(f"`{name}` = {value:g}" for name, value in spec.options),
                "Is told": told_text(spec.rule),
            }
            | {
                row.noise: f"{points(row.balanced_accuracy)}{NBSP}/{NBSP}{points(row.accuracy)}"
                for row in part.itertuples()
            }
        )
    return pd.DataFrame(records)


def settings_notes(frame: pd.DataFrame, specs: Mapping[str, MethodSpec]) -> str:
    """Return one bullet per setting: its lead over cross entropy, with the default's beside it."""
    lines = []
    for label, part in frame.groupby("label", sort=False):
        title = method_titles([specs[label].name])[specs[label].name]
        leads = [
            f"{points(row.lead)} points {where(row.noise)} (default {points(row.default_lead)})"
            for row in part.itertuples()
        ]
        lines.append(f"- `{label}`, a setting of {title}, differs from cross entropy by {'; '.join(leads)}.")
    return "\n".join(lines)


def where(noise: str) -> str:
    """Return a noise of `noise_means` as part of a sentence."""
    return "on clean labels" if noise == "Clean" else f"under {noise.lower()} noise"


def told_text(method: Method) -> str:
    """Return what a method is told of the noise."""
    from noisylib.methods import TOLD

    return ", ".join(TOLD[fact].removeprefix("the ") for fact in method.told) or "nothing"


def method_titles_in(names: Sequence[str]) -> list[str]:
    """Return the titles of methods in the order given."""
    titles = method_titles(list(names))
    return [titles[name] for name in names]
