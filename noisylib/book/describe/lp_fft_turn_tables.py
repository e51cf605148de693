"""Tables of the chapter on LP, FFT and TURN: percent, from fractions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims import published
from noisylib.book.claims import turn_rows as rows_of
from noisylib.book.claims.claim import UNTESTED, Result
from noisylib.book.claims.turn_rows import NOISE, SET, Noise
from noisylib.book.claims.turn_tuned import paper_row
from noisylib.book.describe.lp_fft_turn_archive import SCORES, paper_wins, set_titles, shared_noises, shown
from noisylib.book.describe.lp_fft_turn_cost import number, with_cost
from noisylib.book.describe.overlap_tables import noise_words
from noisylib.book.tables import NBSP, mean_sd, show

if TYPE_CHECKING:
    import pandas as pd


def live_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return scores, seconds and operations of one condition, one line per row of the table."""
    import pandas as pd

    costs = with_cost(rows)
    scores = {score: rows_of.score_table(rows, score) for score in SCORES}
    labels = list(scores["accuracy"])
    table: dict[str, list[str]] = {"Training": [shown(label) for label in labels]}
    for score, title in SCORES.items():
        table[title.capitalize()] = [
            mean_sd(scores[score][name].mean(), scores[score][name].std()) for name in labels
        ]
    means = costs.groupby("label")[["total_seconds", "flops"]].mean()
    table["Seconds"] = [number(means.at[name, "total_seconds"]) for name in labels]
    table["GFLOPs"] = [number(means.at[name, "flops"] / 1e9) for name in labels]
    return pd.DataFrame(table)


def condition_table(rows: pd.DataFrame, key: tuple[str, str, int], score: str) -> pd.DataFrame:
    """Return the rows of the paper's table x the noises of one data set, "mean ± sd", the best in bold."""
    import pandas as pd

    scores = rows_of.score_table(rows[(rows[SET] == list(key)).all(axis=1)], score)
    table = {"Training": [shown(label) for label in scores]}
    for noise in rows_of.noises_of(scores):
        seeds = pd.DataFrame({label: _seeds(scores, label, noise) for label in scores})
        means, best = seeds.mean().round(1), seeds.mean().round(1).max()
        bold = means.nunique() > 1
        table[noise_words(*noise).capitalize()] = [
            "" if np.isnan(means[label])
            else _bold(mean_sd(seeds[label].mean(), seeds[label].std()), bold and means[label] == best)
            for label in scores
        ]  # fmt: skip
    return pd.DataFrame(table)


def _seeds(scores: pd.DataFrame, label: str, noise: Noise) -> pd.Series:
    """Return the scores of one row of the table under one noise, NaN where it was not run."""
    kind, rate = (scores.index.get_level_values(name) for name in NOISE)
    return scores.loc[(kind == noise[0]) & (rate == noise[1]), label]


def _bold(text: str, best: bool) -> str:
    return f"**{text}**" if best else text


