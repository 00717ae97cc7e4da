"""The workflows of the benchmark by name. What makes one is imported when it is used: it needs torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from multiedge.errors import MissingDependencyError
from workflow_bench.folder import Note, WorkflowFolder

_MAKERS = {
    "cascade": ("workflow_bench.photographs", "make_cascade"),
    "ensemble": ("workflow_bench.ensemble", "make"),
    "preprocess": ("workflow_bench.photographs", "make_preprocess"),
    "video": ("workflow_bench.video", "make"),
    "nlp": ("workflow_bench.nlp", "make"),
    "audio": ("workflow_bench.audio", "make"),
}
NAMES = tuple(_MAKERS)
MODELS = {
    "cascade": ("small", "large"),
    "ensemble": ("narrow", "wide", "patches"),
    "preprocess": ("classifier",),
    "video": ("detector", "classifier"),
    "nlp": ("language", "encoder", "search", "decoder"),
    "audio": ("classifier",),
}
"""The models of each workflow."""


def maker(name: str) -> Callable[[WorkflowFolder], Note]:
    """What makes the models and items of a workflow; MissingDependencyError without the extra [bench]."""
    module, function = _MAKERS[name]
    try:
        make: Callable[[WorkflowFolder], Note] = getattr(import_module(module), function)
    except ImportError as error:
        raise MissingDependencyError(str(error.name), extra="bench") from error
    return make


def why_not(name: str) -> str:
    """Why a workflow cannot be made on this machine although the extra [bench] is installed; '' if it can."""
    if name != "audio":
        return ""
    from workflow_bench.audio import why_not as why_no_sounds

    return why_no_sounds()
