"""Where a study of fine-tuning gets its images, networks and frozen features from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from noisylib.data import dataset_info, load_images
from noisylib.errors import NoisylibError, check_name, require
from noisylib.features.backbone_registry import backbone_info
from noisylib.features.backbones import Backbone, BackboneInfo
from noisylib.features.bank import load_bank
from noisylib.features.pixels import PixelSet
from noisylib.features.weights import find_weights
from noisylib.files import write_aside

FEATURE_BATCH = 64
HELD_OUT = 0.2  # test part of sets without an official one


@dataclass(frozen=True, eq=False)
class Opened:
    """Images in the shape that one network takes, and that network.

    Attributes
    ----------
    pixels, backbone : the images and the frozen network.
    given : name -> (N,) labels that people or the web gave, one per image of `pixels`; -1: none.
    """

    pixels: PixelSet
    backbone: Backbone
    given: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def weights(self) -> str:
        """What the weights are known by."""
        facts = self.backbone.preprocessing
        return str(facts["weights_sha256"] or facts["weights"])


class Source(Protocol):
    """What the tasks of a study read; a worker process can unpickle it, and equal ones give equal data."""

    work: Path
    image_size: int
    device: str

    def open(self, dataset: str, backbone: str, progress: Callable[[int, int], None] | None = None) -> Opened:
        """Return images and network."""

    def reference(self, dataset: str, backbone: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Return features (M, D) and labels (M,) of the whole image set, and their checksum."""

    def size(self, dataset: str) -> tuple[int, int]:
        """Return the numbers of training and test images to expect."""

    def missing(self, dataset: str, backbone: str, reference: str, *, fetch: bool) -> list[str]:
        """Return what is absent to compute tasks, one line each.

        Parameters
        ----------
        reference : backbone whose features make noise; "" if none is needed.
        fetch : download weights that are not here; else say that they are not.
        """

    def ready(self, dataset: str, backbone: str) -> bool:
        """Return whether nothing is left to decode, so that opening is quick."""

    def sketch(self, backbone: str) -> Backbone:
        """Return the network with random weights, to look at its size and time."""


