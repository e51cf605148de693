"""The claims of arXiv 2310.17668 (TURN), and why none of them can be tested on our rows.

Its numbers are of CIFAR-100, Clothing1M and WebVision, many of them of fine-tuned backbones. Whether its
patterns show on other images is asked in `analogues` of frozen features and in `turn_tuned` of backbones
that were fine-tuned.
"""

from __future__ import annotations

import numpy as np

from noisylib.book.claims import published
from noisylib.book.claims.claim import Claim
from noisylib.book.claims.published import CIFAR100, CLOTHING1M, NOISES, TURN_ELSEWHERE, lead

SYM6, SYM9, ASYM4, INST4 = NOISES
NO_CIFAR = "features of CIFAR-100"
NO_TUNING = "backbones fine-tuned on its images"


def points(values: tuple[float, ...]) -> str:
    """Return the numbers of the backbones, in the order of the published table."""
    return " / ".join(f"{value:+.1f}" for value in values) + " pp"


def share(count: tuple[int, int]) -> str:
    """Return on how many of all backbones something was found, as text."""
    return f"on {count[0]} of {count[1]} backbones"


def best_in_all() -> str:
    """Return in how many columns of the CIFAR-100 table TURN has the highest accuracy."""
    cells = [(backbone, noise) for backbone in range(3) for noise in range(4)]
    best = sum(CIFAR100["TURN"][b][n] == max(scores[b][n] for scores in CIFAR100.values()) for b, n in cells)
    return f"{best} of {len(cells)} columns"


ELR_GAPS = tuple(gap for noise in NOISES for gap in lead("LP ELR", "LP CE", noise))
_SECOND = max((value, name) for name, value in CLOTHING1M.items() if name != "TURN")

CLAIMS = (
    Claim(
        "T1",
        "Accuracies on CIFAR-100",
        f"{sum(len(row) for rows in CIFAR100.values() for row in rows)} numbers, see {{numref}}`tab-turn`",
        missing=f"{NO_CIFAR}; for four of nine rows {NO_TUNING}",
    ),
    Claim(
        "T2",
        "TURN is best on CIFAR-100",
        best_in_all(),
        missing=f"{NO_CIFAR}; {NO_TUNING}; see [A7](#claim-a7) and [A8](#claim-a8)",
    ),
    Claim(
        "T3",
        "LP-CE loses from symmetric 60 % to asymmetric 40 %",
        points(lead("LP CE", "LP CE", SYM6, ASYM4)),
        missing=f"{NO_CIFAR}; see [A1](#claim-a1) and [A11](#claim-a11)",
    ),
    Claim(
        "T4",
        "LP-GCE is above LP-CE at symmetric 90 %",
        points(lead("LP GCE", "LP CE", SYM9)),
        missing=f"{NO_CIFAR}; see [A2](#claim-a2) and [A12](#claim-a12)",
    ),
    Claim(
        "T5",
        "LP-GCE is below LP-CE under instance noise",
        points(lead("LP GCE", "LP CE", INST4)),
        missing=f"{NO_CIFAR}; see [A3](#claim-a3) and [A13](#claim-a13)",
    ),
    Claim(
        "T6",
        "LP-ELR is close to LP-CE",
        f"{np.mean(np.abs(ELR_GAPS)):.1f} pp on average, {np.max(np.abs(ELR_GAPS)):.1f} at most",
        missing=f"{NO_CIFAR}; see [A4](#claim-a4) and [A14](#claim-a14)",
    ),
    Claim(
        "T7",
        "LP-DivideMix and LP-UNICON are above LP-CE at asymmetric 40 %",
        f"{points(lead('LP DivideMix', 'LP CE', ASYM4))}; {points(lead('LP UNICON', 'LP CE', ASYM4))}",
        missing=f"{NO_CIFAR}; see [A5](#claim-a5), [A6](#claim-a6), [A15](#claim-a15) and [A16](#claim-a16)",
    ),
    Claim(
        "T8",
        "FFT-CE is mostly above LP-CE at symmetric 60 %",
        f"{points(lead('FFT CE', 'LP CE', SYM6))}; {share(published.FFT_ABOVE)}",
        missing=f"{NO_CIFAR}; {NO_TUNING}; see [A17](#claim-a17)",
    ),
    Claim(
        "T9",
        "FFT-CE is mostly below LP-CE at symmetric 90 %",
        f"{points(lead('FFT CE', 'LP CE', SYM9))}; {share(published.FFT_BELOW)}",
        missing=f"{NO_CIFAR}; {NO_TUNING}; see [A18](#claim-a18)",
    ),
    *(
        Claim(
            f"T{10 + i}",
            f"TURN on CIFAR-100 with {name}",
            " / ".join(f"{v:.2f}" for v in scores) + " %",
            missing=f"{NO_CIFAR}; {NO_TUNING}",
        )
        for i, (name, scores) in enumerate(TURN_ELSEWHERE.items())
    ),
    Claim(
        "T13",
        "TURN is best on Clothing1M",
        f"{CLOTHING1M['TURN']:.2f} %, the next is {_SECOND[1]} with {_SECOND[0]:.2f} %",
        missing=f"images of Clothing1M; {NO_TUNING}",
    ),
    Claim(
        "T14",
        "TURN on WebVision",
        " / ".join(f"{v:.2f}" for v in published.WEBVISION) + " %",
        missing=f"images of WebVision; {NO_TUNING}",
    ),
)
