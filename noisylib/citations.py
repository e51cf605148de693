"""BibTeX of the methods: the keys of the registry, looked up in the checkout's bibliography."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from noisylib.errors import MissingDataError, NoisylibError, check_name
from noisylib.methods import METHODS, Method

AnyMethod = str | Method | type[Method]
BIBLIOGRAPHY = Path(__file__).resolve().parents[1] / "book" / "references.bib"
_HEADER = re.compile(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,")
_FIELD = re.compile(r"[\s,]*(\w+)\s*=\s*")


@dataclass(frozen=True)
class BibEntry:
    """One entry of a bibliography.

    Attributes
    ----------
    kind, key : "article" and so on in lower case, and the name the entry is cited by.
    fields : values by lower-case name, without their outer braces or quotes.
    text : the entry as it stands in the file.
    """

    kind: str
    key: str
    fields: dict[str, str]
    text: str


def parse_bibtex(text: str) -> dict[str, BibEntry]:
    """Return the entries of a BibTeX file by key, in the file's order.

    An entry starts at an ``@`` that is the first sign of its line; what stands between entries is
    comment. Strings (``@string``), joined values (``#``) and entries in round brackets are not read.

    Raises
    ------
    NoisylibError
        An entry that cannot be read, or a key or field given twice; the text names the line.
    """
    entries: dict[str, BibEntry] = {}
    end = 0
    for at in re.finditer(r"^[ \t]*@", text, flags=re.M):
        start = at.end() - 1
        if start < end:  # an @ that begins a line inside a value
            continue
        header = _HEADER.match(text, start)
        if header is None:
            raise _unreadable(text, start, "'@kind{key,' is needed here")
        kind, key = header[1].lower(), header[2]
        end = _closing_brace(text, text.index("{", start)) + 1
        if key in entries:
            raise _unreadable(text, start, f"the key {key!r} is defined twice")
        fields = _parse_fields(text, header.end(), end - 1)
        entries[key] = BibEntry(kind, key, fields, text[start:end])
    return entries


def _parse_fields(text: str, position: int, end: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    while text[position:end].strip(" \t\r\n,"):
        name = _FIELD.match(text, position, end)
        if name is None or name.end() == end:
            raise _unreadable(text, position, "'name = {value}' is needed here")
        start = name.end()
        if text[start] == "{":
            stop = _closing_brace(text, start)
            value, position = text[start + 1 : stop], stop + 1
        else:
            bare = re.compile(r'"([^"]*)"|(\w+)').match(text, start, end)
            if bare is None:
                raise _unreadable(text, start, "a value in braces or quotes, or a number, is needed here")
            value, position = bare[1] if bare[2] is None else bare[2], bare.end()
        if name[1].lower() in fields:
            raise _unreadable(text, name.start(1), f"the field {name[1]!r} is given twice")
        fields[name[1].lower()] = " ".join(value.split())
        if re.compile(r"\s*(,|$)").match(text, position, end) is None:
            raise _unreadable(text, position, "a comma is needed between two fields")
    return fields


def _closing_brace(text: str, opening: int) -> int:
    """Return where the brace at `opening` is closed; as in BibTeX, a backslash does not hide a brace."""
    depth = 0
    for brace in re.compile(r"[{}]").finditer(text, opening):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    raise _unreadable(text, opening, "this brace is never closed")


def _unreadable(text: str, position: int, reason: str) -> NoisylibError:
    while position < len(text) and text[position].isspace():
        position += 1
    return NoisylibError(
        f"the bibliography cannot be read at line {text.count(chr(10), 0, position) + 1}: {reason}."
    )


def bibtex(keys: Iterable[str] | str) -> str:
    """Return the BibTeX entries of `keys` in their order, each once, with an empty line between two.

    Raises
    ------
    UnknownNameError
        The bibliography has no such key.
    MissingDataError
        There is no bibliography, because the package was installed without its book.
    """
    if not BIBLIOGRAPHY.is_file():
        raise MissingDataError(
            f"no bibliography at {BIBLIOGRAPHY}: book/references.bib is part of the source tree, not of an "
            "installed wheel. Install from a checkout (pip install -e .) to print BibTeX."
        )
    entries = parse_bibtex(BIBLIOGRAPHY.read_text(encoding="utf-8"))
    wanted = dict.fromkeys([keys] if isinstance(keys, str) else keys)
    return "\n\n".join(entries[check_name("citation key", key, entries)].text for key in wanted)


def citation_keys(methods: Iterable[AnyMethod] | AnyMethod) -> list[str]:
    """Return the BibTeX keys of `methods`, each once, in the order of the registry.

    A method of your own, which the registry does not have, comes last.

    Raises
    ------
    UnknownNameError
        A name that is not in the registry; the nearest one is suggested.
    NoisylibError
        No method, or something that is neither a name nor a method.
    """
    several = isinstance(methods, Iterable) and not isinstance(methods, str)
    given = list(methods) if several else [methods]
    if not given:
        raise NoisylibError(f"methods is empty: name at least one of {', '.join(METHODS)}.")
    classes = [_method_class(method) for method in given]
    order = {name: i for i, name in enumerate(METHODS)}
    classes.sort(key=lambda cls: order.get(cls.name, len(order)))
    return list(dict.fromkeys(cls.citation for cls in classes))


def _method_class(method: AnyMethod) -> type[Method]:
    if isinstance(method, str):
        return METHODS[check_name("method", method, METHODS)]
    cls = method if isinstance(method, type) else type(method)
    if not issubclass(cls, Method):
        raise NoisylibError(f"methods holds {method!r}: give registry names or method objects.")
    return cls


def cite(methods: Iterable[AnyMethod] | AnyMethod) -> None:
    """Print the BibTeX entries of the papers behind `methods`, in the order of the registry.

    Parameters
    ----------
    methods : registry names, method objects or classes; one or several.

    Raises
    ------
    UnknownNameError, MissingDataError, NoisylibError
        As citation_keys and bibtex.
    """
    sys.stdout.write(bibtex(citation_keys(methods)) + "\n")
