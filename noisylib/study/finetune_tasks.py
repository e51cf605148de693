"""A study of fine-tuning as an experiment: its tasks, in the order in which a long run is best stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from noisylib.errors import ConfigError
from noisylib.methods import make_method
from noisylib.study.experiments import Experiment, Plan, Task
from noisylib.study.finetune_config import Condition, FinetuneConfig
from noisylib.study.finetune_methods import TuningSpec
from noisylib.study.finetune_runs import InputFacts, ProbeCondition, Runner, TuningCondition
from noisylib.study.finetune_source import Source, frozen_features, opened
from noisylib.study.finetune_tables import tables

VERSION = 1  # raised when rows of equal tasks change
STEP = 3.0  # work of training on an image, in forward passes
DRAWN = 0.4  # share of the images that TURN is expected to draw
DIAGNOSIS = 3.0  # forward passes of every image for scores and movement
HEAD_STEP = 2e-3  # work of a head's step on a sample, in forward passes of a small network


@dataclass(frozen=True)
class Job:
    """A task before its inputs are known: enough to name it, count it and choose it.

    Attributes
    ----------
    name : of the task.
    condition, seed : of a fine-tuning; None of a bank of linear probes, which has them all.
    """

    name: str
    dataset: str
    backbone: str
    method: TuningSpec
    condition: Condition | None = None
    seed: int | None = None

    @property
    def is_probe(self) -> bool:
        """Whether it is a bank of linear probes."""
        return self.condition is None


def jobs_of(config: FinetuneConfig, only: Iterable[str] = ()) -> list[Job]:
    """Return the tasks of a study: linear probes, which take seconds, then seed by seed.

    Parameters
    ----------
    only : patterns as of a shell, such as "pbc-*": tasks whose names match one of them; none: all.

    Raises
    ------
    ConfigError
        A pattern that no task matches.
    """
    jobs, patterns = list(_jobs(config)), list(only)
    for pattern in patterns:
        if not any(fnmatchcase(job.name, pattern) for job in jobs):
            raise ConfigError(
                f"--only {pattern}: no task is called so; names are like {jobs[0].name} and {jobs[-1].name}."
            )
    return [job for job in jobs if not patterns or any(fnmatchcase(job.name, p) for p in patterns)]


def _jobs(config: FinetuneConfig) -> Iterator[Job]:
    pairs = [(dataset, backbone) for dataset in config.datasets for backbone in config.backbones]
    probes = [method for method in config.methods if method.tuning == "lp"]
    for dataset, backbone in pairs:
        for method in probes:
            yield Job(f"{dataset}-{backbone}-{method.label}", dataset, backbone, method)
    for seed in config.seeds:
        for dataset, backbone in pairs:
            for condition in config.conditions_of(dataset):
                for method in config.methods:
                    if method.tuning != "lp":
                        name = f"{dataset}-{backbone}-{condition.slug}-seed{seed}-{method.label}"
                        yield Job(name, dataset, backbone, method, condition, seed)


def pairs_of(jobs: Iterable[Job]) -> list[tuple[str, str]]:
    """Return (data set, backbone) of jobs, each once."""
    return list(dict.fromkeys((job.dataset, job.backbone) for job in jobs))


def reference_of(config: FinetuneConfig, dataset: str) -> str:
    """Return whose features a data set's noise is made from; "" if none of its noise needs any."""
    needed = any(c.noise_type == "instance" for c in config.conditions_of(dataset))
    return config.reference_backbone if needed else ""


