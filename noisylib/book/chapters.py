"""The book's chapters as data: notebook, parameters, pages, and the files each one reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noisylib.book.advice_parameters import (
    AdviceParameters,
    BadLabelsParameters,
    YourEmbeddingsParameters,
)
from noisylib.book.benchmark_record import benchmark_files
from noisylib.book.case_parameters import (
    CollapseParameters,
    DetectionParameters,
    HumanParameters,
    OverlapParameters,
)
from noisylib.book.cleaning_parameters import CleaningParameters
from noisylib.book.files import (
    arm_files,
    bank_files,
    fitted_files,
    probe_files,
    results_root,
    study_files,
    table_files,
)
from noisylib.book.moved_parameters import MovedParameters
from noisylib.book.parameters import (
    BenchmarkParameters,
    ClaimsParameters,
    CostParameters,
    DatasetsParameters,
    DynamicsParameters,
    MethodsParameters,
    NoiseParameters,
    OverviewParameters,
    QuickstartParameters,
    RankingsParameters,
    SensitivityParameters,
)
from noisylib.book.performance_parameters import PerformanceParameters
from noisylib.book.scale_parameters import ScaleParameters
from noisylib.book.scale_record import measured_files
from noisylib.book.turn_parameters import LpFftTurnParameters
from noisylib.errors import check_name


@dataclass(frozen=True)
class Page:
    """One page of the book: a notebook executed with some parameters of its own.

    `title` replaces the notebook's heading where one notebook makes several pages.
    """

    slug: str
    title: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chapter:
    """One notebook: its parameters, the pages made from it, and the files it reads.

    `reads` maps parameters (as attributes) to files; it raises MissingDataError with the command that makes
    them if they are absent.
    """

    key: str
    title: str
    notebook: str
    parameters: type
    pages: tuple[Page, ...]
    reads: Callable[[Any], list[Path]]


_BENCHMARKS = {
    "breastmnist": "BreastMNIST: breast ultrasound",
    "retinamnist": "RetinaMNIST: grades of diabetic retinopathy",
    "pneumoniamnist": "PneumoniaMNIST: chest X-ray",
    "ham10000": "HAM10000: pigmented skin lesions",
    "pbc": "PBC: peripheral blood cells",
}

CHAPTERS: dict[str, Chapter] = {
    chapter.key: chapter
    for chapter in (
        Chapter(
            "quickstart",
            "Quickstart: from a feature bank to a table",
            "notebooks/quickstart.ipynb",
            QuickstartParameters,
            (Page("quickstart"),),
            lambda p: bank_files([p.dataset], p.backbone),
        ),
        Chapter(
            "datasets",
            "Data sets and their features",
            "notebooks/datasets.ipynb",
            DatasetsParameters,
            (Page("datasets"),),
            lambda p: bank_files(p.datasets, p.backbone) + probe_files(),
        ),
        Chapter(
            "noise",
            "How labels go wrong",
            "notebooks/noise.ipynb",
            NoiseParameters,
            (Page("noise"),),
            lambda p: bank_files([p.dataset], p.backbone),
        ),
        Chapter(
            "methods",
            "Eight methods on one page",
            "notebooks/methods.ipynb",
            MethodsParameters,
            (Page("methods"),),
            lambda p: [],
        ),
        Chapter(
            "dynamics",
            "Training dynamics: what is learned, and what is kept",
            "notebooks/dynamics.ipynb",
            DynamicsParameters,
            (Page("dynamics"),),
            lambda p: bank_files([p.dataset], p.backbone),
        ),
        Chapter(
            "advice",
            "Which method should I use?",
            "notebooks/advice.ipynb",
            AdviceParameters,
            (Page("advice"),),
            lambda p: (
                table_files("advice")
                + table_files("conditions")
                + study_files("archive")
                + bank_files(["breastmnist", "retinamnist"], "deit_tiny")  # whose matrices are estimated live
                + fitted_files()
            ),
        ),
        Chapter(
            "your_embeddings",
            "Your own embeddings",
            "notebooks/your_embeddings.ipynb",
            YourEmbeddingsParameters,
            (Page("your_embeddings"),),
            lambda p: ([Path(p.path)] if p.path else bank_files([p.dataset], p.backbone)) + fitted_files(),
        ),
        Chapter(
            "bad_labels",
            "Find the bad labels",
            "notebooks/bad_labels.ipynb",
            BadLabelsParameters,
            (Page("bad_labels"),),
            lambda p: bank_files([p.dataset], p.backbone) + table_files("label_errors") + fitted_files(),
        ),
        Chapter(
            "human",
            "Labels that people gave",
            "notebooks/human.ipynb",
            HumanParameters,
            (Page("human"),),
            lambda p: (
                table_files("human") + ([] if p.dataset == "made" else bank_files([p.dataset], p.backbone))
            ),
        ),
        Chapter(
            "benchmark",
            "Benchmark on one data set",
            "notebooks/benchmark.ipynb",
            BenchmarkParameters,
            tuple(Page(f"benchmark-{name}", title, {"dataset": name}) for name, title in _BENCHMARKS.items()),
            lambda p: bank_files([p.dataset], p.backbone) + study_files(p.study),
        ),
        Chapter(
            "overview",
            "150 conditions at a glance",
            "notebooks/overview.ipynb",
            OverviewParameters,
            (Page("overview"),),
            lambda p: study_files(p.study),
        ),
        Chapter(
            "rankings",
            "Who wins, and does it mean anything?",
            "notebooks/rankings.ipynb",
            RankingsParameters,
            (Page("rankings"),),
            lambda p: study_files(p.study),
        ),
        Chapter(
            "cost",
            "What the choice of a method costs",
            "notebooks/cost.ipynb",
            CostParameters,
            (Page("cost"),),
            lambda p: study_files(p.study),
        ),
        Chapter(
            "sensitivity",
            "What the ranking depends on",
            "notebooks/sensitivity.ipynb",
            SensitivityParameters,
            (Page("sensitivity"),),
            lambda p: study_files(p.study) + arm_files(),
        ),
        Chapter(
            "overlap",
            "Do clean and noisy losses overlap?",
            "notebooks/overlap.ipynb",
            OverlapParameters,
            (Page("overlap"),),
            lambda p: bank_files([p.dataset], p.backbone) + table_files("overlap"),
        ),
        Chapter(
            "detection",
            "Who finds the clean samples?",
            "notebooks/detection.ipynb",
            DetectionParameters,
            (Page("detection"),),
            lambda p: bank_files([p.dataset], p.backbone) + table_files("detection"),
        ),
        Chapter(
            "collapse",
            "High accuracy, dead classes",
            "notebooks/collapse.ipynb",
            CollapseParameters,
            (Page("collapse"),),
            lambda p: (
                bank_files([p.dataset], p.backbone)
                + table_files("collapse")
                + study_files("archive")
                + arm_files()
            ),
        ),
        Chapter(
            "lp_fft_turn",
            "LP, FFT or TURN?",
            "notebooks/lp_fft_turn.ipynb",
            LpFftTurnParameters,
            (Page("lp_fft_turn"),),
            lambda p: table_files("turn_small") + table_files("turn_small_longer"),
        ),
        Chapter(
            "cleaning",
            "Cleaning with a mixture",
            "notebooks/cleaning.ipynb",
            CleaningParameters,
            (Page("cleaning"),),
            lambda p: (
                bank_files([p.dataset], p.backbone)
                + table_files("turn_small")
                + table_files("turn_small_cleaning")
                + table_files("turn_small_arms")
            ),
        ),
        Chapter(
            "moved",
            "How far did the backbone move?",
            "notebooks/moved.ipynb",
            MovedParameters,
            (Page("moved"),),
            lambda p: (
                table_files("turn_small") + table_files("turn_small_movement") + table_files("turn_small_map")
            ),
        ),
        Chapter(
            "performance",
            "How fast, and what limits it",
            "notebooks/performance.ipynb",
            PerformanceParameters,
            (Page("performance"),),
            lambda p: benchmark_files(p.record),
        ),
        Chapter(
            "scale",
            "A million runs, ten million samples",
            "notebooks/scale.ipynb",
            ScaleParameters,
            (Page("scale"),),
            lambda p: measured_files("cpu") + table_files("archive"),
        ),
        Chapter(
            "claims",
            "Published claims beside our numbers",
            "notebooks/claims.ipynb",
            ClaimsParameters,
            (Page("claims"),),
            lambda p: [
                *(path for study in p.studies for path in study_files(study)),
                *(arm_files() if (results_root() / "arms.parquet").is_file() else ()),
                *(
                    path
                    for name in (
                        *("archive", "overlap", "detection", "collapse", "conditions", "advice"),
                        "turn_small",
                    )
                    if (results_root() / f"{name}.parquet").is_file() and name not in p.studies
                    for path in table_files(name)
                ),
            ],
        ),
    )
}


def chapter_info(key: str) -> Chapter:
    """Return the chapter called `key`, or suggest the nearest name."""
    return CHAPTERS[check_name("chapter", key, CHAPTERS)]
