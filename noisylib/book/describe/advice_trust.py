"""When not to trust the advice: kinds of images left out, how far they were, and what that cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.selector_cases import KEY, Cases
from noisylib.analysis.selector_check import best_rule, held_out, judged
from noisylib.analysis.selector_rules import RULES, Known
from noisylib.book.describe.advice import points
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overview import backbone_title

if TYPE_CHECKING:
    import pandas as pd


def family_frame(found: Cases, lost: pd.DataFrame) -> pd.DataFrame:
    """Return one row per family: data sets, backbones, conditions, distance, regrets; fractions.

    `distance` is the median over conditions to the nearest condition of another family, root mean square
    over standardised inputs; `selector` and `fixed` the mean regret with the family left out; `bank` that of
    the selector's rule for all families if only the bank itself is left out, so that the rule knows other
    backbones and data sets of the kind.
    """
    import pandas as pd

    test, records = judged(found), []
    rule, rows = best_rule(found)
    near = held_out(found, rule, rows, leave="bank")[0]
    for name in np.unique(test.family):
        here, others = test.family == name, found.only(found.family != name)
        distances = Known(others.X, others.weights).distances(test.X[here]).min(axis=1)
        own = lost.loc[here]
        records.append(
            {
                "family": str(name),
                "datasets": _unique(test.only(here), "dataset"),
                "backbones": _unique(test.only(here), "backbone"),
                "conditions": int(here.sum()),
                "distance": float(np.median(distances)),
                "selector": float(own["selector"].mean()),
                "highest": float(own["selector"].max()),
                "fixed": float(own["fixed"].mean()),
                "bank": float(near[here].mean()),
            }
        )
    return pd.DataFrame(records)


def _unique(found: Cases, column: str) -> list[str]:
    place = KEY.index(column)
    return list(dict.fromkeys(condition[place] for condition in found.conditions))


def family_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame as readers see it, points."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Left out": row["family"].capitalize(),
            "Data sets": ", ".join(map(bank_title, row["datasets"])),
            "Conditions": str(row["conditions"]),
            "Distance": f"{row['distance']:.2f}",
            "Selector": points(row["selector"], 2),
            "Highest": points(row["highest"], 2),
            "Best fixed": points(row["fixed"], 2),
            "Bank left out": points(row["bank"], 2),
        }
        for row in frame.to_dict("records")
    )


def trust_text(frame: pd.DataFrame) -> str:
    """Return which family was hardest, and whether distance would have warned of it."""
    worst, far = frame.loc[frame["selector"].idxmax()], frame.loc[frame["distance"].idxmax()]
    text = (
        f"Left out, {worst['family']} images cost most, {points(worst['selector'], 2)} points on average and "
        f"at most {points(worst['highest'], 2)}. "
    )
    if worst["family"] == far["family"]:
        return text + "They are also the ones farthest from all others, so distance would have warned."
    return text + (
        f"Farthest from all others are {far['family']} images, which cost {points(far['selector'], 2)}: "
        "distance alone does not tell where the advice fails."
    )


def backbones(found: Cases) -> str:
    """Return the titles of the backbones, as a list in words."""
    names = [backbone_title(name) for name in _unique(judged(found), "backbone")]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def rules_by_family(chosen: dict[str, tuple[str, str]]) -> str:
    """Return which rule was chosen without each family, a sentence.

    Parameters
    ----------
    chosen : from `selector_check.nested`.
    """
    rules = [rule for rule, _ in chosen.values()]
    if len(set(rules)) == 1:
        return f"Whichever family is left out, the others choose the same rule: {RULES[rules[0]].title}."
    parts = [f"without {name}, {RULES[rule].title}" for name, (rule, _) in chosen.items()]
    return f"Which rule the others choose depends on the family that is left out: {'; '.join(parts)}."
