"""The experiment `label_errors`: how well the wrong labels of an image set are found, and by what.

Each task plants label noise in one bank and lets every detector judge every label, from the same held-out
probabilities and the same neighbours, so that only what they make of them differs. Labels without planted
noise are among the conditions: whatever is flagged there was not planted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.detection import auroc
from noisylib.comparison import noisy_labels
from noisylib.confident import keep_mask, quality_scores
from noisylib.confident_joint import confident_joint
from noisylib.evidence import FOLDS, Evidence, collect_evidence, probe_recipe
from noisylib.label_quality import flag, true_class_posterior
from noisylib.noise_estimate import NoiseEstimate, estimate_noise
from noisylib.study.advice import calibration_digest
from noisylib.study.experiment_tables import CONDITION, Column
from noisylib.study.experiments import Experiment, Rows, Task
from noisylib.study.inputs import cached_bank
from noisylib.study.small_loss import BACKBONES, SETS

if TYPE_CHECKING:
    from noisylib.noise import NoisyLabels

HEAD = "linear"  # of the cross-validation
NOISES = (("symmetric", 0.0), *((kind, rate) for kind in ("symmetric", "asymmetric") for rate in (0.2, 0.4)))
BINS = 10  # of equal width, for the calibration of probabilities

# What each detector is called; "told T" knows the true transition matrix and bounds what an estimate can do.
DETECTORS = {
    "clean_probability": "Clean probability",
    "clean_probability_head": "... without neighbours",
    "clean_probability_confident": "... with T by confident learning",
    "clean_probability_told": "... told T",
    "cleanlab_self_confidence": "cleanlab, self-confidence",
    "cleanlab_margin": "cleanlab, normalised margin",
    "cleanlab_entropy": "cleanlab, confidence-weighted entropy",
    "cleanlab_issues": "cleanlab, find_label_issues",
    "knn": "k-NN share of the label",
    "self_confidence_knn": "Self-confidence + k-NN share",
}
# Scores that are meant as the probability that a label is right.
PROBABILITIES = (
    *(key for key in DETECTORS if key.startswith("clean_probability")),
    "cleanlab_self_confidence",
    "knn",
    "self_confidence_knn",
)

TABLE = {
    **CONDITION,
    "detector": Column("str"),
    "estimated_rate": Column("float"),
    "auroc": Column("float", nan=True),  # of labels without noise, as everything that is about wrong ones
    "average_precision": Column("float", nan=True),
    "precision_at_errors": Column("float", nan=True),  # among as many labels as are wrong
    "class_auroc": Column("floats32", nan=True),  # by observed class
    "flagged_share": Column("float"),
    "precision": Column("float", nan=True),  # of the flagged set
    "recall": Column("float", nan=True),
    "suggested_right": Column("float", nan=True),  # share of right labels after taking every suggestion
    "brier": Column("float", nan=True),
    "mean_probability": Column("float", nan=True),
    "bin_counts": Column("ints"),
    "bin_probability": Column("floats32", nan=True),
    "bin_right": Column("floats32", nan=True),
}


@dataclass(frozen=True)
class Condition:
    """What the runs of a task are: every seed with every noise.

    Attributes
    ----------
    noises : kind and rate of each label noise; asymmetric flips follow the set's default map.
    seeds : each sets the noise draw, and the folds, the start and the batch order of the heads.
    folds : parts of the cross-validation.
    calibration : digest of the fit that turns evidence into a noise rate.
    """

    noises: tuple[tuple[str, float], ...] = NOISES
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: int = FOLDS
    calibration: str = ""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What one detector says of the labels of one run.

    Attributes
    ----------
    scores : (N,) higher for a label that looks right.
    flagged : (N,) bool, the labels it would have looked at.
    suggested : (N,) the labels it would put instead, or None.
    """

    scores: np.ndarray
    flagged: np.ndarray
    suggested: np.ndarray | None = None


