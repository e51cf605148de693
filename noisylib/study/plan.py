"""What is left of a study, cut into chunks: runs that are trained together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from noisylib.features.bank import FeatureBank
from noisylib.heads import HeadBank
from noisylib.methods import Method
from noisylib.parts import runs_at_once, split_runs
from noisylib.precision import check_precision
from noisylib.recipe import Recipe
from noisylib.study.config import MethodSpec, RunSpec, StudyConfig, load_config
from noisylib.study.inputs import noise_of
from noisylib.study.store import ResultStore
from noisylib.validation import check_views

log = logging.getLogger(__name__)

Banks = Mapping[tuple[str, str], FeatureBank]


@dataclass(frozen=True)
class Chunk:
    """Runs of one (dataset, backbone, method, head) that are trained as one bank."""

    runs: tuple[RunSpec, ...]
    run_ids: tuple[str, ...]
    cost: float
    reference_backbone: str
    checksum: str  # of the bank that is trained on
    reference_checksum: str = ""  # of that which instance-dependent noise is made from


@dataclass(frozen=True)
class Plan:
    """What a study asks for and what is left of it."""

    config: StudyConfig
    run_ids: list[str]
    chunks: list[Chunk]

    @property
    def total(self) -> int:
        """Number of runs of the study."""
        return len(self.run_ids)

    @property
    def missing(self) -> int:
        """Number of runs without a row."""
        return sum(len(chunk.runs) for chunk in self.chunks)

    @property
    def cost(self) -> float:
        """Floating-point operations of the missing runs."""
        return sum(chunk.cost for chunk in self.chunks)


def plan_study(
    config: str | Path | StudyConfig,
    results: str | Path = "results",
    *,
    banks: str | Path | None = None,
    device: str = "cpu",
    extend: bool = False,
    create: bool = True,
) -> Plan:
    """Return the runs of a study and the chunks that are missing, longest first.

    `extend` accepts a results folder of another configuration; `create` False writes nothing.
    """
    config, root = load_config(config), None if banks is None else str(banks)
    loaded = config.load_banks(banks)
    store = ResultStore(config, results)
    store.open(extend=extend, create=False)
    done = store.done()
    check_precision(config.precision, torch.device(device))
    sums = checksums(loaded)
    ids = run_ids(config, sums)
    left = {run: run_id for run, run_id in ids.items() if run_id not in done}
    if left and (others := store.strangers(ids.values(), sums)):
        log.warning(others)
    chunks = make_chunks(config, left, loaded, sums, device=device, banks=root)
    store.open(extend=extend, create=create)  # last: a study that cannot run leaves nothing behind
    return Plan(config, list(ids.values()), chunks)


def checksums(loaded: Banks) -> dict[tuple[str, str], str]:
    """Return the checksum of each bank; each is a hash over all its features, so ask once."""
    return {key: bank.checksum for key, bank in loaded.items()}


def run_ids(config: StudyConfig, sums: Mapping[tuple[str, str], str]) -> dict[RunSpec, str]:
    """Return every run of a study, in order, with its id under the bank checksums given."""
    return {
        run: run.run_id(sums[run.dataset, run.backbone], sums.get((run.dataset, run.reference_backbone), ""))
        for run in config.runs()
    }


def make_chunks(
    config: StudyConfig,
    ids: Mapping[RunSpec, str],
    loaded: Banks,
    sums: Mapping[tuple[str, str], str],
    *,
    device: str,
    banks: str | None,
) -> list[Chunk]:
    """Return the chunks that runs of a study are trained in, longest first.

    What lies in a chunk depends on the runs of one dataset, backbone, method and head only.

    Raises
    ------
    NoisylibError
        A method cannot work with the labels of a run, or with the views of a bank.
    """
    chunks = []
    for (dataset, backbone, method, head), members in groupby(ids, key=group_of):
        bank = loaded[dataset, backbone]
        rule, runs = method.rule, list(members)
        if type(rule).check_labels is not Method.check_labels:  # found here, not hours later
            noise = noise_of(runs, bank, config.reference_backbone, banks)
            rule.check_labels(np.stack([labels.y_noisy for labels in noise]), bank.n_classes)
        if bank.views is not None:
            check_views(bank.views, rule)
        cost = _flops(rule, head, bank, config.recipe)
        for part in _parts(runs, rule, head, bank, config.recipe, device):
            part_ids = tuple(ids[run] for run in part)
            chunks.append(
                Chunk(
                    tuple(part),
                    part_ids,
                    cost * len(part),
                    config.reference_backbone,
                    sums[dataset, backbone],
                    sums.get((dataset, config.reference_backbone), ""),
                )
            )
    return sorted(chunks, key=lambda chunk: -chunk.cost)


def group_of(run: RunSpec) -> tuple[str, str, MethodSpec, str]:
    """Return what the runs of a chunk have in common."""
    return run.dataset, run.backbone, run.method, run.head


def _flops(rule: Method, head: str, bank: FeatureBank, recipe: Recipe) -> float:
    """Floating-point operations of one run."""
    samples = len(bank.indices("train"))
    if not rule.n_nets:
        return 2 * samples * bank.n_samples * bank.n_features  # distances
    step = sum(
        count * HeadBank(kind, [0], bank.n_features, bank.n_classes, width=recipe.width).flops_per_sample()
        for kind, count in rule.head_kinds(head)
    )
    return rule.step_cost * recipe.epochs * samples * step


def _parts(
    runs: list[RunSpec], rule: Method, head: str, bank: FeatureBank, recipe: Recipe, device: str
) -> list[list[RunSpec]]:
    """Return the runs in parts that a core trains at once; a GPU gets all, and splits what is too much."""
    if device != "cpu" or not rule.n_nets:
        return [runs]
    at_once = runs_at_once(
        rule, head, n_samples=len(bank.indices("train")), n_features=bank.n_features,
        n_classes=bank.n_classes, recipe=recipe, device=torch.device("cpu"),
    )  # fmt: skip
    return [[runs[r] for r in part] for part in split_runs([run.seed_train for run in runs], at_once)]
