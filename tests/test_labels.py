"""Labels of any kind become numbers from 0, and what cannot be a label is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.errors import NoisylibError
from noisylib.labels import encode_labels

CATEGORIES = pd.Categorical(["x", "a", "x"], categories=["x", "unused", "a"])


@pytest.mark.parametrize(
    ("y", "codes", "classes"),
    [
        (["naevus", "melanoma", "naevus"], [1, 0, 1], ["melanoma", "naevus"]),
        ([7, -2, 7, 30], [1, 0, 1, 2], [-2, 7, 30]),
        (np.array([7, 3], dtype=np.uint8), [1, 0], [3, 7]),
        ([True, False], [1, 0], [False, True]),
        ([2.0, 1.0, 2.0], [1, 0, 1], [1, 2]),
        (np.array([2.0, 1.0, 2.0], dtype=np.float16), [1, 0, 1], [1, 2]),
        (np.array([2, 1.0], dtype=object), [1, 0], [1, 2]),
        (np.array(["b", "a"], dtype=object), [1, 0], ["a", "b"]),
        (np.array(["b", "a"], dtype=np.dtypes.StringDType()), [1, 0], ["a", "b"]),
        (pd.Series(CATEGORIES), [1, 0, 1], ["a", "x"]),
        (pd.Series(["b", "a"]), [1, 0], ["a", "b"]),
        (pd.Series([5, 3], dtype="Int64"), [1, 0], [3, 5]),
        (pd.Series([True, False], dtype="boolean"), [1, 0], [False, True]),
        (["", "a"], [0, 1], ["", "a"]),
    ],
)
def test_labels_become_numbers_and_back(y, codes: list[int], classes: list) -> None:
    found, names = encode_labels(y)
    assert found.dtype == np.int64
    assert found.tolist() == codes
    assert names.tolist() == classes
    assert [type(name) for name in names.tolist()] == [type(name) for name in classes]
    assert names.dtype.kind in "Uiub"


@pytest.mark.parametrize(
    ("y", "text"),
    [
        ([], r"shape \(0,\)"),
        ([[1], [2]], r"shape \(2, 1\)"),
        (3, r"shape \(\)"),
        (["a", None, None], "no label .* in 2 rows, first in row 1"),
        ([1.0, np.nan], "no label .* in 1 rows, first in row 1"),
        (pd.Series([None, 1, 2], dtype="Int64"), "first in row 0"),
        (pd.Series(["a", None]), "first in row 1"),
        ([pd.NaT, "a"], "first in row 0"),
        (["a", pd.NA], "first in row 1"),
        ([1.0, 2.5], r"Unknown label type: y\[1\]=2.5 is continuous"),
        ([1.0, np.inf], r"y\[1\]=inf is continuous"),
        ([1.0, 2.0**60], "is continuous"),
        ([1, "a"], "type int, str"),
        ([True, 1], "type bool, int"),
        ([b"a", b"b"], "type bytes"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "dtype datetime64"),
        ([1 + 2j, 1], "type complex, int"),
        (["a", "a"], "only one class, 'a'"),
        ([3, 3, 3], "only one class, 3"),
    ],
)
def test_what_is_no_label_is_refused(y, text: str) -> None:
    with pytest.raises(NoisylibError, match=text):
        encode_labels(y)


def test_errors_name_the_argument() -> None:
    with pytest.raises(NoisylibError, match=r"^column 'grade' has no label"):
        encode_labels([None, 1], "column 'grade'")