def tasks() -> list[Task]:
    """Return one task for each data set and backbone."""
    condition = Condition(calibration=calibration_digest())
    return [
        Task(f"{dataset}-{backbone}", dataset, backbone, condition)
        for dataset in SETS
        for backbone in BACKBONES
    ]


def run(task: Task, banks: str | None) -> Rows:
    """Judge all labels of all runs of a task and return a row for each run and detector."""
    condition, bank = task.condition, cached_bank(task.dataset, task.backbone, banks)
    X, y = bank.part("train")
    noise = [
        labels for noise in condition.noises for labels in noisy_labels(bank, *noise, seeds=condition.seeds)
    ]
    runs = [(*one, seed) for one in condition.noises for seed in condition.seeds]
    found = collect_evidence(
        X,
        np.stack([labels.y_noisy for labels in noise]),
        bank.n_classes,
        seeds=[seed for *_, seed in runs],
        folds=condition.folds,
        device="cpu",  # so that rows do not depend on whether a machine has a GPU
    )
    rows = []
    for one, labels, evidence in zip(runs, noise, found, strict=True):
        estimate = estimate_noise(evidence)
        told = _told(task, one, labels, estimate)
        rows += [
            told | {"detector": key} | measures(key, judged, y, evidence)
            for key, judged in judgements(evidence, estimate, labels.realised_T).items()
        ]
    return {"label_errors": rows}


def judgements(evidence: Evidence, estimate: NoiseEstimate, told: np.ndarray) -> dict[str, Judgement]:
    """Return what every detector says of the labels, by its key in `DETECTORS`.

    A detector that has no rule of its own for a set flags a label that is not the likeliest by its score.

    Parameters
    ----------
    estimate : of the noise, made from the same evidence.
    told : (K, K) the true transition matrix, for the one detector that is told it.
    """
    P, votes, y = evidence.held_out, evidence.neighbour_votes, evidence.y
    found = {
        "clean_probability": _of_posterior(true_class_posterior(evidence, T=estimate.T), y),
        "clean_probability_head": _of_posterior(true_class_posterior(evidence, T=estimate.T, rounds=0), y),
        "clean_probability_confident": _of_posterior(
            true_class_posterior(evidence, T=confident_transition(evidence)), y
        ),
        "clean_probability_told": _of_posterior(true_class_posterior(evidence, T=told), y),
        "cleanlab_self_confidence": Judgement(quality_scores(y, P, "self_confidence"), P.argmax(1) != y),
        "cleanlab_margin": Judgement(quality_scores(y, P, "normalized_margin"), P.argmax(1) != y),
        "cleanlab_entropy": Judgement(quality_scores(y, P, "confidence_weighted_entropy"), P.argmax(1) != y),
        "knn": Judgement(evidence.neighbour_share, votes.argmax(1) != y),
        "self_confidence_knn": Judgement(
            (evidence.self_confidence + evidence.neighbour_share) / 2, (P + votes).argmax(1) != y
        ),
    }
    # What it keeps comes first, and both parts are in the order of the margin, which is in [0, 1].
    kept = keep_mask(y, P).numpy()
    found["cleanlab_issues"] = Judgement(found["cleanlab_margin"].scores + 2 * kept, ~kept)
    return {key: found[key] for key in DETECTORS}


def confident_transition(evidence: Evidence) -> np.ndarray:
    """Return the transition matrix (K, K) by confident learning; the identity's row for an empty class."""
    joint = confident_joint(evidence.y, evidence.held_out).T
    sums = joint.sum(1, keepdims=True)
    return np.divide(joint, sums, out=np.eye(len(joint)), where=sums > 0)


def _of_posterior(posterior: np.ndarray, y: np.ndarray) -> Judgement:
    clean = posterior[np.arange(len(y)), y]
    return Judgement(clean, flag(clean), posterior.argmax(1))


