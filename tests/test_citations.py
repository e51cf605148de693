"""BibTeX: the parser on small texts, the repository's own bibliography, and `cite`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

import noisylib
from noisylib import citations, cli
from noisylib.citations import bibtex, citation_keys, parse_bibtex
from noisylib.errors import MissingDataError, NoisylibError, UnknownNameError
from noisylib.methods import METHODS, Method, make_method

TWO = r"""% A comment, with an address: someone@example.org {not an entry

@Article{first2020,
  author = {Last, First and G{\"o}del, Kurt},
  title  = "The {BIG} Title",
  Year   = 2020
}
@misc{ second2021, title = {Two
      lines, and a
      @misc{trap, in a value}}, note={},}
"""


def test_parser_reads_braces_quotes_numbers_and_line_breaks() -> None:
    entries = parse_bibtex(TWO)
    assert list(entries) == ["first2020", "second2021"]
    first, second = entries.values()
    assert (first.kind, first.key) == ("article", "first2020")
    assert first.fields == {
        "author": r"Last, First and G{\"o}del, Kurt",
        "title": "The {BIG} Title",
        "year": "2020",
    }
    assert first.text.startswith("@Article{first2020,")
    assert first.text.endswith("= 2020\n}")
    assert second.fields == {"title": "Two lines, and a @misc{trap, in a value}", "note": ""}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("@misc{a,\n  title = {one},\n", 1, "never closed"),
        ("\n@misc{a, title = {one\n}\n", 2, "never closed"),
        ("@misc(a, title = {one})", 1, "is needed here"),
        ("@misc{a,\n  title {one}\n}", 2, "'name = {value}'"),
        ("@misc{a,\n  title = }", 2, "is needed here"),
        ("@misc{a,\n  month = jan # {1}}", 2, "comma"),
        ("@misc{a,\n  title = {one}\n  year = 2020}", 3, "comma"),
        ("@misc{a,\n  title = {one},\n  Title = {two}}", 3, "'Title' is given twice"),
        ("@misc{a, year = 1}\n\n@misc{a, year = 1}", 3, "'a' is defined twice"),
    ],
)
def test_parser_names_the_line_of_what_it_cannot_read(text: str, line: int, reason: str) -> None:
    with pytest.raises(NoisylibError, match=rf"line {line}: .*{reason}"):
        parse_bibtex(text)


def test_every_entry_of_the_bibliography_is_complete(root: Path) -> None:
    text = (root / "book" / "references.bib").read_text(encoding="utf-8")
    entries = parse_bibtex(text)
    assert len(entries) == text.count("\n@")
    for key, entry in entries.items():
        assert {"author", "title", "year"} <= set(entry.fields), key
        assert all(entry.fields.values()), key
        venues = {"article": "journal", "inproceedings": "booktitle", "techreport": "institution"}
        assert {venues.get(entry.kind, "title"), "eprint", "howpublished"} & set(entry.fields), key
        assert 1900 < int(entry.fields["year"]) < 2100, key
        assert all("," in name for name in entry.fields["author"].split(" and ")), f"{key}: Last, First"
        # The year of a key is the year of its entry, so that a wrong one shows.
        assert entry.fields["year"] in key, key


def test_bibtex_keeps_order_and_says_each_entry_once(root: Path) -> None:
    text = bibtex(["liu2020elr", "he2022mae", "liu2020elr"])
    assert list(parse_bibtex(text)) == ["liu2020elr", "he2022mae"]
    assert text.count("\n\n") == 1
    elr, mae = text.split("\n\n")
    assert elr == bibtex("liu2020elr")
    assert mae in (root / "book" / "references.bib").read_text(encoding="utf-8")


def test_unknown_key_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'liu2020elr'"):
        bibtex(["liu2020el"])


def test_an_installed_package_without_its_book_says_so(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(citations, "BIBLIOGRAPHY", tmp_path / "book" / "references.bib")
    with pytest.raises(MissingDataError, match="checkout") as error:
        noisylib.cite("elr")
    assert str(tmp_path) in str(error.value)


def test_keys_follow_the_registry_whatever_the_order_given() -> None:
    everything = list(dict.fromkeys(method.citation for method in METHODS.values()))
    assert citation_keys(METHODS) == everything
    assert citation_keys(reversed(METHODS)) == everything
    assert citation_keys("elr") == ["liu2020elr"]
    assert citation_keys(["coteaching", "elr", "elr", "gce"]) == citation_keys(["gce", "elr", "coteaching"])


def test_names_objects_and_classes_are_the_same_to_it() -> None:
    for name, cls in METHODS.items():
        assert citation_keys(name) == citation_keys(make_method(name)) == citation_keys(cls) == [cls.citation]
        assert citation_keys([make_method(name), name]) == [cls.citation]


def test_a_method_of_your_own_comes_last() -> None:
    @dataclass(frozen=True)
    class Mine(Method):
        name: ClassVar[str] = "mine"
        title: ClassVar[str] = "Mine"
        citation: ClassVar[str] = "he2022mae"

    assert citation_keys([Mine(), "elr"]) == ["liu2020elr", "he2022mae"]


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        ("ellr", UnknownNameError, "Did you mean 'elr'"),
        (["ce", "co-teaching"], UnknownNameError, "Did you mean 'coteaching'"),
        ([], NoisylibError, "methods is empty"),
        ([3], NoisylibError, "methods holds 3"),
        (None, NoisylibError, "methods holds None"),
        (int, NoisylibError, "methods holds <class 'int'>"),
    ],
)
def test_what_is_no_method_is_an_error(methods, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        noisylib.cite(methods)


def test_cite_prints_and_returns_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert noisylib.cite(["elr", "gce"]) is None
    out = capsys.readouterr().out
    assert out == bibtex(citation_keys(["elr", "gce"])) + "\n"
    assert out.startswith("@inproceedings{")
    assert inspect.getdoc(noisylib.cite)


def test_command_prints_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    noisylib.cite(["gce", "elr"])
    result = CliRunner().invoke(cli.app, ["cite", "elr", "gce"])
    assert result.exit_code == 0, result.output
    assert result.output == capsys.readouterr().out
    assert CliRunner().invoke(cli.app, ["cite"]).exit_code == 2
    wrong = CliRunner().invoke(cli.app, ["cite", "erl"])
    assert isinstance(wrong.exception, UnknownNameError)
