"""A study of fine-tuning that takes seconds: made images of two classes and a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from noisylib.study.experiment_runner import run_experiment
from noisylib.study.experiments import Plan, plan_experiment
from noisylib.study.finetune_config import FinetuneConfig, parse_finetune_config
from noisylib.study.finetune_miniature import MadeSource, miniature_of
from noisylib.study.finetune_tasks import finetune_experiment

STUDY: dict[str, Any] = {
    "name": "tune",
    "datasets": ["breastmnist"],
    "backbones": ["deit_tiny"],
    "image_size": 64,
    "conditions": ["symmetric 0.2", "instance 0.4"],
    "reference_backbone": "mobilenetv2",
    "methods": ["lp-ce", "fft-ce", "turn"],
    "seeds": [0, 1],
    "maps": [["breastmnist", "symmetric 0.2"]],
}


def study(**changes: Any) -> FinetuneConfig:
    """Return the study with changed keys; a key that is None is left out."""
    return parse_finetune_config(
        {key: value for key, value in (STUDY | changes).items() if value is not None}
    )


def made(work: Path, **changes: Any) -> tuple[FinetuneConfig, MadeSource]:
    """Return the study in miniature, and its source."""
    return miniature_of(study(**changes), work)


def compute(results: Path, config: FinetuneConfig, source: MadeSource, only: tuple[str, ...] = ()) -> Plan:
    """Compute what is missing of a study, and return its plan."""
    plan = planned(results, config, source, only)
    run_experiment(plan, results)
    return plan


def planned(results: Path, config: FinetuneConfig, source: MadeSource, only: tuple[str, ...] = ()) -> Plan:
    """Return what a study asks for and what is left of it."""
    plan = plan_experiment(finetune_experiment(config, source, only=only), results)
    return replace(plan, whole=not only)
