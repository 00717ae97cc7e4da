"""YAML by the safe loader, bounded in depth and size: values, or a yaml.YAMLError that knows its line.

`multiedge.formats.documents` imports this module where a text is YAML; most commands read JSON alone.
"""

from __future__ import annotations

from typing import Any

import yaml

from multiedge.errors import describe
from multiedge.formats.fields import MAX_DEPTH, Keys

MAX_YAML_NODES = 1_000_000
"""The most values in a YAML text, with each alias counted as a copy of its value."""


def construct(text: str, lines: dict[Keys, int] | None = None) -> Any:
    """The value that the text holds; RecursionError if it is nested too deeply. `lines` gets the line of each value."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, {})
        if lines is not None:
            _add_lines(node, (), node.start_mark.line, lines)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _add_lines(node: yaml.Node, keys: Keys, line: int, lines: dict[Keys, int]) -> None:
    lines[keys] = line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                _add_lines(value, (*keys, key.value), key.start_mark.line, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _add_lines(value, (*keys, index), value.start_mark.line, lines)


class _Loader(yaml.SafeLoader):
    """The safe loader; a scalar that looks like a number or a date and is none is an error with its line."""

    def fetch_flow_collection_start(self, kind: Any) -> None:
        # The scanner looks at every open bracket for each token: thousands of them take minutes.
        if self.flow_level >= MAX_DEPTH:
            raise RecursionError
        super().fetch_flow_collection_start(kind)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
            raise _problem(node, f"{describe(node.value)} is not a valid {node.tag.rpartition(':')[2]}") from None


def _count_values(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
    """How many values `node` holds, aliases counted as copies; an error if they are too many or a key stands twice."""
    if node in counts:
        if not counts[node]:
            raise _problem(node, "a value holds itself by an alias")
        return counts[node]
    counts[node] = 0
    count = 1 + sum(_count_values(child, counts) for child in _children(node))
    if count > MAX_YAML_NODES:
        raise _problem(node, f"more than {MAX_YAML_NODES} values, aliases counted as copies")
    counts[node] = count
    return count


def _children(node: yaml.Node) -> list[yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return node.value if isinstance(node, yaml.SequenceNode) else []
    keys: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in keys:
                raise _problem(key, f"the key {describe(key.value)} is given twice in one mapping")
            keys.add((key.tag, key.value))
    return [child for pair in node.value for child in pair]


def _problem(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def problem_of(error: yaml.YAMLError) -> str:
    """What is wrong with the text, in words."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character {chr(error.character)!r} is not allowed"
    return str(getattr(error, "problem", None) or "the text has no YAML structure")
