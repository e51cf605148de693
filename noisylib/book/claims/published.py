"""Numbers as two papers print them, and nothing computed from rows.

References
----------
[1] Li and Wang (2026), Rethinking Noise-Robust Training for Frozen Vision Foundation Models: A
    Cross-Dataset Benchmark with a Case Study of Small-Loss Failure, arXiv 2605.22591: the abstract.
[2] Ahn et al. (2024), Fine-tuning Pre-trained Models for Robustness under Noisy Labels (TURN),
    arXiv 2310.17668: its tables of test accuracy.
"""

from __future__ import annotations

# [1]: 8 methods x 5 data sets x 3 backbones x 2 kinds of noise x 5 rates; costs in percentage points,
# scores and overlaps in percent.
METHODS, DATASETS, BACKBONES, NOISE_TYPES, RATES = 8, 5, 3, 2, 5
CONDITIONS, RUNS = 150, 6000
ELR_WINS, CUFIT_RANK = 49, 2.51
CHI2, P_VALUE = 333.2, 4.77e-68
CLEAN_COST, ASYMMETRIC_COST = 4.5, 18.8
CO_ACCURACY, CO_BALANCED, CO_DEAD = 68.0, 35.1, 3  # Co-teaching on ISIC 2019, asymmetric 40 %
CO_CLASSES = 8  # of ISIC 2019
OVERLAP = (53, 61)
AGREEMENT_DROP, LOSS_DROP = 3, 13

# Follows from the above.
KENDALL_W = CHI2 / (CONDITIONS * (METHODS - 1))
COST_RATIO = ASYMMETRIC_COST / CLEAN_COST

# [2]: accuracy in percent on CIFAR-100. LP trains a linear head on frozen features, FFT everything.
NOISES = ("symmetric 60 %", "symmetric 90 %", "asymmetric 40 %", "instance 40 %")
TURN_BACKBONES = ("ViT-B/16", "ConvNeXt-T", "CLIP ViT-B")
CIFAR100: dict[str, tuple[tuple[float, ...], ...]] = {
    "FFT CE": ((88.45, 62.31, 61.25, 64.42), (79.12, 54.72, 68.31, 57.61), (80.17, 26.84, 64.31, 72.66)),
    "FFT GCE": ((89.82, 46.51, 83.73, 1.31), (81.53, 62.31, 79.52, 1.17), (81.56, 3.18, 78.35, 1.13)),
    "FFT ELR": ((88.52, 63.52, 77.83, 83.34), (78.93, 51.52, 74.62, 67.14), (76.24, 32.27, 75.38, 71.66)),
    "LP CE": ((81.20, 64.17, 61.15, 61.62), (70.67, 53.14, 54.83, 62.15), (74.24, 52.17, 53.99, 63.09)),
    "LP GCE": ((83.19, 81.21, 76.32, 43.11), (73.76, 65.21, 70.26, 5.00), (79.66, 65.49, 72.91, 19.87)),
    "LP ELR": ((81.23, 65.58, 64.37, 69.43), (70.95, 52.38, 57.15, 61.31), (73.92, 51.94, 56.57, 65.11)),
    "LP DivideMix": (
        (84.31, 80.72, 82.62, 84.26),
        (74.92, 68.25, 72.41, 65.73),
        (77.97, 69.55, 75.17, 71.12),
    ),
    "LP UNICON": ((83.15, 80.23, 83.51, 84.32), (71.12, 60.35, 63.92, 69.25), (73.54, 59.55, 67.37, 72.47)),
    "TURN": ((90.62, 84.35, 88.13, 87.57), (83.83, 70.01, 81.28, 73.40), (84.12, 72.55, 78.41, 80.96)),
}
TURN_ELSEWHERE = {
    "MAE": (64.33, 28.83, 65.97, 56.53),
    "MSN": (79.52, 54.35, 75.33, 69.13),
    "ResNet-50": (73.32, 59.64, 69.38, 69.78),
}
CLOTHING1M = {
    "LP CE": 67.83,
    "LP GCE": 67.46,
    "LP ELR": 66.91,
    "LP DivideMix": 68.13,
    "LP UNICON": 68.42,
    "FFT CE": 68.98,
    "FFT GCE": 69.74,
    "FFT ELR": 68.73,
    "TURN": 70.28,
}
WEBVISION = (85.96, 85.92)
# Backbones, of all six, on which FFT CE exceeds LP CE at symmetric 60 %, and falls below it at 90 %.
FFT_ABOVE, FFT_BELOW = (5, 6), (5, 6)


def accuracies(tuning: str, noise: str) -> tuple[float, ...]:
    """Return the accuracy in percent of one row of the CIFAR-100 table under each backbone."""
    return tuple(scores[NOISES.index(noise)] for scores in CIFAR100[tuning])


def lead(better: str, worse: str, noise: str, other: str = "") -> tuple[float, ...]:
    """Return by how many points one row exceeds another under each backbone.

    Parameters
    ----------
    noise, other : noise of `better`, and of `worse` where that differs.
    """
    pairs = zip(accuracies(better, noise), accuracies(worse, other or noise), strict=True)
    return tuple(round(a - b, 2) for a, b in pairs)
