"""The chapter runner: what is checked before papermill, what is executed again, and what a failure leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest

from noisylib.book import files
from noisylib.book import runner as book
from noisylib.book.chapters import CHAPTERS, Chapter, Page
from noisylib.book.parameter_rules import check_values, rules, with_defaults
from noisylib.book.parameters import OverviewParameters
from noisylib.errors import ConfigError, MissingDataError, NoisylibError, UnknownNameError


@dataclass(frozen=True)
class ToyParameters:
    """Parameters of the made-up chapter."""

    n: int = field(default=3, metadata=rules("how many", low=1, high=9))
    rate: float = field(default=0.5, metadata=rules("a fraction", low=0.0, high=1.0))
    word: str = field(default="one", metadata=rules("a word", names=lambda: {"one", "two"}))
    items: list[int] = field(default_factory=lambda: [1, 2], metadata=rules("whole numbers", low=0))


CELLS = [
    nbformat.v4.new_markdown_cell("# Toy\n\nSee {numref}`fig-toy` and {numref}`tab-toy`.", id="title"),
    nbformat.v4.new_code_cell(
        'n = 3\nrate = 0.5\nword = "one"\nitems = [1, 2]', id="p", metadata={"tags": ["parameters"]}
    ),
    nbformat.v4.new_code_cell(
        "with open('log.txt', 'a') as file:\n    file.write(f'{n} {word}\\n')\n"
        "assert n != 9, 'nine is too many'",
        id="work",
        metadata={"mystnb": {"figure": {"name": "fig-toy", "caption": "A toy, not {numref}`tab-toy`."}}},
    ),
    nbformat.v4.new_code_cell(
        "class Table:\n    def _repr_markdown_(self):\n"
        "        return ':::{table} Toy\\n:name: tab-toy\\n\\n| n |\\n| --: |\\n| 1 |\\n:::'\n\nTable()",
        id="table",
    ),
]

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one notebook that makes two pages and logs every execution."""
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=CELLS, metadata=KERNEL), tmp_path / "notebooks/toy.ipynb")
    (tmp_path / "input.txt").write_text("data")
    chapter = Chapter(
        "toy",
        "Toy",
        "notebooks/toy.ipynb",
        ToyParameters,
        (Page("toy-one", "Page one"), Page("toy-two", "Page two", {"word": "two"})),
        lambda p: [tmp_path / "input.txt"],
    )
    monkeypatch.setattr(book, "CHAPTERS", {"toy": chapter})
    monkeypatch.setitem(CHAPTERS, "toy", chapter)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    return tmp_path


def executions(folder: Path) -> list[str]:
    log = folder / "log.txt"
    return log.read_text().splitlines() if log.exists() else []


def page(folder: Path, slug: str) -> dict:
    return json.loads((folder / f"book/pages/{slug}.ipynb").read_text())


def test_pages_are_executed_once_and_again_only_after_a_real_change(toy: Path) -> None:
    lines: list[str] = []
    runs = book.run_book(root=toy, echo=lines.append)
    assert [run.executed for run in runs] == [True, True]
    assert executions(toy) == ["3 one", "3 two"]
    assert any("toy-two" in line and " s -> " in line for line in lines)

    first = page(toy, "toy-one")
    assert first["metadata"]["noisylib"]["parameters"] == {
        "n": 3, "rate": 0.5, "word": "one", "items": [1, 2],
    }  # fmt: skip
    assert str(toy) not in json.dumps(first), "a page must not name a folder of this machine"
    assert all("papermill" not in cell["metadata"] for cell in first["cells"])

    assert not any(run.executed for run in book.run_book(root=toy))
    # Outputs in the stored notebook and its time stamp are no change; what a chapter reads is.
    stored = nbformat.read(toy / "notebooks/toy.ipynb", as_version=4)
    stored.cells[2].outputs = [nbformat.v4.new_output("stream", text="old")]
    nbformat.write(stored, toy / "notebooks/toy.ipynb")
    assert not any(run.executed for run in book.run_book(root=toy))
    (toy / "input.txt").write_text("other data")
    assert all(run.executed for run in book.run_book(root=toy))
    assert len(executions(toy)) == 4


