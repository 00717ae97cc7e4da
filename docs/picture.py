"""Writes the pictures of a report page that the README shows, for light and for dark themes.

make bench
python docs/picture.py workspace/imagenet-compare/report.html

Needs Chromium with its driver, and selenium.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import sys
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1400, 1800
SCHEMES = {"light": "report.png", "dark": "report-dark.png"}


def open_browser() -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(word)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def end_of_last_card(browser: Any, most: int) -> int:
    """The end of the last card that is whole within `most` pixels, so that the picture cuts none."""
    script = """
        const cards = [...document.querySelectorAll('.card, ul.legend')];
        const ends = cards.map((card) => card.getBoundingClientRect().bottom + scrollY);
        return Math.max(...ends.filter((end) => end <= arguments[0]))"""
    return min(most, int(browser.execute_script(script, most)) + 24)


def draw(page: Path, folder: Path) -> None:
    """Writes a picture of the top of the page for each scheme."""
    browser = open_browser()
    try:
        for scheme, name in SCHEMES.items():
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(page.resolve().as_uri())
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": end_of_last_card(browser, HEIGHT), "scale": 1}
            shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
            (folder / name).write_bytes(base64.b64decode(shot["data"]))
    finally:
        browser.quit()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="a page that `make bench` or `multiedge report` wrote")
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where the pictures go (default: docs/images)")
    given = parser.parse_args()
    draw(given.page, given.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
