"""The filterable table of every condition and method, which needs no network, and its CSV file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from noisylib.analysis.scores import CONDITION
from noisylib.book.describe.overview import titles_of
from noisylib.book.downloads import CsvFile
from noisylib.errors import require
from noisylib.plots import noise_title

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML

SCORES = [
    "balanced_accuracy_mean", "balanced_accuracy_sd", "accuracy_mean", "accuracy_sd", "dead_classes_mean",
    "rank", "gap_to_best", "over_reference",
]  # fmt: skip
# Small and tight, so that most columns show at once. A dark page of the book puts raw output on a light
# ground, which would frame the table; it brings dark colours of its own.
LOOK = """
.dt-container { font-size: 0.75rem; line-height: 1.4; }
table.dataTable.compact > thead > tr > th, table.dataTable.compact > tbody > tr > td { padding: 3px 4px; }
html[data-theme="dark"] .bd-content div.cell_output .text_html:has(script):not(:has(table.dataframe)) {
  background: none; color: inherit; padding: 0;
}
"""
LISTED = ["Data set", "Backbone", "Noise", "Rate", "Method"]  # columns whose filter is a list to tick


def cells_file(cells: pd.DataFrame, name: str) -> CsvFile:
    """Return the cells as a file to take away: names as in configurations, scores as fractions."""
    return CsvFile(cells[[*CONDITION, "method", "runs", *SCORES]], name, f"All {len(cells):,} rows as CSV")


def explorer_frame(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells as a reader sees them: titles, and text with percent and points to one decimal.

    Parameters
    ----------
    cells : from `describe_overview.cells_frame`.
    """
    import pandas as pd

    titles = titles_of(cells)

    def percent(name: str, form: str = "{:.1f}") -> list[str]:
        # Adding zero turns the -0.0 of a tiny negative difference into 0.0. A single seed has no deviation.
        values = (100 * cells[name]).round(1) + 0.0
        return ["" if math.isnan(value) else form.format(value) for value in values]

    return pd.DataFrame(
        {
            "Data set": cells["dataset"].map(titles),
            "Backbone": cells["backbone"].map(titles),
            "Noise": cells["noise_type"].map(noise_title),
            "Rate": (100 * cells["noise_rate"]).map("{:g}".format),
            "Method": cells["method"].map(titles),
            "Rank": cells["rank"].map("{:g}".format),
            "Balanced": percent("balanced_accuracy_mean"),
            "± bal.": percent("balanced_accuracy_sd"),
            "To best": percent("gap_to_best", "{:+.1f}"),
            "Accuracy": percent("accuracy_mean"),
            "± acc.": percent("accuracy_sd"),
            "Dead": cells["dead_classes_mean"].map("{:.1f}".format),
            "To CE": percent("over_reference", "{:+.1f}"),
        }
    )


def explorer(cells: pd.DataFrame, name: str) -> HTML:
    """Return the cells as a table to search, filter and sort; scripts and styles are inside the page.

    Parameters
    ----------
    cells : from `describe_overview.cells_frame`; the table keeps its order until a reader changes it.
    name : the table's id in the page.
    """
    itables = require("itables", "book")
    from IPython.display import HTML

    frame = explorer_frame(cells)
    numbers = [column for column in frame if column not in LISTED]
    methods = cells["method"].nunique()
    itables.init_notebook_mode(all_interactive=False, connected=False)
    table = itables.to_html_datatable(
        frame,
        connected=False,
        table_id=name,
        display_logo_when_loading=False,
        showIndex=False,
        maxBytes=0,
        classes="display compact nowrap",
        style="width:100%",
        ordering={"indicators": False},
        css=LOOK,
        scrollX=True,
        text_in_header_can_be_selected=False,
        # A page holds whole conditions.
        lengthMenu=[methods, 2 * methods, 5 * methods, {"label": "all", "value": -1}],
        pageLength=2 * methods,
        columnDefs=[
            _column_filter(frame, LISTED, "searchList", "dt-left"),
            _column_filter(frame, numbers, "search", "dt-right"),
        ],
        language={"search": "Search all columns:"},
    )
    return HTML(table)


def _column_filter(frame: pd.DataFrame, columns: list[str], filter_type: str, look: str) -> dict[str, object]:
    """Return what DataTables is told of some columns: how they align, and the buttons to sort and filter."""
    targets = [frame.columns.get_loc(column) for column in columns]
    # In a row below the headings: beside them, two buttons would widen every column.
    control = [{"target": 1, "content": ["order", [filter_type]]}]
    return {"targets": targets, "className": look, "columnControl": control}
