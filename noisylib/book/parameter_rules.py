"""What a chapter's parameter may be: rules in the fields of its dataclass, and the check against them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypedDict, get_args, get_origin, get_type_hints

from noisylib.errors import ConfigError, check_name


class Rules(TypedDict):
    """What a parameter means and what is allowed; for a list, what every entry may be.

    `names` gives the allowed strings, `low` and `high` the inclusive range of a number.
    """

    doc: str
    names: Callable[[], Collection[str]] | None
    low: float | None
    high: float | None


def rules(
    doc: str,
    *,
    names: Callable[[], Collection[str]] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Rules:
    """Return the metadata of a parameter's dataclass field."""
    return {"doc": doc, "names": names, "low": low, "high": high}


def check_values(kind: type, values: Mapping[str, Any]) -> Any:
    """Return an instance of the parameter class `kind` with `values` over its defaults, all checked.

    Raises
    ------
    UnknownNameError
        A parameter that `kind` does not have, or a name outside its registry.
    ConfigError
        A value of the wrong type or outside its range.
    """
    known = {f.name: f for f in fields(kind)}
    hints = get_type_hints(kind)
    checked = {}
    for name, value in values.items():
        check_name("parameter", name, known)
        checked[name] = _check_value(name, value, hints[name], known[name].metadata)
    return kind(**checked)


def with_defaults(kind: type, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every parameter of the class `kind`, without checking any.

    Unchecked because the names of heads and methods come with torch, and looking whether a page of
    the book is up to date must not cost that import.
    """
    standard = {f.name: f.default_factory() if f.default is MISSING else f.default for f in fields(kind)}
    return standard | dict(overrides)


def _check_value(name: str, value: Any, kind: Any, rules: Mapping[str, Any]) -> Any:
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        if not isinstance(value, list):
            raise ConfigError(
                f"{name}={value!r} has type {type(value).__name__}; a list of {item.__name__} is needed, "
                f"for example {name}=[...]. On papermill's command line use -y '{name}: [a, b]'."
            )
        return [_check_value(f"{name}[{i}]", entry, item, rules) for i, entry in enumerate(value)]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is float and whole:
        value = float(value)
    if not isinstance(value, kind) or (kind is int and not whole):
        raise ConfigError(
            f"{name}={value!r} has type {type(value).__name__}; {kind.__name__} is needed ({rules['doc']})."
        )
    if rules["names"]:
        check_name(name, value, rules["names"]())
    low, high = rules["low"], rules["high"]
    if kind in (int, float) and not ((low is None or value >= low) and (high is None or value <= high)):
        allowed = f"at least {low:g}" if high is None else f"in [{low:g}, {high:g}]"
        raise ConfigError(f"{name}={value!r} must be {allowed} ({rules['doc']}).")
    return value
