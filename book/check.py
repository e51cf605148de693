"""Check a rendered book page by page: ``python book/check.py _build/html``.

Exits with 1 and a list of what is wrong unless every page loads from local files only, has alt text
on every image, exactly one h1, a language, and no link or anchor that leads nowhere.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself when it opens a page. Links that a reader may click are not in here.
LOADED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "object": "data",
    "script": "src",
    "source": "src",
    "video": "src",
}
LOADED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "manifest"}
REMOTE_CSS = re.compile(r"""(?:url\(\s*|@import\s+)["']?(?:https?:)?//[^\s"')]+""")
REMOTE_IMPORT = re.compile(r"""(?:(?<!@)\bimport\b[^;'"]{0,200}|\.src\s*=\s*)["'](?:https?:)?//[^"']+""")
IMAGE_NAME = re.compile(r"\.(png|svg|jpe?g|gif|webp)$", re.IGNORECASE)


class Page(HTMLParser):
    """What one page holds: anchors, links, loaded files, images and headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.images: list[tuple[str, str]] = []  # (src, alt)
        self.headings = 0
        self.language = ""
        self.redirect = ""
        self.inline: list[str] = []  # bodies of style and script elements, style attributes
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        self.headings += tag == "h1"
        if tag == "html":
            self.language = values.get("lang", "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag == "img":
            self.images.append((values.get("src", ""), values.get("alt", "").strip()))
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self.redirect = values.get("content", "").partition("url=")[2]
        if tag in LOADED and values.get(LOADED[tag]):
            self.loaded.append(values[LOADED[tag]])
        if tag == "link" and LOADED_LINKS & set(values.get("rel", "").split()):
            self.loaded.append(values.get("href", ""))
        if values.get("style"):
            self.inline.append(values["style"])
        self._inside = tag if tag in ("script", "style") else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def page_problems(path: Path, pages: dict[Path, Page]) -> list[str]:
    """Return what is wrong with one page, one line each."""
    page = pages[path]
    if page.redirect:
        return link_problems(path, page.redirect, pages)
    problems = []
    if page.headings != 1:
        problems.append(f"{page.headings} h1 headings instead of one")
    if not page.language:
        problems.append("no lang on <html>")
    for source, alt in page.images:
        # Sphinx falls back to the file name when a figure has no alt text of its own.
        if not alt or IMAGE_NAME.search(alt):
            problems.append(f"image without alt text: {source[:80]}")
    for url in page.loaded:
        if is_remote(url):
            problems.append(f"loads from the network: {url}")
        elif not urlsplit(url).scheme and not target_of(path, url).is_file():
            problems.append(f"loads a file that is not there: {url}")
    for text in page.inline:
        problems += [f"loads from the network: {hit}" for hit in remote_loads(text)]
    for url in page.links:
        problems += link_problems(path, url, pages)
    return problems


def link_problems(path: Path, url: str, pages: dict[Path, Page]) -> list[str]:
    """Return a line if an internal link has no target file or anchor."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return []
    target = target_of(path, url)
    if not target.is_file():
        return [f"dead link: {url}"]
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return [f"dead anchor: {url}"]
    return []


def target_of(path: Path, url: str) -> Path:
    """Return the file a relative link on page `path` points to."""
    name = unquote(urlsplit(url).path)
    return (path.parent / name).resolve() if name else path


def is_remote(url: str) -> bool:
    """Return whether loading `url` needs a network."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") or bool(parts.netloc)


def remote_loads(text: str) -> list[str]:
    """Return the network addresses that inline style or script code loads."""
    return [hit.group() for pattern in (REMOTE_CSS, REMOTE_IMPORT) for hit in pattern.finditer(text)]


def check_book(folder: Path) -> tuple[int, list[str]]:
    """Return the number of pages under `folder` and every problem, as ``page: what``."""
    folder = folder.resolve()
    paths = [
        path for path in sorted(folder.rglob("*.html")) if "_static" not in path.relative_to(folder).parts
    ]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    problems = [
        f"{path.relative_to(folder)}: {problem}"
        for path in paths
        for problem in dict.fromkeys(page_problems(path, pages))
    ]
    for path in sorted(folder.rglob("*.css")):
        for hit in remote_loads(path.read_text(encoding="utf-8")):
            problems.append(f"{path.relative_to(folder)}: loads from the network: {hit}")
    if not (folder / "searchindex.js").is_file():
        problems.append("searchindex.js: missing, so that search finds nothing")
    return len(paths), problems


def main(arguments: list[str]) -> int:
    """Print the result for one folder and return the exit code."""
    folder = Path(arguments[0] if arguments else "_build/html")
    if not (folder / "index.html").is_file():
        print(f"{folder}: no rendered book here; make it with `make book`.", file=sys.stderr)
        return 1
    count, problems = check_book(folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{count} pages checked, {len(problems)} problems.")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