def measures(key: str, judged: Judgement, y_true: np.ndarray, evidence: Evidence) -> dict[str, object]:
    """Return the columns of a row that say what a judgement is worth, given the true labels (N,)."""
    wrong, y, K = evidence.y != y_true, evidence.y, evidence.n_classes
    scores, hits = judged.scores, (judged.flagged & wrong).sum()
    found, flagged = int(wrong.sum()), int(judged.flagged.sum())
    suggested = judged.suggested
    return {
        "auroc": _auroc(scores, wrong),
        "average_precision": _average_precision(scores, wrong),
        "precision_at_errors": float(wrong[np.argsort(scores, kind="stable")[:found]].mean())
        if found
        else np.nan,
        "class_auroc": np.array([_auroc(scores[y == c], wrong[y == c]) for c in range(K)]),
        "flagged_share": flagged / len(y),
        "precision": hits / flagged if flagged else np.nan,
        "recall": hits / found if found else np.nan,
        "suggested_right": np.nan if suggested is None else float((suggested == y_true).mean()),
    } | _calibration(scores if key in PROBABILITIES else None, ~wrong)


def _auroc(scores: np.ndarray, wrong: np.ndarray) -> float:
    return float(auroc(scores, wrong)) if wrong.any() and not wrong.all() else np.nan


def _average_precision(scores: np.ndarray, wrong: np.ndarray) -> float:
    """Return the mean precision at each wrong label, most suspect first; equal scores count as one step."""
    if not wrong.any():
        return np.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    hits = np.bincount(place[wrong], minlength=len(counts))
    return float((hits * np.cumsum(hits) / np.cumsum(counts)).sum() / hits.sum())


def _calibration(probability: np.ndarray | None, right: np.ndarray) -> dict[str, object]:
    """Return how far a probability (N,) of being right is true: Brier score, mean, and ten bins of it."""
    if probability is None:
        nothing = np.full(BINS, np.nan)
        return {
            "brier": np.nan,
            "mean_probability": np.nan,
            "bin_counts": np.zeros(BINS, dtype=np.int64),
            "bin_probability": nothing,
            "bin_right": nothing,
        }
    place = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(place, minlength=BINS)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(place, weights=values, minlength=BINS)
        return np.divide(sums, counts, out=np.full(BINS, np.nan), where=counts > 0)

    return {
        "brier": float(np.mean((probability - right) ** 2)),
        "mean_probability": float(probability.mean()),
        "bin_counts": counts,
        "bin_probability": mean(probability),
        "bin_right": mean(right),
    }


def _told(
    task: Task, one: tuple[str, float, int], noise: NoisyLabels, estimate: NoiseEstimate
) -> dict[str, object]:
    noise_type, rate, seed = one
    return {
        "dataset": task.dataset,
        "backbone": task.backbone,
        "head": HEAD,
        "noise_type": noise_type,
        "noise_rate": rate,
        "realised_rate": noise.realised_rate,
        "class_map": "default" if noise_type == "asymmetric" else "",
        "seed": seed,
        "estimated_rate": estimate.rate,
    }


def cost(task: Task, banks: str | None) -> float:
    """Return the multiplications of a task: of the heads of all folds, and of the search for neighbours."""
    condition, bank = task.condition, cached_bank(task.dataset, task.backbone, banks)
    N, runs = len(bank.indices("train")), len(condition.noises) * len(condition.seeds)
    heads = 6.0 * runs * condition.folds * probe_recipe(N).epochs * N * bank.n_features * bank.n_classes
    return heads + 2.0 * N * N * bank.n_features


EXPERIMENT = Experiment(
    name="label_errors",
    description="How well wrong labels are found and how true the probability that a label is right is: "
    "symmetric and asymmetric noise at two rates and labels without noise, five image sets, three "
    "backbones, three seeds; against cleanlab and nearest neighbours on the same held-out probabilities.",
    version=1,
    tables={"label_errors": TABLE},
    tasks=tasks,
    run=run,
    cost=cost,
)