def test_pages_executed_at_once_are_those_executed_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def notebook(work: str) -> None:
        cells = [
            nbformat.v4.new_markdown_cell("# Toy", id="title"),
            nbformat.v4.new_code_cell('head = "mlp"', id="p", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(work, id="work"),
        ]
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        made = nbformat.v4.new_notebook(cells=cells, metadata=KERNEL)
        nbformat.write(made, tmp_path / "notebooks/toy.ipynb")

    # Other processes cannot import a class of this test, so it is one of the package's.
    pages = (Page("toy-one", "Page one"), Page("toy-two", "Page two", {"head": "linear"}))
    chapter = Chapter("toy", "Toy", "notebooks/toy.ipynb", OverviewParameters, pages, lambda p: [])
    monkeypatch.setattr(book, "CHAPTERS", {"toy": chapter})
    notebook("head * 2")
    book.run_book(root=tmp_path)
    alone = {slug: page(tmp_path, slug) for slug in ("toy-one", "toy-two")}
    assert alone["toy-two"]["cells"][-1]["outputs"][0]["data"]["text/plain"] == ["'linearlinear'"]
    runs = book.run_book(root=tmp_path, force=True, jobs=2)
    assert [(run.slug, run.executed) for run in runs] == [("toy-one", True), ("toy-two", True)]
    again = {slug: page(tmp_path, slug) for slug in alone}
    for notes in (*alone.values(), *again.values()):
        for cell in notes["cells"]:
            cell.pop("id")  # papermill's own cell gets a new one each time
    assert again == alone

    notebook("assert head != 'linear', 'no two'")
    lines: list[str] = []
    with pytest.raises(book.ChapterError, match="no two"):
        book.run_book(root=tmp_path, jobs=2, echo=lines.append)
    assert lines[0] == "executing 2 pages, 2 at once"
    assert [line.partition(":")[0] for line in lines[1:]] == ["[1/2] toy-one"], "the other one is finished"
    assert page(tmp_path, "toy-two")["cells"][-1]["source"] == ["head * 2"], "a failed page stays as it was"


def test_pages_of_one_notebook_have_titles_and_labels_of_their_own(toy: Path) -> None:
    book.run_book("toy", {"word": "two"}, root=toy)
    cells = page(toy, "toy-two")["cells"]
    assert "".join(cells[0]["source"]) == "# Page two\n\nSee {numref}`fig-toy-two` and {numref}`tab-toy-two`."
    figure = next(cell["metadata"]["mystnb"]["figure"] for cell in cells if cell["id"] == "work")
    assert figure == {"name": "fig-toy-two", "caption": "A toy, not {numref}`tab-toy-two`."}
    assert ":name: tab-toy-two\n" in "".join(cells[-1]["outputs"][0]["data"]["text/markdown"])
    # These are the parameters of a page, so the page was made and nothing went to executed/.
    assert not (toy / "executed").exists()


def test_overrides_go_aside_and_always_execute(toy: Path) -> None:
    for _ in range(2):
        (run,) = book.run_book("toy", {"n": 4}, root=toy)
    assert run.path.parent == toy / "executed"
    assert executions(toy) == ["4 one", "4 one"]
    assert not (toy / "book").exists()


def test_a_failed_cell_leaves_the_page_and_says_where_to_look(toy: Path) -> None:
    target = toy / "page.ipynb"
    target.write_text("as before")
    with pytest.raises(
        book.ChapterError, match="'toy' stopped in code cell 3: AssertionError: nine"
    ) as error:
        book.run_book("toy", {"n": 9}, out=target, root=toy)
    assert target.read_text() == "as before"
    failed = toy / "executed/toy-failed.ipynb"
    assert str(failed) in str(error.value)
    assert "nine is too many" in failed.read_text()
    assert not list(toy.rglob("*.part"))


def test_a_damaged_page_is_made_again(toy: Path) -> None:
    path = toy / "book/pages/toy-one.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text('{"cells": [')
    assert book.stored_key(path) is None
    assert book.run_book(root=toy)[0].executed


def test_the_files_of_a_page_lie_beside_it_and_are_missed_when_gone(toy: Path) -> None:
    notebook = nbformat.read(toy / "notebooks/toy.ipynb", as_version=4)
    code = "import pandas\nfrom noisylib.book.downloads import CsvFile\n"
    code += "CsvFile(pandas.DataFrame({'n': [n]}), f'toy-{word}.csv', 'Rows')"
    notebook.cells.append(nbformat.v4.new_code_cell(code, id="csv"))
    nbformat.write(notebook, toy / "notebooks/toy.ipynb")
    book.run_book(root=toy)
    file = toy / "book/pages/toy-two.csv"
    assert file.read_text() == "n\n3\n"
    assert page(toy, "toy-two")["metadata"]["noisylib"]["files"] == ["toy-two.csv"]
    assert "base64" not in json.dumps(page(toy, "toy-two"))

    file.unlink()
    assert [run.executed for run in book.run_book(root=toy)] == [False, True]
    assert file.is_file()


def test_a_change_of_the_library_or_of_the_title_changes_the_key(toy: Path) -> None:
    chapter = CHAPTERS["toy"]
    key = book.page_key(chapter, {}, "Title", "library", toy)
    assert key == book.page_key(chapter, {"n": 3}, "Title", "library", toy)
    assert len({
        key,
        book.page_key(chapter, {"n": 4}, "Title", "library", toy),
        book.page_key(chapter, {}, "Other", "library", toy),
        book.page_key(chapter, {}, "Title", "changed", toy),
    }) == 4  # fmt: skip


def test_the_package_digest_sees_every_source_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "book.py").write_text("a = 1\n")
    monkeypatch.setattr(book, "__file__", str(tmp_path / "book" / "runner.py"))
    before = book.package_digest()
    (tmp_path / "sub/new.py").write_text("")
    assert book.package_digest() != before


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"nn": 1}, UnknownNameError, "parameter='nn' is unknown. Did you mean 'n'"),
        ({"word": "tow"}, UnknownNameError, "word='tow' is unknown. Did you mean 'two'"),
        ({"n": 10}, ConfigError, r"n=10 must be in \[1, 9\]"),
        ({"n": 2.0}, ConfigError, "n=2.0 has type float; int is needed"),
        ({"n": True}, ConfigError, "n=True has type bool"),
        ({"rate": "0.3"}, ConfigError, "rate='0.3' has type str; float is needed"),
        ({"rate": float("nan")}, ConfigError, "rate=nan must be in"),
        ({"items": (1, 2)}, ConfigError, "items=.* has type tuple; a list of int is needed"),
        ({"items": [1, -2]}, ConfigError, r"items\[1\]=-2 must be at least 0"),
    ],
)
def test_bad_parameters_are_errors_before_anything_runs(
    toy: Path, values: dict, error: type[NoisylibError], text: str
) -> None:
    with pytest.raises(error, match=text):
        book.run_book("toy", values, root=toy)
    assert executions(toy) == []


