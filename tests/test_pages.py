"""Memory on large pages: the values, where it begins, when it is ordinary memory, and how long it lives."""

from __future__ import annotations

import mmap
import re
import weakref
from pathlib import Path

import pytest
import torch

from noisylib import pages

LARGE, SMALL = pages.SMALLEST // 4, pages.SMALLEST // 4 - 1  # items of 4 bytes
linux = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="large pages are asked for on Linux only"
)


def forbidden(*arguments: object, **more: object) -> None:
    raise AssertionError("no mapping is needed")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("shape", [(3,), (2, 700, 1001), (1, LARGE), (LARGE,), (SMALL,)])
def test_zeros_are_zeros_of_the_shape_and_type(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = pages.zeros(*shape, dtype=dtype)
    assert x.shape == shape
    assert x.dtype == dtype
    assert x.is_contiguous()
    assert not x.any()
    x.fill_(3)
    assert (x == 3).all(), "all of it can be written"


@linux
@pytest.mark.parametrize("items", [LARGE, LARGE + 1, 5 * LARGE, 9 * LARGE + 7])
def test_large_tensors_begin_where_a_large_page_does(items: int) -> None:
    held = [pages.empty(items, dtype=torch.float32) for _ in range(3)]
    assert [x.data_ptr() % pages.LARGE_PAGE for x in held] == [0, 0, 0]
    for number, x in enumerate(held):
        x.fill_(number)
    assert [(x == number).all() for number, x in enumerate(held)] == [True] * 3, "none overlaps another"


@linux
@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="nobody says what mappings are like")
def test_large_ones_are_private_and_so_may_be_granted() -> None:
    """A mapping that is shared with children is backed by /dev/zero, and gets no large pages."""
    x = pages.zeros(16 * LARGE, dtype=torch.float32)
    regions = re.findall(
        r"^([0-9a-f]+)-([0-9a-f]+) (\S+) .*$", Path("/proc/self/smaps").read_text(), flags=re.M
    )
    (rights,) = [r for low, high, r in regions if int(low, 16) <= x.data_ptr() < int(high, 16)]
    assert rights == "rw-p"


def test_small_tensors_are_ordinary_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", forbidden)
    assert pages.empty(SMALL, dtype=torch.float32).shape == (SMALL,)
    assert pages.empty(2 * LARGE, dtype=torch.float32, device="meta").device.type == "meta"


@linux
def test_large_ones_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", forbidden)
    with pytest.raises(AssertionError, match="no mapping"):
        pages.empty(LARGE, dtype=torch.float32)


@linux
@pytest.mark.parametrize("fails", ["mapping", "advice"])
def test_without_large_pages_memory_is_ordinary(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(mmap.mmap):
        def __new__(cls, *arguments: int, **more: int) -> Failing:
            if fails == "mapping":
                raise OSError("no memory")
            return super().__new__(cls, *arguments, **more)

        def madvise(self, *arguments: int) -> None:
            raise OSError("no large pages")

    monkeypatch.setattr(mmap, "mmap", Failing)
    x = pages.zeros(3, LARGE, dtype=torch.float32)
    assert x.shape == (3, LARGE)
    assert not x.any()


def test_a_system_that_knows_no_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    monkeypatch.setattr(mmap, "mmap", forbidden)
    assert not pages.zeros(LARGE, dtype=torch.float32).any()


@linux
def test_memory_lives_as_long_as_a_view_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Seen(mmap.mmap):
        def __init__(self, *arguments: int, **more: int) -> None:
            made.append(weakref.ref(self))

    monkeypatch.setattr(mmap, "mmap", Seen)
    x = pages.zeros(2, LARGE, dtype=torch.float32)
    view = x[1, 5:9].view(2, 2)
    view.fill_(7)
    del x
    pages.zeros(2, LARGE, dtype=torch.float32)  # would come to lie there
    assert made[0]() is not None
    assert (view == 7).all()
    del view
    assert made[0]() is None


def test_copy_has_the_same_values_elsewhere() -> None:
    values = torch.arange(2 * LARGE, dtype=torch.float32).view(2, LARGE)
    copied = pages.copy(values.mT.mT)
    assert torch.equal(copied, values)
    copied.zero_()
    assert values[1, 5] == LARGE + 5
    transposed = pages.copy(values.mT)
    assert torch.equal(transposed, values.mT)


def test_what_a_copy_would_gain_nothing_for_is_not_copied() -> None:
    for values in (torch.ones(SMALL), torch.ones(2 * LARGE, device="meta")):
        assert pages.copy(values) is values
