"""TURN, and the registry of ways to tune a whole network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from noisylib.errors import NoisylibError, check_name
from noisylib.finetuning.rules import CrossEntropyRule, ELRRule, GCERule, Rule, check_options
from noisylib.methods.base import hyper


@dataclass(frozen=True)
class Turn(CrossEntropyRule):
    """A linear probe with GCE, then full fine-tuning with cross entropy on what its losses call clean.

    Each epoch of fine-tuning takes the loss of every training sample as it is now, fits a mixture of two
    Gaussians per observed class, calls samples clean whose posterior of the low-loss part exceeds tau, and
    trains on the same number of each class, that of the class with fewest clean samples.

    Source: Ahn et al. 2024, algorithm 1; 20 epochs of the probe, 5 of fine-tuning, tau = 0.6.
    """

    name: ClassVar[str] = "turn"
    title: ClassVar[str] = "TURN"
    q: float = hyper(
        0.7, "exponent of GCE in the probe", "Zhang and Sabuncu 2018, experiments", low=1e-6, high=1
    )
    probe_epochs: int = hyper(20, "epochs of the probe", "Ahn et al. 2024", low=1, high=10_000)
    tau: float = hyper(0.6, "posterior above which a sample is clean", "Ahn et al. 2024", low=0, high=1)
    balanced: bool = True

    def __post_init__(self) -> None:
        check_options(self)
        if not isinstance(self.balanced, bool):
            raise NoisylibError(f"turn.balanced={self.balanced!r}: true or false is needed.")


TUNINGS: dict[str, type] = {rule.name: rule for rule in (CrossEntropyRule, GCERule, ELRRule, Turn)}


def make_tuning(name: str | Rule) -> Rule:
    """Return a way of tuning by its name, or the one that is given.

    Raises
    ------
    UnknownNameError
        There is none of that name.
    """
    if isinstance(name, str):
        return TUNINGS[check_name("method", name, TUNINGS)]()
    if not isinstance(name, tuple(TUNINGS.values())):
        raise NoisylibError(
            f"method={name!r} is no way to tune a network: give one of {', '.join(TUNINGS)}, or one of the "
            "classes of noisylib.finetuning.TUNINGS with other options. Those of noisylib.methods are "
            "for heads."
        )
    return name