def test_whole_numbers_are_good_fractions() -> None:
    rate = check_values(ToyParameters, {"rate": 1}).rate
    assert rate == 1.0
    assert isinstance(rate, float)


def test_overrides_need_a_known_chapter(toy: Path) -> None:
    with pytest.raises(ConfigError, match="name the chapter"):
        book.run_book(None, {"n": 1}, root=toy)
    with pytest.raises(UnknownNameError, match="Did you mean 'quickstart'"):
        book.run_book("quikstart", root=toy)


def test_texts_of_the_command_line_become_values(toy: Path) -> None:
    pairs = [("n", "4"), ("rate", "0.25"), ("word", "two"), ("items", "3,4")]
    assert book.parse_overrides("toy", pairs) == {"n": 4, "rate": 0.25, "word": "two", "items": [3, 4]}
    assert book.parse_overrides("toy", [("items", "[5]")]) == {"items": [5]}
    with pytest.raises(ConfigError, match="n='four' has type str"):
        book.parse_overrides("toy", [("n", "four")])
    with pytest.raises(ConfigError, match="cannot be read"):
        book.parse_overrides("toy", [("n", "[1")])


def test_real_chapters_check_names_rates_and_lists() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'ham10000'"):
        book.check("noise", dataset="ham1000")
    with pytest.raises(UnknownNameError, match=r"methods.*Did you mean 'elr'"):
        book.check("quickstart", methods=["ce", "erl"])
    # K = 2 classes: above one half a symmetric label is more likely wrong than right.
    with pytest.raises(NoisylibError, match=r"noise_rate=0.6 is outside \[0, 0.5\)"):
        book.check("quickstart", dataset="breastmnist", noise_rate=0.6)
    with pytest.raises(ConfigError, match=r"seeds=.. is empty"):
        book.check("quickstart", seeds=[])
    with pytest.raises(UnknownNameError, match="class_map"):
        book.check("noise", class_map="majorty")


