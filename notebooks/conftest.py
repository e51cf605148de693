"""Chapters that read a study are collected once all its rows are there; `make book` always executes them."""

from __future__ import annotations

from pathlib import Path

from noisylib.book.chapters import CHAPTERS
from noisylib.book.rows import study_rows
from noisylib.errors import ConfigError, MissingDataError

collect_ignore = []
for chapter in CHAPTERS.values():
    parameters = chapter.parameters()
    try:
        chapter.reads(parameters)
        for study in getattr(parameters, "studies", [getattr(parameters, "study", None)]):
            if study is not None:
                study_rows(study)
    except (ConfigError, MissingDataError):  # ConfigError: the study was stopped before its end
        collect_ignore.append(Path(chapter.notebook).name)
