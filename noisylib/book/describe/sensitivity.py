"""What the chapter on sensitivity compares with what, and the tables and sentences that say the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.agreement import Agreement, Pair, agreement, matched, rank_correlation
from noisylib.analysis.scores import CONDITION, SEEDS, condition_scores
from noisylib.book.describe.arms import HEAD_TITLES, percent
from noisylib.book.describe.overview import backbone_title
from noisylib.book.describe.settings import points
from noisylib.book.parameter_names import ROOT
from noisylib.book.tables import NBSP, method_titles
from noisylib.errors import check_name

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.study.config import MethodSpec

SETTINGS_CONFIG = ROOT / "configs" / "arms" / "settings.yaml"


@dataclass(frozen=True)
class Comparison:
    """One change, how the rankings before and after it agree, and the same for a change of seeds alone.

    `group` is what kind of thing was changed: head, backbone, map, instance, rate, setting or score.
    """

    group: str
    change: str
    pair: Pair
    agreement: Agreement
    seeds_alone: float


def setting_specs(path: Path = SETTINGS_CONFIG) -> dict[str, MethodSpec]:
    """Return label -> which method it is, with which hyper-parameters, as the config of the arm says."""
    from noisylib.study import load_config

    return {spec.label: spec for spec in load_config(path).methods}


def compare(rows: pd.DataFrame, arms: pd.DataFrame, specs: Mapping[str, MethodSpec]) -> list[Comparison]:
    """Return every comparison that the rows allow, each on the conditions and seeds of both sides.

    Parameters
    ----------
    rows : of the ranked study, one head.
    arms : of the studies outside the ranking, told apart by `study`; those that are absent are left out.
    specs : from `setting_specs`, for the labels of the study "settings".
    """
    changes = [*_heads(rows, arms), *_backbones(rows), *_noises(rows, arms), *_settings(rows, arms, specs)]
    found = [(group, text, matched(before, after, free=free)) for group, text, before, after, free in changes]
    by_accuracy = matched(rows, rows)
    score = Pair(
        by_accuracy.before, condition_scores(rows, score="accuracy", distinct=True), by_accuracy.halves
    )
    found.append(("score", "accuracy for balanced accuracy, as the score", score))
    return [_measured(group, text, pair) for group, text, pair in found if pair is not None]


Change = tuple[str, str, "pd.DataFrame", "pd.DataFrame", list[str]]


def _measured(group: str, text: str, pair: Pair) -> Comparison:
    seeds_alone = rank_correlation(*pair.halves) if pair.halves else float("nan")
    return Comparison(group, text, pair, agreement(pair), seeds_alone)


def _heads(rows: pd.DataFrame, arms: pd.DataFrame) -> Iterator[Change]:
    (base,) = rows["head"].unique()
    part = arms[arms["study"] == "heads"]
    for head in part["head"].unique():
        text = f"{HEAD_TITLES.get(head, head)} head for the {HEAD_TITLES.get(base, base)}"
        yield "head", text, rows, part[part["head"] == head], ["head"]


def _backbones(rows: pd.DataFrame) -> Iterator[Change]:
    parts = dict(tuple(rows.groupby("backbone")))
    for one, other in combinations(parts, 2):
        text = f"{backbone_title(other)} for {backbone_title(one)}"
        yield "backbone", text, parts[one], parts[other], ["backbone"]


def _noises(rows: pd.DataFrame, arms: pd.DataFrame) -> Iterator[Change]:
    by_type = dict(tuple(rows.groupby("noise_type")))
    for study, name in (("map_majority", "into-the-majority"), ("map_cyclic", "cyclic")):
        if "asymmetric" in by_type:
            text = f"{name} map for look-alike pairs"
            yield "map", text, by_type["asymmetric"], arms[arms["study"] == study], ["noise_type"]
    for name, part in by_type.items():
        yield (
            "instance", f"instance-dependent noise for {name}", part,
            arms[arms["study"] == "instance"], ["noise_type"],
        )  # fmt: skip
    high = arms[arms["study"] == "high_rates"]
    for (name, rate), part in high.groupby(["noise_type", "noise_rate"]):
        if name in by_type:
            top = by_type[name]["noise_rate"].max()
            text = f"{name} noise of {percent(rate)} for {percent(top)}"
            yield "rate", text, by_type[name][by_type[name]["noise_rate"] == top], part, ["noise_rate"]


def _settings(rows: pd.DataFrame, arms: pd.DataFrame, specs: Mapping[str, MethodSpec]) -> Iterator[Change]:
    """Yield the ranking with a method replaced by the same method under another setting."""
    import pandas as pd

    part = arms[arms["study"] == "settings"]
    for label in part["method"].unique():
        name = specs[check_name("label of a setting", label, specs)].name
        changed = part[part["method"] == label].assign(method=name)
        keys = [*CONDITION, *SEEDS]
        others = rows[rows["method"] != name].merge(changed[keys].drop_duplicates(), on=keys)
        yield "setting", f"{label} for {method_titles([name])[name]}", rows, pd.concat([others, changed]), []


def summary_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return one row per change: conditions, rank correlation, seeds alone, winners and largest move."""
    import pandas as pd

    records = []
    for item in comparisons:
        found = item.agreement
        interval = "" if np.isnan(found.low) else f" [{signed(found.low)}, {signed(found.high)}]"
        records.append(
            {
                "What was changed": item.change,
                "Conditions (sets)": f"{found.conditions} ({found.clusters})",
                "Rank correlation": signed(found.tau) + interval.replace(" ", NBSP),
                "Seeds alone": signed(item.seeds_alone),
                "Same winner": f"{100 * found.same_winner:.0f}{NBSP}%",
                "Largest move": largest_move(found.ranks),
                "Best mean rank": best_before_and_after(found.ranks),
            }
        )
    return pd.DataFrame(records)


