"""Tables of the book: rows of a study or facts of a registry, in tidy frames and as MyST tables.

Scores are fractions in [0, 1] in the rows and percent in what a reader sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.scores import CONDITION

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

    from noisylib.methods import Method

DAGGER, NBSP = "†", "\N{NO-BREAK SPACE}"


def show(frame: pd.DataFrame, caption: str, name: str) -> Markdown:
    """Return a numbered, captioned table that the book renders and a notebook still shows legibly.

    Columns of numbers are aligned right, others left; the index is left out.

    Parameters
    ----------
    frame : what to show, as it is.
    caption, name : MyST text, and the label that ``{numref}`` refers to.
    """
    from IPython.display import Markdown

    header = _line(frame.columns)
    rule = _line(["--:" if _all_numbers(frame[column]) else ":--" for column in frame])
    body = [_line(row) for row in frame.itertuples(index=False)]
    return Markdown("\n".join([f":::{{table}} {caption}", f":name: {name}", "", header, rule, *body, ":::"]))


def _all_numbers(column: pd.Series) -> bool:
    """Say whether every cell is a number, perhaps bold, with a deviation or with thousands separated."""
    number = r"\*{0,2}[-+]?[\d.,]+(\s±\s[\d.,]+)?\*{0,2}"
    return all(re.fullmatch(number, str(cell)) for cell in column)


def notes(texts: Mapping[str, str]) -> Markdown:
    """Return what a reader should know about each bank as one note box; nothing for empty texts."""
    from IPython.display import Markdown

    lines = [f"- **{title}**: {text}" for title, text in texts.items() if text]
    body = ["What differs from the official set or weights:", "", *lines]
    return Markdown("\n".join([":::{note}", *body, ":::"]) if lines else "")


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def method_titles(names: Sequence[str]) -> dict[str, str]:
    """Return the title of each method in registry order, with a dagger if it is told of the noise.

    A study's own labels for changed hyper-parameters follow, and are their own titles.
    """
    from noisylib.methods import METHODS

    known = {
        name: cls.title + (DAGGER if cls().told else "") for name, cls in METHODS.items() if name in names
    }
    return known | {name: name for name in names if name not in known}


def daggers(names: Sequence[str]) -> str:
    """Return the footnote that says which methods are told what of the noise; empty if none is."""
    from noisylib.methods import METHODS, TOLD

    told = {cls.title: cls().told for name, cls in METHODS.items() if name in names and cls().told}
    parts = [f"{title} {' and '.join(TOLD[fact] for fact in facts)}" for title, facts in told.items()]
    return f" {DAGGER} is told of the noise that was really injected: {'; '.join(parts)}." if parts else ""


def provenance(rows: pd.DataFrame, *digests: str) -> str:
    """Return what a caption says about its numbers: runs, seeds, study and configuration."""
    seeds = rows["seed_train"].nunique()
    study = ", ".join(sorted(rows["study"].unique()))
    plural = "s" if seeds != 1 else ""
    configuration = ", ".join(digest[:8] for digest in digests)
    return f"{len(rows)} runs, {seeds} seed{plural}, study {study}, configuration {configuration}"


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per condition and method: mean and standard deviation over seeds, and the count.

    Columns ``<score>_mean`` and ``<score>_sd`` for accuracy, balanced_accuracy and dead_classes. The
    deviation has n - 1 in it and is NaN for a single seed.
    """
    scores = ["accuracy", "balanced_accuracy", "dead_classes"]
    grouped = rows.groupby([*CONDITION, "method"], sort=False)[scores]
    summary = grouped.agg(["mean", "std"])
    summary.columns = [f"{score}_{'sd' if how == 'std' else how}" for score, how in summary.columns]
    summary["runs"] = grouped.size()
    return summary.reset_index()


def clean_gap(rows: pd.DataFrame) -> float:
    """Return the largest difference in balanced accuracy between runs that share their clean labels.

    At rate 0 all kinds of noise are the same training run, so anything but rounding is a mistake.
    """
    same = ["dataset", "backbone", "head", "method", "seed_noise", "seed_train"]
    clean = rows[rows["noise_rate"] == 0].groupby(same)["balanced_accuracy"]
    return float((clean.max() - clean.min()).max()) if len(clean) else 0.0


def results_table(
    summary: pd.DataFrame, noise_type: str, score: str = "balanced_accuracy", scale: float = 100.0
) -> pd.DataFrame:
    """Return methods x noise rates with "mean ± sd" in percent, the best mean of a rate in bold.

    Parameters
    ----------
    summary : of one dataset, backbone and head, from `summarise`.
    scale : 100 for fractions; 1 for counts, where lowest is best.
    """
    part = summary[summary["noise_type"] == noise_type]
    means = part.pivot(index="method", columns="noise_rate", values=f"{score}_mean") * scale
    spreads = part.pivot(index="method", columns="noise_rate", values=f"{score}_sd") * scale
    titles = method_titles(list(means.index))
    means, spreads = means.loc[list(titles)].round(1), spreads.loc[list(titles)].round(1)
    best = means.max() if scale != 1 else means.min()
    best = best.where(means.nunique() > 1)  # nobody is best when all are equal
    table = means.astype(object)
    for rate in means:
        for method in means.index:
            mean, sd = means.at[method, rate], spreads.at[method, rate]
            text = mean_sd(mean, sd)
            table.at[method, rate] = f"**{text}**" if mean == best[rate] else text
    table.columns = [f"{100 * rate:g}{NBSP}%" for rate in means]
    table.insert(0, "Method", list(titles.values()))
    return table.reset_index(drop=True)


