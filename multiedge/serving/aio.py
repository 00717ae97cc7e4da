"""aiohttp, which is the extra 'fleet'."""

from __future__ import annotations

from multiedge.errors import MissingDependencyError

try:
    import aiohttp
    from aiohttp import web
except ImportError:
    raise MissingDependencyError("aiohttp", extra="fleet") from None

__all__ = ["aiohttp", "web"]