def signed(value: float) -> str:
    """Return a correlation with two digits, "n/a" for none."""
    return "n/a" if np.isnan(value) else f"{value:.2f}"


def largest_move(ranks: pd.DataFrame) -> str:
    """Return the method whose mean rank changed most, from where to where; all of them where they tie."""
    size = ranks["move"].abs().round(9)
    if size.max() == 0:
        return "none"
    titles = method_titles(list(ranks.index))
    return "; ".join(
        f"{titles[m]} {ranks['before'][m]:.1f} → {ranks['after'][m]:.1f}"
        for m in ranks.index[size == size.max()]
    )


def best_before_and_after(ranks: pd.DataFrame) -> str:
    """Return the method of the best mean rank, before and after where they differ."""
    names = [leaders(ranks[side]) for side in ("before", "after")]
    return names[0] if names[0] == names[1] else " → ".join(names)


def leaders(mean_ranks: pd.Series) -> str:
    """Return the titles of the methods that share the best mean rank."""
    rounded = mean_ranks.round(9)
    names = list(rounded.index[rounded == rounded.min()])
    return " and ".join(method_titles(names).values())


def moves_frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return changes x methods (titles): how far the mean rank moved, negative is up."""
    import pandas as pd

    moves = pd.DataFrame({item.change: item.agreement.ranks["move"] for item in comparisons}).T
    return moves.rename(columns=method_titles(list(moves.columns)))


def conclusion(comparisons: Sequence[Comparison], group: str) -> str:
    """Return one bullet per change of a group: what became of order, winners, leader and scores."""
    lines = []
    for item in comparisons:
        if item.group != group:
            continue
        found = item.agreement
        text = (
            f"- **{item.change}**: rank correlation {signed(found.tau)} (seeds alone: "
            f"{signed(item.seeds_alone)}); the same winner in {100 * found.same_winner:.0f} % of "
            f"{found.conditions} conditions; best mean rank: {best_before_and_after(found.ranks)}"
        )
        lines.append(text + (f"; {score_change(item.pair)}." if group not in ("score", "setting") else "."))
    return "\n".join(lines) or "The rows do not allow this comparison."


def score_change(pair: Pair) -> str:
    """Return the mean change of balanced accuracy over all methods, and the method that changes most."""
    change = (pair.after - pair.before).mean()
    most = change.abs().idxmax()
    return (
        f"balanced accuracy changes by {points(change.mean())} points on average over the methods, most for "
        f"{method_titles([most])[most]} ({points(change[most])})"
    )


def overall(comparisons: Sequence[Comparison]) -> dict[str, object]:
    """Return what the page opens with: how many changes keep the leader, and which move the order most.

    Values: changes, kept (of them), most, most_tau, most_seeds, least, least_tau (changes of the lowest and
    highest rank correlation, where there is one) and mover (largest move of a mean rank, and under what).
    """
    known = [item for item in comparisons if not np.isnan(item.agreement.tau)]
    by_tau = sorted(known, key=lambda item: item.agreement.tau)
    mover = max(comparisons, key=lambda item: item.agreement.ranks["move"].abs().max())
    ranks = [item.agreement.ranks for item in comparisons]
    facts = {
        "changes": len(comparisons),
        "kept": sum(leaders(r["before"]) == leaders(r["after"]) for r in ranks),
        "mover": f"{largest_move(mover.agreement.ranks)}, with {mover.change}",
    }
    for name, item in (("most", by_tau[0]), ("least", by_tau[-1])) if known else ():
        facts |= {
            name: item.change,
            f"{name}_tau": signed(item.agreement.tau),
            f"{name}_seeds": signed(item.seeds_alone),
        }
    return facts
