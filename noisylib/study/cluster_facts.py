"""What a process says of its environment, so that two of them can be compared."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import numpy as np
import torch

import noisylib


def versions() -> dict[str, str]:
    """Return the versions that rows depend on, and that of Python, without which nothing can be unpickled."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "noisylib": noisylib.__version__,
        "torch": torch.__version__.partition("+")[0],  # the rest says which processors it was built for
        "numpy": np.__version__,
    }


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Return in words what differs, or ""."""
    return ", ".join(
        f"{name} {found.get(name) or 'not installed'} where the client has {version}"
        for name, version in expected.items()
        if found.get(name) != version
    )
