"""What the page on published claims shows: the rows it stands on, tables of verdicts, and their details."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from noisylib.analysis.scores import condition_blocks
from noisylib.book.claims import published
from noisylib.book.claims.claim import (
    EXPERIMENTS,
    LEVEL,
    UNTESTED,
    VERDICTS,
    Claim,
    Finding,
    Result,
    Study,
)
from noisylib.book.experiments import experiment_rows
from noisylib.book.rows import arm_rows, study_rows
from noisylib.book.tables import NBSP
from noisylib.errors import MissingDataError

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

ABSENT = "\N{EN DASH}"
OURS = "ours"


def load_studies(names: Sequence[str], head: str) -> list[Study]:
    """Return the rows of finished studies that have one head, in the order of `names`."""
    return [Study(name, *study_rows(name, head=head)) for name in dict.fromkeys(names)]


def load_arms(study: Study) -> Study:
    """Return the rows of a study and of the archived arms together; the study's alone without them."""
    import pandas as pd

    try:
        rows, source = arm_rows()
    except MissingDataError:
        return Study(OURS, study.rows, f"{study.source}; no archived arms")
    return Study(OURS, pd.concat([study.rows, rows], ignore_index=True), f"{study.source}; arms: {source}")


def load_tables() -> dict[str, Study]:
    """Return the tables of experiments that are there, by their keys in `claims.EXPERIMENTS`."""
    found = {}
    for table, experiment in EXPERIMENTS.items():
        with suppress(MissingDataError):
            found[table] = Study(experiment, *experiment_rows(table))
    return found


def sources(
    studies: Sequence[Study], claims: Sequence[Claim] = (), tables: Mapping[str, Study] | None = None
) -> str:
    """Return what a caption says of the rows of studies, and of the tables that some claims are about."""
    used = [tables[claim.table] for claim in claims if tables and claim.table in tables]
    return ". ".join(f"{study.name}: {study.source}" for study in [*studies, *used])


def scope_table(studies: Sequence[Study]) -> pd.DataFrame:
    """Return one row per study: what it has, and which of its conditions are distinct or left out."""
    import pandas as pd

    records = []
    for study in studies:
        distinct = condition_blocks(study.rows, distinct=True, incomplete="leave_out").scores
        records.append(
            {
                "Study": f"`{study.name}`",
                "Methods": study.blocks.scores.shape[1],
                "Data sets": study.rows["dataset"].nunique(),
                "Backbones": study.rows["backbone"].nunique(),
                "Seeds": study.blocks.seeds,
                "Conditions": len(study.blocks.scores),
                "Distinct": len(distinct),
                "Left out": len(study.blocks.left_out),
                "Runs": len(study.rows),
            }
        )
    return pd.DataFrame(records)


def verdict_table(results: Sequence[Result]) -> pd.DataFrame:
    """Return claim, verdict, the paper's value and every study's and experiment's, one row per claim."""
    import pandas as pd

    names = measured_on(results)
    return pd.DataFrame(
        [
            {
                "Claim": f"[{r.claim.key}](#claim-{r.claim.key.lower()}) {r.claim.text}",
                "Verdict": verdict_text(r.findings),
                "Paper": r.claim.paper,
            }
            | {name: _cell(r.findings.get(name)) for name in names}
            for r in results
        ]
    )


def measured_on(results: Sequence[Result]) -> list[str]:
    """Return the studies and experiments that any of the claims has a finding of, studies first."""
    names = dict.fromkeys(name for r in results for name in r.findings)
    return sorted(names, key=lambda name: name in EXPERIMENTS.values())


def untested_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Return claim, verdict, the paper's value and what is missing, for claims that nothing measures."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"Claim": f"{c.key} {c.text}", "Verdict": UNTESTED, "Paper": c.paper, "Missing": c.missing}
            for c in claims
        ]
    )


def verdict_text(findings: dict[str, Finding]) -> str:
    """Return the verdict, or one per study where they differ."""
    verdicts = {name: finding.verdict for name, finding in findings.items()}
    if len(set(verdicts.values())) == 1:
        return _strong(next(iter(verdicts.values())))
    return "; ".join(f"{_strong(verdict)} ({name})" for name, verdict in verdicts.items())


def _strong(verdict: str) -> str:
    return verdict if verdict == UNTESTED else f"**{verdict}**"


def _cell(finding: Finding | None) -> str:
    if finding is None or finding.verdict == UNTESTED:
        return ABSENT
    # In a narrow column the interval stands below its value, in one piece.
    ends = finding.interval.replace(" ", NBSP)
    return f"{finding.value} ({ends})" if ends else finding.value


def counts(results: Sequence[Result], name: str) -> str:
    """Return how many claims have which verdict on one study or experiment, as text."""
    found = Counter(r.findings[name].verdict for r in results if name in r.findings)
    verdicts = ", ".join(f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict])
    total = found.total()
    return f"of {total} claim{'' if total == 1 else 's'}, {verdicts}"


def glance(results: Sequence[Result]) -> Markdown:
    """Return one sentence per study or experiment with the number of claims of each verdict."""
    from IPython.display import Markdown

    lines = [f"- **{name}**: {counts(results, name)}." for name in measured_on(results)]
    return Markdown("\n".join(lines))


def details(results: Sequence[Result], open_choices: Mapping[str, str] | None = None) -> Markdown:
    """Return criterion, numbers, interval, rows and chapters of every claim, each under its own label.

    Parameters
    ----------
    open_choices : by key of a claim, how the answer depends on what the paper does not say.
    """
    from IPython.display import Markdown

    open_choices = open_choices or {}
    return Markdown("\n\n".join(_detail(r, open_choices.get(r.claim.key, "")) for r in results))


def _detail(result: Result, depends: str) -> str:
    claim = result.claim
    lines = [
        f"(claim-{claim.key.lower()})=",
        f"**{claim.key}. {claim.text}.** Paper: {claim.paper}.{_criterion(claim)}",
        "",
    ]
    lines += [f"- {name}: {_sentence(finding)}" for name, finding in _distinct(result.findings).items()]
    lines += [f"- Left open: {depends}"] if depends else []
    where = f"Rows: {claim.rows}. " if claim.rows else ""
    if claim.over:
        where += f"Interval: {100 * LEVEL:g} % percentile bootstrap over {claim.over}. "
    if claim.pages:
        where += "See " + ", ".join(f"[{title}]({file})" for title, file in claim.pages) + "."
    return "\n".join([*lines, f"- {where.strip()}"] if where else lines)


def _criterion(claim: Claim) -> str:
    if claim.measure is None:
        return ""
    return f" *Reproduced if* {claim.full}; *partly if* {claim.partly}."


def _distinct(findings: dict[str, Finding]) -> dict[str, Finding]:
    """Return the findings with studies that say the same under one name."""
    if len(set(findings.values())) == 1:
        return {", ".join(findings): next(iter(findings.values()))}
    return findings


def _sentence(finding: Finding) -> str:
    if finding.verdict == UNTESTED:
        return f"{UNTESTED}: {finding.note}."
    interval = f" ({finding.interval})" if finding.interval else ""
    return (
        f"{_strong(finding.verdict)}. {finding.value}{interval}{'; ' if finding.note else ''}{finding.note}."
    )


def turn_table() -> pd.DataFrame:
    """Return the printed accuracies of TURN's paper on CIFAR-100, three backbones in each cell."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"Training": name}
            | {
                noise: " / ".join(f"{v:.2f}" for v in published.accuracies(name, noise))
                for noise in published.NOISES
            }
            for name in published.CIFAR100
        ]
    )
