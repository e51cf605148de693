"""Plain-text tables of the registries, for the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence


def render(what: str) -> str:
    """Return the registry `what`, a key of `TABLES`, as an aligned table."""
    return _align(*TABLES[what]())


def _datasets() -> tuple[Sequence[str], list[Sequence[str]]]:
    from noisylib.data.catalog import DATASETS
    from noisylib.features.bank import list_banks

    banks: dict[str, list[str]] = {}
    for dataset, backbone, _ in list_banks():
        banks.setdefault(dataset, []).append(backbone)
    rows = [
        (info.name, info.title, str(info.n_classes), info.licence, ", ".join(banks.get(info.name, [])))
        for info in DATASETS.values()
    ]
    return ("name", "title", "classes", "licence", "banks here"), rows


def _backbones() -> tuple[Sequence[str], list[Sequence[str]]]:
    from noisylib.features.backbone_registry import BACKBONES

    rows = [(b.name, b.title, str(b.n_features), b.library, b.licence) for b in BACKBONES.values()]
    return ("name", "title", "features", "library", "licence"), rows


def _methods() -> tuple[Sequence[str], list[Sequence[str]]]:
    from noisylib.methods import METHODS

    rows = []
    for cls in METHODS.values():
        method = cls()
        options = ", ".join(
            f"{f.name}={'rule' if f.default is None else format(f.default, 'g')}"
            for f in dataclasses.fields(cls)
        )
        rows.append(
            (
                cls.name,
                cls.title,
                "yes" if cls.ranked else "",
                " + ".join(f"{count} {kind}" for kind, count in method.head_kinds("head")) or "none",
                ", ".join(fact.replace("_", " ") for fact in method.told),
                "yes" if cls.keeps_state else "",
                str(cls.n_views or ""),
                options,
            )
        )
    return ("name", "title", "ranked", "networks", "told", "state", "views", "hyper-parameters"), rows


def _chapters() -> tuple[Sequence[str], list[Sequence[str]]]:
    from noisylib.book.chapters import CHAPTERS

    rows = []
    for chapter in CHAPTERS.values():
        names = ", ".join(f.name for f in dataclasses.fields(chapter.parameters))
        rows.append((chapter.key, chapter.title, str(len(chapter.pages)), names))
    return ("name", "title", "pages", "parameters"), rows


def _experiments() -> tuple[Sequence[str], list[Sequence[str]]]:
    from noisylib.study.experiments import EXPERIMENTS, load_experiment

    found = [load_experiment(name) for name in EXPERIMENTS]
    rows = [(e.name, str(len(e.tasks())), ", ".join(e.tables), e.description) for e in found]
    return ("name", "tasks", "tables", "what for"), rows


TABLES = {
    "datasets": _datasets,
    "backbones": _backbones,
    "methods": _methods,
    "chapters": _chapters,
    "experiments": _experiments,
}


def _align(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
