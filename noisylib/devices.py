"""Which processor a computation runs on."""

from __future__ import annotations

import torch

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
