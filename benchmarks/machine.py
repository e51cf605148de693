"""What the numbers were measured on, without anything that names the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

import noisylib


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_facts(device: torch.device) -> dict[str, object]:
    """Return processor, cores, threads and versions; "load" is the one-minute load before the start."""
    facts: dict[str, object] = {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "noisylib": noisylib.__version__,
    }
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts
