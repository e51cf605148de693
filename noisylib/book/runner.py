"""The chapter runner: checked parameters, papermill, and pages that are redone only when out of date.

A page is a notebook executed with its parameters, stored under ``book/pages`` with the files it offers
beside it. It carries a key: a hash of the notebook, the parameters, this package's sources and the files
the chapter reads. A page whose key still holds, and whose files are there, is left alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

from noisylib.book.chapters import CHAPTERS, Chapter, Page, chapter_info
from noisylib.book.downloads import take_files
from noisylib.book.parameter_names import ROOT
from noisylib.book.parameter_rules import check_values, with_defaults
from noisylib.errors import ConfigError, NoisylibError, check_name, require
from noisylib.files import file_digest, write_aside

log = logging.getLogger(__name__)


class ChapterError(NoisylibError):
    """A notebook stopped with an error; the text names the cell and where to look."""


@dataclass(frozen=True)
class PageRun:
    """What happened to one page: where it is, whether it was executed, and in how many seconds."""

    slug: str
    path: Path
    executed: bool
    seconds: float


def check(chapter: str, **values: Any) -> Any:
    """Return the chapter's parameters as a frozen dataclass, or say which value is wrong and why.

    Every notebook calls this in its second code cell, so that plain papermill is checked too.
    """
    return check_values(chapter_info(chapter).parameters, values)


def parse_overrides(chapter: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn ``-p key value`` texts into values of the chapter's types; lists as ``a,b`` or ``[a, b]``.

    Raises
    ------
    UnknownNameError, ConfigError
        As `check`, which also checks the values.
    """
    import yaml

    info = chapter_info(chapter)
    hints = get_type_hints(info.parameters)
    values: dict[str, Any] = {}
    for name, text in pairs:
        kind = hints[check_name("parameter", name, hints)]
        if kind is str:
            values[name] = text
            continue
        if get_origin(kind) is list and not text.strip().startswith("["):
            text = f"[{text}]"
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{name}={text!r} cannot be read as a value: {error}.") from error
        if get_origin(kind) is list and get_args(kind) == (str,) and isinstance(value, list):
            value = [str(entry) for entry in value]
        values[name] = value
    check_values(info.parameters, values)
    return values


def run_book(
    chapter: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    force: bool = False,
    out: str | Path | None = None,
    root: str | Path | None = None,
    jobs: int = 1,
    echo: Callable[[str], object] = log.info,
) -> list[PageRun]:
    """Execute the pages that are out of date and return what was done, in the order of the book.

    Parameters
    ----------
    chapter : one chapter's key; None for the whole book.
    parameters : overrides for one chapter. They always execute. If they are those of a page, the
        page is renewed; otherwise the notebook goes to `out`, else to ``executed/``.
    force : execute pages that are up to date as well.
    out : where one overridden notebook goes.
    root : folder that holds ``notebooks/`` and ``book/``; the checkout by default.
    jobs : pages that are executed at once, one after another by default; 0 is one per core.
    echo : takes one line of progress per page.

    Raises
    ------
    NoisylibError
        Before anything runs: unknown names, bad values, data or results that are not there.
    ChapterError
        A cell failed. The page is left as it was.
    """
    root = Path(root) if root is not None else ROOT
    chosen = list(CHAPTERS.values()) if chapter is None else [chapter_info(chapter)]
    if parameters or out is not None:
        if chapter is None:
            raise ConfigError("parameters or out without a chapter: name the chapter they are for.")
        work = [_override_job(chosen[0], parameters or {}, out, root)]
        force = True
    else:
        work = [
            _Job(info, page, page.overrides, root / "book" / "pages" / f"{page.slug}.ipynb")
            for info in chosen
            for page in info.pages
        ]
    library = package_digest()
    # All keys first: what is missing for any page is said before the first one takes its time.
    keys = [page_key(job.chapter, job.values, job.page.title, library, root) for job in work]
    stale = [
        i for i, (job, key) in enumerate(zip(work, keys, strict=True)) if force or stored_key(job.path) != key
    ]
    seconds = dict.fromkeys(range(len(work)), 0.0)
    for i in sorted(set(seconds) - set(stale)):
        echo(f"[{i + 1}/{len(work)}] {work[i].page.slug}: up to date")
    for i, taken in _execute_all([(i, work[i], keys[i]) for i in stale], root, jobs, echo):
        seconds[i], path = taken, work[i].path
        where = path.relative_to(root) if path.is_relative_to(root) else path
        echo(f"[{i + 1}/{len(work)}] {work[i].page.slug}: {taken:.1f} s -> {where}")
    return [PageRun(job.page.slug, job.path, i in stale, seconds[i]) for i, job in enumerate(work)]


@dataclass(frozen=True)
class _Job:
    """One execution: the values that differ from the notebook's own, and where it goes."""

    chapter: Chapter
    page: Page
    values: Mapping[str, Any]
    path: Path


def _override_job(chapter: Chapter, values: Mapping[str, Any], out: str | Path | None, root: Path) -> _Job:
    asked = asdict(check_values(chapter.parameters, values))
    if out is None:
        for page in chapter.pages:
            if with_defaults(chapter.parameters, page.overrides) == asked:
                return _Job(chapter, page, page.overrides, root / "book" / "pages" / f"{page.slug}.ipynb")
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
        out = root / "executed" / f"{chapter.key}-{digest}.ipynb"
    standard = with_defaults(chapter.parameters, {})
    changed = {name: value for name, value in asked.items() if value != standard[name]}
    return _Job(chapter, Page(chapter.key), changed, Path(out).resolve())


