"""OPC UA values as JSON values, without loss where JSON has a form for them."""

from __future__ import annotations

import base64
import dataclasses
import enum
import uuid
from datetime import datetime
from typing import Any

from asyncua import ua

_DEEPEST = 20


def plain(value: Any, depth: int = 0) -> Any:
    """Numbers, truth values, text and None as they are; the rest as lists, objects and text.

    Times are ISO 8601, byte strings base64, node ids in OPC UA's notation, texts with a locale
    their text, structures objects by field name.
    """
    if value is None or type(value) in (int, float, bool, str):
        return value
    if depth > _DEEPEST:
        return str(value)
    match value:
        case list() | tuple():
            return [plain(entry, depth + 1) for entry in value]
        case datetime():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case uuid.UUID():
            return str(value)
        case ua.NodeId() | ua.QualifiedName():
            return value.to_string()
        case ua.LocalizedText():
            return value.Text
        case ua.StatusCode():
            return int(value.value)
        case ua.Variant():
            return plain(value.Value, depth + 1)
        case enum.Enum():
            return plain(value.value, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name), depth + 1)
            for field in dataclasses.fields(value)
            if field.name != "Encoding"
        }
    if isinstance(value, (int, float, str)):  # asyncua's own subclasses
        return int(value) if isinstance(value, int) else type(value).__mro__[1](value)
    return str(value)
