"""A headless Chromium for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PHONE, DESK = 400, 1400

NEEDED = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium here (apt-get install chromium chromium-driver)"),
    pytest.mark.skipif(not DRIVER, reason="no chromedriver here (apt-get install chromium-driver)"),
    pytest.mark.skipif(find_spec("selenium") is None, reason="selenium is not installed: pip install 'multi-edge-bench[dev]'"),
]

TOO_WIDE = """return [document.documentElement, ...document.querySelectorAll('.scroll')]
    .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.ariaLabel)"""
SMALLEST_WORDS = """return Math.min(...[...document.querySelectorAll('svg text')].filter((text) => text.checkVisibility())
    .map((text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""


@contextmanager
def open_browser(profile: Path, resolver: str = "MAP * ~NOTFOUND") -> Iterator[Any]:
    """A browser that finds no host, except those that the `resolver` rules leave."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        f"--host-resolver-rules={resolver}",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def screen(page: Any, width: int, scheme: str = "light") -> Iterator[None]:
    """The page as a screen of that width with that system colour scheme shows it."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        yield
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def axe_findings(page: Any) -> list[str]:
    """What axe finds on the page; skips the test without axe."""
    axe = find_spec("axe_core_python")
    if axe is None or axe.origin is None:
        pytest.skip("axe-core-python is not installed: pip install 'multi-edge-bench[dev]'")
    page.execute_script((Path(axe.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    result = page.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert result["passes"], "axe checked nothing"
    return [
        f"{entry['impact']}: {entry['id']}: {entry['help']}: {[node['html'][:160] for node in entry['nodes'][:3]]}"
        for entry in result["violations"]
    ]
