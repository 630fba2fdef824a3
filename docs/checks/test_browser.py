"""The site in a real browser: headless Chromium, at the width of a phone and of a desk, light and dark.

Skipped, and said so, where there is no Chromium with its driver (Debian: chromium, chromium-driver). Pictures are left
in ``build/screens`` for whoever wants to look.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build/docs"
SCREENS = ROOT / "build/screens"
REPORTS = sorted((ROOT / "build").glob("*/report.html"))
"""The suite's reports, where it has run."""

PAGES = [
    *(SITE / f"{name}.html" for name in ("docs/index", "docs/need", "docs/tutorial", "docs/api", "docs/coverage")),
    *(SITE / f"spec/1.0/{name}.html" for name in ("index", "parent", "messages", "examples")),
    *REPORTS,
]
SIZES = {"phone": (390, 844), "desk": (1280, 900)}
CROWDED = """
return [...document.querySelectorAll("td, th")].filter(cell => cell.scrollWidth > cell.clientWidth + 1)
    .map(cell => cell.textContent.trim().slice(0, 60))
"""
"""Cells whose text does not fit into them."""

HIDDEN = """
const width = document.documentElement.clientWidth;
const scrolls = (node) => {
  while ((node = node.parentElement))
    if (["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowX)) return true;
  return false;
};
return [...document.querySelectorAll("article table, article pre, article svg, article img, main table, main svg")]
    .filter(node => node.getBoundingClientRect().right > width + 1 && !scrolls(node))
    .map(node => node.tagName + " " + node.textContent.trim().slice(0, 60))
"""
"""What reaches out of the window and cannot be scrolled to."""

ELSEWHERE = """
return performance.getEntriesByType("resource").map(entry => entry.name)
    .filter(name => !/^(file|data|blob):/.test(name))
"""


def look(browser: Any, page: Path | str, size: str, scheme: str) -> list[str]:
    """Load ``page``; return what is wrong with it."""
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("browser")
    browser.get(page.as_uri() if isinstance(page, Path) else page)
    wrong = [f"console: {entry['message']}" for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    wide = browser.execute_script("const html = document.documentElement; return html.scrollWidth - html.clientWidth")
    if wide > 0:
        wrong.append(f"scrolls sideways by {wide} pixels")
    wrong += [f"does not fit its cell: {text}" for text in browser.execute_script(CROWDED)]
    wrong += [f"out of reach: {text}" for text in browser.execute_script(HIDDEN)]
    wrong += [f"loaded from elsewhere: {name}" for name in browser.execute_script(ELSEWHERE)]
    return wrong


def brightness(browser: Any) -> float:
    """Of the background, 0 to 255."""
    script = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    figures: list[int] = browser.execute_script(script)
    return sum(figures) / 3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT / "build").with_suffix("")))
def test_page(browser: Any, page: Path, size: str) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        assert look(browser, page, size, scheme) == []
        shades[scheme] = brightness(browser)
        name = f"{page.relative_to(ROOT / 'build').with_suffix('')}-{size}-{scheme}.png".replace("/", "-")
        SCREENS.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(SCREENS / name))
    assert shades["light"] > 200
    assert shades["dark"] < 60


def test_what_is_wrong_is_seen(browser: Any) -> None:
    page = (
        "<meta name=viewport content=width=device-width><script>console.error('as you see')</script>"
        "<div style='width:3000px'>wide</div><table style='table-layout:fixed;width:40px'><td>unbreakable</table>"
        "<main><svg width='2000'></svg></main>"
    )
    wrong = look(browser, f"data:text/html,{page}", "phone", "light")
    assert {text.partition(":")[0] for text in wrong} >= {"console", "does not fit its cell", "out of reach"}
    assert any(text.startswith("scrolls sideways") for text in wrong)


def test_search_works_without_a_server(browser: Any) -> None:
    look(browser, SITE / "docs/index.html", "desk", "light")
    browser.get((SITE / "search.html").as_uri() + "?q=backlog")
    from selenium.webdriver.support.ui import WebDriverWait

    found = "return document.querySelectorAll('#search-results li').length"
    assert WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(found)) > 2
