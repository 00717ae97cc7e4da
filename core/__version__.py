"""The version that `ianvs -v` prints."""

from multiedge import __version__

__all__ = ["__version__"]
