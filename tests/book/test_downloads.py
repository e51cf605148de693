"""Files that a page offers: whole inside a notebook, beside the page in the book."""

from __future__ import annotations

from base64 import b64decode

import nbformat
import pandas as pd
import pytest

from noisylib.book.downloads import CsvFile, take_files
from noisylib.errors import NoisylibError

FRAME = pd.DataFrame({"name": ["a, b", "ö"], "share": [1 / 3, 1.0]}, index=[7, 8])
TEXT = 'name,share\n"a, b",0.333333\nö,1.000000\n'


def shown(name: str = "some-rows.csv") -> nbformat.NotebookNode:
    data, metadata = CsvFile(FRAME, name, "All <2> rows")._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    return nbformat.v4.new_code_cell("show", outputs=[output])


def test_the_file_has_no_index_and_six_decimals() -> None:
    assert CsvFile(FRAME, "a.csv", "a").text() == TEXT


def test_a_notebook_alone_holds_the_file_in_its_link() -> None:
    link = shown().outputs[0].data["text/html"]
    assert 'download="some-rows.csv"' in link
    assert "All &lt;2&gt; rows</a>" in link
    assert b64decode(link.partition("base64,")[2].partition('"')[0]).decode() == TEXT


def test_the_book_takes_the_file_and_keeps_a_link_to_it() -> None:
    plain = nbformat.v4.new_output("display_data", data={"text/plain": "1"})
    other = nbformat.v4.new_code_cell("1", outputs=[plain])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A"), other, shown()])
    assert take_files(notebook) == {"some-rows.csv": TEXT}
    data = notebook.cells[2].outputs[0].data
    assert data["text/markdown"] == "{download}`All <2> rows <some-rows.csv>`"
    assert "text/html" not in data, "or the book would show the link that holds the file"
    assert "text/csv" not in data
    assert notebook.cells[1].outputs[0].data == {"text/plain": "1"}


def test_two_files_of_one_name_are_an_error() -> None:
    notebook = nbformat.v4.new_notebook(cells=[shown(), shown()])
    with pytest.raises(NoisylibError, match=r"both called 'some-rows.csv'"):
        take_files(notebook)


@pytest.mark.parametrize("name", ["../a.csv", "a/b.csv", "a.txt", ".csv", "a b.csv"])
def test_a_name_is_a_plain_file_name(name: str) -> None:
    with pytest.raises(NoisylibError, match="must be letters"):
        CsvFile(FRAME, name, "a")
