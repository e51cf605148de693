"""What a run trains on: its feature bank and its noisy labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from noisylib.data.catalog import dataset_info
from noisylib.errors import BankError
from noisylib.features.bank import FeatureBank, bank_path, load_bank
from noisylib.noise import NoisyLabels, inject
from noisylib.study.config import RunSpec

_provided: dict[tuple[str, str], FeatureBank] = {}


@contextmanager
def provided(banks: Mapping[tuple[str, str], FeatureBank]) -> Iterator[None]:
    """Let `cached_bank` find these, by (dataset, backbone), before it looks for files.

    One after the other: a process has one set of provided banks at a time.
    """
    _provided.update(banks)
    try:
        yield
    finally:
        _provided.clear()


def cached_bank(
    dataset: str, backbone: str, banks: str | None, *, memory_limit: int | None = None, checksum: str = ""
) -> FeatureBank:
    """Return a bank that was provided, or read it; a process reads each only once while it is in use.

    Parameters
    ----------
    memory_limit : features that need more bytes stay on disk, as `FeatureBank.load` has it.
    checksum : what the bank is expected to have; "" takes any.

    Raises
    ------
    BankError
        The file here holds another bank than the one that was planned with.
    """
    provided = _provided.get((dataset, backbone))
    return provided or _read_bank(dataset, backbone, banks, memory_limit, checksum)


@lru_cache(maxsize=4)
def _read_bank(
    dataset: str, backbone: str, banks: str | None, memory_limit: int | None, checksum: str
) -> FeatureBank:
    bank = load_bank(dataset, backbone, banks, mapped="auto", memory_limit=memory_limit)
    if checksum and bank.checksum != checksum:
        raise BankError(
            f"{bank_path(dataset, backbone, banks)} has checksum {bank.checksum[:12]}, but the study was "
            f"planned with {checksum[:12]}: it is another bank, or was replaced since. Put the same file "
            "there, or run the command again."
        )
    return bank


def run_noise(run: RunSpec, bank: FeatureBank, reference: np.ndarray | None = None) -> NoisyLabels:
    """Return the noisy training labels of a run; they depend on dataset, noise and seed_noise only.

    Human labels are the same for every seed; the rate they go by is the one that is counted.
    """
    y, class_map = bank.part("train")[1], None
    if run.noise_type == "human":
        y_human = bank.training_human_labels(run.class_map)
        rate = float((y_human != y).mean())
        return inject(y, "human", rate, n_classes=bank.n_classes, seed=run.seed_noise, y_human=y_human)
    if run.noise_type == "asymmetric":
        class_map = dataset_info(run.dataset).map_indices(run.class_map, bank.class_names)
    return inject(
        y,
        run.noise_type,
        run.noise_rate,
        n_classes=bank.n_classes,
        seed=run.seed_noise,
        dataset=run.dataset,
        class_map=class_map,
        features=reference,
    )


def noise_of(
    runs: Sequence[RunSpec],
    bank: FeatureBank,
    reference_backbone: str,
    banks: str | None,
    *,
    memory_limit: int | None = None,
    checksum: str = "",
) -> list[NoisyLabels]:
    """Return the noisy labels of runs of one bank; the last two are of the reference bank."""
    reference = None
    if any(run.noise_type == "instance" for run in runs):
        reference_bank = cached_bank(
            runs[0].dataset, reference_backbone, banks, memory_limit=memory_limit, checksum=checksum
        )
        reference = reference_bank.part("train")[0]
    return [run_noise(run, bank, reference) for run in runs]
