"""How the claim that a selector has low regret is measured, on the archive and the table `conditions`.

The abstract describes no selector, so ours stands in for it: it sees features and observed labels, and
chooses among the ranked methods of the archive. What it loses is judged on kinds of images that neither the
rule nor the choice of the rule has seen. The criteria are the target of the chapter on choosing a method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.selector_cases import Cases, cases
from noisylib.analysis.selector_check import held_out, judged, nested
from noisylib.book.claims.claim import (
    CLUSTERS,
    OVER_FAMILIES,
    CannotTestError,
    Finding,
    Study,
    ends_text,
    grade,
    interval,
)
from noisylib.book.describe.advice_regret import FIXED, SHARE, TARGET
from noisylib.book.files import results_root
from noisylib.book.tables import method_titles
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.study.advice import HEAD

if TYPE_CHECKING:
    import pandas as pd

METRIC = "balanced_accuracy"
FAMILY = CLUSTERS[OVER_FAMILIES]
# One kind is judged, and a rule is chosen by comparing what it loses on two others or more.
FEWEST = 3
FIXED_CHOICES = ("elr", "cufit")  # those that the benchmark would name as best

CRITERIA = (
    "with our selector, for the abstract describes none, the mean regret on kinds of images left out (best "
    f"minus chosen method, balanced accuracy) is below {100 * TARGET:g} pp, and at most {SHARE:g} times that "
    "of the best fixed method, which is chosen without them as well",
    f"it is below {100 * TARGET:g} pp",
)
ROWS = (
    f"table archive, head {HEAD}, all ranked methods as they are told, with the descriptors of the table "
    "conditions; clean conditions once. Beside them the methods that `recommend` chooses from, told nothing: "
    "table advice"
)


def low_regret(study: Study) -> Finding:
    """Measure what the selector loses on kinds of images that it has not seen.

    Parameters
    ----------
    study : rows of the table "conditions".
    """
    told = told_cases(study.rows)
    lost, rules = held_out_regret(told)
    chosen, fixed = lost["selector"].mean(), lost[FIXED].mean()
    ends = interval(lost, lambda drawn: drawn["selector"].mean(), OVER_FAMILIES)
    below, half = chosen < TARGET, round(chosen - SHARE * fixed, 9) <= 0
    note = [
        f"half of the best fixed method's is {_points(SHARE * fixed)}",
        _spread(lost),
        f"always {', always '.join(_always(told))}",
        _rules(rules),
        _untold(study.rows),
    ]
    return Finding(
        grade(below and half, below),
        f"best fixed method {_points(fixed)}, selector {_points(chosen)}",
        ends_text(ends, 2, 100),
        "; ".join(part for part in note if part),
    )


def told_cases(conditions: pd.DataFrame) -> Cases:
    """Return the archive's conditions and scores with their descriptors, or say what is missing."""
    from noisylib.study.archive import load_archive

    try:
        rows = load_archive(results_root() / "archive.parquet")[0]
    except MissingDataError as absent:
        raise CannotTestError(str(absent).rstrip(".")) from absent
    return _testable(rows[rows["head"] == HEAD], conditions)


def _testable(rows: pd.DataFrame, conditions: pd.DataFrame) -> Cases:
    try:
        found = cases(rows, conditions, score=METRIC)
    except NoisylibError as reason:
        raise CannotTestError(str(reason).rstrip(".")) from reason
    families, methods = len(set(found.family[found.real])), len(found.candidates)
    if families < FEWEST or methods < 2:
        raise CannotTestError(
            f"holding a kind of images out needs {FEWEST} of them and two methods to choose from, and the "
            f"rows have {families} and {methods}"
        )
    return found


def held_out_regret(found: Cases) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return regret, fractions, in every condition that is judged, and the rule chosen without each family.

    Returns
    -------
    Columns family, selector (rule and training rows chosen without the family) and fixed (one method for
    everything, chosen without the family).
    """
    import pandas as pd

    chosen, rules = nested(found)
    lost = {FAMILY: judged(found).family, "selector": chosen, FIXED: held_out(found, FIXED)[0]}
    return pd.DataFrame(lost), {name: rule for name, (rule, _) in rules.items()}


def _spread(lost: pd.DataFrame) -> str:
    regret, kinds = lost["selector"], lost.groupby(FAMILY)["selector"].mean()
    text = (
        f"nine in ten of {len(lost)} conditions lose at most {_points(regret.quantile(0.9))}, the worst "
        f"{_points(regret.max())}"
    )
    if not kinds.max():
        return text
    most = f"{kinds.idxmax()} loses most, {_points(kinds.max())} on average"
    return f"{text}; of {len(kinds)} kinds of images {most}"


def _always(found: Cases) -> list[str]:
    """Return what the best method in hindsight and `FIXED_CHOICES` lose if they are always chosen."""
    regret = dict(zip(found.candidates, judged(found).regret.mean(axis=0), strict=True))
    names = dict.fromkeys([min(regret, key=regret.get), *FIXED_CHOICES])
    titles = method_titles(list(found.candidates))
    said = [f"{titles[name]} {_points(regret[name])}" for name in names if name in regret]
    return [f"{said[0]} (the best in hindsight)", *said[1:]]


def _rules(rules: dict[str, str]) -> str:
    """Return how often the selector's procedure found nothing better than one method for everything."""
    fixed = list(rules.values()).count(FIXED)
    return f"the rule that is chosen is one method for everything {fixed} of {len(rules)} times"


def _untold(conditions: pd.DataFrame) -> str:
    """Return the same of the methods that are recommended, which are told nothing; empty without rows."""
    from noisylib.study.advice_rows import advice_rows

    try:
        lost, _ = held_out_regret(_testable(advice_rows(results_root()), conditions))
    except (MissingDataError, CannotTestError):
        return ""
    return (
        f"among the methods that `recommend` chooses from, which are told nothing of the noise, "
        f"{_points(lost['selector'].mean())}, best fixed method {_points(lost[FIXED].mean())} "
        f"({len(lost)} conditions)"
    )


def _points(value: float) -> str:
    # Not "-0.00" for what rounds to nothing.
    return f"{np.round(100 * value, 2) + 0.0:.2f} pp"
