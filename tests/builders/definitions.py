"""The definition of HeteroInferenceService, and what it does not permit, as the API server finds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

cel = pytest.importorskip("cel", reason="common-expression-language is not installed")
openapi = pytest.importorskip("openapi_schema_validator", reason="openapi-schema-validator is not installed")
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DEFINITION = yaml.safe_load((DEPLOY / "kubernetes" / "controller" / "crd.yaml").read_text())
VERSION = DEFINITION["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
PLURAL = DEFINITION["spec"]["names"]["plural"]


def problems_of(resource: Mapping[str, Any]) -> list[str]:
    """What the schema does not permit; if it permits all, what the rules do not."""
    wrong = [
        f"{'.'.join(map(str, each.path))}: {each.message}" for each in openapi.OAS30Validator(SCHEMA).iter_errors(resource)
    ]
    return wrong or list(_broken_rules(SCHEMA, resource, ""))


def _broken_rules(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if not cel.evaluate(rule["rule"], {"self": value}):
            yield f"{path.lstrip('.')}: {rule['message']}"
    if isinstance(value, dict):
        for key, inner in schema.get("properties", {}).items():
            if key in value:
                yield from _broken_rules(inner, value[key], f"{path}.{key}")
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _broken_rules(schema.get("items", {}), each, f"{path}[{number}]")
