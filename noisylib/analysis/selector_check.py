"""What a selector loses on kinds of images it has never seen, against choosing one method for everything.

Every number is held out by family: the rule, which rule it is, and which conditions it learns from are all
settled without the family it is judged on. A choice is made from each draw of the labels, judged by the mean
scores of the condition, and averaged over draws. Only whole banks of images are judged; conditions with
fewer samples and made-up data may be learned from.

With five families an interval over families is rough, and rather too narrow. Intervals resample what the
rules lose; they do not fit the rules again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.selector_cases import Cases
from noisylib.analysis.selector_rules import RULES, choose, expected_regret, learn
from noisylib.errors import NoisylibError, check_name
from noisylib.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd

# Mean regrets closer than this are a tie: scores of other seeds move them by about as much.
TIE = 0.001
LEVEL = 0.95


def judged(cases: Cases) -> Cases:
    """Return the whole banks of images, in order: the conditions that all held-out numbers are about."""
    if len(np.unique(cases.family[cases.real])) < 2:
        raise NoisylibError("Leaving a family out needs conditions of two families or more.")
    return cases.only(cases.real)


def held_out(
    cases: Cases, rule: str, rows: str = "archived", *, leave: str = "family"
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a rule chooses and expects where it has not learned from the family.

    Parameters
    ----------
    leave : "family", or "bank": then other backbones and other data sets of the family are learned from,
        which tells how much of the loss is due to a new kind of image.

    Returns
    -------
    lost : (m,) mean regret of its choices in each condition of `judged`.
    surprise : (m, S, k) regret minus expected regret; NaN where a draw is not there.
    """
    check_name("rule", rule, RULES)
    check_name("leave", leave, ["family", "bank"])
    test, groups = judged(cases), getattr(cases, leave)
    lost, surprise = np.empty(len(test)), np.full((*test.seen.shape[:2], len(cases.candidates)), np.nan)
    own = getattr(test, leave)
    for group in np.unique(own):
        train, here = cases.only(cases.learned(rows) & (groups != group)), own == group
        lost[here], surprise[here] = _judge(train, test.only(here), rule)
    return lost, surprise


