"""What a study crossed with what, where it ran, and how good the features are that it trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from noisylib.analysis.scores import CONDITION
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overview import REFERENCE, backbone_title
from noisylib.book.tables import NBSP, mean_sd, method_titles, summarise

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.features import FeatureBank


def grid_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what was crossed with what, and the runs that this makes."""
    import pandas as pd

    axes = {
        "Data sets": [bank_title(name) for name in rows["dataset"].unique()],
        "Backbones": [backbone_title(name) for name in rows["backbone"].unique()],
        "Kinds of noise": list(rows["noise_type"].unique()),
        "Rates of wrong labels": [f"{100 * rate:g}{NBSP}%" for rate in sorted(rows["noise_rate"].unique())],
        "Methods": list(method_titles(list(rows["method"].unique())).values()),
        "Seeds": [str(seed) for seed in sorted(rows["seed_train"].unique())],
    }
    conditions = len(rows[CONDITION].drop_duplicates())
    lines = [(axis, len(values), ", ".join(values)) for axis, values in axes.items()]
    lines.insert(4, ("**Conditions**", conditions, "the product of the above"))
    lines.append(("**Runs**", len(rows), "one training for each condition, method and seed"))
    return pd.DataFrame(
        [(axis, f"{number:,}", text) for axis, number, text in lines], columns=["What", "Number", "Which"]
    )


def record_table(study: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return where and with what the rows of a study were made, as far as that is recorded.

    A collected table has its record beside it; of rows in a study's folder only what they say is known.
    """
    import pandas as pd

    from noisylib.book.files import results_root
    from noisylib.study.archive import load_archive
    from noisylib.study.tables import provenance_path

    lines = {
        "Training time": f"{_duration(rows['seconds'].sum())}, summed over {len(rows):,} runs",
        "noisylib": ", ".join(sorted(rows["version"].unique())),
        "PyTorch": ", ".join(sorted(rows["torch_version"].unique())),
        "Device": ", ".join(sorted(rows["device"].unique())),
    }
    table = results_root() / f"{study}.parquet"
    if provenance_path(table).is_file():
        _, record = load_archive(table)
        cores = " or ".join(str(n) for n in record["cores"])
        lines |= {
            "Device": f"{', '.join(record['device'])}; {cores} cores",
            "Wall time": f"{_duration(record['wall_seconds'])} for all {record['runs']:,} runs",
            "Collected": f"{record['made'][:10]}, with Python {record['collected_with']['python']}",
            "Banks": f"{len(record['banks'])}; their checksums are in `{provenance_path(table).name}`",
            "Table": f"`{record['table']}`, SHA-256 {record['sha256'][:12]}",
        }
    return pd.DataFrame({"What": list(lines), "Record": list(lines.values())})


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours}{NBSP}h {left}{NBSP}min"
    return f"{minutes}{NBSP}min {rest}{NBSP}s"


def banks_table(rows: pd.DataFrame, banks: Mapping[tuple[str, str], FeatureBank]) -> pd.DataFrame:
    """Return sizes of every data set, and what cross entropy reaches under every backbone on clean labels.

    The columns of the backbones hold balanced accuracy in percent; their headings say how wide the
    features are, and of how many where they were reduced.

    Parameters
    ----------
    banks : (dataset, backbone) -> bank, of every pair in the rows.
    """
    import pandas as pd

    clean = rows[(rows["noise_rate"] == 0) & (rows["method"] == REFERENCE)]
    scores = summarise(clean[clean["noise_type"] == clean["noise_type"].iloc[0]])
    scores = scores.set_index(["dataset", "backbone"])[["balanced_accuracy_mean", "balanced_accuracy_sd"]]
    records: dict[str, dict[str, object]] = {}
    widths: dict[str, list[str]] = {}
    for (dataset, backbone), bank in banks.items():
        record = records.setdefault(
            dataset,
            {
                "Data set": bank_title(dataset),
                "Train": f"{len(bank.indices('train')):,}",
                "Test": f"{len(bank.indices('test')):,}",
                "Classes": bank.n_classes,
            },
        )
        record[backbone] = mean_sd(*(100 * scores.loc[dataset, backbone]))
        reduced = "" if bank.projection is None else f" of {bank.projection.shape[1]:,}"
        widths.setdefault(backbone, []).append(f"{bank.n_features}{reduced}")
    heads = {name: f"{backbone_title(name)} ({' or '.join(dict.fromkeys(w))})" for name, w in widths.items()}
    return pd.DataFrame(records.values()).fillna("").rename(columns=heads)
