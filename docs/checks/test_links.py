"""Every link within the site leads somewhere, and a page needs nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(__file__).parents[2] / "build/docs"
PAGES = sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts)


class Page(HTMLParser):
    """What a page links to, what it loads, and what it can be linked to by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.names |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif "src" in found:
            self.loads.append(found["src"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(found["href"])


@cache
def parsed(path: Path) -> Page:
    return Page(path)


def test_the_site_is_built() -> None:
    assert len(PAGES) > 20, f"no site in {SITE}: run nox -s docs"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(SITE)))
def test_links(path: Path) -> None:
    page = parsed(path)
    dead = []
    for link in page.links + page.loads:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        names = parsed(target).names if target.suffix == ".html" and target.is_file() else set()
        if not target.is_file() or (parts.fragment and names and unquote(parts.fragment) not in names):
            dead.append(link)
    assert not dead
    assert not [load for load in page.loads if urlsplit(load).netloc], "loaded from elsewhere"


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<a href="other.html#there">x</a> <a href="none.html">y</a>')
    (tmp_path / "other.html").write_text('<p id="here">')
    with pytest.raises(AssertionError):
        test_links(tmp_path / "page.html")
