"""The transforms of a workflow as a module: they stand in a file beside its document, which workflows take as it is."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from workflow_bench import BENCH


def load_transforms(workflow: str) -> ModuleType:
    """The module transforms.py of a workflow."""
    spec = spec_from_file_location(f"workflow_bench_{workflow}_transforms", BENCH / workflow / "transforms.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
