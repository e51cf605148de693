"""Patterns of TURN's tables, asked of backbones that were fine-tuned on small sets of medical images.

As the analogues on frozen features these are not the paper's claims: images, backbone, image size and the
number of images differ. Where a noise of the paper was run, it is held against the same noise. Criteria
follow from the paper's numbers alone, and each measure takes the score, of which the paper has accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from noisylib.book.claims import turn_rows as rows_of
from noisylib.book.claims.claim import CannotTestError, Claim, Finding, Study, ends_text, grade
from noisylib.book.claims.published import CIFAR100, FFT_ABOVE, FFT_BELOW, lead
from noisylib.book.claims.turn import ASYM4, ELR_GAPS, INST4, SYM6, SYM9, best_in_all, points, share
from noisylib.book.claims.turn_rows import PROBES, TABLE, TUNED, TURN, Estimate, Noise
from noisylib.book.describe.banks import bank_title
from noisylib.book.tables import DAGGER

SYMMETRIC_60, SYMMETRIC_90 = ("symmetric", 0.6), ("symmetric", 0.9)
ASYMMETRIC_40, INSTANCE_40 = ("asymmetric", 0.4), ("instance", 0.4)
PAPER_NOISES = {SYM6: SYMMETRIC_60, SYM9: SYMMETRIC_90, ASYM4: ASYMMETRIC_40, INST4: INSTANCE_40}
OVER_PAIRS = "pairs of data set and seed"
PAGES = (("LP, FFT or TURN?", "lp_fft_turn.ipynb"),)
Measure = Callable[[Study], Finding]
FULL = "our mean lead is at least half of the paper's mean, and its interval lies above 0"
PARTLY = "one of the two"


def paper_row(label: str) -> str:
    """Return what the paper's table calls a row of ours."""
    return label.replace("-", " ", 1)


def paper_leads_over_best(rivals: Sequence[str]) -> tuple[float, ...]:
    """Return TURN minus the best of other rows in every column of the printed CIFAR-100 table."""
    best = np.max([CIFAR100[paper_row(name)] for name in rivals], axis=0)
    return tuple(np.round(np.asarray(CIFAR100[TURN]) - best, 2).ravel().tolist())


def exceeds(
    better: str,
    worse: str,
    noise: Noise,
    paper: tuple[float, ...],
    other: Noise | None = None,
    score: str = "accuracy",
) -> Measure:
    """Return the measure of a lead; the paper's leads, one per backbone, set what it is held against."""

    def measure(study: Study) -> Finding:
        found = rows_of.leads(rows_of.score_table(study.rows, score), better, worse, noise, other)
        return graded(rows_of.over_pairs(found), paper)

    return measure


def exceeds_best(rivals: Sequence[str], paper: tuple[float, ...], score: str = "accuracy") -> Measure:
    """Return the measure of TURN's lead over the best of other rows, over all noises."""

    def measure(study: Study) -> Finding:
        table = rows_of.score_table(study.rows, score)
        return graded(rows_of.over_pairs(rows_of.lead_over_best(table, TURN, tuple(rivals))), paper)

    return measure


def graded(found: Estimate, paper: tuple[float, ...]) -> Finding:
    """Return the finding of a mean lead in points: half of the paper's mean, and an interval above 0."""
    large = round(found.mean - np.mean(paper) / 2, 9) >= 0
    same_way = found.ends is not None and found.ends[0] > 0
    return Finding(
        grade(large and same_way, large or same_way),
        f"{found.mean:+.1f} pp",
        ends_text(found.ends, 1),
        _note(found, "{:+.1f}"),
    )


def stays_close(
    first: str, second: str, noises: Sequence[Noise], paper: tuple[float, ...], score: str = "accuracy"
) -> Measure:
    """Return the measure of how close two rows are; `paper` holds its differences in points."""
    import pandas as pd

    def measure(study: Study) -> Finding:
        table = rows_of.score_table(study.rows, score)
        there = [noise for noise in noises if noise in rows_of.noises_of(table)]
        if not there:
            raise CannotTestError("none of the paper's noises is among the rows")
        found = rows_of.over_pairs(pd.concat([rows_of.leads(table, first, second, n).abs() for n in there]))
        sizes = np.abs(paper)
        verdict = grade(found.mean <= sizes.mean(), found.mean <= sizes.max())
        return Finding(verdict, f"{found.mean:.1f} pp", ends_text(found.ends, 1), _note(found, "{:.1f}"))

    return measure