def _judge(train: Cases, test: Cases, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Return `held_out` for one left-out group."""
    known, there = learn(rule, train), np.isfinite(test.seen).all(axis=2)  # (m, S)
    queries, condition = test.seen[there], np.nonzero(there)[0]
    chosen = choose(rule, known, train.regret, queries)
    each = test.regret[condition, chosen]
    lost = np.bincount(condition, each, len(test)) / np.bincount(condition, minlength=len(test))
    surprise = np.full((*there.shape, len(test.candidates)), np.nan)
    surprise[there] = test.regret[condition] - expected_regret(rule, known, train.regret, queries)
    return lost, surprise


def best_rule(cases: Cases) -> tuple[str, str]:
    """Return the rule and the training rows to use: the simplest that is about as good as the best.

    Means of held-out regret, families counting alike, are about as good if they differ by less than `TIE`
    or by less than one standard error of the difference over families. Fewer training rows are simpler than
    more, then rules in the order of `RULES`. Source: the rule of one standard error, Breiman et al. 1984,
    Classification and Regression Trees, section 3.4.3.
    """
    names, family = np.unique(judged(cases).family, return_inverse=True)
    options = [(rule, rows) for rows in cases.training_sets for rule in RULES]
    lost = [np.bincount(family, held_out(cases, *option)[0]) / np.bincount(family) for option in options]
    means = np.mean(lost, axis=1)
    over = np.array(lost) - lost[int(np.argmin(means))]  # (options, families)
    error = over.std(axis=1, ddof=1) / np.sqrt(len(names))
    return options[int(np.argmax(over.mean(axis=1) <= np.maximum(TIE, error)))]


def nested(cases: Cases) -> tuple[np.ndarray, dict[str, tuple[str, str]]]:
    """Return the regret (m,) of the whole procedure in each condition of `judged`, and what it chose.

    For each family, rule and training rows are chosen by `best_rule` among the others.
    """
    test = judged(cases)
    lost, chosen = np.empty(len(test)), {}
    for name in np.unique(test.family):
        others = cases.only(cases.family != name)
        rule, rows = chosen[str(name)] = best_rule(others)
        train, here = others.only(others.learned(rows)), test.family == name
        lost[here] = _judge(train, test.only(here), rule)[0]
    return lost, chosen


def selector_regret(cases: Cases) -> pd.DataFrame:
    """Return (m, selectors) regret per judged condition: the selector, each rule, and what to compare with.

    "selector" is `nested`; a rule by name learns from archived rows; "always NAME" is one candidate; "random"
    is a choice by lot, expected; "oracle" knows the best.
    """
    import pandas as pd

    test = judged(cases)
    columns = {"selector": nested(cases)[0]}
    columns |= {rule: held_out(cases, rule)[0] for rule in RULES}
    columns |= {f"always {name}": test.regret[:, j] for j, name in enumerate(cases.candidates)}
    columns |= {"random": test.regret.mean(axis=1), "oracle": test.regret.min(axis=1)}
    index = pd.MultiIndex.from_arrays([test.family, test.bank], names=["family", "bank"])
    return pd.DataFrame(columns, index=index)


def selector_table(lost: pd.DataFrame, *, n: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Return mean, 90th percentile and maximum of regret per selector, with intervals; fractions.

    Parameters
    ----------
    lost : from `selector_regret`.
    n : resamples of banks, and of families, each drawn whole with replacement.

    Returns
    -------
    Index selector; mean, p90, max; for both clusters mean_low_bank, mean_high_bank, p90_low_bank, ...; and
    `over_fixed`, the mean minus that of the best fixed method known without the family, with its intervals.
    """
    import pandas as pd

    table = pd.DataFrame(
        {"mean": lost.mean(), "p90": lost.quantile(0.9), "max": lost.max()}, index=lost.columns
    )
    table["over_fixed"] = table["mean"] - table.loc["fixed", "mean"]
    for cluster in ("bank", "family"):
        means, p90 = _resampled(lost, cluster, n, seed)
        for name, drawn in (("mean", means), ("p90", p90), ("over_fixed", means - means[:, [_fixed(lost)]])):
            low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
            table[f"{name}_low_{cluster}"], table[f"{name}_high_{cluster}"] = low, high
    return table.rename_axis("selector")


def extension_table(cases: Cases, *, n: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Return what more training rows change: held-out regret of every rule on the same judged conditions.

    Columns rule, rows, conditions (learned from at most), mean, and `change`: the mean minus that of the
    same rule on archived rows, with its intervals over banks and over families. Fractions; negative is
    better.
    """
    import pandas as pd

    test, found = judged(cases), []
    index = pd.MultiIndex.from_arrays([test.family, test.bank], names=["family", "bank"])
    for rule in RULES:
        base = held_out(cases, rule)[0]
        for rows in cases.training_sets:
            change = pd.DataFrame({"change": held_out(cases, rule, rows)[0] - base}, index=index)
            row = {"rule": rule, "rows": rows, "conditions": int(cases.learned(rows).sum())}
            row |= {"mean": float((change["change"] + base).mean()), "change": float(change["change"].mean())}
            for cluster in ("bank", "family"):
                drawn = _resampled(change, cluster, n, seed)[0][:, 0]
                low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
                row |= {f"low_{cluster}": float(low), f"high_{cluster}": float(high)}
            found.append(row)
    return pd.DataFrame(found)


def _fixed(lost: pd.DataFrame) -> int:
    return int(lost.columns.get_loc("fixed"))


def _resampled(lost: pd.DataFrame, cluster: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and 90th percentile (n, selectors) each, over clusters drawn with replacement.

    The percentile is the smallest value that nine tenths of the drawn conditions do not exceed.
    """
    values, groups = lost.to_numpy(), lost.index.get_level_values(cluster)
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise NoisylibError(f"A bootstrap over {cluster} needs two of them, there is {len(names)}.")
    generator = numpy_generator("selector-bootstrap", cluster, seed)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)  # (n, C)
    times = drawn[:, member]  # (n, m)
    total = times.sum(axis=1)
    p90 = np.empty((n, values.shape[1]))
    for j, column in enumerate(values.T):
        order = np.argsort(column, kind="stable")
        below = np.cumsum(times[:, order], axis=1)
        p90[:, j] = column[order][np.argmax(below >= 0.9 * total[:, None], axis=1)]
    return times @ values / total[:, None], p90
