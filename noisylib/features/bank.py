"""FeatureBank: the frozen features of one image set under one backbone, in one checked file.

Features are (N, D) float16 on disk and float32 in use, so a bank of 10,000 images at D = 192
takes 4 MB. The file is ``.safetensors``: arrays and a JSON header, nothing that can run code. What is too
large for memory can stay on disk, in one file or in shards (`noisylib.features.bank_shards`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from noisylib.errors import BankError, MissingDataError, check_name
from noisylib.features.bank_file import REFETCH, Mapped, content_digest, read_bank, write_arrays
from noisylib.features.bank_rules import (
    DTYPES,
    HUMAN,
    OPTIONAL,
    SPLITS,
    as_half,
    as_integers,
    check_bank,
)
from noisylib.features.bank_shards import blocks_of, write_shards
from noisylib.mapped_rows import MappedRows

Split = Literal["train", "val", "test"]

_FILE_NAME = re.compile(r"(?P<dataset>[^-]+)-(?P<backbone>[^-]+)\.safetensors")


@dataclass(frozen=True)
class BankMeta:
    """Where the numbers of a bank come from.

    Attributes
    ----------
    dataset, backbone : names; letters, digits, ``_`` and ``.`` (the file name joins them by ``-``).
    preprocessing : what was done to every image, resolved from the model, as plain JSON values.
    licence : licence of the images, which their features inherit.
    citation : BibTeX key of the image set in ``book/references.bib``.
    command : the command that made the bank, without paths of one machine.
    source : where the images come from.
    notes : what differs from the official set or weights.
    """

    dataset: str
    backbone: str
    preprocessing: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    command: str = ""
    source: str = ""
    notes: str = ""


@dataclass(frozen=True, eq=False)
class FeatureBank:
    """Features, labels and splits of one image set under one backbone.

    Parameters
    ----------
    features : (N, D) float16, finite; of a bank that is mapped, `MappedRows` that stand for it.
    labels : (N,) int64 in [0, K), index into `class_names`.
    split : (N,) uint8; 0 train, 1 val, 2 test.
    groups : (N,) int64 lesion or patient numbers, or None.
    class_names : K >= 2 distinct names.
    meta : BankMeta.
    views : (V, N_train, D) float16, features of V >= 2 augmented versions of each training image, in the
        order of ``indices("train")``; or None.
    projection : (1 + D, D0) float16, the mean of D0 original features and the D directions on which
        `noisylib.features.reduce` projected them; or None.
    human_labels : name -> (N,) int64, labels that people gave to the training samples, -1 elsewhere; empty
        for most sets.

    Raises
    ------
    BankError
        An array of wrong shape or dtype, NaN or infinite features, views or projection, a label or split
        code out of range, a class that has no sample in a train or test split that is not empty, or human
        labels that miss a training sample or cover another one.
    """

    features: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    groups: np.ndarray | None
    class_names: tuple[str, ...]
    meta: BankMeta
    views: np.ndarray | None = None
    projection: np.ndarray | None = None
    human_labels: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        # In the order of names, which the digest goes by.
        object.__setattr__(
            self, "human_labels", {name: self.human_labels[name] for name in sorted(self.human_labels)}
        )
        check_bank(self)

    @classmethod
    def from_arrays(
        cls,
        features: np.ndarray,
        labels: np.ndarray,
        split: np.ndarray,
        class_names: tuple[str, ...] | list[str],
        meta: BankMeta,
        groups: np.ndarray | None = None,
        views: np.ndarray | None = None,
        projection: np.ndarray | None = None,
        human_labels: Mapping[str, np.ndarray] | None = None,
    ) -> FeatureBank:
        """Return a bank from arrays of any float and integer dtype, cast to the bank's own.

        Raises
        ------
        BankError
            As the constructor, and for finite features or views beyond float16's largest number, 65504.
        """
        return cls(
            features=as_half("features", features),
            labels=as_integers("labels", labels, np.int64),
            split=as_integers("split", split, np.uint8),
            groups=None if groups is None else as_integers("groups", groups, np.int64),
            class_names=tuple(class_names),
            meta=meta,
            views=None if views is None else as_half("views", views),
            projection=None if projection is None else as_half("projection", projection),
            human_labels={
                name: as_integers(HUMAN + name, labels, np.int64)
                for name, labels in (human_labels or {}).items()
            },
        )

    @property
    def n_samples(self) -> int:
        """Number of samples N."""
        return self.features.shape[0]

    @property
    def n_features(self) -> int:
        """Feature width D."""
        return self.features.shape[1]

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    @property
    def checksum(self) -> str:
        """SHA-256 (hex) of the arrays, class names, dataset and backbone; the notes do not count."""
        if (read := self.__dict__.get("_checksum")) is not None:  # of a file: it was compared on reading
            return read
        return content_digest(self.arrays(), self.meta.dataset, self.meta.backbone, self.class_names)

    def indices(self, split: Split) -> np.ndarray:
        """Return the positions (n,) int64 of the samples of one split."""
        return np.flatnonzero(self.split == SPLITS.index(check_name("split", split, SPLITS)))

    def part(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n, D) float32 and y (n,) int64 of one split, as fresh arrays; X on disk stays there."""
        rows = self.indices(split)
        X = self.features.take(rows) if isinstance(self.features, MappedRows) else self.features[rows]
        return X.astype(np.float32), self.labels[rows]

    def training_views(self) -> np.ndarray | None:
        """Return the views (V, N_train, D) float32 of ``part("train")``, as X there, or None."""
        return None if self.views is None else self.views.astype(np.float32)

    def training_human_labels(self, name: str) -> np.ndarray:
        """Return the labels (N_train,) int64 that people gave to ``part("train")``, a fresh array.

        Raises
        ------
        BankError
            The bank has no human labels of that name.
        """
        if name not in self.human_labels:
            here = ", ".join(self.human_labels) or "none"
            raise BankError(
                f"bank {self.meta.dataset}-{self.meta.backbone} has no human labels {name!r}; it has {here}. "
                "An extraction takes along the label file that lies beside the images: put it there, delete "
                "the bank and extract it again, or add them by noisylib.features.human.with_human_labels."
            )
        return self.human_labels[name][self.indices("train")]

    def save(self, path: str | Path, shard_rows: int | None = None) -> None:
        """Write the bank to `path`, or leave `path` as it was if that fails.

        With `shard_rows`, features and views go into shards of so many samples, and `path` is their index.
        """
        if shard_rows is not None and shard_rows < 1:
            raise BankError(f"shard_rows={shard_rows}: at least 1 sample in each shard is needed.")
        path = Path(path)
        self.write_file(path, shard_rows and write_shards(path, blocks_of(self, shard_rows)))

    def write_file(self, path: Path, shards: Sequence[dict[str, Any]] | None) -> None:
        """Write the file of the bank, or the index of shards that hold its features."""
        header = {
            "class_names": list(self.class_names),
            "meta": json.dumps(asdict(self.meta), sort_keys=True),
            "checksum": self.checksum,
        }
        write_arrays(path, self.arrays(), header, shards)

    @classmethod
    def load(
        cls, path: str | Path, *, mapped: Mapped = False, memory_limit: int | None = None
    ) -> FeatureBank:
        """Return the bank stored at `path`.

        Parameters
        ----------
        mapped : True leaves features and views on disk; they are read once, in blocks, for the checksum, and
            from then on where they are needed. "auto" does so if they would not fit.
        memory_limit : bytes that they may take in all while heads train on them, for "auto"; by default half
            of the free memory.

        Raises
        ------
        MissingDataError
            There is no such file.
        BankError
            The file or one of its shards is missing, truncated or altered, is no bank, or breaks a bank's
            rules; the text says which.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingDataError(f"no feature bank at {path}.")
        meta, names, arrays, checksum = read_bank(path, mapped, memory_limit)
        try:
            human = {name: arrays.pop(name) for name in list(arrays) if name.startswith(HUMAN)}
            bank = cls(
                groups=arrays.pop("groups", None),
                class_names=names,
                meta=BankMeta(**meta),
                human_labels={name.removeprefix(HUMAN): labels for name, labels in human.items()},
                **arrays,
            )
        except BankError as error:
            raise BankError(f"{path}: {error} {REFETCH}") from error
        except TypeError as error:
            raise BankError(f"{path} is not a readable feature bank ({error}). {REFETCH}") from error
        object.__setattr__(bank, "_checksum", checksum if isinstance(bank.features, MappedRows) else None)
        return bank

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the bank's arrays by name, the optional ones only if there are any."""
        arrays = {name: getattr(self, name) for name in DTYPES}
        arrays = {name: array for name, array in arrays.items() if name not in OPTIONAL or array is not None}
        return arrays | {HUMAN + name: labels for name, labels in self.human_labels.items()}


