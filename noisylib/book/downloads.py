"""Tables that a reader may take away: a CSV file beside its page, and inside a notebook that stands alone."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from noisylib.errors import NoisylibError

if TYPE_CHECKING:
    import pandas as pd

KIND = "text/csv"


@dataclass(frozen=True, eq=False)
class CsvFile:
    """A table that a page offers as a file.

    In a notebook, the link that is shown holds the file itself, so that it works wherever the notebook
    goes. The runner of the book takes the file out (`take_files`) and leaves a link to it.

    Parameters
    ----------
    frame : what the file holds; the index is left out, and fractions have six decimals.
    name : of the file; letters, digits, ``-`` and ``_`` before ``.csv``. Pages share a folder, so that
        it must be the only one of its name in the book.
    label : text of the link.
    """

    frame: pd.DataFrame
    name: str
    label: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+\.csv", self.name):
            raise NoisylibError(
                f"name={self.name!r} must be letters, digits, - and _, and end in .csv: it is a file name."
            )

    def text(self) -> str:
        """Return the content of the file."""
        return self.frame.to_csv(index=False, float_format="%.6f", lineterminator="\n")

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        text = self.text()
        inline = b64encode(text.encode()).decode()
        link = f'<a download="{self.name}" href="data:{KIND};base64,{inline}">{escape(self.label)}</a>'
        data = {KIND: text, "text/html": link, "text/markdown": f"{{download}}`{self.label} <{self.name}>`"}
        return data | {"text/plain": f"{self.label}: {self.name}"}, {"file": self.name}


def take_files(notebook: Any) -> dict[str, str]:
    """Take the files out of an executed notebook, file name -> content, and leave links to them.

    Raises
    ------
    NoisylibError
        Two files have the same name.
    """
    files: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("file")
            if name is None or KIND not in output["data"]:
                continue
            if name in files:
                raise NoisylibError(f"two tables are both called {name!r}: give one another name.")
            files[name] = output["data"].pop(KIND)
            del output["data"]["text/html"]  # the book shows the link in text/markdown then
    return files
