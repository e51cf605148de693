"""What the chapter on human labels says: facts of the label files, and of what was trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.analysis.label_noise import spread_evenly, transition
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.human_live import HUMAN, SYMMETRIC, Case, counts_of
from noisylib.book.tables import NBSP, mean_sd, method_titles
from noisylib.data.catalog import DATASETS
from noisylib.data.classmaps import CIFAR100_SUPERCLASSES

if TYPE_CHECKING:
    import pandas as pd

SETS = {
    "aggregate": "majority of three",
    "random1": "first of three",
    "random2": "second of three",
    "random3": "third of three",
    "worst": "a wrong one, if any of three is",
    "fine": "one person",
}
NAMES = {"cifar10": "CIFAR-10N", "cifar100": "CIFAR-100N"}
SETS_CAPTION = (
    "Sets of labels that people gave, in percent. *Wrong*: of all labels, and of the class with the fewest "
    "and with the most. *Top share*: of the wrong labels of a class, those that went to its most frequent "
    "wrong label, mean of the classes. *To symmetric*, *to one other*, *to pair flip*: the least share of "
    "all labels that must change to make it noise of that kind at the same rate: spread evenly, each class "
    "into its most frequent wrong label, or each into the next one. In brackets: the same of drawn symmetric "
    "noise. The label files are licensed CC BY-NC 4.0."
)
ASSESSED_CAPTION = (
    "Share of wrong labels, counted, estimated and by confident learning, and how well three rankings tell "
    "right labels from wrong ones (AUROC): the clean probability, the held-out probability of the label, and "
    "the share of neighbours with the same label. Percent, means over seeds."
)
LISTED = 4  # confusions in the table of each file
NOISES = {HUMAN: "People", SYMMETRIC: "Symmetric"}


def human_rows() -> tuple[pd.DataFrame, str]:
    """Return the rows of the experiment `human`, and what a caption says of them."""
    from noisylib.book.files import table_files
    from noisylib.study.experiment_tables import load_table

    rows, record = load_table(table_files("human")[0])
    return (
        rows,
        f"counted in {len(rows)} sets of labels, table {record['table']}, checksum {record['sha256'][:8]}",
    )


def sets_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return rate, its range over classes, direction and distances of each set, in percent."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Labels": [
                f"{NAMES[dataset]} `{name}`: {SETS[name]}"
                for dataset, name in zip(table["dataset"], table["labels"], strict=True)
            ],
            "Wrong": _percent(table["realised_rate"]),
            "Lowest class": _percent(map(min, table["class_rate"])),
            "Highest class": _percent(map(max, table["class_rate"])),
            "Top share": _beside_chance(table["mean_top_share"], table["chance_top_share"]),
            "To symmetric": _beside_chance(table["to_symmetric"], table["chance_to_symmetric"]),
            "To one other": _percent(table["to_map"]),
            "To pair flip": _percent(table["to_pairflip"]),
        }
    )


def _beside_chance(values: Any, chance: Any) -> list[str]:
    pairs = zip(_percent(values), _percent(chance), strict=True)
    return [f"{value}{NBSP}({expected})" for value, expected in pairs]


def _percent(values: Any) -> list[str]:
    return [f"{100 * value:.1f}" for value in values]


def matrices(table: pd.DataFrame, names: Sequence[str] = ("aggregate", "worst")) -> dict[str, np.ndarray]:
    """Return matrices (K, K) of sets of CIFAR-10N, and symmetric noise of the last one's rate."""
    found = {f"CIFAR-10N, {name}": transition(counts_of(table, "cifar10", name)) for name in names}
    last = counts_of(table, "cifar10", names[-1])
    return found | {"Symmetric, same rate": spread_evenly(last)}


