"""Amounts of memory, read and written."""

from __future__ import annotations

import pytest

from noisylib.errors import NoisylibError
from noisylib.memory import free_memory, in_words, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 8 * 2**30), ("500MB", 500_000_000), ("1.5 kb", 1500), (7, 7), ("12", 12), ("3b", 3),
     ("2tib", 2**41), ("auto", None), (None, None)],
)  # fmt: skip
def test_amounts_are_read(text, size) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "8 gigs", "-1", "0", "GB", "1e9", True, "0.5"])
def test_what_is_no_amount_is_refused(text) -> None:
    with pytest.raises(NoisylibError, match=r"memory_limit=.*: give bytes, such as 8GiB, 500MB or 1000000"):
        parse_bytes(text)


def test_amounts_are_said() -> None:
    assert [in_words(size) for size in (12, 2048, 3_456_000, 1.5e9, 2e12)] == [
        "12 bytes", "2.05 kB", "3.46 MB", "1.5 GB", "2 TB",
    ]  # fmt: skip


def test_free_memory_is_the_least_that_anyone_says(tmp_path) -> None:
    assert free_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert free_memory(tmp_path) == 8000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, text in (
        ("max", "6000000"),
        ("current", "5000000"),
        ("stat", "anon 1\ninactive_file 1000000\n"),
    ):
        (group / f"memory.{name}").write_text(text)
    assert free_memory(tmp_path) == 2_000_000  # 6 - 5 + 1 that can be dropped
    (group / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) == 8000 * 1024
    old = group / "memory"  # version 1 of the interface
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("700\n")
    (old / "memory.usage_in_bytes").write_text("900\n")
    (old / "memory.stat").write_text("total_inactive_file 100\n")
    assert free_memory(tmp_path) == 0
