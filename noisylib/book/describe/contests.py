"""The contest of small loss and agreement: drops per design and condition, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from noisylib.book.claims import published
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.drops import CELL, contest_frame, contests_of, drop_frame, points, unequal_rates
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP
from noisylib.detectors import DEPLOYED, DETECTORS, SAME

if TYPE_CHECKING:
    import pandas as pd

PAPER = (published.LOSS_DROP / 100, published.AGREEMENT_DROP / 100)
ASKED = ("ham10000", "pbc")  # the sets of the tables: the large ones, whose test splits say something
UNEVEN = "*"
CLOSE = 0.01  # drops that differ by less are called equal
PANELS = {
    "Same model": {"loss_same": "small loss", "agreement_same": "agreement"},
    "As deployed": {"loss": "small loss", "peer_loss": "Co-teaching's loss", "agreement": "agreement"},
    "Repeated": {
        "loss": "small loss",
        "agreement_epochs": "agreement over epochs",
        "agreement_folds": "agreement out of fold",
        "agreement_neighbours": "agreement of neighbours",
    },
}


def panels_of(drops: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return PANELS without the detectors that were not trained."""
    return {
        title: {key: label for key, label in detectors.items() if key in drops}
        for title, detectors in PANELS.items()
    }


def row_titles(rows: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return (data set, backbone) -> title, in the order of the rows.

    A star marks sets on which asymmetric noise makes another share of the labels wrong than symmetric noise.
    """
    uneven = unequal_rates(rows)
    return {
        (dataset, backbone): f"{bank_title(dataset)}{UNEVEN if dataset in uneven else ''}, "
        f"{backbone_title(backbone)}"
        for dataset, backbone in dict.fromkeys(zip(rows["dataset"], rows["backbone"], strict=True))
    }


def uneven_note(uneven: Sequence[str]) -> str:
    """Return what a reader must know of the sets that `unequal_rates` names; empty if there are none."""
    if not uneven:
        return ""
    names = " and ".join(bank_title(name) for name in uneven)
    return (
        f"On {names} (marked {UNEVEN}) asymmetric noise makes another share of the labels wrong than "
        "symmetric noise of the same nominal rate, because only some classes flip, and precision moves with "
        "that share."
    )


def linear_note(head: str) -> str:
    """Return what a reader must know of a linear classifier; empty for another head."""
    if head != "linear":
        return ""
    return "With a linear head the classifier is the linear module, so the first two designs are one."


def drop_table(drops: pd.DataFrame, design: str, datasets: Sequence[str]) -> pd.DataFrame:
    """Return the drops of one design in points with their intervals, one row per condition.

    An agreement's drop is bold where the loss loses clearly more, and in italics where it loses clearly
    less: the interval of the paired difference does not hold 0.
    """
    import pandas as pd

    contests = [c for c in contests_of(drops) if c.design == design]
    keys = list(dict.fromkeys([*(c.loss for c in contests), *(c.agreement for c in contests)]))
    rivals = {c.agreement: c.title for c in contests if c.loss != "peer_loss"}
    frame = drop_frame(drops).set_index([*CELL, "detector"]).sort_index()
    tests = contest_frame(drops).set_index([*CELL, "contest"]).sort_index()
    cells = [cell for cell in dict.fromkeys(frame.index.droplevel("detector")) if cell[0] in datasets]
    records = []
    for cell in sorted(cells, key=lambda cell: (list(datasets).index(cell[0]), cell[1], cell[3])):
        record = condition_cells(cell)
        for key in keys:
            text = "" if (*cell, key) not in frame.index else points(*frame.loc[(*cell, key)])
            if (*cell, rivals.get(key)) in tests.index:
                text = _emphasis(text, *tests.loc[(*cell, rivals[key]), ["low", "high"]])
            record[DETECTORS[key].title] = text
        records.append(record)
    return pd.DataFrame(records)


def condition_cells(cell: tuple[str, str, str, float]) -> dict[str, str]:
    """Return the first cells of a table's row for a condition of CELL."""
    dataset, backbone, _, rate = cell
    return {
        "Data set": bank_title(dataset),
        "Backbone": backbone_title(backbone),
        "Rate": f"{100 * rate:g}{NBSP}%",
    }


def _emphasis(text: str, low: float, high: float) -> str:
    if low > 0:
        return f"**{text}**"
    return f"*{text}*" if high < 0 else text


def verdict_table(contests: pd.DataFrame) -> pd.DataFrame:
    """Return one row per rate and contest: drops in points, and how often the loss loses more.

    Parameters
    ----------
    contests : the rows of `contest_frame` that count.
    """
    import pandas as pd

    records = []
    for (rate, title), part in contests.groupby(["noise_rate", "contest"], sort=False):
        records.append(
            {
                "Rate": f"{100 * rate:g}{NBSP}%",
                "Contest": title,
                "Drop of the loss": points(part["loss"].mean()),
                "Drop of agreement": points(part["agreement"].mean()),
                "Difference": points(part["mean"].mean()),
                "Lowest": points(part["mean"].min()),
                "Highest": points(part["mean"].max()),
                "Loss drops more": f"{(part['mean'] > 0).sum()} of {len(part)}",
                "clearly": str((part["low"] > 0).sum()),
                "clearly less": str((part["high"] < 0).sum()),
            }
        )
    loss, agreement = PAPER
    paper = {"Rate": "not stated", "Contest": "*the paper*", "Drop of the loss": points(loss)}
    paper |= {"Drop of agreement": points(agreement), "Difference": points(loss - agreement)}
    return pd.DataFrame([*sorted(records, key=lambda record: record["Rate"]), paper]).fillna("")


def verdict(contests: pd.DataFrame) -> str:
    """Return in words, rate by rate, which contests show the gap that the paper reports.

    Parameters
    ----------
    contests : the rows of `contest_frame` that count.
    """
    texts = []
    for rate, part in contests.groupby("noise_rate"):
        means = part.groupby("contest", sort=False)["mean"].mean()
        more, less = means[means > CLOSE], means[means < -CLOSE]
        text = (
            f"At {100 * rate:g}{NBSP}%, the loss ranking loses more than a point more than agreement in "
            f"{len(more)} of {len(means)} contests{_listed(more)}, and more than a point less in "
            f"{len(less)}{_listed(less)}."
        )
        texts.append(text)
    row, paper = contests.loc[contests["mean"].idxmax()], PAPER[0] - PAPER[1]
    than = "reaches" if row["high"] >= paper or row["mean"] >= paper else "stays below"
    texts.append(
        f"The largest single gap, {points(row['mean'], row['low'], row['high'])} points for "
        f"*{row['contest']}* on {bank_title(row['dataset'])} with {backbone_title(row['backbone'])} at "
        f"{100 * row['noise_rate']:g}{NBSP}%, {than} the paper's {points(paper)}."
    )
    same = contests[contests["design"] == SAME]["mean"].abs()
    if len(same):
        texts.append(
            f"With both signals from one model the two drops differ by at most {points(same.max())} points."
        )
    return " ".join(texts)


def _listed(means: pd.Series) -> str:
    names = ", ".join(f"*{name}* by {points(abs(mean))}" for name, mean in means.items())
    return f" ({names})" if names else ""


def levels(rows: pd.DataFrame, contests: pd.DataFrame) -> str:
    """Return in words the precisions behind the drops of the deployed pair: a drop is not a level.

    Parameters
    ----------
    rows : archived rows of the conditions that count, at one noise rate.
    contests : `contest_frame` of them.
    """
    part = rows[(rows["rule"] == "matched") & rows["detector"].isin(("loss", "agreement"))]
    means = part.groupby(["detector", "noise_type"])["precision"].mean()
    loss, agreement = (
        [f"{100 * means[key, kind]:.1f}{NBSP}%" for kind in ("symmetric", "asymmetric")]
        for key in ("loss", "agreement")
    )
    drops = contests[contests["contest"] == DEPLOYED][["loss", "agreement"]].mean()
    text = (
        f"At {100 * rows['noise_rate'].max():g}{NBSP}%, as deployed, agreement is right in {agreement[0]} of "
        f"what it keeps under symmetric and in {agreement[1]} under asymmetric noise; the loss ranking, with "
        f"as many samples, in {loss[0]} and {loss[1]}."
    )
    purer = means["agreement", "asymmetric"] > means["loss", "asymmetric"]
    if purer and drops["agreement"] > drops["loss"]:
        return (
            f"{text} So agreement falls farther and is still the purer set: a drop measures how much there "
            "was to lose as well as how much is left."
        )
    if purer:
        return f"{text} So agreement falls less, and is the purer set too."
    return f"{text} So agreement is not the purer set under asymmetric noise, whatever its drop."
