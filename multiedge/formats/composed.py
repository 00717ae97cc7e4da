"""What a composed file states of its segments, and of the functions of its transforms, as JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from multiedge.composed import DOMAIN, VERSION, Call, Composition, Segment
from multiedge.errors import ModelError
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field, Kind
from multiedge.formats.records import reader_of

KIND = Kind("composed model", error=ModelError, remedy="compose the workflow again")


def composition_to_json(composition: Composition) -> dict[str, Any]:
    """The Composition as JSON data."""
    segments = {name: asdict(segment) for name, segment in composition.segments.items()}
    return {"version": VERSION, **asdict(composition), "segments": segments}


def read_composition(field: Field) -> Composition:
    """The Composition that `composition_to_json` described; an error of the field's kind for another version."""
    field["version"].integer(VERSION, VERSION)
    return Composition(
        segments=field["segments"].mapping_of(reader_of(Segment)),
        sizes=field["sizes"].mapping_of(lambda size: size.number(0)),
        assumed=field["assumed"].list_of(Field.text),
        presence=field["presence"].mapping_of(lambda nodes: nodes.list_of(Field.text)),
    )


def composition_text(composition: Composition) -> str:
    """The value of the file's metadata under the key DOMAIN."""
    return json.dumps(composition_to_json(composition))


def parse_composition(text: str, place: str) -> Composition:
    """The Composition of a file's metadata; ModelError that begins with `place` for what is none."""
    return read_composition(parse_json(text, f"{place}: {DOMAIN}", KIND))


def call_attributes(call: Call) -> dict[str, Any]:
    """The attributes of the node of a transform; ONNX has no empty lists."""
    values = {**asdict(call), "options": json.dumps(call.options) if call.options else ""}
    return {name: value for name, value in values.items() if value}


def call_of(attributes: Mapping[str, Any], place: str) -> Call:
    """The function that the attributes of a node name; ModelError that begins with `place` for options that are no JSON."""
    options = attributes.get("options", "")
    return Call(
        function=attributes["function"],
        keywords=tuple(attributes.get("keywords", ())),
        results=tuple(attributes["results"]),
        options=parse_json(options, place, KIND).mapping_of(Field.data) if options else {},
        source=attributes.get("source", ""),
    )
