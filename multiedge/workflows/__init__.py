"""Several models as one: a workflow.yaml is composed into one ONNX file, which takes the way of every model.

Names are resolved on first use, so that importing the package does not load onnx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiedge.workflows.composing import compose
    from multiedge.workflows.reading import read_workflow

_HOME = {"compose": "multiedge.workflows.composing", "read_workflow": "multiedge.workflows.reading"}

__all__ = ["compose", "read_workflow"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'multiedge.workflows' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