def finetune_experiment(
    config: FinetuneConfig,
    source: Source,
    *,
    only: Iterable[str] = (),
    checkpoints: bool | None = None,
    command: str = "",
    on_open: Callable[[str, str], None] | None = None,
) -> Experiment:
    """Return a study of fine-tuning as an experiment, with the images and networks of its tasks opened once.

    Parameters
    ----------
    source : of images and networks.
    only, checkpoints : as `jobs_of` and `Runner`.
    command : what computes it, for messages; default: that of a study in the folder of studies.
    on_open : called with each data set and backbone before they are opened, which may decode images.

    Raises
    ------
    MissingDataError, NoisylibError
        As the source and `jobs_of`.
    """
    jobs, facts, sizes, skipped = jobs_of(config, only), {}, {}, {}
    for dataset, backbone in pairs_of(jobs):
        if on_open is not None:
            on_open(dataset, backbone)
        now, reference = opened(source, dataset, backbone), reference_of(config, dataset)
        checksum = source.reference(dataset, reference)[2] if reference else ""
        facts[dataset, backbone] = InputFacts(now.pixels.checksum, now.weights, checksum)
        sizes[dataset, backbone] = tuple(len(now.pixels.rows(split)) for split in ("train", "test"))
        skipped |= {dataset: list(now.pixels.skipped)} if now.pixels.skipped else {}
    tasks = [task_of(config, job, facts[job.dataset, job.backbone]) for job in jobs]
    costs = {job.name: work(config, job, *sizes[job.dataset, job.backbone]) for job in jobs}
    names = tables(config.name)
    return Experiment(
        name=config.name,
        description=config.description,
        version=VERSION,
        tables=names,
        tasks=lambda: tasks,
        run=Runner(config.name, source, checkpoints),
        cost=lambda task, banks: costs[task.name],
        optional=tuple(names)[1:],
        in_order=True,
        device=source.device,
        command=command or f"noisylib finetune configs/{config.name}.yaml",
        facts={
            "config": json.loads(json.dumps(asdict(config))),
            "inputs": {
                f"{dataset}-{backbone}": asdict(found) for (dataset, backbone), found in facts.items()
            },
            "skipped_images": skipped,
        },
    )


def extract_frozen(plan: Plan, on_extract: Callable[[str, str], None] | None = None) -> None:
    """Extract the frozen features that missing tasks read, once and before worker processes start.

    Parameters
    ----------
    plan : of an experiment of `finetune_experiment`.
    on_extract : called with each data set and backbone before.
    """
    from noisylib.study.runner import one_thread

    runner, tasks = plan.experiment.run, [plan.tasks[task_id] for task_id in plan.missing]
    with one_thread():
        for dataset, backbone, precision in dict.fromkeys(
            (task.dataset, task.condition.backbone, _precision(task.condition)) for task in tasks
        ):
            if on_extract is not None:
                on_extract(dataset, backbone)
            frozen_features(runner.source, dataset, backbone, precision)


def _precision(condition: ProbeCondition | TuningCondition) -> str:
    return condition.precision if isinstance(condition, ProbeCondition) else condition.recipe.precision


def task_of(config: FinetuneConfig, job: Job, inputs: InputFacts) -> Task:
    """Return the task of a job; its condition holds everything that could change its rows."""
    if job.is_probe:
        condition = ProbeCondition(
            job.backbone,
            config.image_size,
            config.conditions_of(job.dataset),
            config.seeds,
            config.class_map,
            reference_of(config, job.dataset),
            job.method,
            config.probe,
            config.finetune.precision,
            inputs,
        )
    else:
        made = job.condition.noise_type == "instance"
        mapped = job.seed == config.seeds[0] and (job.dataset, job.condition) in config.maps
        condition = TuningCondition(
            job.backbone,
            config.image_size,
            job.condition,
            job.seed,
            config.class_map,
            config.reference_backbone if made else "",
            job.method,
            config.finetune,
            mapped and job.method.label in MAPPED,
            inputs if made else InputFacts(inputs.pixels, inputs.weights),
        )
    # No feature bank is read, so the engine is not told of a backbone.
    return Task(job.name, job.dataset, "", condition)


MAPPED = ("FFT-CE", "TURN")  # labels of the rows whose features are laid out in the plane


def work(config: FinetuneConfig, job: Job, n_train: int, n_test: int) -> float:
    """Return the expected work of a job in forward passes of an image."""
    if job.is_probe:
        runs = len(config.conditions_of(job.dataset)) * len(config.seeds)
        step = make_method(job.method.method).step_cost * HEAD_STEP
        return step * runs * n_train * config.probe.epochs
    share, cleaning = (DRAWN, 1.0) if job.method.tuning == "turn" else (1.0, 0.0)
    epochs = config.finetune.epochs
    return epochs * n_train * (STEP * share + cleaning) + DIAGNOSIS * (n_train + n_test)