def package_digest() -> str:
    """Return a hash of every source file of this package."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def page_key(chapter: Chapter, values: Mapping[str, Any], title: str, library: str, root: Path) -> str:
    """Return the hash of everything the executed page depends on.

    Outputs and execution counts stored in the notebook do not count, and neither do file times.
    """
    parameters = with_defaults(chapter.parameters, values)
    notebook = json.loads((root / chapter.notebook).read_text(encoding="utf-8"))
    cells = [[cell["cell_type"], "".join(cell["source"]), cell["metadata"]] for cell in notebook["cells"]]
    files = [[path.name, file_digest(path)] for path in chapter.reads(SimpleNamespace(**parameters))]
    text = json.dumps([cells, title, parameters, library, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def stored_key(path: Path) -> str | None:
    """Return the key inside an executed page; None if there is no readable page, or a file of it is gone."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))["metadata"]["noisylib"]
        whole = all(path.with_name(name).is_file() for name in record["files"])
        return record["key"] if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _execute_all(
    todo: Sequence[tuple[int, _Job, str]], root: Path, jobs: int, echo: Callable[[str], object]
) -> Iterator[tuple[int, float]]:
    """Execute pages, `jobs` at once, and yield number and seconds of each as it is finished.

    One after another, the first error ends it; at once, the other pages are finished before it is raised.
    """
    import joblib

    jobs = min(jobs or joblib.cpu_count(), len(todo))
    if jobs < 2:
        for number, job, key in todo:
            echo(f"{job.page.slug}: executing {job.chapter.notebook}")
            start = time.perf_counter()
            _execute(job, key, root)
            yield number, time.perf_counter() - start
        return
    echo(f"executing {len(todo)} pages, {jobs} at once")
    work = (joblib.delayed(_try)(number, job, key, root) for number, job, key in todo)
    errors = []
    for number, result in joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(work):
        if isinstance(result, NoisylibError):
            errors.append(result)
        else:
            yield number, result
    if errors:
        raise errors[0]


def _try(number: int, job: _Job, key: str, root: Path) -> tuple[int, float | NoisylibError]:
    """Return the seconds of one page, or its error: raised here, it would cut off the pages in work."""
    start = time.perf_counter()
    try:
        _execute(job, key, root)
    except NoisylibError as error:
        return number, error
    return number, time.perf_counter() - start


def _execute(job: _Job, key: str, root: Path) -> None:
    """Run the notebook in a temporary folder and move the finished page into place."""
    papermill = require("papermill", "book")
    nbformat = require("nbformat", "book")
    with tempfile.TemporaryDirectory(prefix="noisylib-book-") as folder:
        output = Path(folder) / "page.ipynb"
        try:
            papermill.execute_notebook(
                str(root / job.chapter.notebook),
                str(output),
                parameters=dict(job.values),
                kernel_name="python3",
                progress_bar=False,
                cwd=str(root),
                # Kernels report being told to stop as an error; a cell's errors come another way.
                extra_arguments=["--log-level=CRITICAL"],
            )
        except papermill.PapermillExecutionError as error:
            failed = root / "executed" / f"{job.page.slug}-failed.ipynb"
            with write_aside(failed) as aside:
                aside.write_bytes(output.read_bytes())
            raise ChapterError(
                f"chapter {job.chapter.key!r} stopped in code cell {error.exec_count}: {error.ename}: "
                f"{error.evalue} {job.path.name} is as it was before. The notebook up to the error: {failed}."
            ) from error
        notebook = nbformat.read(output, as_version=4)
        files = take_files(notebook)
        notebook = finish_page(notebook, job.page, job.chapter, key, job.values)
        notebook.metadata["noisylib"]["files"] = sorted(files)
        for name, text in files.items():
            with write_aside(job.path.with_name(name)) as aside:
                aside.write_text(text, encoding="utf-8")
        with write_aside(job.path) as aside:
            nbformat.write(notebook, aside)


def finish_page(notebook: Any, page: Page, chapter: Chapter, key: str, values: Mapping[str, Any]) -> Any:
    """Give an executed notebook its page title, labels of its own and its key; drop machine traces."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for trace in ("papermill", "execution"):  # paths, times and durations
            cell.metadata.pop(trace, None)
    if page.title:
        first = notebook.cells[0]
        first.source = re.sub(r"\A# .*", lambda _: f"# {page.title}", first.source)
    if len(chapter.pages) > 1:
        _rename_labels(notebook, page.slug.removeprefix(chapter.key))
    notebook.metadata["noisylib"] = {
        "chapter": chapter.key,
        "key": key,
        "parameters": with_defaults(chapter.parameters, values),
    }
    return notebook


def _rename_labels(notebook: Any, suffix: str) -> None:
    """Append `suffix` to every figure and table label: labels must differ between pages."""
    labels = {
        cell.metadata["mystnb"]["figure"]["name"]
        for cell in notebook.cells
        if "figure" in cell.metadata.get("mystnb", {})
    }
    texts = [
        output["data"] for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output
    ]
    for data in texts:
        labels.update(re.findall(r"^:name: (\S+)$", data.get("text/markdown", ""), flags=re.M))
    if not labels:
        return
    names = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    pattern = re.compile(rf"(`|^:name: )({names})(`|$)", flags=re.M)

    def renamed(text: str) -> str:
        return pattern.sub(rf"\g<1>\g<2>{suffix}\g<3>", text)

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = renamed(cell.source)
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            figure["name"] += suffix
            figure["caption"] = renamed(figure["caption"])
    for data in texts:
        if "text/markdown" in data:
            data["text/markdown"] = renamed(data["text/markdown"])
