"""Chapters that read a study are collected once its rows are there; `make book` always executes them."""

from __future__ import annotations

from pathlib import Path

from noisylib.book import CHAPTERS
from noisylib.errors import MissingDataError

collect_ignore = []
for chapter in CHAPTERS.values():
    try:
        chapter.reads(chapter.parameters())
    except MissingDataError:
        collect_ignore.append(Path(chapter.notebook).name)
