"""What a study of fine-tuning would do: how much, with what, how long, and what is missing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import torch

from noisylib.errors import MissingDataError
from noisylib.features.backbones import Backbone
from noisylib.finetuning.batches import settle_precision
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.progress import duration
from noisylib.study.experiment_runner import remaining_seconds
from noisylib.study.experiments import plan_experiment
from noisylib.study.finetune_config import FinetuneConfig
from noisylib.study.finetune_source import Source
from noisylib.study.finetune_tasks import Job, finetune_experiment, jobs_of, pairs_of, reference_of, work

TIMED_SECONDS, TIMED_IMAGES = 0.5, 16  # a forward pass is timed on as many images as fit, at most


def missing_inputs(
    config: FinetuneConfig, source: Source, jobs: Iterable[Job], *, fetch: bool = False
) -> list[str]:
    """Return what is absent to compute jobs, each thing once; `fetch` downloads weights that are."""
    found = [
        problem
        for dataset, backbone in pairs_of(jobs)
        for problem in source.missing(dataset, backbone, reference_of(config, dataset), fetch=fetch)
    ]
    return list(dict.fromkeys(found))


def describe_study(
    config: FinetuneConfig,
    source: Source,
    results: str | Path = "results",
    *,
    only: Iterable[str] = (),
    workers: int = 1,
) -> list[str]:
    """Return lines that say what would be run; no image is decoded and no weights are read.

    Networks are built with random weights, so an image size that one of them cannot take is found here.

    Raises
    ------
    ConfigError, NoisylibError
        A pattern of `only` that no task matches, or an image size that a network cannot take.
    """
    jobs = jobs_of(config, only)
    problems = missing_inputs(config, source, jobs)
    paces = {
        backbone: pace(source, backbone, config.finetune)
        for backbone in dict.fromkeys(j.backbone for j in jobs)
    }
    lines = [
        f"{config.name}: {config.runs():,} rows, images of {config.image_size} x {config.image_size} pixels",
        *_grid(config, source),
        *_work(config, source, jobs, results, problems, paces, workers),
    ]
    if problems:
        lines += [f"missing ({len(problems)}):", *(f"  {problem}" for problem in problems)]
    else:
        lines.append("data, weights and reference features are all there")
    return lines


def _grid(config: FinetuneConfig, source: Source) -> list[str]:
    lines = [f"  methods: {', '.join(method.label for method in config.methods)}"]
    for dataset in config.datasets:
        train, test = source.size(dataset)
        said = ", ".join(condition.text for condition in config.conditions_of(dataset))
        lines.append(f"  {dataset}: at most {train:,} training and {test:,} test images; {said}")
    left_out: dict[tuple[str, str], list[str]] = {}
    for dataset, condition, reason in config.left_out():
        left_out.setdefault((dataset, reason), []).append(condition.text)
    lines += [f"  left out of {name}: {', '.join(which)}; {why}" for (name, why), which in left_out.items()]
    lines.append(f"  backbones: {', '.join(config.backbones)}; seeds: {', '.join(map(str, config.seeds))}")
    return lines


def _work(
    config: FinetuneConfig,
    source: Source,
    jobs: list[Job],
    results: str | Path,
    problems: list[str],
    paces: dict[str, float],
    workers: int,
) -> list[str]:
    probes = sum(job.is_probe for job in jobs)
    tunings = count(len(jobs) - probes, "fine-tuning")
    what = f"{count(len(jobs), 'task')}: {count(probes, 'bank')} of linear probes and {tunings}"
    passes = {job.name: work(config, job, *source.size(job.dataset)) for job in jobs}
    left, seconds = {job.name for job in jobs}, None
    if not problems and all(source.ready(*pair) for pair in pairs_of(jobs)):
        plan = plan_experiment(finetune_experiment(config, source, only=[job.name for job in jobs]), results)
        left = {plan.tasks[task_id].name for task_id in plan.missing}
        seconds = remaining_seconds(plan, results, jobs=workers)
        what += f"; {len(jobs) - len(left)} done, {len(left)} missing"
    else:
        what += "; which are done is known when the images are there and have been decoded once"
    todo = sum(passes[name] for name in left)
    told = "as the finished tasks tell"
    if seconds is None:
        spent = sum(passes[job.name] * paces[job.backbone] for job in jobs if job.name in left)
        seconds, told = spent / max(1, min(workers, len(left))), "by a short measurement on random images"
    return [
        what,
        f"{todo:,.0f} forward passes of an image to go, a training step on one counted as three",
        f"about {duration(seconds)} to go with {count(workers, 'process', 'es')}, {told}",
    ]


def count(number: int, noun: str, ending: str = "s") -> str:
    """Return a number of things in words."""
    return f"{number:,} {noun}{'' if number == 1 else ending}"


def pace(source: Source, backbone: str, recipe: FinetuneRecipe) -> float:
    """Return the seconds of a forward pass per image of a network with random weights."""
    network = source.sketch(backbone)
    device = network.device
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        half = settle_precision(recipe.precision, device) == "bfloat16"
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            _timed(network, 1)  # the first pass also pays for what is set up once
            count = int(min(TIMED_IMAGES, max(1, TIMED_SECONDS / _timed(network, 1))))
            return _timed(network, count) / count
    finally:
        torch.set_num_threads(threads)


def _timed(network: Backbone, count: int) -> float:
    size = network.preprocessing["input_size"][-1]
    images = torch.zeros(count, 3, size, size, device=network.device)
    started = time.perf_counter()
    network.model(images).sum().item()  # a GPU has finished when a number is read
    return time.perf_counter() - started


def require_inputs(config: FinetuneConfig, source: Source, jobs: Iterable[Job]) -> None:
    """Raise MissingDataError with all that is absent to compute jobs, not only with the first."""
    if problems := missing_inputs(config, source, jobs, fetch=True):
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise MissingDataError(f"{config.name!r} cannot start, because things are missing:\n{listed}")
