"""One named random generator per purpose, derived by a hash; never global state."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch


def derive_seed(*parts: str | int | float) -> int:
    """Return a 63-bit seed that depends on every part and on nothing else.

    Parts name the purpose and what it may depend on, for example
    ``derive_seed("noise", dataset, noise_type, noise_rate, seed_noise)``. Floats are hashed
    by their shortest decimal form, so 0.1 from YAML and 0.1 from Python agree.
    """
    text = json.dumps(list(parts), separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(*parts: str | int | float) -> np.random.Generator:
    """Return a fresh NumPy generator for the purpose named by `parts`."""
    return np.random.default_rng(derive_seed(*parts))


def torch_generator(*parts: str | int | float) -> torch.Generator:
    """Return a fresh CPU torch generator for the purpose named by `parts`.

    Always on the CPU: the same draws then feed every device.
    """
    return torch.Generator().manual_seed(derive_seed(*parts))
