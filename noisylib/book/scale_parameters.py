"""The parameters of the chapter on large studies: what is planned, and on which machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from noisylib.book import parameter_names as names
from noisylib.book.parameter_rules import rules
from noisylib.book.parameters import check_not_empty
from noisylib.errors import ConfigError


def _gpus() -> set[str]:
    from noisylib.analysis.machines import GPUS

    return set(GPUS)


@dataclass(frozen=True)
class ScaleParameters:
    """The study that is planned, the machines it is planned for, and what is assumed of GPUs.

    Attributes
    ----------
    few_runs, few_samples : of a study of today, beside which the large one stands.
    test_share : test samples per training sample.
    """

    few_runs: ClassVar[int] = 6000
    few_samples: ClassVar[int] = 8000
    test_share: ClassVar[float] = 0.25

    runs: int = field(default=1_000_000, metadata=rules("runs of the large study", low=10_000, high=10**9))
    samples: int = field(
        default=10_000_000, metadata=rules("training samples of the large set", low=10_000, high=10**10)
    )
    n_features: int = field(default=768, metadata=rules("width of the features", low=2, high=65536))
    n_classes: int = field(default=10, metadata=rules("classes", low=2, high=100_000))
    head: str = field(default="adapter", metadata=rules("linear, mlp or adapter", names=names.heads))
    runs_per_chunk: int = field(
        default=30, metadata=rules("runs that are computed together", low=1, high=10_000)
    )
    cores: list[int] = field(
        default_factory=lambda: [2, 64, 1024], metadata=rules("processor cores", low=1, high=10**7)
    )
    memories: list[int] = field(
        default_factory=lambda: [16, 64, 128], metadata=rules("memory of a host in GB", low=1, high=10**6)
    )
    gpus: list[str] = field(
        default_factory=lambda: ["h100", "h200", "a100", "l4"],
        metadata=rules("GPUs whose stated peaks are used; figure and summary show the first", names=_gpus),
    )
    n_gpus: int = field(default=100, metadata=rules("GPUs of the large study", low=1, high=10**6))
    shares: list[float] = field(
        default_factory=lambda: [0.05, 0.3],
        metadata=rules("assumed: least and largest share of the stated rate", low=0.0001, high=1.0),
    )
    price: float = field(default=2.5, metadata=rules("assumed: USD per GPU hour", low=0.0, high=1e4))

    def __post_init__(self) -> None:
        check_not_empty(self, "cores", "memories", "gpus")
        if len(self.shares) != 2 or self.shares[0] > self.shares[1]:
            raise ConfigError(f"shares={self.shares}: give two, the least first, such as [0.05, 0.3].")

    @property
    def low_share(self) -> float:
        """Least share of the stated rate."""
        return self.shares[0]

    @property
    def high_share(self) -> float:
        """Largest share of the stated rate."""
        return self.shares[1]

    @property
    def gpu(self) -> str:
        """The GPU of the figure and of the summary."""
        return self.gpus[0]

    @property
    def methods(self) -> list[str]:
        """The methods of the study, each in an equal part of its runs: those of the benchmark."""
        from noisylib.methods import RANKED

        return list(RANKED)
