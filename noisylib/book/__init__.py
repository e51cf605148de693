"""The book: chapters as data, their parameters, their tables, and the runner around papermill."""

from __future__ import annotations

from noisylib.book.chapters import CHAPTERS, chapter_info
from noisylib.book.runner import ChapterError, PageRun, check, parse_overrides, run_book

__all__ = ["CHAPTERS", "ChapterError", "PageRun", "chapter_info", "check", "parse_overrides", "run_book"]