def is_best(label: str, score: str = "accuracy") -> Measure:
    """Return the measure of how often a row has the highest score; the interval is that of single runs."""

    def measure(study: Study) -> Finding:
        table = rows_of.score_table(study.rows, score)
        if label not in table:
            raise CannotTestError(f"{label} is not among the rows")
        columns = rows_of.wins(rows_of.column_means(table)).sum()
        n, won = columns.sum(), columns[label]
        runs = rows_of.over_pairs(100 * rows_of.wins(rows_of.complete(table))[label])
        most = won > columns.drop(label).max()
        note = (
            f"next: {columns.drop(label).idxmax()} with {columns.drop(label).max():g}; the interval is of "
            f"single runs, of which chance would give it 1 in {table.shape[1]}"
        )
        value = f"{won:g} of {n:g} columns, {runs.mean:.0f} % of runs"
        verdict = grade(won >= n / 2 and most, most)
        return Finding(verdict, value, ends_text(runs.ends, 0), note)

    return measure


def _note(found: Estimate, form: str) -> str:
    each = ", ".join(f"{bank_title(name)} {form.format(value)}" for name, value in found.by_dataset.items())
    whole = ends_text(found.set_ends, 1)
    sets = f"; interval over whole data sets {whole}" if whole else ""
    return f"{each}; {found.pairs} pairs of data set and seed{sets}"


def _lead(
    key: str,
    text: str,
    better: str,
    worse: str,
    noise: str,
    other: str = "",
    score: str = "accuracy",
    more: str = "",
) -> Claim:
    """Return the analogue of a lead of one printed row over another under one noise of the paper."""
    paper = lead(paper_row(better), paper_row(worse), noise, other)
    under = f"{noise} against {other}" if other else noise
    return Claim(
        key, text, points(paper) + more, FULL, PARTLY, f"table {TABLE}: {better} and {worse}, {under}",
        OVER_PAIRS, PAGES,
        exceeds(better, worse, PAPER_NOISES[noise], paper, PAPER_NOISES.get(other), score), table=TABLE,
    )  # fmt: skip


def _over_best(key: str, text: str, rivals: Sequence[str], score: str) -> Claim:
    paper = paper_leads_over_best(rivals)
    return Claim(
        key, text, f"{np.mean(paper):+.1f} pp on average, {min(paper):+.1f} to {max(paper):+.1f}",
        FULL, PARTLY, f"table {TABLE}: {TURN} against the best of {', '.join(rivals)}, chosen in hindsight "
        "for each data set and noise; all noises", OVER_PAIRS, PAGES,
        exceeds_best(rivals, paper, score), table=TABLE,
    )  # fmt: skip


def tuned_claims(score: str = "accuracy") -> tuple[Claim, ...]:
    """Return the analogues on fine-tuned backbones, all measured by one score."""
    best = Claim(
        "A8", "TURN is best", best_in_all(), "it is best in at least half of the columns, and in more than "
        "any other row", "it is best in more columns than any other row", f"table {TABLE}: columns are data "
        "sets and noises, scores are means over seeds", OVER_PAIRS, PAGES, is_best(TURN, score), table=TABLE,
    )  # fmt: skip
    close = Claim(
        "A14", "LP-ELR is close to LP-CE",
        f"{np.mean(np.abs(ELR_GAPS)):.1f} pp on average, {np.max(np.abs(ELR_GAPS)):.1f} at most",
        "our mean distance is at most the paper's mean", "it is at most the paper's largest",
        f"table {TABLE}: LP-ELR and LP-CE under those noises of the paper that were run", OVER_PAIRS, PAGES,
        stays_close("LP-ELR", "LP-CE", tuple(PAPER_NOISES.values()), ELR_GAPS, score), table=TABLE,
    )  # fmt: skip
    above, below = f"; {share(FFT_ABOVE)}", f"; {share(FFT_BELOW)}"
    return (
        best,
        _over_best("A9", "TURN is above the best linear probe", PROBES, score),
        _over_best("A10", "TURN is above the best fine-tuning of all labels", TUNED, score),
        _lead(
            "A11", "LP-CE loses from symmetric 60 % to asymmetric 40 %", "LP-CE", "LP-CE", SYM6, ASYM4, score
        ),
        _lead("A12", "LP-GCE is above LP-CE at symmetric 90 %", "LP-GCE", "LP-CE", SYM9, score=score),
        _lead("A13", "LP-GCE is below LP-CE under instance noise", "LP-CE", "LP-GCE", INST4, score=score),
        close,
        _lead("A15", f"LP-DivideMix{DAGGER} is above LP-CE", "LP-DivideMix", "LP-CE", ASYM4, score=score),
        _lead("A16", "LP-UNICON is above LP-CE", "LP-UNICON", "LP-CE", ASYM4, score=score),
        _lead("A17", "FFT-CE is above LP-CE at symmetric 60 %", "FFT-CE", "LP-CE", SYM6, "", score, above),
        _lead("A18", "FFT-CE is below LP-CE at symmetric 90 %", "LP-CE", "FFT-CE", SYM9, "", score, below),
        _lead("A19", "FFT-GCE is below FFT-CE under instance noise", "FFT-CE", "FFT-GCE", INST4, score=score),
    )  # fmt: skip


TUNED_ANALOGUES = tuned_claims()
