"""How a study names a method and what it changes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noisylib.errors import ConfigError
from noisylib.methods import METHODS, Method, make_method


@dataclass(frozen=True)
class MethodSpec:
    """A method of a study: registry name, changed hyper-parameters, and the label rows carry."""

    name: str
    options: tuple[tuple[str, float], ...] = ()
    label: str = ""

    @property
    def rule(self) -> Method:
        """The method itself."""
        return make_method(self.name, dict(self.options))

    @classmethod
    def parse(cls, entry: str | Mapping[str, Any]) -> MethodSpec:
        """Read ``ce`` or ``{name: elr, lam: 1.0, label: elr-weak}``; the label defaults to the name."""
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise ConfigError(
                f"methods entry {entry!r}: write a name, or {{name: elr, lam: 1.0, label: ...}}."
            )
        options = {key: value for key, value in entry.items() if key not in ("name", "label")}
        make_method(entry["name"], options)  # an unknown name, option or value ends here
        label = file_name("label", entry.get("label", entry["name"]))
        if options and label in METHODS:
            raise ConfigError(
                f"methods entry {dict(entry)!r} changes hyper-parameters: give it a label of its own, "
                f"such as label: {entry['name']}-variant, or its rows look like the default's."
            )
        return cls(entry["name"], tuple(sorted(options.items())), label)


def file_name(key: str, value: object) -> str:
    """Return `value`, or raise ConfigError unless it can be part of a file name."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ConfigError(
            f"{key}={value!r}: it becomes part of a file name, so use letters, digits, '_', '.', '-'."
        )
    return value
