"""The training rules and their registry."""

from __future__ import annotations

from noisylib.errors import check_name
from noisylib.methods.base import Method, TrainingFree
from noisylib.methods.ce import CrossEntropy
from noisylib.methods.coteaching import CoTeaching
from noisylib.methods.elr import EarlyLearningRegularisation
from noisylib.methods.gce import GeneralisedCrossEntropy
from noisylib.methods.label_smoothing import LabelSmoothing
from noisylib.methods.session import TOLD, BankContext, Batch, Training

METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (
        CrossEntropy,
        LabelSmoothing,
        GeneralisedCrossEntropy,
        EarlyLearningRegularisation,
        CoTeaching,
    )
}


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


__all__ = ["METHODS", "TOLD", "BankContext", "Batch", "Method", "Training", "TrainingFree", "make_method"]