def beside_table(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return the rows of the paper's table: our mean over data sets beside its numbers, by shared noise.

    Ours is "mean ± sd" over seeds of the mean over those data sets that have the noise; the paper's are
    its three backbones.
    """
    import pandas as pd

    table = rows_of.score_table(rows, score)
    labels = list(table)
    shown_rows: dict[str, list[str]] = {"Training": [shown(label) for label in labels]}
    for name, noise in shared_noises(rows).items():
        there = (table.reset_index()[NOISE] == list(noise)).all(axis=1).to_numpy()
        seeds = table[there].groupby(level="seed").mean()
        shown_rows[f"{noise_words(*noise).capitalize()}: ours"] = [
            mean_sd(seeds[label].mean(), seeds[label].std()) for label in labels
        ]
        shown_rows[f"{noise_words(*noise).capitalize()}: paper"] = [
            " / ".join(f"{value:.1f}" for value in published.accuracies(paper_row(label), name))
            for label in labels
        ]
    return pd.DataFrame(shown_rows)


def wins_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return in how many columns each row is best, ours by both scores, and the paper's; and mean ranks."""
    import pandas as pd

    table: dict[str, list[str]] = {}
    for score, title in SCORES.items():
        means = rows_of.column_means(rows_of.score_table(rows, score))
        won, ranks = rows_of.wins(means).sum(), means.rank(axis=1, ascending=False).mean()
        labels = list(means)
        table["Training"] = [shown(label) for label in labels]
        table[f"Best, {title}"] = [f"{won[label]:.4g}" for label in means]
        table[f"Mean rank, {title}"] = [f"{ranks[label]:.2f}" for label in means]
    paper = paper_wins()
    table["Best, paper"] = [f"{paper[label]:.4g}" for label in labels]
    return pd.DataFrame(table)


def verdict_table(found: dict[str, list[Result]]) -> pd.DataFrame:
    """Return claim, the paper's value, and by each score ours with its interval and the verdict."""
    import pandas as pd

    first = next(iter(found.values()))
    table = {
        "Pattern": [f"{result.claim.key} {result.claim.text}" for result in first],
        "Paper": [result.claim.paper for result in first],
    }
    for score, results in found.items():
        title = SCORES[score].capitalize()
        findings = [next(iter(result.findings.values())) for result in results]
        table[title] = [_value(finding.value, finding.interval) for finding in findings]
        table[f"Verdict, {SCORES[score]}"] = [
            finding.verdict if finding.verdict == UNTESTED else f"**{finding.verdict}**"
            for finding in findings
        ]
    return pd.DataFrame(table)


def _value(value: str, ends: str) -> str:
    if not value:
        return "\N{EN DASH}"
    return f"{value} ({ends.replace(' ', NBSP)})" if ends else value


def gains_table(by_set: pd.DataFrame, titles: dict[tuple[str, str, int], str]) -> pd.DataFrame:
    """Return one row per data set: TURN's lead over each rival, range over seeds, and columns ahead."""
    import pandas as pd

    records = []
    for key, title in titles.items():
        record: dict[str, object] = {"Data set": title}
        for rival in by_set["rival"].unique():
            same = (by_set[["rival", *SET]] == [rival, *key]).all(axis=1)
            if not same.any():
                record |= {f"Over {rival} (pp)": "", f"Ahead of {rival}": ""}
                continue
            row = by_set[same].iloc[0]
            span = f"{row['low']:+.1f}{NBSP}to{NBSP}{row['high']:+.1f}"
            record[f"Over {rival} (pp)"] = f"{row['mean']:+.1f} ({span})"
            record[f"Ahead of {rival}"] = f"{row['ahead']} of {row['columns']}"
        records.append(record)
    return pd.DataFrame(records)


def claim_details(found: dict[str, list[Result]], score: str) -> str:
    """Return criterion and numbers of every pattern by one score, as a list."""
    lines: list[str] = []
    for result in found[score]:
        claim, finding = result.claim, next(iter(result.findings.values()))
        measured = f": {finding.note}" if finding.note else ""
        lines.append(
            f"- **{claim.key} {claim.text}**, {finding.verdict}{measured}. *Reproduced if* {claim.full}; "
            f"*partly if* {claim.partly}. Rows: {claim.rows}."
        )
    return "\n".join(lines)


def condition_tables(rows: pd.DataFrame, score: str, captions: Sequence[str] = ()) -> str:
    """Return one captioned table per data set, after another.

    Parameters
    ----------
    captions : what follows the title of each data set in its caption; the last one is used for the rest.
    """
    texts = []
    for i, (key, title) in enumerate(set_titles(rows).items()):
        more = captions[min(i, len(captions) - 1)] if captions else ""
        caption = f"{title}: {SCORES[score]} in percent, mean ± sd over seeds, the best mean in bold.{more}"
        texts.append(
            show(condition_table(rows, key, score), caption, f"tab-tuning-{'-'.join(map(str, key))}").data
        )
    return "\n\n".join(texts)