@dataclass(frozen=True)
class ImageSource:
    """Image sets in folders and pretrained networks.

    Attributes
    ----------
    work : folder for decoded pixels and frozen features, which several studies can share.
    image_size : side in pixels.
    limit : split -> at most so many images.
    roots, weights : data set -> folder; backbone -> checkpoint; the hub's for others.
    banks : folder of the feature banks that instance-dependent noise is made from; None: the shipped ones.
    corrupt : "stop" at an image that cannot be read, or "skip" it.
    device : where networks are put.
    """

    work: Path
    image_size: int
    limit: tuple[tuple[str, int], ...] = ()
    roots: tuple[tuple[str, Path], ...] = ()
    weights: tuple[tuple[str, Path], ...] = ()
    banks: str | None = None
    corrupt: str = "stop"
    device: str = "cpu"

    def open(self, dataset: str, backbone: str, progress: Callable[[int, int], None] | None = None) -> Opened:
        """Return images and network; pixels are decoded once and then read from the folder of work."""
        from noisylib.features.pixels import read_pixels
        from noisylib.features.sized import sized_backbone

        roots = dict(self.roots)
        if dataset not in roots:
            raise NoisylibError(f"no folder is given for {dataset}: add it, as --data {dataset}=FOLDER.")
        network = sized_backbone(
            backbone, self.image_size, weights=dict(self.weights).get(backbone), device=self.device
        )
        images = load_images(dataset, roots[dataset])
        pixels = read_pixels(
            images,
            network,
            limit={"val": 0, **dict(self.limit)},  # nothing is selected on validation images
            corrupt=self.corrupt,
            cache=self.pixel_file(dataset, backbone),
            progress=progress,
        )
        given = {name: labels[pixels.index] for name, labels in images.human_labels.items()}
        return Opened(pixels, network, given)

    def pixel_file(self, dataset: str, backbone: str) -> Path:
        """Return where decoded pixels are kept."""
        parts = "-".join(f"{split}{count}" for split, count in self.limit) or "all"
        return self.work / f"pixels-{dataset}-{backbone}-{self.image_size}px-{parts}.safetensors"

    def reference(self, dataset: str, backbone: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Return the features of a stored bank."""
        bank = load_bank(dataset, backbone, self.banks)
        return bank.features, bank.labels, bank.checksum

    def size(self, dataset: str) -> tuple[int, int]:
        """Return the numbers of images by the catalogue, under the limits."""
        counts, limit = dict(dataset_info(dataset).counts), dict(self.limit)
        if "all" in counts:
            test = round(HELD_OUT * counts["all"])
            counts = {"train": counts["all"] - test, "test": test}
        train, test = (min(counts[split], limit.get(split, counts[split])) for split in ("train", "test"))
        return train, test

    def missing(self, dataset: str, backbone: str, reference: str, *, fetch: bool) -> list[str]:
        """Return what is absent: files of the set, weights, the bank that noise is made from."""
        from noisylib.study.banks import absent_banks, bank_command

        roots, problems = dict(self.roots), []
        if dataset not in roots:
            problems.append(f"{dataset}: no folder given (--data {dataset}=FOLDER)")
        else:
            try:
                load_images(dataset, roots[dataset])
            except NoisylibError as error:
                problems.append(str(error))
        try:
            info, local = backbone_info(backbone), dict(self.weights).get(backbone)
            if fetch or local is not None or info.hub_id is None:
                find_weights(info, local)
            elif not is_cached(info):
                problems.append(
                    f"{backbone}: its weights are fetched from https://huggingface.co/{info.hub_id} when the "
                    f"study runs, or take a file: --weights {backbone}=FILE"
                )
        except NoisylibError as error:
            problems.append(str(error))
        if reference and absent_banks([(dataset, reference)], self.banks):
            command = bank_command((dataset, reference), self.banks)
            problems.append(f"{dataset}: no features to make instance-dependent noise from: {command}")
        return problems

    def ready(self, dataset: str, backbone: str) -> bool:
        """Return whether the pixels have been decoded once."""
        return self.pixel_file(dataset, backbone).is_file()

    def sketch(self, backbone: str) -> Backbone:
        """Return the network with random weights."""
        from noisylib.features.sized import sized_backbone

        return sized_backbone(backbone, self.image_size, pretrained=False, device=self.device)


def is_cached(info: BackboneInfo) -> bool:
    """Return whether the weights of a backbone lie in the hub's cache."""
    hub = require("huggingface_hub", "backbones")
    return isinstance(hub.try_to_load_from_cache(info.hub_id, info.hub_file), str)


@lru_cache(maxsize=2)
def opened(source: Source, dataset: str, backbone: str) -> Opened:
    """Return what a source opens; a worker process keeps what it used last."""
    return source.open(dataset, backbone)


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """Features of every training and test image under the frozen network.

    Attributes
    ----------
    train, test : (N, D) and (M, D) float32, in the order of ``pixels.rows``.
    seconds : what their extraction took.
    """

    train: np.ndarray
    test: np.ndarray
    seconds: float


def frozen_features(source: Source, dataset: str, backbone: str, precision: str) -> FrozenFeatures:
    """Return the frozen features, extracted once and then read from the folder of work.

    Raises
    ------
    NoisylibError
        The kept file is damaged.
    """
    now = opened(source, dataset, backbone)
    name = f"features-{dataset}-{backbone}-{source.image_size}px-{precision}-{now.pixels.checksum[:12]}"
    path = source.work / f"{name}-{now.weights[:12].replace(' ', '')}.safetensors"
    if not path.is_file():
        _extract(now, precision, path)
    return _kept_features(path)


def _extract(now: Opened, precision: str, path: Path) -> None:
    from noisylib.finetuning.batches import extract

    started, arrays = time.perf_counter(), {}
    for split in ("train", "test"):
        arrays[split] = extract(
            now.backbone.model,
            now.backbone,
            now.pixels,
            now.pixels.rows(split),
            precision=precision,
            batch_size=FEATURE_BATCH,
        )
    seconds = time.perf_counter() - started
    with write_aside(path) as aside:
        save_file(arrays, aside, metadata={"seconds": f"{seconds:.6f}"})


@lru_cache(maxsize=2)
def _kept_features(path: Path) -> FrozenFeatures:
    try:
        with safe_open(path, framework="np") as file:
            return FrozenFeatures(
                file.get_tensor("train"), file.get_tensor("test"), float((file.metadata() or {})["seconds"])
            )
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise NoisylibError(f"{path} is damaged ({error}). Delete it: it is made again.") from error


def parse_folders(text: str, datasets: Iterable[str]) -> tuple[tuple[str, Path], ...]:
    """Return (data set, folder) of ``pbc=DIR,ham10000=DIR``; a DIR alone holds a folder for each other set.

    Raises
    ------
    NoisylibError
        A folder for a set that is not among `datasets`.
    """
    datasets = tuple(datasets)
    named, roots = _named("--data", text, datasets)
    for dataset in datasets:
        for root in roots:
            named.setdefault(dataset, _below(root, dataset))
    return tuple(named.items())


def parse_files(text: str, backbones: Iterable[str]) -> tuple[tuple[str, Path], ...]:
    """Return (backbone, checkpoint) of ``deit_tiny=FILE,vitb16=FILE``.

    Raises
    ------
    NoisylibError
        A file for no backbone, or for one that is not among `backbones`.
    """
    named, alone = _named("--weights", text, tuple(backbones))
    if alone:
        raise NoisylibError(f"--weights {alone[0]}: say whose weights these are, as --weights BACKBONE=FILE.")
    return tuple(named.items())


def _named(option: str, text: str, names: tuple[str, ...]) -> tuple[dict[str, Path], list[Path]]:
    """Return NAME=PATH entries, and the paths without a name."""
    named, alone = {}, []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, path = entry.partition("=")
        if equals:
            named[check_name(option, name.strip(), names)] = Path(path.strip()).expanduser()
        else:
            alone.append(Path(entry).expanduser())
    return named, alone


def _below(root: Path, dataset: str) -> Path:
    """Return the folder of a set below `root`, by its name or that of all MedMNIST files; else `root`."""
    names = [dataset, *(["medmnist"] if dataset_info(dataset).kind == "medmnist" else [])]
    return next((root / name for name in names if (root / name).is_dir()), root)