def class_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Return the error rate of each class of CIFAR-10N under each set (columns), hardest class first."""
    import pandas as pd

    part = table[table["dataset"] == "cifar10"].set_index("labels")["class_rate"]
    frame = pd.DataFrame(dict(part.items()), index=DATASETS["cifar10"].classes)
    return frame.loc[frame.mean(axis=1).sort_values(ascending=False, kind="stable").index]


def confusions_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the most frequent confusions of the worst and of the fine labels, both ways, in percent."""
    import pandas as pd

    records = []
    for dataset, labels in (("cifar10", "worst"), ("cifar100", "fine")):
        T, names = transition(counts_of(table, dataset, labels)), DATASETS[dataset].classes
        wrong = T * (1 - np.eye(len(T)))
        for flat in np.argsort(-wrong, axis=None, kind="stable")[:LISTED]:
            i, j = divmod(int(flat), len(T))
            records.append(
                {
                    "File": NAMES[dataset],
                    "True class": names[i],
                    "Taken for": names[j],
                    "How often": f"{100 * T[i, j]:.1f}",
                    "The other way": f"{100 * T[j, i]:.1f}",
                }
            )
    return pd.DataFrame(records)


def file_facts(table: pd.DataFrame) -> dict[str, str | float | int]:
    """Return what the text says of the label files; rates in percent."""
    ten = table[table["dataset"] == "cifar10"].set_index("labels")
    worst, random, rates = ten.loc["worst"], list(ten.index).index("random2"), class_rates(table)["worst"]
    votes, expected = np.asarray(worst["right_votes"]), np.asarray(worst["right_votes_expected"])
    kinds = np.asarray(worst["different_labels"])
    first = ten.loc["random1"]
    both, alone = first["both_wrong"][random], first["both_wrong_expected"][random]
    facts = {f"rate_{name}": 100 * float(row["realised_rate"]) for name, row in ten.iterrows()}
    return facts | {
        "rate_fine": 100 * float(table[table["labels"] == "fine"]["realised_rate"].iloc[0]),
        "hardest": rates.index[rates.argmax()],
        "hardest_rate": 100 * float(rates.max()),
        "easiest": rates.index[rates.argmin()],
        "easiest_rate": 100 * float(rates.min()),
        "top_share": 100 * float(worst["mean_top_share"]),
        "even_share": 100 / (len(rates) - 1),
        "moved": 100 * float(worst["to_symmetric"]),
        "nearer": "symmetric noise"
        if worst["to_symmetric"] < worst["to_map"]
        else "flips into one other class",
        "all_agree": 100 * float(kinds[0] / kinds.sum()),
        "none_agree": 100 * float(kinds[-1] / kinds.sum()),
        "both_wrong": 100 * float(both),
        "both_expected": 100 * float(alone),
        "all_wrong": f"{votes[0]:,}",
        "all_wrong_expected": f"{expected[0]:,.0f}",
        "coincide": _coincide(votes[0] / expected[0]),
        **superclass_facts(table),
    }


def _coincide(ratio: float) -> str:
    """Return what images that everybody gets wrong say, from how many times more there are than expected."""
    if ratio > 1.1:
        return f"{ratio:.1f} times as many as class and person explain: some images are hard for everybody"
    if ratio < 0.9:
        return "fewer than class and person explain"
    return "about as many as class and person explain"


def superclass_facts(table: pd.DataFrame) -> dict[str, float]:
    """Return the percentage of wrong fine labels that stay in the superclass, and what chance gives."""
    names = list(DATASETS["cifar100"].classes)
    group = np.empty(len(names), np.int64)
    for number, members in enumerate(CIFAR100_SUPERCLASSES.values()):
        group[[names.index(name) for name in members]] = number
    wrong = counts_of(table, "cifar100", "fine") * (1 - np.eye(len(names), dtype=np.int64))
    inside = group[:, None] == group
    share = wrong[inside].sum() / wrong.sum()
    chance = (inside.sum() - len(names)) / (len(names) * (len(names) - 1))
    return {"superclass": 100 * float(share), "superclass_chance": 100 * float(chance)}


