"""aiohttp.web, which is the extra 'fleet'."""

from __future__ import annotations

from multiedge.errors import MissingDependencyError

try:
    from aiohttp import web
except ImportError:
    raise MissingDependencyError("aiohttp", extra="fleet") from None

__all__ = ["web"]