def test_the_bed_has_two_to_eight_classes_and_no_adapter() -> None:
    with pytest.raises(ConfigError, match="makes 1 classes: give 2 to 8 shares"):
        book.check("methods", priors=[1.0])
    with pytest.raises(ConfigError, match=r"priors\[1\]=0.0 must be in"):
        book.check("methods", priors=[1.0, 0.0])
    with pytest.raises(UnknownNameError, match="head='adapter' is unknown"):
        book.check("methods", head="adapter")
    # Asymmetric noise takes a class for one other, so a half is the end for any number of classes.
    with pytest.raises(NoisylibError, match=r"noise_rate=0.5 is outside \[0, 0.5\)"):
        book.check("methods", noise_rate=0.5)
    assert book.check("methods", noise_types=["symmetric"], noise_rate=0.5).noise_rate == 0.5


def test_dynamics_needs_wrong_labels_and_methods_that_pass_over_the_samples() -> None:
    with pytest.raises(ConfigError, match="noise_rate=0 leaves no wrong label"):
        book.check("dynamics", noise_rate=0.0)
    for name in ("turn", "rcal", "knn"):
        with pytest.raises(UnknownNameError, match=f"methods.*{name}"):
            book.check("dynamics", methods=[name])
    with pytest.raises(ConfigError, match=r"seeds=.. is empty"):
        book.check("dynamics", seeds=[])


def test_every_page_of_the_book_has_valid_parameters_and_a_slug_of_its_own() -> None:
    slugs = [page.slug for chapter in CHAPTERS.values() for page in chapter.pages]
    assert len(set(slugs)) == len(slugs)
    for chapter in CHAPTERS.values():
        for one in chapter.pages:
            values = with_defaults(chapter.parameters, one.overrides)
            assert vars(check_values(chapter.parameters, values)) == values


def test_missing_results_say_how_to_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"noisylib run configs/smoke.yaml"):
        files.study_files("smoke")
    with pytest.raises(UnknownNameError, match="Did you mean 'smoke'"):
        files.study_files("smok")


def test_a_study_file_is_read_by_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke/a.parquet").write_bytes(b"rows")
    assert [path.name for path in files.study_files("smoke")] == ["smoke.yaml", "a.parquet"]


def test_the_datasets_chapter_reads_the_stored_probes(root: Path) -> None:
    chapter = CHAPTERS["datasets"]
    read = {path.relative_to(root).as_posix() for path in chapter.reads(chapter.parameters())}
    assert {"data/banks/probes.json", "data/banks/pbc-deit_tiny.safetensors"} <= read
