"""The experiment `human`: what the label files of CIFAR-10N and CIFAR-100N say, counted without an image.

A row is a set of labels. The files themselves are not part of this repository; they are found in the folder
$NOISYLIB_HUMAN_LABELS, or in ``data/cifarN``, and known by their checksum.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noisylib.analysis.label_noise import (
    both_wrong,
    count_labels,
    different_labels,
    noise_shape,
    right_votes,
)
from noisylib.data.catalog import DATASETS
from noisylib.data.human import CIFAR_N, read_human_labels
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.files import file_digest
from noisylib.study.experiment_tables import Column
from noisylib.study.experiments import Experiment, Rows, Task

FOLDER = "NOISYLIB_HUMAN_LABELS"
LICENCE = "CC BY-NC 4.0"
# The files of https://noisylabels.com, Wei et al. 2022.
FILES = {
    "cifar10": ("CIFAR-10_human.pt", "873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310"),
    "cifar100": ("CIFAR-100_human.pt", "bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394"),
}
ANNOTATORS = ("random1", "random2", "random3")  # each image of CIFAR-10 was labelled by three people

TABLE = {
    "dataset": Column("str"),
    "labels": Column("str"),
    "samples": Column("int"),
    "realised_rate": Column("float"),
    "class_rate": Column("floats"),
    "purity": Column("floats", nan=True),
    "counts": Column("ints"),  # (K, K) row after row, true class down
    "top_target": Column("ints"),
    "top_share": Column("floats", nan=True),
    "mean_top_share": Column("float"),
    "chance_top_share": Column("float"),
    "to_symmetric": Column("float"),
    "chance_to_symmetric": Column("float"),
    "to_pairflip": Column("float"),
    "to_map": Column("float"),
    # With each set of the same file, in the order of its rows.
    "agreement": Column("floats"),
    "both_wrong": Column("floats"),
    "both_wrong_expected": Column("floats"),
    # Of the three annotators, the same in all rows of a file; empty where there are none.
    "right_votes": Column("ints"),
    "right_votes_expected": Column("floats"),
    "different_labels": Column("ints"),
}


@dataclass(frozen=True)
class LabelFile:
    """Which file is read, by name and SHA-256."""

    file: str
    sha256: str


def tasks() -> list[Task]:
    """Return one task per file."""
    return [Task(name, name, "", LabelFile(*FILES[name])) for name in FILES]


def label_folder() -> Path:
    """Return where the label files are looked for."""
    return Path(os.environ.get(FOLDER) or Path(__file__).resolve().parents[2] / "data" / "cifarN")


def official_file(source: LabelFile) -> Path:
    """Return the path of a label file.

    Raises
    ------
    MissingDataError
        It is not there. NoisylibError if it is another file.
    """
    path = label_folder() / source.file
    if not path.is_file():
        raise MissingDataError(
            f"no label file {path}: fetch it from https://noisylabels.com, and set ${FOLDER} to its folder."
        )
    if file_digest(path) != source.sha256:
        raise NoisylibError(
            f"{path} is not the official file (SHA-256 {source.sha256[:12]}...): fetch it again from "
            "https://noisylabels.com."
        )
    return path


def run(task: Task, banks: str | None = None) -> Rows:
    """Return one row per set of labels of a file."""
    stored = read_human_labels(official_file(task.condition))
    sets = {name: stored[key] for name, key in CIFAR_N[task.dataset].items()}
    y, K = stored["clean_label"], DATASETS[task.dataset].n_classes
    votes = [sets[name] for name in ANNOTATORS if name in sets]
    shared = _of_annotators(y, votes)
    rows = []
    for name, given in sets.items():
        counts = count_labels(y, given, K)
        shape = noise_shape(counts)
        pairs = [both_wrong(y, given, other, K) for other in sets.values()]
        rows.append(
            {
                "dataset": task.dataset,
                "labels": name,
                "samples": len(y),
                "realised_rate": shape.pop("rate"),
                **shape,
                "counts": counts.ravel(),
                "agreement": [float((given == other).mean()) for other in sets.values()],
                "both_wrong": [found for found, _ in pairs],
                "both_wrong_expected": [expected for _, expected in pairs],
                **shared,
            }
        )
    return {"human": rows}


def _of_annotators(y: np.ndarray, votes: list[np.ndarray]) -> dict[str, object]:
    if not votes:
        return {"right_votes": [], "right_votes_expected": [], "different_labels": []}
    found, expected = right_votes(y, votes)
    return {
        "right_votes": found,
        "right_votes_expected": expected,
        "different_labels": different_labels(votes),
    }


def cost(task: Task, banks: str | None) -> float:
    """Return the number of cells to count; the draws of chance go through them all."""
    return float(DATASETS[task.dataset].n_classes ** 2)


EXPERIMENT = Experiment(
    name="human",
    description=(
        "What the human label files CIFAR-10N and CIFAR-100N say, counted without an image. The label files "
        f"are licensed {LICENCE} (Wei et al. 2022, https://noisylabels.com)."
    ),
    version=1,
    tables={"human": TABLE},
    tasks=tasks,
    run=run,
    cost=cost,
)
