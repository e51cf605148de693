"""Human label files of CIFAR-10N and CIFAR-100N, read without running anything they contain.

The files are pickles (in a torch zip container). A pickle can call any function, so the reader here
knows the handful of names that a dictionary of NumPy arrays needs and refuses every other one.

References
----------
.. [1] Wei et al., "Learning with noisy labels revisited: a study using real-world human annotations",
   ICLR 2022.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from noisylib.errors import NoisylibError

# Published key -> our name. The clean labels in the same files serve to check the order of the images.
CIFAR_N = {
    "cifar10": {
        "aggregate": "aggre_label",
        "random1": "random_label1",
        "random2": "random_label2",
        "random3": "random_label3",
        "worst": "worse_label",
    },
    "cifar100": {"fine": "noisy_label"},
}


def _encode(text: str, codec: str) -> bytes:
    """Stand in for ``_codecs.encode``: raw bytes are stored as latin-1 text, no other codec is needed."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {codec!r}, which no label file needs")
    return text.encode(codec)


_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # the name until NumPy 1.26
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds lists, dictionaries and NumPy arrays; anything else is an error."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no label file needs") from None


def read_human_labels(path: str | Path) -> dict[str, np.ndarray]:
    """Return every label array of a CIFAR-N file, by its published key, as (50000,) int64.

    Raises
    ------
    NoisylibError
        The file is truncated, holds something else than integer arrays, or asks for a function that
        has no business in a label file.
    """
    path = Path(path)
    try:
        stored = _ArrayUnpickler(io.BytesIO(_pickle_bytes(path))).load()
        if not isinstance(stored, dict):
            raise pickle.UnpicklingError("it holds no dictionary of arrays")
        arrays = {str(key): np.asarray(value) for key, value in stored.items()}
        wrong = [key for key, value in arrays.items() if value.dtype.kind not in "iu" or value.ndim != 1]
        if wrong:
            raise pickle.UnpicklingError(f"{wrong[0]!r} is no list of integers")
    except OSError:
        raise  # absent or unreadable: the system's own message says it best
    except Exception as error:  # a broken or hostile pickle may raise anything
        raise NoisylibError(
            f"{path} is not a CIFAR-N label file: {error}. Fetch it again from https://noisylabels.com."
        ) from error
    return {key: value.astype(np.int64) for key, value in arrays.items()}


def _pickle_bytes(path: Path) -> bytes:
    """Return the pickle in a torch zip container, or the file itself if it is a bare pickle."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as container:
        (member,) = (name for name in container.namelist() if name.endswith("/data.pkl"))
        return container.read(member)
