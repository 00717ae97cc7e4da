"""The files of the live page; there is no build step, and nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

LIVE = "/live"
"""The path of the page at the hub; its files and events are below it."""
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
INDEX = "live.html"


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent."""

    content: bytes
    content_type: str


def page_files() -> Mapping[str, PageFile]:
    """The files of the page by name; it shares its colours and tables with the report."""
    kinds = {"live.html": "text/html", "live.css": "text/css", "live.js": "text/javascript", "curve.js": "text/javascript"}
    found = {name: PageFile(_read("multiedge.serving.seeing", "page", name), kind) for name, kind in kinds.items()}
    return {**found, "report.css": PageFile(_read("multiedge.report", "templates", "report.css"), "text/css")}


def _read(package: str, folder: str, name: str) -> bytes:
    return (files(package) / folder / name).read_bytes()