def scores_table(scores: pd.DataFrame, score: str = "balanced_accuracy") -> pd.DataFrame:
    """Return "mean ± sd" of a score in percent: methods down, sets of labels and noises across."""
    import pandas as pd

    titles = method_titles(list(scores["method"].unique()))
    table = {"Method": list(titles.values())}
    for (name, noise), part in scores.groupby(["labels", "noise"], sort=False):
        grouped = 100 * part.groupby("method")[score].agg(["mean", "std"]).loc[list(titles)]
        table[f"{name}: {NOISES[noise].lower()}"] = [mean_sd(mean, sd) for mean, sd in grouped.to_numpy()]
    return pd.DataFrame(table)


def assessment_table(assessed: pd.DataFrame) -> pd.DataFrame:
    """Return estimates of the rate beside the truth and AUROCs, means over seeds in percent."""
    import pandas as pd

    means = 100 * assessed.groupby(["labels", "noise"], sort=False).mean(numeric_only=True)
    columns = {
        "rate": "Wrong",
        "estimate": "Estimated",
        "confident": "Confident learning",
        "clean_probability": "Clean probability",
        "self_confidence": "Self-confidence",
        "neighbour_share": "Neighbours",
    }
    table = {"Labels": [f"{name}: {NOISES[noise].lower()}" for name, noise in means.index]}
    return pd.DataFrame(table | {title: [f"{v:.1f}" for v in means[key]] for key, title in columns.items()})


def live_facts(case: Case, scores: pd.DataFrame, assessed: pd.DataFrame) -> dict[str, str | float]:
    """Return what the text says of the scores and the estimates, in percent and points."""
    name = list(dict.fromkeys(labels for labels, _ in case.noisy))[-1]  # the last set that was asked for
    part = scores[scores["labels"] == name]
    means = 100 * part.groupby(["method", "noise"])["balanced_accuracy"].mean().unstack()
    titles = method_titles(list(scores["method"].unique()))
    means = means.loc[list(titles)]
    gap = means[SYMMETRIC] - means[HUMAN]
    off = 100 * (assessed["estimate"] - assessed["rate"]).abs().groupby(assessed["noise"]).mean()
    ranked = assessed.groupby("noise")["clean_probability"].mean() * 100
    return {
        "last_labels": name,
        "last_rate": 100 * float(np.mean([noise.realised_rate for noise in case.noisy[name, HUMAN]])),
        "harder": int((gap > 0).sum()),
        "methods": len(gap),
        "widest": titles[gap.abs().idxmax()],
        "widest_gap": float(abs(gap[gap.abs().idxmax()])),
        "widest_way": "lower" if gap[gap.abs().idxmax()] > 0 else "higher",
        "best_human": titles[means[HUMAN].idxmax()],
        "best_human_score": float(means[HUMAN].max()),
        "best_symmetric": titles[means[SYMMETRIC].idxmax()],
        "best_symmetric_score": float(means[SYMMETRIC].max()),
        "off_human": float(off[HUMAN]),
        "off_symmetric": float(off[SYMMETRIC]),
        "auroc_human": float(ranked[HUMAN]),
        "auroc_symmetric": float(ranked[SYMMETRIC]),
        "what": _what(case),
    }


def _what(case: Case) -> str:
    if case.made:
        return (
            "The features are drawn at random: ten Gaussian classes, equally far from each other. The labels "
            "are drawn from the transition matrix of people. Which class is taken for which is theirs; "
            "which sample is wrong is not. That people err more on some images than on others is lost"
        )
    bank = f"{bank_title(case.bank.meta.dataset)} under {case.bank.meta.backbone}"
    return f"The features are those of {bank}, and the labels are the ones that people gave to these images"


def source_text(case: Case, params: Any, study: str = "") -> str:
    """Return what captions say of the runs: data, head, seeds, or the study they are rows of."""
    data = f"{case.bank.n_classes} made classes, {len(case.bank.indices('train')):,} training samples"
    if not case.made:
        data = f"{bank_title(case.bank.meta.dataset)}, features of {case.bank.meta.backbone}"
    seeds = f"{len(case.seeds)} seed{'s' if len(case.seeds) > 1 else ''}"
    runs = study or f"{params.epochs} epochs, {seeds}"
    return f"{data}; {params.head} head; {runs}."
