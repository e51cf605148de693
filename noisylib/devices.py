"""Which processor a computation runs on."""

from __future__ import annotations

import platform
from pathlib import Path

import torch
from torch import Tensor

from noisylib.errors import NoisylibError


def pick_device(device: str) -> torch.device:
    """Return the torch device for "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N"."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = device.partition(":")
    if device != "cpu" and (kind != "cuda" or not (number.isdigit() or device == "cuda")):
        raise NoisylibError(f"device={device!r}: allowed are auto, cpu, cuda and cuda:N.")
    if kind == "cuda" and torch.cuda.device_count() <= int(number or 0):
        raise NoisylibError(
            f"device={device!r}, but torch sees {torch.cuda.device_count()} GPUs here: "
            "use cpu, auto or a lower number."
        )
    return torch.device(device)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return what was drawn on the CPU on a device, without waiting for what a GPU has still to do.

    A copy out of pinned memory is queued behind it; any other would wait until it is done.
    """
    if device.type == "cpu" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def device_name(device: str | torch.device) -> str:
    """Return what the maker calls the processor or GPU behind a torch device."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the number of cores this process may use: by its affinity, and by the quota of a container."""
    from joblib import cpu_count

    return cpu_count()
