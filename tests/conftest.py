"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no real files at {folder}; set ${variable} to run this test on them")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real data sets, or skip."""
    return _folder("NOISYLIB_TEST_DATA", ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Folder with real backbone checkpoints, or skip."""
    return _folder("NOISYLIB_TEST_WEIGHTS", ROOT.parent / "shared" / "weights")
