"""The training rules and their registry."""

from __future__ import annotations

from noisylib.errors import check_name
from noisylib.methods.balanced_softmax import BalancedCoTeaching, BalancedCrossEntropy
from noisylib.methods.base import Method, TrainingFree
from noisylib.methods.ce import CrossEntropy
from noisylib.methods.confident_learning import ConfidentLearningPruning
from noisylib.methods.correction import BackwardCorrection, ForwardCorrection, OracleForwardCorrection
from noisylib.methods.coteaching import CoTeaching
from noisylib.methods.coteaching_by_class import ClassAwareCoTeaching, CoTeachingQuota
from noisylib.methods.cufit import CUFITHead
from noisylib.methods.dividemix import DivideMix
from noisylib.methods.elr import EarlyLearningRegularisation
from noisylib.methods.gce import GeneralisedCrossEntropy
from noisylib.methods.jocor import JoCoR
from noisylib.methods.label_smoothing import LabelSmoothing
from noisylib.methods.rcal import RCALHead
from noisylib.methods.sce import SymmetricCrossEntropy
from noisylib.methods.session import TOLD, BankContext, Batch, Training
from noisylib.methods.truncated_gce import TruncatedGCE
from noisylib.methods.turn import TURNHead
from noisylib.methods.unicon import UNICON
from noisylib.methods.voting import (
    AdaptiveNearestNeighbours,
    KNearestNeighbours,
    WeightedAdaptiveNearestNeighbours,
)

# The ranked eight of the benchmark first, then the extras.
METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (
        CrossEntropy,
        LabelSmoothing,
        GeneralisedCrossEntropy,
        ForwardCorrection,
        CoTeaching,
        DivideMix,
        EarlyLearningRegularisation,
        CUFITHead,
        OracleForwardCorrection,
        BackwardCorrection,
        SymmetricCrossEntropy,
        TruncatedGCE,
        JoCoR,
        UNICON,
        RCALHead,
        TURNHead,
        ConfidentLearningPruning,
        KNearestNeighbours,
        AdaptiveNearestNeighbours,
        WeightedAdaptiveNearestNeighbours,
        CoTeachingQuota,
        ClassAwareCoTeaching,
        BalancedCoTeaching,
        BalancedCrossEntropy,
    )
}
RANKED = tuple(name for name, cls in METHODS.items() if cls.ranked)


def make_method(method: str | Method, options: dict[str, float] | None = None) -> Method:
    """Return a method by registry name, with some hyper-parameters changed; instances pass through.

    Raises
    ------
    UnknownNameError
        If the name or an option is unknown; the nearest one is suggested.
    NoisylibError
        If an option's value is outside its range.
    """
    if isinstance(method, Method):
        return method
    return METHODS[check_name("method", method, METHODS)].from_options(options or {})


__all__ = [
    "METHODS",
    "RANKED",
    "TOLD",
    "BankContext",
    "Batch",
    "Method",
    "Training",
    "TrainingFree",
    "make_method",
]
