"""Finding and reading checkpoints: hub cache, hub, local file; never a pickle that runs code."""

from __future__ import annotations

import argparse
import os
import pickle
import socket
import threading
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor

from noisylib.errors import MissingDataError, NoisylibError, require
from noisylib.features.backbone_registry import BackboneInfo

PROBE_SECONDS = 0.7
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("_orig_mod.", "module.")


def find_weights(info: BackboneInfo, weights: str | Path | None = None) -> Path:
    """Return the checkpoint file of a backbone: `weights`, else the hub's cache, else the hub.

    Raises
    ------
    MissingDataError
        The local file is absent, or the weights are not cached and the hub is not to be reached.
        Known within a second: a hub client left to itself tries for most of a minute.
    """
    if weights is not None:
        path = Path(weights)
        if not path.is_file():
            raise MissingDataError(f"weights={str(weights)!r} is not a file. {_where_to_get(info)}")
        return path
    if info.hub_id is None:
        raise MissingDataError(f"backbone={info.name!r} is on no hub. {_where_to_get(info)}")
    hub = require("huggingface_hub", "backbones")
    cached = hub.try_to_load_from_cache(info.hub_id, info.hub_file)
    if isinstance(cached, str):
        return Path(cached)
    reason = _why_offline(hub.constants.ENDPOINT)
    if reason is None:
        try:
            return Path(hub.hf_hub_download(info.hub_id, info.hub_file, etag_timeout=5))
        except (OSError, ValueError) as error:
            reason = f"the hub answered: {error}"
    raise MissingDataError(
        f"the weights of backbone={info.name!r} are not in the hub cache, and {reason}. {_where_to_get(info)}"
    )


def read_checkpoint(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, without wrapping entries and key prefixes.

    Parameters
    ----------
    path : ``.safetensors``, or a torch file that holds tensors and plain values only.
    key : entry that holds the network, before the usual ones (EMA, state_dict, model).

    Raises
    ------
    NoisylibError
        The file is damaged, or is a pickle with more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            # Training checkpoints often carry their command line; a Namespace cannot run code.
            with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about old pickle protocols
                state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise NoisylibError(
            f"weights={str(path)!r} cannot be read ({_first_line(error)}). It may be truncated, or "
            "hold more than tensors; fetch it again, or convert it to .safetensors where you trust it."
        ) from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise NoisylibError(
            f"weights={str(path)!r} is no intact .safetensors file ({error}). Fetch it again."
        ) from error
    entry = next((name for name in (key, *_WRAPPERS) if name and isinstance(state.get(name), dict)), None)
    state = state[entry] if entry else state
    return {_bare(name): value for name, value in state.items() if isinstance(value, Tensor)}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _bare(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def _where_to_get(info: BackboneInfo) -> str:
    if info.hub_id is None:
        return f"{info.notes} Then pass the file with --weights FILE."
    return (
        f"Fetch {info.hub_file} from https://huggingface.co/{info.hub_id} on a connected machine and pass it "
        f"with --weights FILE, or fill the hub cache ($HF_HOME): hf download {info.hub_id} {info.hub_file}."
    )


def _why_offline(endpoint: str) -> str | None:
    """Return why the hub cannot be asked, or None if a connection opens at once."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").lower() in ("1", "true", "yes", "on"):
            return f"{variable}={os.environ[variable]} forbids to download"
    scheme = urlsplit(endpoint).scheme
    proxy = os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme}_proxy".upper())
    target = urlsplit(proxy or endpoint)
    port = target.port or (443 if target.scheme == "https" else 80)
    if target.hostname and _opens(target.hostname, port):
        return None
    return f"{target.hostname}:{port} does not answer within {PROBE_SECONDS} s"


def _opens(host: str, port: int) -> bool:
    opened = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
            opened.set()
        except OSError:
            pass

    # In a thread, since looking up a name has no time limit of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return opened.is_set()
