"""Errors that name the argument, the value, what is allowed and the fix."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class NoisylibError(ValueError):
    """Base of every error this package raises on purpose."""


class UnknownNameError(NoisylibError):
    """A name (dataset, method, key, ...) that is not in its registry."""


class MissingDataError(NoisylibError):
    """Files that are not on this machine; the text says where they come from."""


class BankError(NoisylibError):
    """A feature bank that is corrupted, truncated or breaks its own rules."""


class ConfigError(NoisylibError):
    """A study configuration or a results folder that cannot be used as asked."""


class WriteError(NoisylibError):
    """A file cannot be written: no space, no permission, no such place."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the text names the extra."""


def check_name(argument: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`, else suggest the nearest name.

    Raises
    ------
    UnknownNameError
        Names the argument, the value, the nearest allowed name and all allowed names.
    """
    names = sorted(allowed)
    if value in names:
        return value
    near = difflib.get_close_matches(str(value).lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    hint = f" Did you mean {next(n for n in names if n.lower() == near[0])!r}?" if near else ""
    raise UnknownNameError(f"{argument}={value!r} is unknown.{hint} Allowed: {', '.join(names)}.")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional `module`, or say which extra of noisylib installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{module!r} is not installed. It comes with the extra {extra!r}: "
            f"pip install 'noisylib[{extra}]'."
        ) from error
