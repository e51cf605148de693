"""Checkpoints of fine-tuning: one safetensors file that a killed training goes on from.

It holds everything that a step depends on, so that a resumed training equals an uninterrupted one bit for
bit: weights, the optimiser's moments, what the rule remembers, the selection of the present epoch, and where
in the epoch the training was. Random numbers need no state, for each is drawn from a generator of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from noisylib.errors import NoisylibError
from noisylib.files import write_aside

FILE = "state.safetensors"
FORMAT = 1


def save_state(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    fingerprint: Mapping[str, Any],
    place: Mapping[str, Any],
) -> Path:
    """Write a checkpoint, replacing the one that stood there.

    Parameters
    ----------
    tensors : by name.
    fingerprint : what the training is of; `load_state` compares it.
    place : plain values: where the training is.

    Raises
    ------
    WriteError
        It cannot be written; the one before is untouched.
    """
    path = Path(folder) / FILE
    facts = {"format": FORMAT, "fingerprint": fingerprint, "place": place}
    plain = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    with write_aside(path) as aside:
        save_file(plain, aside, metadata={"noisylib": json.dumps(facts)})
    return path


def load_state(
    folder: str | Path, fingerprint: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the place of a checkpoint, or None if there is none.

    Raises
    ------
    NoisylibError
        The file is damaged, of a newer version, or of another training; the text says in what they differ.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["noisylib"])
            found, place = facts["fingerprint"], facts["place"]
            newer = facts["format"] > FORMAT
            tensors = {} if newer else {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise NoisylibError(
            f"checkpoint {path} is damaged or not one of noisylib ({error}). Delete it to start anew."
        ) from error
    if newer:
        raise NoisylibError(
            f"checkpoint {path} has format {facts['format']}, this version reads up to {FORMAT}: "
            "update noisylib."
        )
    _compare(path, found, json.loads(json.dumps(fingerprint)))
    return tensors, place


def _compare(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differ = [
        f"{name} is {found.get(name, 'absent')!r} there and {wanted.get(name, 'absent')!r} here"
        for name in [*wanted, *(name for name in found if name not in wanted)]
        if found.get(name) != wanted.get(name)
    ]
    if differ:
        raise NoisylibError(
            f"checkpoint {path} belongs to another training: {'; '.join(differ)}. It is untouched. Choose "
            "another folder (checkpoint=...), go back to its settings, or delete it."
        )


def remove_state(folder: str | Path) -> None:
    """Delete the checkpoint of a finished training, and its folder if nothing else is in it."""
    folder = Path(folder)
    (folder / FILE).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors."""
    return {
        f"optimiser.{number}.{name}": torch.as_tensor(value)
        for number, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `pack_optimiser` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
