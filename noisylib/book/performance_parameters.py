"""The parameters of the chapter on speed: whose record is shown, and the small bank that is timed live."""

from __future__ import annotations

from dataclasses import dataclass, field

from noisylib.book import parameter_names as names
from noisylib.book.benchmark_record import DEVICES
from noisylib.book.parameter_rules import rules


@dataclass(frozen=True)
class PerformanceParameters:
    """Which record of the benchmarks is read, and what the live cell trains."""

    record: str = field(
        default="cpu",
        metadata=rules("record of the benchmarks that is shown: cpu or cuda", names=lambda: set(DEVICES)),
    )
    head: str = field(default="adapter", metadata=rules("live: linear, mlp or adapter", names=names.heads))
    runs: int = field(default=20, metadata=rules("live: runs of the bank", low=2, high=200))
    n_features: int = field(default=192, metadata=rules("live: width of the features", low=8, high=2048))
    samples: int = field(default=2000, metadata=rules("live: training samples", low=200, high=20000))
    epochs: int = field(default=3, metadata=rules("live: passes over the training samples", low=1, high=20))
