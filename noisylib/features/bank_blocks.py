"""Banks that are written block by block, because all of their features would not fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from noisylib.errors import BankError
from noisylib.features.bank import BankMeta, FeatureBank
from noisylib.features.bank_rules import as_integers
from noisylib.features.bank_shards import has_views, read_shards, write_shards


def write_blocks(
    path: str | Path,
    blocks: Iterable[np.ndarray | tuple[np.ndarray, np.ndarray]],
    labels: np.ndarray,
    split: np.ndarray,
    class_names: Sequence[str],
    meta: BankMeta,
    groups: np.ndarray | None = None,
) -> FeatureBank:
    """Write a bank in shards whose features are never in memory together, and return it, mapped.

    Parameters
    ----------
    path : the index; the shards go into a folder beside it.
    blocks : features (n, D) of consecutive samples, a shard for each block; in a bank with views, pairs of
        them and the views (n_train, V, D) of the training samples among the n.
    labels, split, class_names, meta, groups : as of `FeatureBank.from_arrays`, of all samples.

    Raises
    ------
    BankError
        As `FeatureBank.from_arrays`. Shards may have been written by then; what stood at `path` still stands.
    """
    path = Path(path)
    shards = write_shards(path, (block if isinstance(block, tuple) else (block, None) for block in blocks))
    if not shards:
        raise BankError("blocks is empty: give features of at least one sample.")
    bank = FeatureBank(
        labels=as_integers("labels", labels, np.int64),
        split=as_integers("split", split, np.uint8),
        groups=None if groups is None else as_integers("groups", groups, np.int64),
        class_names=tuple(class_names),
        meta=meta,
        **read_shards(path, shards, views=has_views(path, shards)),
    )
    bank.write_file(path, shards)
    return bank