def bank_root(root: str | Path | None = None) -> Path:
    """Return the folder of the banks: `root`, else $NOISYLIB_BANKS, else ``data/banks`` of the checkout."""
    if root is None:
        root = os.environ.get("NOISYLIB_BANKS") or Path(__file__).resolve().parents[2] / "data" / "banks"
    return Path(root)


def bank_path(dataset: str, backbone: str, root: str | Path | None = None) -> Path:
    """Return where the bank of `dataset` under `backbone` belongs."""
    return bank_root(root) / f"{dataset}-{backbone}.safetensors"


def list_banks(root: str | Path | None = None) -> list[tuple[str, str, Path]]:
    """Return (dataset, backbone, path) of every bank file in `root`, sorted by name."""
    paths = sorted(bank_root(root).glob("*.safetensors"))
    matches = [(_FILE_NAME.fullmatch(path.name), path) for path in paths]
    return [(match["dataset"], match["backbone"], path) for match, path in matches if match]


def load_bank(
    dataset: str,
    backbone: str | None = None,
    root: str | Path | None = None,
    *,
    mapped: Mapped = False,
    memory_limit: int | None = None,
) -> FeatureBank:
    """Return the bank of `dataset` under `backbone`, by default ``deit_tiny``.

    Datasets that are feature tables already (``digits``, ``breast_cancer``) need no file: their
    bank is made on the spot, and its only backbone is ``raw``. `mapped` and `memory_limit` say whether
    features stay on disk: see `FeatureBank.load`.

    Raises
    ------
    UnknownNameError
        Neither a bank file nor the catalogue knows the name.
    MissingDataError
        The names are fine, but the bank is not there; the text has the command that makes it.
    BankError
        The file is damaged, or was renamed and holds another bank.
    """
    from noisylib.data.catalog import DATASETS
    from noisylib.features.backbones import BACKBONES

    is_table = dataset in DATASETS and DATASETS[dataset].kind == "features"
    backbone = backbone or ("raw" if is_table else "deit_tiny")
    path = bank_path(dataset, backbone, root)
    if path.is_file():
        bank = FeatureBank.load(path, mapped=mapped, memory_limit=memory_limit)
        if (bank.meta.dataset, bank.meta.backbone) != (dataset, backbone):
            raise BankError(
                f"{path} holds the bank {bank.meta.dataset}-{bank.meta.backbone}: give it that name back."
            )
        return bank

    banks = list_banks(root)
    check_name("dataset", dataset, {*DATASETS, *(name for name, _, _ in banks)})
    if is_table:
        check_name(f"backbone of {dataset}, a feature table", backbone, ["raw"])
        return _table_bank(dataset)
    check_name("backbone", backbone, {*BACKBONES, *(name for _, name, _ in banks)})
    here = ", ".join(f"{name} ({other})" for name, other, _ in banks) or "none"
    raise MissingDataError(
        f"no feature bank of dataset={dataset!r} under backbone={backbone!r}: expected {path}. Make it with "
        f"'noisylib features extract {dataset} --backbone {backbone} --data FOLDER', or set $NOISYLIB_BANKS "
        f"or root to the folder that has it. Banks there now: {here}."
    )


def _table_bank(dataset: str) -> FeatureBank:
    from noisylib.data import load_table

    table = load_table(dataset)
    info = table.info
    meta = BankMeta(
        dataset=dataset,
        backbone="raw",
        preprocessing={"features": "as published, no backbone"},
        licence=info.licence,
        citation=info.citation,
        command=f"noisylib.data.load_table({dataset!r})",
        source=info.url,
        notes=info.notes,
    )
    return FeatureBank.from_arrays(table.X, table.labels, table.split, info.classes, meta, table.groups)
