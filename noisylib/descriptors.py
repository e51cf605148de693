"""What a data set with doubtful labels looks like in numbers, from features and observed labels alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from noisylib.anchors import find_anchors
from noisylib.confident_joint import asymmetry, confident_joint, share_wrong
from noisylib.evidence import Evidence
from noisylib.mixtures import fit_mixture

SMALLEST = 1e-6  # probabilities below count as this, so that no loss exceeds 13.8 nats
TOP = 97  # percentile of the confidence of held-out predictions

DESCRIPTORS = {
    "n_samples": "samples, N",
    "n_features": "features, D",
    "n_classes": "classes, K",
    "samples_per_feature": "N / D",
    "imbalance": "samples of the largest observed class, over those of the smallest",
    "neighbour_agreement": "share of the 11 nearest neighbours that carry the sample's own label",
    "neighbour_agreement_min": "the same within the class where it is lowest",
    "held_out_accuracy": "share of observed labels that a head predicts which did not see them",
    "held_out_balanced_accuracy": "the same, a mean over observed classes",
    "confident_rate": "share of wrong labels by confident learning; counts overlap of classes as noise",
    "confident_asymmetry": "largest share of one class among the wrong labels of a class, mean over classes",
    "separation": "gap of the two groups of held-out losses, in their standard deviations",
    "high_loss_share": "share of samples in the group of high held-out losses",
    "confidence_top": "97th percentile of the confidence of held-out predictions",
    "anchor_disagreement": "share of labels contradicted where predictions are most confident",
    "anchor_floor": "the same in the classes where it is lowest, which hold a quarter of the samples",
    "anchor_excess": "mean excess of the other classes over these, discounted where classes overlap",
    "anchor_overlap": "share of neighbours predicted otherwise, where predictions are most confident",
}


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Numbers that describe a data set and its labels; `DESCRIPTORS` says what each scalar means.

    Shares are in [0, 1]. All numbers are finite. The four arrays are per class, (K,), and 0 for a class that
    nobody is labelled with: its samples, the share of neighbours that carry their label, the share of them
    that a held-out head predicts, and the share that confident learning takes to be right.
    """

    n_samples: int
    n_features: int
    n_classes: int
    samples_per_feature: float
    imbalance: float
    neighbour_agreement: float
    neighbour_agreement_min: float
    held_out_accuracy: float
    held_out_balanced_accuracy: float
    confident_rate: float
    confident_asymmetry: float
    separation: float
    high_loss_share: float
    confidence_top: float
    anchor_disagreement: float
    anchor_floor: float
    anchor_excess: float
    anchor_overlap: float
    class_counts: np.ndarray
    class_agreement: np.ndarray
    class_recall: np.ndarray
    class_purity: np.ndarray

    def scalars(self) -> dict[str, float]:
        """Return the scalars by name, in the order of `DESCRIPTORS`."""
        return {name: float(getattr(self, name)) for name in DESCRIPTORS}

    def class_lists(self) -> dict[str, list[float]]:
        """Return the numbers per class by name, each a list of length K."""
        return {name: value.tolist() for name, value in asdict(self).items() if isinstance(value, np.ndarray)}


def describe(X: np.ndarray, evidence: Evidence) -> Descriptors:
    """Return the descriptors of features `X` (N, D), of which only the shape counts, and of their labels.

    - With one observed class the imbalance is 1; a class without a sample does not count in it.
    - A class of one sample has agreement 0: no neighbour can share its label.
    - If all held-out losses are equal there is one group: separation and share of high losses are 0.
    """
    return describe_labels(evidence, np.shape(X)[1])


def describe_labels(evidence: Evidence, n_features: int) -> Descriptors:
    """Return the descriptors, given the feature width alone."""
    y, K = evidence.y, evidence.n_classes
    N, counts = len(y), np.bincount(y, minlength=K)
    observed = counts > 0
    agreement = _mean_by_class(evidence.neighbour_share, y, K)
    recall = _mean_by_class(evidence.held_out.argmax(1) == y, y, K)
    gap, high = loss_groups(evidence)
    joint = confident_joint(y, evidence.held_out)
    anchors = find_anchors(y, evidence.held_out, evidence.neighbours)
    return Descriptors(
        n_samples=N,
        n_features=n_features,
        n_classes=K,
        samples_per_feature=N / n_features,
        imbalance=float(counts.max() / counts[observed].min()),
        neighbour_agreement=float(evidence.neighbour_share.mean()),
        neighbour_agreement_min=float(agreement[observed].min()),
        held_out_accuracy=float((evidence.held_out.argmax(1) == y).mean()),
        held_out_balanced_accuracy=float(recall[observed].mean()),
        confident_rate=share_wrong(joint),
        confident_asymmetry=asymmetry(joint),
        separation=gap,
        high_loss_share=high,
        confidence_top=float(np.percentile(evidence.held_out.max(1), TOP)),
        anchor_disagreement=anchors.disagreement,
        anchor_floor=anchors.floor,
        anchor_excess=anchors.excess,
        anchor_overlap=anchors.mean_overlap,
        class_counts=counts,
        class_agreement=agreement,
        class_recall=recall,
        class_purity=np.divide(np.diag(joint) * N, counts, out=np.zeros(K), where=observed),
    )


def loss_groups(evidence: Evidence) -> tuple[float, float]:
    """Return how far apart the two groups of held-out losses are, and the share of the high group.

    The groups are the components of a Gaussian mixture. Their distance is the gap of the means over the
    root of the variance within them, each component counting by its weight. (0, 0) if losses are equal.
    """
    losses = -np.log(np.maximum(evidence.self_confidence, SMALLEST))
    mixture = fit_mixture(torch.from_numpy(losses))
    weights, means, variances = (part.numpy() for part in (mixture.weights, mixture.means, mixture.variances))
    return float((means[1] - means[0]) / np.sqrt(weights @ variances)), float(weights[1])


def _mean_by_class(values: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    counts = np.bincount(y, minlength=n_classes)
    totals = np.bincount(y, weights=np.asarray(values, dtype=np.float64), minlength=n_classes)
    return np.divide(totals, counts, out=np.zeros(n_classes), where=counts > 0)
