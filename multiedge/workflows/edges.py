"""What steps read, in workflow.yaml: references to tensors, adapters and conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multiedge.composed import Condition, Measure, Relation
from multiedge.errors import describe, did_you_mean
from multiedge.formats.fields import Field
from multiedge.workflows.workflow import Adapter, Cast, Edge, Normalise, Reshape, Resize, Source, Transpose

DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")


@dataclass(frozen=True)
class Names:
    """The names that a reference to a tensor may begin with."""

    inputs: tuple[str, ...]
    steps: tuple[str, ...]

    def source(self, field: Field) -> Source:
        """The tensor that a text such as 'image', 'pick' or 'small.probabilities' refers to."""
        text = field.name()
        if text in self.inputs:
            return Source(text)
        step, dot, tensor = text.partition(".")
        if step in self.steps and (tensor or not dot):
            return Source(tensor, step)
        if step in self.inputs:
            raise field.error(f"'{step}' is an input and has no '.{tensor}'; write '{step}'")
        raise field.error(f"no step or input '{step}'{did_you_mean(step, (*self.inputs, *self.steps))}")


def read_edge(field: Field, names: Names) -> Edge:
    """What an input reads: 'small.logits', or a mapping with 'from' and adapters in their order."""
    if not isinstance(field.value, Mapping):
        return Edge(names.source(field))
    content = field.record(("from", *_ADAPTERS))
    adapters = tuple(_ADAPTERS[key](entry) for key, entry in content.mapping().items() if key in _ADAPTERS)
    return Edge(names.source(content["from"]), adapters)


def _cast(field: Field) -> Adapter:
    return Cast(field.choice(DTYPES))


def _transpose(field: Field) -> Adapter:
    axes = field.list_of(Field.count, least=1)
    if sorted(axes) != list(range(len(axes))):
        raise field.expected(f"each axis once, such as [{', '.join(map(str, range(len(axes))))}] in another order")
    return Transpose(axes)


def _reshape(field: Field) -> Adapter:
    shape = field.list_of(lambda size: size.integer(-1))
    if shape.count(-1) > 1:
        raise field.expected("at most one -1")
    return Reshape(shape)


def _resize(field: Field) -> Adapter:
    return Resize(*field.pair_of(lambda size: size.integer(1)))


def _normalise(field: Field) -> Adapter:
    content = field.record(("mean", "std"))
    mean, std = _numbers(content["mean"]), _numbers(content["std"])
    if 0 in std:
        raise content["std"].expected("numbers other than 0")
    if len(mean) != len(std):
        raise field.error(
            f"expected as many numbers in mean as in std, got {len(mean)} and {len(std)}; give one for each channel"
        )
    return Normalise(mean, std)


def _numbers(field: Field) -> tuple[float, ...]:
    return field.list_of(Field.number, least=1) if isinstance(field.value, list) else (field.number(),)


_ADAPTERS: Mapping[str, Callable[[Field], Adapter]] = {
    "cast": _cast,
    "transpose": _transpose,
    "reshape": _reshape,
    "resize": _resize,
    "normalise": _normalise,
}


def read_condition(content: Field) -> Condition:
    """The condition in what 'when' has beside its tensor, such as 'max: {below: 0.7}'."""
    measures = [measure for measure in Measure if measure.value in content]
    if len(measures) != 1:
        got = " and ".join(measure.value for measure in measures) or "none"
        raise content.error(
            f"expected one of {', '.join(each.value for each in Measure)}, got {got}; write 'max: {{below: 0.7}}'"
        )
    field = content[measures[0].value]
    relations = [relation.value for relation in Relation]
    if not isinstance(field.value, Mapping) or len(field.value) != 1:
        raise field.error(
            f"expected one of {', '.join(relations)} with a number, got {describe(field.value)}; write 'below: 0.7'"
        )
    ((name, threshold),) = field.mapping().items()
    return Condition(measures[0], Relation(Field(name, threshold.key, field.kind, field).choice(relations)), threshold.number())
