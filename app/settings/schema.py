"""Walking the schema beside the data: which model, field and type a place in the file has."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an error's location leads."""

    #: Keys and indexes as they are in the file: tags of unions are left out.
    path: Path
    #: The model that has, or lacks, the last key; None where the place is in no model.
    owner: type[BaseModel] | None = None
    field: FieldInfo | None = None


def locate(root: Any, location: Sequence[str | int]) -> Place:
    """The place a Pydantic error names; ``root`` is the annotation validated."""
    path: list[str | int] = []
    current, owner, field = root, None, None
    for key in location:
        options = list(_options(current))
        models = [option for option in options if _is_model(option)]
        tagged = [model for model in models if key in _tags(model)]
        if len(models) > 1 and tagged:
            current = tagged[0]
            continue
        if models:
            found = next((model for model in models if _field(model, key)), None)
            owner = found or models[0]
            field = _field(found, key) if found else None
            path.append(key)
            current = field.annotation if field else None
            continue
        container = next((o for o in options if get_origin(o) in _CONTAINERS), None)
        if container is None or str(key).startswith(("function-", "[key]")):
            continue
        path.append(key)
        owner, field, current = None, None, _inner(container, key)
    return Place(tuple(path), owner, field)


def leaves(annotation: Any, data: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Every value of the data with the annotation it has: (path, annotation, value)."""
    options = list(_options(annotation))
    models = [option for option in options if _is_model(option)]
    if isinstance(data, Mapping) and models:
        model = next((m for m in models if data.get("kind") in _tags(m)), models[0])
        for key, value in data.items():
            field = _field(model, key)
            if field is not None:
                yield from leaves(field.annotation, value, (*path, key))
        return
    container = next((o for o in options if get_origin(o) in _CONTAINERS), None)
    if container is not None and isinstance(data, Mapping):
        for key, value in data.items():
            yield from leaves(_inner(container, key), value, (*path, key))
    elif container is not None and isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from leaves(_inner(container, index), value, (*path, index))
    else:
        yield path, annotation, data


def allowed(model: type[BaseModel]) -> list[str]:
    """The keys a model takes, as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


def mentions(annotation: Any, kind: type) -> bool:
    """Whether a value of this annotation may be a ``kind``."""
    return any(option is kind for option in _options(annotation))


_CONTAINERS = (dict, tuple, list, frozenset, set, Mapping, Sequence)


def _options(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation, without Annotated and Union round them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _options(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from _options(option)
    elif annotation is not None and annotation is not type(None):
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _field(model: type[BaseModel] | None, key: str | int) -> FieldInfo | None:
    if model is None or not isinstance(key, str):
        return None
    fields = model.model_fields
    return fields.get(key) or next((f for f in fields.values() if f.alias == key), None)


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    if field is not None and get_origin(field.annotation) is Literal:
        return get_args(field.annotation)
    return ()


def _inner(container: Any, key: str | int) -> Any:
    arguments = get_args(container)
    if get_origin(container) in (dict, Mapping):
        return arguments[1] if len(arguments) == 2 else None
    fixed = [a for a in arguments if a is not Ellipsis]
    if isinstance(key, int) and Ellipsis not in arguments and key < len(fixed):
        return fixed[key]
    return fixed[0] if fixed else None
