"""Tables of fields, from the JSON schema of a Pydantic model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from models.time import format_duration

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a model."""

    name: str
    type: str
    #: As it is written in TOML; empty where there is none or it is another model.
    default: str
    required: bool
    description: str
    secret: bool = False


class Document:
    """A model's schema with everything it refers to."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.schema: Schema = model.model_json_schema(by_alias=True)
        self.definitions: dict[str, Schema] = self.schema.get("$defs", {})

    def fields(self, schema: Schema | None = None) -> list[Field]:
        """The fields of the model, or of one it refers to."""
        schema = self.schema if schema is None else schema
        required = set(schema.get("required", ()))
        return [
            Field(
                name,
                self.type(each),
                self._default(each),
                name in required,
                each.get("description", ""),
                each.get("writeOnly", False)
                or any(option.get("writeOnly", False) for option in each.get("anyOf", ())),
            )
            for name, each in schema.get("properties", {}).items()
        ]

    def _default(self, schema: Schema) -> str:
        default = schema.get("default")
        if self.type(schema) == "duration" and isinstance(default, int):
            default = format_duration(default)
        return toml(default)

    def referred(self, schema: Schema) -> Iterator[str]:
        """Names of the models a schema refers to, in order, without those further down."""
        if "$ref" in schema:
            yield schema["$ref"].rsplit("/", 1)[-1]
        for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            for each in schema.get(key, ()):
                yield from self.referred(each)
        if isinstance(schema.get("items"), dict):
            yield from self.referred(schema["items"])
        if (inner := by_name(schema)) is not None:
            yield from self.referred(inner)
        for each in schema.get("properties", {}).values():
            yield from self.referred(each)

    def type(self, schema: Schema) -> str:
        """What may be written, in words."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[-1]
            found = self.definitions[name]
            return self.type(found) if "properties" not in found else link(name)
        if "const" in schema:
            return toml(schema["const"])
        if "enum" in schema:
            return " or ".join(toml(value) for value in schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                options = [self.type(s) for s in schema[key] if s.get("type") != "null"]
                return " or ".join(dict.fromkeys(options))
        return self._plain(schema)

    def _plain(self, schema: Schema) -> str:
        kind = schema.get("type")
        if kind == "string":
            if "500ms" in schema.get("examples", ()):
                return "duration"
            return {"path": "path", "date-time": "time"}.get(schema.get("format", ""), "text")
        if kind == "array":
            if "prefixItems" in schema:
                return f"[{', '.join(self.type(each) for each in schema['prefixItems'])}]"
            return f"list of {self.type(schema.get('items', {}))}"
        if kind == "object":
            inner = by_name(schema)
            return "table" if inner is None else f"table: {self.type(inner)} by name"
        if kind in ("integer", "number"):
            return _bounded(str(kind), schema)
        return {"boolean": "true or false"}.get(str(kind), "any")


def by_name(schema: Schema) -> Schema | None:
    """What a table holds under names that the site chooses; None for one with fixed fields."""
    inner = schema.get("additionalProperties")
    for pattern in schema.get("patternProperties", {}).values():
        inner = pattern
    return inner if isinstance(inner, dict) else None


def _bounded(kind: str, schema: Schema) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f"{kind}, {low:,} to {high:,}"
    if low is not None:
        return f"{kind}, {'above' if 'exclusiveMinimum' in schema else 'at least'} {low:,}"
    return kind if high is None else f"{kind}, at most {high:,}"


def title(name: str) -> str:
    """A model's name without the module that tells it from another of the same name."""
    return name.rsplit("__", 1)[-1]


def link(name: str) -> str:
    """A link to a model's place on the page."""
    return f"[{title(name)}](#{name.lower()})"


def toml(value: Any) -> str:
    """A value as TOML writes it; empty for None and for tables."""
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(each) for each in value)}]"
    return json.dumps(value, ensure_ascii=False)


def table(fields: list[Field]) -> list[str]:
    """A Markdown table of fields."""
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in fields:
        default = f"`{field.default}`" if field.default else ""
        if field.required:
            default = "**required**"
        lines.append(
            f"| `{field.name}` | {_cell(field.type)} | {_cell(default)} |"
            f" {_cell(field.description)} |"
        )
    return lines


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def paragraph(text: str | None) -> str:
    """A docstring as Markdown: its paragraphs, unindented, RST marks turned into Markdown's."""
    import inspect
    import re

    cleaned = inspect.cleandoc(text or "")
    cleaned = re.sub(r":(?:func|class|mod|data|attr|meth):`~?([^`]+)`", r"`\1`", cleaned)
    return cleaned.replace("``", "`")


def inner_models(document: Document, heading: str) -> list[str]:
    """A section under ``heading`` (``###``) for each model that a document's fields refer to."""
    done: set[str] = set()
    names = document.referred(document.schema)
    return [line for name in names for line in _model(document, name, heading, done)]


def _model(document: Document, name: str, heading: str, done: set[str]) -> list[str]:
    schema = document.definitions[name]
    if name in done or "properties" not in schema:
        return []
    done.add(name)
    lines = ["", f'<a id="{name.lower()}"></a>', "", f"{heading} {title(name)}", ""]
    lines += [paragraph(schema.get("description")), "", *table(document.fields(schema))]
    for inner in document.referred(schema):
        lines += _model(document, inner, heading, done)
    return lines
