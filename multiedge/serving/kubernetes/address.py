"""The address of a controller, as workers are told it."""

from __future__ import annotations

from urllib.parse import urlsplit

from multiedge.errors import ConfigError, describe


def require_url(option: str, url: str) -> str:
    """The URL of a controller, without a path; ConfigError for another one."""
    host_and_port(option, url)
    return url.rstrip("/")


def host_and_port(option: str, url: str) -> tuple[str, int]:
    """Host and port of a controller's URL; ConfigError that names the option for what is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "http" or parts.path not in ("", "/") or parts.query:
        raise ConfigError(f"{option}: expected the address of a controller, such as http://HOST:8480, got {describe(url)}")
    return host, port
