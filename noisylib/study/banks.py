"""The feature banks a study reads: which are missing, what makes them, and making all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisylib.data.catalog import DATASETS, dataset_info
from noisylib.errors import MissingDataError, NoisylibError, check_name
from noisylib.features.backbone_registry import BACKBONES, backbone_info
from noisylib.features.bank import bank_path, bank_root, list_banks

if TYPE_CHECKING:
    from noisylib.study.config import StudyConfig

Pair = tuple[str, str]  # dataset, backbone
_DOWNLOADS = ("medmnist", "cifar")  # kinds of set that noisylib can fetch itself


def needed_banks(config: StudyConfig) -> list[Pair]:
    """Return (dataset, backbone) of every bank the runs read, that of instance-dependent noise included."""
    backbones = [*config.backbones]
    if "instance" in config.noise_types and config.reference_backbone not in backbones:
        backbones.append(config.reference_backbone)
    return [(dataset, backbone) for dataset in config.datasets for backbone in backbones]


def missing_banks(config: StudyConfig, root: str | Path | None = None) -> list[Pair]:
    """Return the banks a study needs that are no file; feature tables need none.

    Raises
    ------
    UnknownNameError
        As `absent_banks`.
    """
    return absent_banks(needed_banks(config), root)


def absent_banks(pairs: Iterable[Pair], root: str | Path | None = None) -> list[Pair]:
    """Return the banks that are no file; feature tables need none.

    Raises
    ------
    UnknownNameError
        Neither the registries nor a bank there knows a name.
    """
    here = list_banks(root)
    missing = []
    for dataset, backbone in pairs:
        check_name("datasets", dataset, {*DATASETS, *(name for name, _, _ in here)})
        is_table = dataset in DATASETS and DATASETS[dataset].kind == "features"
        if not is_table and not bank_path(dataset, backbone, root).is_file():
            check_name("backbones", backbone, {*BACKBONES, *(name for _, name, _ in here)})
            missing.append((dataset, backbone))
    return missing


def require_banks(config: StudyConfig, root: str | Path | None = None) -> None:
    """Raise MissingDataError unless all banks are there; the text is a plan with the commands that make them.

    Raises
    ------
    UnknownNameError
        As `missing_banks`.
    """
    missing = missing_banks(config, root)
    if not missing:
        return
    needed = needed_banks(config)
    conditions = sum(len(config.conditions(dataset)) for dataset in config.datasets)
    conditions *= len(config.backbones) * len(config.heads)
    present = [f"{dataset}-{backbone}" for dataset, backbone in needed if (dataset, backbone) not in missing]
    lines = [
        f"study {config.name!r} has {conditions} conditions and {len(config.runs()):,} runs, and reads "
        f"{len(needed)} feature banks. {len(missing)} of them are not in {bank_root(root)}. Make them with",
        *(f"  {bank_command(pair, root)}" for pair in missing),
    ]
    if all(map(_can_be_made, missing)):
        folders = ", ".join(dict.fromkeys(f"DATA/{_usual_folder(dataset)}" for dataset, _ in missing))
        banks = "" if root is None else f" --banks {root}"
        lines += [
            f"or all at once, with the official files of the sets in {folders}:",
            f"  noisylib features study configs/{config.name}.yaml --data DATA{banks}",
        ]
    lines += _human_files(config, missing)
    lines.append(f"There now: {', '.join(present) or 'none'}.")
    raise MissingDataError("\n".join(lines))


def extract_banks(
    config: StudyConfig,
    data: str | Path,
    *,
    banks: str | Path | None = None,
    download: bool = False,
    echo: Callable[[str], None] = lambda text: None,
    **settings: Any,
) -> list[Path]:
    """Extract the missing banks of a study and return their files.

    What is there is not made again, and a stopped extraction goes on. Files of all sets and weights of all
    backbones are looked for first, so that what is absent is said before hours of work and not after.

    Parameters
    ----------
    config : the study.
    data : folder with ``<dataset>/`` for each set, and ``medmnist/`` for all MedMNIST files together; or a
        folder that holds the official files itself.
    banks : folder of the banks; default: that of the shipped ones.
    download : fetch absent files of MedMNIST and CIFAR sets.
    echo : called with a line for people before each bank.
    settings : device, precision, batch_size and progress of `noisylib.features.extract.extract_bank`.

    Raises
    ------
    MissingDataError
        Files or weights are absent, or a bank is of the user's own and cannot be made here.
    """
    from noisylib.features.extract import extract_bank

    data, missing = Path(data).expanduser(), missing_banks(config, banks)
    _check_sources(config, missing, data, download)
    paths = []
    for i, (dataset, backbone) in enumerate(missing, start=1):
        echo(f"bank {i} of {len(missing)}: {dataset} under {backbone}")
        paths.append(bank_path(dataset, backbone, banks))
        extract_bank(dataset, _folder(data, dataset), backbone, out=paths[-1], **settings)
    return paths


def _check_sources(config: StudyConfig, missing: Iterable[Pair], data: Path, download: bool) -> None:
    """Raise MissingDataError with all that is absent, not only with the first."""
    from noisylib.data import load_images
    from noisylib.features.weights import find_weights

    missing, problems = list(missing), []
    problems += [bank_command(pair, None) for pair in missing if not _can_be_made(pair)]
    made = [pair for pair in missing if _can_be_made(pair)]
    for dataset in dict.fromkeys(dataset for dataset, _ in made):
        fetch = download and dataset_info(dataset).kind in _DOWNLOADS
        try:
            images = load_images(dataset, _folder(data, dataset), download=fetch)
            if absent := [name for name in config.label_sets(dataset) if name not in images.human_labels]:
                problems.append(
                    f"{dataset} has no human labels {', '.join(absent)}: put {_human_file(dataset)} from "
                    f"https://noisylabels.com into {_folder(data, dataset)}."
                )
        except NoisylibError as error:
            problems.append(str(error))
    for backbone in dict.fromkeys(backbone for _, backbone in made):
        try:
            find_weights(backbone_info(backbone))
        except NoisylibError as error:
            problems.append(f"{error} (--weights: of 'noisylib features extract', one bank at a time.)")
    if problems:
        raise MissingDataError("\n".join(["nothing was extracted, because things are missing:", *problems]))


def _human_files(config: StudyConfig, missing: Iterable[Pair]) -> list[str]:
    """Return a line on the label files that the banks of a study with human labels take along."""
    sets = [dataset for dataset in dict.fromkeys(name for name, _ in missing) if config.label_sets(dataset)]
    files = [f"DATA/{dataset}/{_human_file(dataset)}" for dataset in sets if dataset in DATASETS]
    if not files:
        return []
    return [f"The labels that people gave are taken along from {', '.join(files)} (https://noisylabels.com)."]


def _human_file(dataset: str) -> str:
    return DATASETS[dataset].files[-1].split()[0]


def _can_be_made(pair: Pair) -> bool:
    return pair[0] in DATASETS and pair[1] in BACKBONES


def bank_command(pair: Pair, root: str | Path | None) -> str:
    """Return the command that makes a bank, or what to do about one that is the user's own."""
    dataset, backbone = pair
    if not _can_be_made(pair):
        return f"(your own bank: save it as {bank_path(dataset, backbone, root)})"
    out = "" if root is None else f" --out {bank_path(dataset, backbone, root)}"
    return (
        f"noisylib features extract {dataset} --backbone {backbone} --data DATA/{_usual_folder(dataset)}{out}"
    )


def _usual_folder(dataset: str) -> str:
    return "medmnist" if DATASETS[dataset].kind == "medmnist" else dataset


def _folder(data: Path, dataset: str) -> Path:
    """Return the folder below `data` that belongs to the set, or `data` itself."""
    folders = (data / dataset, data / _usual_folder(dataset))
    return next((folder for folder in folders if folder.is_dir()), data)
