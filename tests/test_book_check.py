"""The check of the rendered book finds each kind of fault, and nothing on a page without one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

GOOD = """<html lang="en"><head><link rel="stylesheet" href="_static/book.css">
<script>const home = "https://example.org/about";</script></head>
<body><h1 id="top">Title</h1><img src="_images/a.png" alt="Accuracy against noise">
<a href="#top">up</a> <a href="other.html#part">part</a> <a href="https://example.org/paper">paper</a></body></html>"""
OTHER = '<html lang="en"><body><h1>Other</h1><h2 id="part">Part</h2></body></html>'


@pytest.fixture(scope="module")
def check(root: Path) -> ModuleType:
    """book/check.py as a module."""
    spec = importlib.util.spec_from_file_location("book_check", root / "book" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A small rendered book without faults."""
    files = {
        "index.html": '<meta http-equiv="Refresh" content="0; url=intro.html" />',
        "intro.html": GOOD,
        "other.html": OTHER,
        "searchindex.js": "",
        "_static/book.css": 'a { background: url("data:image/svg+xml,x"); }',
        "_static/macros.html": "<h1>not a page</h1><h1>at all</h1>",
        "_images/a.png": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_good_book_passes(check: ModuleType, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(book)]) == 0
    assert capsys.readouterr().out == "3 pages checked, 0 problems.\n"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("<h1", "<h1>Second</h1><h1", "2 h1 headings instead of one"),
        ("<h1", "<p", "0 h1 headings instead of one"),
        (' lang="en"', "", "no lang on <html>"),
        (' alt="Accuracy against noise"', "", "image without alt text: _images/a.png"),
        ("Accuracy against noise", "_images/a.png", "image without alt text: _images/a.png"),
        ("_images/a.png", "_images/b.png", "loads a file that is not there: _images/b.png"),
        (
            "_static/book.css",
            "https://cdn.example/x.css",
            "loads from the network: https://cdn.example/x.css",
        ),
        ("<script>", '<script src="//cdn.example/x.js">', "loads from the network: //cdn.example/x.js"),
        ("<body>", '<body style="background: url(http://a.example/b)">', "url(http://a.example/b"),
        ("const home", "import x from 'https://a.example/x.js'; const home", "https://a.example/x.js"),
        ("other.html#part", "absent.html", "dead link: absent.html"),
        ("other.html#part", "other.html#gone", "dead anchor: other.html#gone"),
        ('"#top"', '"#gone"', "dead anchor: #gone"),
    ],
)
def test_each_fault_is_named_with_its_page(
    check: ModuleType, book: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, problem: str
) -> None:
    assert old in GOOD
    (book / "intro.html").write_text(GOOD.replace(old, new, 1))
    assert check.main([str(book)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("intro.html: ") and problem in line for line in lines), lines


def test_remote_style_and_missing_search_index(check: ModuleType, book: Path) -> None:
    (book / "_static" / "book.css").write_text('@import "https://fonts.example/x.css";')
    (book / "searchindex.js").unlink()
    _, problems = check.check_book(book)
    assert problems == [
        '_static/book.css: loads from the network: @import "https://fonts.example/x.css',
        "searchindex.js: missing, so that search finds nothing",
    ]


def test_dead_redirect(check: ModuleType, book: Path) -> None:
    (book / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=gone.html" />')
    assert check.check_book(book)[1] == ["index.html: dead link: gone.html"]


def test_no_book_is_an_error(check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(tmp_path)]) == 1
    assert "make book" in capsys.readouterr().err
