"""What the chapter on the choice of a method reads, and how it names metrics and choices of methods."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from noisylib.analysis.selector_cases import KEY, Cases, cases
from noisylib.analysis.selector_fit import DEAR, pool_candidates
from noisylib.book.describe.advice_rate import held_out_estimates
from noisylib.book.describe.advice_regimes import table_regret
from noisylib.book.files import results_root
from noisylib.book.tables import DAGGER, NBSP, method_titles
from noisylib.candidates import CANDIDATES
from noisylib.study.advice import HEAD

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.advice_parameters import AdviceParameters

METRICS = {"balanced_accuracy": "balanced accuracy", "accuracy": "accuracy"}


@dataclass(frozen=True, eq=False)
class Advice:
    """Archived rows and what is asked of them.

    Attributes
    ----------
    metric, candidates : what the choice is to be best at, and what it is made from.
    rows : one per run, of the candidates; told nothing that nobody knows.
    told : rows of the archive, whose methods are told what a benchmark tells them.
    conditions : descriptors of every condition and seed, with `estimate`, the noise rate as it is estimated
        by a rule that has not seen the family.
    source : what captions say.
    """

    metric: str
    candidates: tuple[str, ...]
    rows: pd.DataFrame
    told: pd.DataFrame
    conditions: pd.DataFrame
    source: str

    @property
    def pools(self) -> tuple[str, ...]:
        """Choices of methods: all that are asked for, those that train fast, and the archive's own."""
        cheap = pool_candidates(self.candidates, "cheap")
        return ("all", "cheap", "told") if 1 < len(cheap) < len(self.candidates) else ("all", "told")


def load(params: AdviceParameters) -> Advice:
    """Read the tables of scores and descriptors.

    Raises
    ------
    MissingDataError, NoisylibError
        One is not there, damaged or incomplete.
    """
    from noisylib.study.advice_rows import advice_rows
    from noisylib.study.archive import load_archive
    from noisylib.study.refit import condition_rows, digests

    results = results_root()
    everything, archived = advice_rows(results), load_archive(Path(results) / "archive.parquet")[0]
    rows = everything[everything["candidate"].isin(params.candidates)].reset_index(drop=True)
    told = archived[archived["head"] == HEAD].reset_index(drop=True)
    checksums = ", ".join(f"{Path(name).stem} {text[:8]}" for name, text in digests(results).items())
    seeds = f"{rows['seed'].nunique()} seeds"
    source = f"{len(rows):,} runs, {seeds}, {HEAD} head; checksums: {checksums}."
    conditions = held_out_estimates(condition_rows(results))
    return Advice(params.metric, tuple(params.candidates), rows, told, conditions, source)


@cache
def pool_cases(advice: Advice, metric: str, pool: str) -> Cases:
    """Return the conditions, with the scores of one choice of methods."""
    if pool == "told":
        return cases(advice.told, advice.conditions, score=metric)
    if pool == "all":
        return cases(advice.rows, advice.conditions, score=metric)
    everything = pool_cases(advice, metric, "all")
    return everything.among(pool_candidates(everything.candidates, pool))


@cache
def lost(advice: Advice, metric: str, pool: str) -> pd.DataFrame:
    """Return what every way to choose loses in each whole bank's condition, families held out.

    Columns of `selector_regret`, and "table": the rows of the decision table, made without the family.
    """
    from noisylib.analysis.selector_check import selector_regret

    found = pool_cases(advice, metric, pool)
    return selector_regret(found).assign(table=table_regret(found, advice.conditions)[found.real])


def title(key: str) -> str:
    """Return what readers call a candidate, "told nothing" and the like left to the text."""
    return CANDIDATES[key].title.split(",")[0] if key in CANDIDATES else key


def pool_rows(advice: Advice, pool: str) -> pd.DataFrame:
    """Return the runs of one choice of methods."""
    if pool == "told":
        return advice.told
    return advice.rows[advice.rows["candidate"].isin(pool_candidates(advice.candidates, pool))]


def pool_titles(advice: Advice, pool: str = "all") -> dict[str, str]:
    """Return the titles of methods by key; those of the archive have a dagger where they are told."""
    if pool == "told":
        return method_titles(list(advice.told["method"].unique()))
    return {key: title(key) for key in pool_candidates(advice.candidates, pool)}


def pool_title(pool: str) -> str:
    """Return a choice of methods in words."""
    dear = " and ".join(title(key) for key in DEAR)
    return {"all": "all candidates", "cheap": f"without {dear}", "told": "told, as in the archive"}[pool]


def slower(advice: Advice) -> str:
    """Return how much longer the dear candidates train than cross entropy in the archive; may be empty."""
    seconds = advice.told.groupby(["dataset", "backbone", "method"])["seconds"].mean().unstack()
    times = seconds.div(seconds["ce"], axis=0).median()
    said = [f"{title(key)} trains {times[key]:.0f} times" for key in DEAR if key in advice.candidates]
    return f"{' and '.join(said)} as long as cross entropy." if said else ""


def told_note(advice: Advice) -> str:
    """Return how candidates do without being told of the noise what a benchmark tells them; may be empty."""
    parts = []
    if "dividemix" in advice.candidates:
        parts.append("DivideMix has its authors' setting for real noise")
    given = [title(key) for key in advice.candidates if CANDIDATES[key].given]
    if given:
        parts.append(f"{' and '.join(given)} is given the estimated rate")
    return f"In place of facts that nobody knows, {' and '.join(parts)}." if parts else ""


def facts(advice: Advice) -> dict[str, object]:
    """Return what text and captions say of the rows."""
    found = pool_cases(advice, advice.metric, "all")
    where = {name: {c[KEY.index(name)] for c in found.conditions} for name in ("dataset", "backbone")}
    whole = found.only(found.real)
    return {
        "metric": METRICS[advice.metric],
        "other_metric": next(text for key, text in METRICS.items() if key != advice.metric),
        "candidates": len(advice.candidates),
        "whole": int(found.real.sum()),
        "parts": int((found.learned("variants") & ~found.real).sum()),
        "made": int((~found.learned("variants")).sum()),
        "images": int(found.learned("variants").sum()),
        "families": len(set(whole.family)),
        "family_names": " and ".join(_listed(sorted(set(whole.family)))),
        "datasets": len(where["dataset"] - {"bed"}),
        "source": advice.source,
        "draws": _drawn(advice),
        "nothing": told_note(advice),
        "told_source": f"{len(advice.told):,} archived runs; {DAGGER} is told of the injected noise.",
    }


def _drawn(advice: Advice) -> str:
    seeds, stated = advice.conditions["seed"].nunique(), advice.source.split("conditions ")[-1]
    return f"{len(advice.conditions):,} draws of labels, {seeds} seeds; checksum: conditions {stated}"


def _listed(names: list[str]) -> list[str]:
    return [", ".join(names[:-1]), names[-1]] if len(names) > 1 else names


def points(value: float, digits: int = 1) -> str:
    """Return a fraction in points, without "-0.0"."""
    return f"{round(100 * value, digits) + 0.0:.{digits}f}"


def span(value: float, low: float, high: float, digits: int = 2) -> str:
    """Return a fraction in points with an interval, in one piece."""
    return f"{points(value, digits)}{NBSP}[{points(low, digits)},{NBSP}{points(high, digits)}]"


def pool_heading(pool: str) -> str:
    """Return a choice of methods as a heading."""
    words = pool_title(pool)
    return words[0].upper() + words[1:]
