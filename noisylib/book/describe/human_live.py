"""What the chapter on human labels trains: people's errors against symmetric noise of the same rate.

On a bank that has them, the labels are those that people gave. Without one, the transition matrix of people
is put on made classes: which class is taken for which is theirs, which sample is wrong is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.label_noise import transition
from noisylib.book.case_parameters import MADE
from noisylib.data.simulate import GaussianBed
from noisylib.errors import BankError, ConfigError, MissingDataError
from noisylib.evidence import collect_evidence
from noisylib.features import FeatureBank, load_bank
from noisylib.noise import NoisyLabels, inject, inject_matrix, told
from noisylib.recipe import Recipe
from noisylib.training import train_bank

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.case_parameters import HumanParameters

HUMAN, SYMMETRIC = "human", "symmetric"
FEATURES = 24  # of the made classes: nine tell the ten classes apart, the others are noise
TEST_SAMPLES = 2000
STUDY = "cifarn"
NEAR = 0.015


@dataclass(frozen=True, eq=False)
class Case:
    """Features, and every set of labels that is trained on.

    Attributes
    ----------
    bank : features and clean labels.
    noisy : (set of labels, "human" or "symmetric") -> labels of each seed; real ones are the same for all.
    seeds : of the runs.
    made : whether the features are made, and the human labels drawn from people's transition matrix.
    """

    bank: FeatureBank
    noisy: dict[tuple[str, str], list[NoisyLabels]]
    seeds: Sequence[int]
    made: bool


def make_case(params: HumanParameters, table: pd.DataFrame) -> Case:
    """Return the labels of a chapter's condition; `table` has the rows of the experiment `human`.

    Raises
    ------
    MissingDataError, BankError
        There is no such bank, or it lacks a set of human labels.
    """
    made = params.dataset == MADE
    bank = _made_bank(params) if made else load_bank(params.dataset, params.backbone)
    y, K = bank.part("train")[1], bank.n_classes
    noisy: dict[tuple[str, str], list[NoisyLabels]] = {}
    for name in params.labels:
        if made:
            T = transition(counts_of(table, "cifar10", name))
            people = [inject_matrix(y, T, seed=seed, dataset=MADE) for seed in params.seeds]
        else:
            y_human = bank.training_human_labels(name)
            people = [inject(y, HUMAN, 0.0, n_classes=K, seed=seed, y_human=y_human) for seed in params.seeds]
        noisy[name, HUMAN] = people
        noisy[name, SYMMETRIC] = [
            inject(y, SYMMETRIC, labels.realised_rate, n_classes=K, seed=seed, dataset=params.dataset)
            for seed, labels in zip(params.seeds, people, strict=True)
        ]
    return Case(bank, noisy, params.seeds, made)


def _made_bank(params: HumanParameters) -> FeatureBank:
    from noisylib.data.catalog import DATASETS

    bed = replace(
        GaussianBed.simplex(10, FEATURES, params.separation), class_names=DATASETS["cifar10"].classes
    )
    return bed.bank(params.samples, TEST_SAMPLES, seed=0, name=MADE)


def counts_of(table: pd.DataFrame, dataset: str, labels: str) -> np.ndarray:
    """Return the counts (K, K) of a set of labels, true class down."""
    row = table[(table["dataset"] == dataset) & (table["labels"] == labels)].iloc[0]
    K = len(row["class_rate"])
    return np.asarray(row["counts"], np.int64).reshape(K, K)


def train_scores(case: Case, params: HumanParameters) -> pd.DataFrame:
    """Return one row per set of labels, noise, method and seed: accuracy and balanced_accuracy in [0, 1]."""
    import pandas as pd

    keys = [(name, noise, r) for (name, noise), runs in case.noisy.items() for r in range(len(runs))]
    labels = [case.noisy[name, noise][r] for name, noise, r in keys]
    frames = []
    for method in params.methods:
        result = train_bank(
            case.bank.part("train")[0],
            np.stack([noise.y_noisy for noise in labels]),
            *case.bank.part("test"),
            n_classes=case.bank.n_classes,
            method=method,
            head=params.head,
            seeds=[case.seeds[r] for _, _, r in keys],
            **told(labels),
            views=case.bank.training_views(),
            recipe=Recipe(epochs=params.epochs, score_epochs=min(10, params.epochs)),
        )
        frame = pd.DataFrame(keys, columns=["labels", "noise", "run"])
        frame["seed"], frame["method"] = [case.seeds[r] for r in frame.pop("run")], method
        frame["accuracy"], frame["balanced_accuracy"] = result.accuracy, result.balanced_accuracy
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def study_scores(case: Case, params: HumanParameters) -> tuple[pd.DataFrame, str] | None:
    """Return scores as `train_scores` from the study of human labels, and its caption; None if not there.

    Symmetric noise of the study whose rate is within a point and a half of people's stands for theirs.
    """
    import pandas as pd

    from noisylib.book.files import results_root
    from noisylib.book.parameter_names import ROOT
    from noisylib.book.tables import provenance
    from noisylib.study import collect, load_config

    config = load_config(ROOT / "configs" / f"{STUDY}.yaml")
    if case.made or params.dataset not in config.datasets or params.backbone not in config.backbones:
        return None
    sets = tuple(name for name in config.human_labels if name in config.label_sets(params.dataset))
    part = replace(config, datasets=(params.dataset,), backbones=(params.backbone,), human_labels=sets)
    try:
        rows = collect(part, results_root())
    except (ConfigError, MissingDataError, BankError):
        return None
    rows = rows[(rows["head"] == params.head) & rows["method"].isin(params.methods)]
    chosen = []
    for name in params.labels:
        people = rows[(rows["noise_type"] == HUMAN) & (rows["class_map"] == name)]
        near = (rows["noise_rate"] - people["noise_rate"].mean()).abs() < NEAR
        symmetric = rows[(rows["noise_type"] == SYMMETRIC) & near]
        if any(set(part["method"]) != set(params.methods) for part in (people, symmetric)):
            return None
        chosen += [people.assign(labels=name), symmetric.assign(labels=name)]
    found = pd.concat(chosen, ignore_index=True).rename(columns={"noise_type": "noise"})
    source = provenance(found, config.digest)
    return found[["labels", "noise", "seed", "method", "accuracy", "balanced_accuracy"]], source


def assess(case: Case) -> pd.DataFrame:
    """Return what can be known of the labels without a clean one, beside the truth, per set, noise and seed.

    Columns: labels, noise, seed; rate, estimate, low, high, confident (fractions of wrong labels: counted,
    estimated with its interval, and by confident learning); clean_probability, self_confidence and
    neighbour_share (AUROC: chance that a right label is ranked above a wrong one, NaN where none is wrong).
    """
    import pandas as pd

    from noisylib.label_quality import clean_probability
    from noisylib.noise_estimate import estimate_noise

    keys = [(name, noise, r) for (name, noise), runs in case.noisy.items() for r in range(len(runs))]
    if not case.made:  # real labels are the same for every seed
        keys = [(name, noise, r) for name, noise, r in keys if noise != HUMAN or r == 0]
    labels = [case.noisy[name, noise][r] for name, noise, r in keys]
    evidence = collect_evidence(
        case.bank.part("train")[0],
        np.stack([noise.y_noisy for noise in labels]),
        case.bank.n_classes,
        seeds=[case.seeds[r] for _, _, r in keys],
    )
    records = []
    for (name, noise, r), truth, known in zip(keys, labels, evidence, strict=True):
        guess = estimate_noise(known)
        rankings = {
            "clean_probability": clean_probability(known),
            "self_confidence": known.self_confidence,
            "neighbour_share": known.neighbour_share,
        }
        records.append(
            {
                "labels": name,
                "noise": noise,
                "seed": case.seeds[r],
                "rate": truth.realised_rate,
                "estimate": guess.rate,
                "low": guess.low,
                "high": guess.high,
                "confident": guess.confident_rate,
                **{key: _auroc(truth.flipped, values) for key, values in rankings.items()},
            }
        )
    return pd.DataFrame(records)


def _auroc(flipped: np.ndarray, cleanness: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float("nan") if flipped.all() or not flipped.any() else float(roc_auc_score(~flipped, cleanness))
