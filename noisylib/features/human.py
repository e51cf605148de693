"""Labels that people gave, added to a bank that was extracted without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from noisylib.data.catalog import dataset_info
from noisylib.data.cifar import human_label_sets
from noisylib.data.human import CIFAR_N
from noisylib.errors import check_name
from noisylib.features.bank import FeatureBank


def with_human_labels(bank: FeatureBank, path: str | Path) -> FeatureBank:
    """Return a CIFAR bank with the labels of a CIFAR-N file; the features need not be extracted again.

    Parameters
    ----------
    bank : of cifar10 or cifar100, its training images in their official order.
    path : ``CIFAR-10_human.pt`` or ``CIFAR-100_human.pt``.

    Raises
    ------
    UnknownNameError
        People labelled no such set.
    NoisylibError
        The file is not a CIFAR-N file, or its clean labels are not the training labels of the bank.
    """
    info = dataset_info(check_name("dataset with human labels", bank.meta.dataset, CIFAR_N))
    train = bank.indices("train")
    human = {}
    for name, given in human_label_sets(info, Path(path), bank.labels[train]).items():
        human[name] = np.full(bank.n_samples, -1, np.int64)
        human[name][train] = given
    return replace(bank, human_labels=human)
