"""What the numbers were measured on, without anything that names the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

import noisylib
from noisylib.devices import device_name, usable_cores


def machine_facts(device: torch.device) -> dict[str, object]:
    """Return processor, cores, threads and versions; "load" is the one-minute load before the start."""
    facts: dict[str, object] = {
        "cpu": device_name("cpu"),
        "cores": usable_cores(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "noisylib": noisylib.__version__,
    }
    if caches := cache_sizes():
        facts["caches"] = caches
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    if device.type == "cuda":
        facts["gpu"] = device_name(device)
    return facts


def cache_sizes(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, str]:
    """Return level -> size of the first core's data caches, as the system states them if it does."""
    found = {}
    for folder in sorted(root.glob("index*")):
        try:
            kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}"] = size
    return found