def comparison_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method with "mean ± sd" of accuracy, balanced accuracy and dead classes.

    Parameters
    ----------
    rows : of one condition, from `comparison.compare_methods` or a study.
    """
    import pandas as pd

    summary = summarise(rows).set_index("method")
    titles = method_titles(list(summary.index))
    columns = {"Accuracy": ("accuracy", 100), "Balanced accuracy": ("balanced_accuracy", 100)}
    columns["Dead classes"] = ("dead_classes", 1)
    table = {"Method": list(titles.values())}
    for heading, (score, scale) in columns.items():
        scores = summary.loc[list(titles), [f"{score}_mean", f"{score}_sd"]] * scale
        table[heading] = [mean_sd(mean, sd) for mean, sd in scores.to_numpy()]
    return pd.DataFrame(table)


def mean_sd(mean: float, sd: float) -> str:
    """Return "mean ± sd" with one decimal, without the deviation where there is none.

    The spaces do not break: a narrow screen scrolls a table sideways instead of stacking its cells.
    """
    return f"{mean:.1f}" if np.isnan(sd) else f"{mean:.1f}{NBSP}±{NBSP}{sd:.1f}"


def headline(summary: pd.DataFrame) -> dict[str, object]:
    """Return the facts a benchmark page opens with: best and worst method where noise is hardest.

    The hardest condition is the highest asymmetric rate, or the highest rate of any other noise if there
    is no asymmetric one. Scores are balanced accuracy in percent, gaps in percentage points.
    """
    types = list(summary["noise_type"].unique())
    noise_type = "asymmetric" if "asymmetric" in types else types[-1]
    part = summary[summary["noise_type"] == noise_type]
    titles = method_titles(list(part["method"]))

    def means(rate: float) -> pd.Series:
        at = part[part["noise_rate"] == rate].set_index("method")["balanced_accuracy_mean"]
        return 100 * at[[method for method in titles if method in at.index]]

    hardest, lightest = means(part["noise_rate"].max()), means(part["noise_rate"].min())
    return {
        "hardest_noise": noise_type,
        "highest_rate": 100 * float(part["noise_rate"].max()),
        "best": titles[hardest.idxmax()],
        "best_score": float(hardest.max()),
        "worst": titles[hardest.idxmin()],
        "worst_score": float(hardest.min()),
        "gap": float(hardest.max() - hardest.min()),
        "clean_gap": float(lightest.max() - lightest.min()),
    }


def recall_frame(
    rows: pd.DataFrame, noise_type: str, noise_rate: float, class_names: Sequence[str]
) -> pd.DataFrame:
    """Return mean recall in [0, 1], methods (registry order) x classes, at one condition."""
    import pandas as pd

    part = rows[(rows["noise_type"] == noise_type) & np.isclose(rows["noise_rate"], noise_rate)]
    titles = method_titles(list(part["method"].unique()))
    values = [np.mean(np.stack(list(part[part["method"] == m]["recall"])), axis=0) for m in titles]
    return pd.DataFrame(values, index=list(titles.values()), columns=list(class_names))


def hyperparameters_table(names: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per hyper-parameter of each method: default, meaning and where it comes from.

    The title of a method stands in its first row only. A default of None is a rule the method documents.
    """
    from dataclasses import fields

    import pandas as pd

    from noisylib.methods import METHODS

    records = [
        {
            "Method": "" if i else cls.title,
            "Name": f"`{f.name}`",
            "Meaning": f.metadata["doc"],
            "Default": "by rule" if f.default is None else f"{f.default:.3g}",
            "Source of the default": f.metadata["source"],
        }
        for name, cls in METHODS.items()
        if not names or name in names
        for i, f in enumerate(fields(cls))
    ]
    return pd.DataFrame(records)


def methods_table(names: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per method: its networks, what it remembers, needs and is told, and its citation."""
    import pandas as pd

    from noisylib.methods import METHODS, TOLD

    records = []
    for name, cls in METHODS.items():
        if names and name not in names:
            continue
        method = cls()
        records.append(
            {
                "Method": cls.title,
                "Key": f"`{name}`",
                "Source": f"{{cite:p}}`{cls.citation}`",
                "Networks": networks(method),
                "Is told": ", ".join(TOLD[fact].removeprefix("the ") for fact in method.told) or "nothing",
                "Remembers samples": "yes" if method.keeps_state else "no",
                "Views": method.n_views or "none",
            }
        )
    return pd.DataFrame(records)


def networks(method: Method) -> str:
    """Return the networks of a method in words; a "head" is of the kind that a study asks for."""
    kinds = [
        f"{count}{NBSP}{'' if kind == 'head' else kind + ' '}head{'s' if count > 1 else ''}"
        for kind, count in method.head_kinds("head")
    ]
    return " and ".join(kinds) or "none"


def method_notes(names: Sequence[str]) -> Markdown:
    """Return each method's own documentation as a box that opens on a click."""
    import inspect

    from IPython.display import Markdown

    from noisylib.methods import METHODS

    boxes = []
    for name in names:
        text = _escape(inspect.getdoc(METHODS[name]) or "")
        boxes += [f":::{{admonition}} {METHODS[name].title}", ":class: note dropdown", "", text, ":::", ""]
    return Markdown("\n".join(boxes))


def _escape(text: str) -> str:
    """Return plain text as Markdown: what would be markup is escaped, except inside backticks."""
    parts = re.split(r"(``.*?``|`.*?`)", text, flags=re.S)
    return "".join(part if i % 2 else re.sub(r"([<*_\[\]])", r"\\\1", part) for i, part in enumerate(parts))


def recipe_table() -> pd.DataFrame:
    """Return the shared optimisation settings and their defaults."""
    import pandas as pd

    from noisylib.recipe import Recipe

    settings = asdict(Recipe())
    return pd.DataFrame(
        {"Setting": [f"`{name}`" for name in settings], "Value": [str(v) for v in settings.values()]}
    )
