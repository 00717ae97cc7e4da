"""workflow.yaml as values, with every mistake in it that can be seen without the models.

A mistake does not end the reading: what is right beside it is read, so that all mistakes are told together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiedge.composed import Measure
from multiedge.errors import describe, did_you_mean
from multiedge.formats.fields import Field, Kind
from multiedge.graph import Dim, Tensor
from multiedge.workflows.edges import DTYPES, Names, read_condition, read_edge
from multiedge.workflows.mistakes import Mistakes
from multiedge.workflows.workflow import (
    Deployment,
    Edge,
    FirstOf,
    Function,
    Model,
    Source,
    Step,
    When,
    Work,
)

KIND = Kind("workflow file")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_FUNCTION = re.compile(r"(?P<place>.+?):(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_DEPLOYMENT = re.compile(r"(?P<url>https?://[^/\s]+)/(?P<model>[^/\s]+)")
_TENSOR = "image: {dtype: float32, shape: [1, 3, 224, 224]}"
_TOP = ("name", "inputs", "steps", "sizes", "outputs")
_ANY_STEP = ("inputs", "when", "rate")
_OWN_KEYS: Mapping[str, tuple[str, ...]] = {
    "model": (*_ANY_STEP, "batch", "timeout_ms"),
    "plan": (*_ANY_STEP, "batch", "timeout_ms"),
    "transform": (*_ANY_STEP, "options", "outputs"),
    "deployment": (*_ANY_STEP, "outputs"),
    "first_of": (),
}
"""The kinds of steps, and what each may have beside its kind."""


@dataclass(frozen=True)
class Draft:
    """What was read of a workflow.yaml. Sources may lack their tensor: it is then the only output of their step.

    Attributes:
        document: The file, for the places of mistakes that are seen later.
        name: Its name.
        inputs: Inputs by name; None for one with a mistake.
        steps: Steps by name; None for one with a mistake.
        outputs: Outputs by name; None for one with a mistake.
        sizes: Means of dimensions, by name.
        folder: The folder that relative paths begin at.
    """

    document: Field
    name: str
    inputs: Mapping[str, Tensor | None]
    steps: Mapping[str, Step | None]
    outputs: Mapping[str, Source | None]
    sizes: Mapping[str, float]
    folder: Path


def read_draft(document: Field, folder: Path, mistakes: Mistakes) -> Draft:
    """What the document says, apart from what is wrong with it, which is added to the mistakes.

    Raises ConfigError for another kind of file.
    """
    if document.mapping().keys().isdisjoint(_TOP):
        raise document.error("is no workflow file; expected a mapping of name, inputs, steps and outputs, or an ONNX file")
    _refuse_unknown(document, _TOP, mistakes)
    inputs = {field: _tensor(field, mistakes) for field in _entries(document["inputs"], _TENSOR, mistakes)}
    steps = _entries(document["steps"], "small: {model: small.onnx, inputs: {x: image}}", mistakes)
    names = Names(tuple(str(field.key) for field in inputs), tuple(str(field.key) for field in steps))
    for field in (*inputs, *steps):
        _check_name(field, field in steps, names, mistakes)
    draft = Draft(
        document=document,
        name=mistakes.read(document["name"], lambda name: name.optional(_file_name, folder.resolve().name)) or "workflow",
        inputs={str(field.key): tensor for field, tensor in inputs.items()},
        steps={str(field.key): _step(field, names, folder, mistakes) for field in steps},
        outputs={
            str(field.key): mistakes.read(field, names.source)
            for field in _entries(document["outputs"], "logits: small.logits", mistakes)
            if _check_output_name(field, names, mistakes)
        },
        sizes=_sizes(document["sizes"], mistakes),
        folder=folder,
    )
    _check_sizes(draft, mistakes)
    return draft


def _refuse_unknown(field: Field, known: Iterable[str], mistakes: Mistakes) -> None:
    known = tuple(known)
    for key, entry in field.mapping().items():
        if key not in known:
            mistakes.at(entry, f"unknown key{did_you_mean(key, known)}")


def _entries(field: Field, example: str, mistakes: Mistakes) -> list[Field]:
    """The entries of a mapping that must not be empty."""
    if not field.given or field.value == {}:
        mistakes.at(field, f"expected at least one entry, got none; add one such as '{example}'")
        return []
    return list((mistakes.read(field, Field.mapping) or {}).values())


def _file_name(field: Field) -> str:
    name = field.name()
    if not _NAME.fullmatch(name):
        raise field.error(f"expected a name of letters, digits, '_' and '-', got {describe(name)}; rename it")
    return name


def _check_name(field: Field, is_step: bool, names: Names, mistakes: Mistakes) -> None:
    name = str(field.key)
    if not _NAME.fullmatch(name):
        mistakes.at(field, f"expected a name of letters, digits, '_' and '-', got {describe(name)}; rename it")
    elif is_step and name in names.inputs:
        mistakes.at(field, f"'{name}' is the name of an input as well; rename one of them")


def _check_output_name(field: Field, names: Names, mistakes: Mistakes) -> bool:
    name = str(field.key)
    if not name or "/" in name:
        mistakes.at(field, f"expected a name without '/', got {describe(name)}; rename it")
    elif name in names.inputs:
        mistakes.at(field, f"'{name}' is the name of an input as well; rename the output")
    return True


def _tensor(field: Field, mistakes: Mistakes) -> Tensor | None:
    """A declared dtype and shape."""
    if mistakes.read(field, lambda field: field.record(("dtype", "shape"))) is None:
        return None
    dtype = mistakes.read(field["dtype"], lambda field: field.choice(DTYPES))
    shape = mistakes.read(field["shape"], lambda field: field.list_of(_dimension))
    return None if dtype is None or shape is None else Tensor(str(field.key), dtype, shape)


def _dimension(field: Field) -> Dim:
    if isinstance(field.value, str):
        return _file_name(field)
    if not isinstance(field.value, int) or isinstance(field.value, bool) or field.value < 1:
        raise field.expected("a size from 1, or the name of a size that varies")
    return field.integer(1)


def _sizes(field: Field, mistakes: Mistakes) -> dict[str, float]:
    sizes = {}
    for name, entry in (mistakes.read(field, lambda field: field.optional(Field.mapping, {})) or {}).items():
        mean = mistakes.read(entry, _mean)
        sizes[name] = 1.0 if mean is None else mean
    return sizes


def _mean(field: Field) -> float:
    mean = field.number(0)
    if not mean:
        raise field.expected("the mean of this size, above 0")
    return mean


def _check_sizes(draft: Draft, mistakes: Mistakes) -> None:
    """Sizes that vary need a mean, except those of inputs; a mean needs a size."""
    free = {dim for tensor in draft.inputs.values() if tensor for dim in tensor.shape or () if isinstance(dim, str)}
    used = set(free)
    for name, step in draft.steps.items():
        results = step.work.results if step and isinstance(step.work, Function | Deployment) else {}
        for output, tensor in results.items():
            dims = [dim for dim in tensor.shape or () if isinstance(dim, str)]
            used |= set(dims)
            for dim in dims:
                if dim not in draft.sizes and dim not in free:
                    place = draft.document["steps"][name]["outputs"][output]["shape"]
                    mistakes.at(place, f"the size '{dim}' varies, and 'sizes' has no mean of it; add 'sizes: {{{dim}: 3}}'")
    if None not in draft.steps.values():
        for dim in draft.sizes.keys() - used:
            mistakes.at(draft.document["sizes"][dim], f"no shape has a size '{dim}'; remove it{_near(dim, used)}")


def _near(word: str, known: Iterable[str]) -> str:
    known = sorted(known)
    return did_you_mean(word, known) if known else ""


def _step(field: Field, names: Names, folder: Path, mistakes: Mistakes) -> Step | None:
    """One step; None if what it does is not known."""
    if mistakes.read(field, Field.mapping) is None:
        return None
    kinds = [kind for kind in _OWN_KEYS if kind in field]
    if len(kinds) != 1:
        got = " and ".join(kinds) or "none of them"
        mistakes.at(field, f"expected one of {', '.join(_OWN_KEYS)}, got {got}; keep exactly one")
        return None
    (kind,) = kinds
    _refuse_keys(field, kind, mistakes)
    work = _WORK[kind](field, names, folder, mistakes)
    inputs = {} if kind == "first_of" else _inputs(field["inputs"], names, mistakes)
    when = _when(field, names, mistakes)
    batch = mistakes.read(field["batch"], lambda batch: batch.optional(lambda given: given.integer(1), 1))
    timeout = field["timeout_ms"]
    timeout_ms = mistakes.read(timeout, lambda field: field.optional(lambda given: given.number(0), 0.0))
    if timeout.given and batch == 1 and "timeout_ms" in _OWN_KEYS[kind]:
        mistakes.at(timeout, "has no effect without a batch; add 'batch: 4', or leave timeout_ms out")
    if work is None or inputs is None:
        return None
    return Step(str(field.key), work, inputs, when, batch or 1, (timeout_ms or 0.0) / 1e3, field.line)


def _refuse_keys(field: Field, kind: str, mistakes: Mistakes) -> None:
    allowed = (kind, *_OWN_KEYS[kind])
    everywhere = {key for keys in _OWN_KEYS.values() for key in keys}
    for key, entry in field.mapping().items():
        if key in allowed:
            continue
        if key in everywhere:
            mistakes.at(entry, f"has no effect on a step with '{kind}'; leave it out")
        else:
            mistakes.at(entry, f"unknown key{did_you_mean(key, allowed)}")


def _inputs(field: Field, names: Names, mistakes: Mistakes) -> dict[str, Edge] | None:
    """What each input reads; None if one of them has a mistake."""
    entries = _entries(field, "x: image", mistakes)
    edges = {str(entry.key): mistakes.read(entry, lambda edge: read_edge(edge, names)) for entry in entries}
    right = {name: edge for name, edge in edges.items() if edge}
    return right if right and len(right) == len(edges) else None


def _when(step: Field, names: Names, mistakes: Mistakes) -> When | None:
    field, rate = step["when"], step["rate"]
    share = mistakes.read(rate, lambda field: field.optional(lambda given: given.number(0, 1)))
    if not field.given:
        if rate.given:
            mistakes.at(rate, "has no effect without a condition; add 'when', or leave rate out")
        return None
    content = mistakes.read(field, lambda field: field.record(("tensor", *(measure.value for measure in Measure))))
    if content is None:
        return None
    source = mistakes.read(content["tensor"], names.source)
    condition = mistakes.read(content, read_condition)
    return When(source, condition, share) if source and condition else None


def _model(field: Field, names: Names, folder: Path, mistakes: Mistakes) -> Work | None:
    path = mistakes.read(field["model"], Field.name)
    return None if path is None else Model(folder / path)


def _plan(field: Field, names: Names, folder: Path, mistakes: Mistakes) -> Work | None:
    path = mistakes.read(field["plan"], Field.name)
    return None if path is None else Model(Path(), plan=folder / path)


def _transform(field: Field, names: Names, folder: Path, mistakes: Mistakes) -> Work | None:
    place = mistakes.read(field["transform"], _function_place)
    results = _results(field["outputs"], mistakes)
    options: Any = mistakes.read(field["options"], lambda given: given.optional(lambda some: some.mapping_of(Field.data), {}))
    if place is None or results is None or options is None:
        return None
    where, name = place
    if where.endswith(".py"):
        return Function(name, results, options, file=folder / where)
    return Function(f"{where}:{name}", results, options)


def _function_place(field: Field) -> tuple[str, str]:
    match = _FUNCTION.fullmatch(field.name())
    if match is None or not (match["place"].endswith(".py") or _MODULE.fullmatch(match["place"])):
        raise field.expected("'package.module:function' or 'file.py:function'")
    return match["place"], match["name"]


def _deployment(field: Field, names: Names, folder: Path, mistakes: Mistakes) -> Work | None:
    def parse(field: Field) -> Any:
        match = _DEPLOYMENT.fullmatch(field.name())
        if match is None:
            raise field.expected("the URL of a server and the name of a model, such as http://host:8000/resnet")
        return match

    match = mistakes.read(field["deployment"], parse)
    results = _results(field["outputs"], mistakes)
    return None if match is None or results is None else Deployment(match["url"], match["model"], results)


def _results(field: Field, mistakes: Mistakes) -> dict[str, Tensor] | None:
    """The outputs that a step declares; None if one of them has a mistake."""
    tensors = {str(entry.key): _tensor(entry, mistakes) for entry in _entries(field, _TENSOR, mistakes)}
    right = {name: tensor for name, tensor in tensors.items() if tensor}
    return right if right and len(right) == len(tensors) else None


def _first_of(field: Field, names: Names, folder: Path, mistakes: Mistakes) -> Work | None:
    given = field["first_of"]
    entries = mistakes.read(given, lambda field: field.items(least=2)) or []
    candidates = [mistakes.read(entry, names.source) for entry in entries]
    right = [source for source in candidates if source]
    if not right or len(right) < len(candidates):
        return None
    if len(set(right)) < len(right):
        mistakes.at(given, "expected different tensors, got one twice; remove it")
        return None
    return FirstOf(tuple(right))


_WORK: Mapping[str, Callable[[Field, Names, Path, Mistakes], Work | None]] = {
    "model": _model,
    "plan": _plan,
    "transform": _transform,
    "deployment": _deployment,
    "first_of": _first_of,
}
