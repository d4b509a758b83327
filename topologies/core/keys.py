"""Rules that give a record another key: ``{"glass/{line}/*": "glass/{line}"}``.

A pattern is matched against the whole asset name: ``{field}`` takes one part of it (no '/'), ``*``
anything, all else itself. The first rule that matches gives the key. In the key, ``{asset}`` is
the whole asset name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: A field of every rule: the asset itself.
WHOLE = "asset"


class Keys:
    """Compiled rules. Raises ValueError that says what is wrong with a rule."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        if not rules:
            raise ValueError("at least one rule is needed, such as {'glass/{line}/*': '{line}'}")
        self._rules: list[tuple[re.Pattern[str], str]] = []
        self._templates: list[re.Pattern[str]] = []
        for pattern, key in rules.items():
            captured = _fields(pattern, "pattern")
            used = _fields(key, "key")
            if WHOLE in captured:
                raise ValueError(f"{{{WHOLE}}} in pattern {pattern!r} is the whole asset already")
            unknown = [name for name in used if name not in (*captured, WHOLE)]
            if unknown:
                allowed = ", ".join(f"{{{name}}}" for name in (*captured, WHOLE))
                raise ValueError(
                    f"key {key!r} names {{{unknown[0]}}}, which pattern {pattern!r} does not;"
                    f" allowed are {allowed}"
                )
            if not key or "*" in key:
                raise ValueError(f"key {key!r} must be text and fields, without '*'")
            self._rules.append((_compiled(pattern), key))
            self._templates.append(_compiled(key, one="(.+)" if used == [WHOLE] else None))
        self._of = lru_cache(maxsize=65536)(self._look_up)

    def of(self, asset: str) -> str | None:
        """The key of an asset, or None where no rule takes it."""
        return self._of(asset)

    def _look_up(self, asset: str) -> str | None:
        for pattern, key in self._rules:
            found = pattern.fullmatch(asset)
            if found is not None:
                return _filled(key, {**found.groupdict(), WHOLE: asset})
        return None

    def fields(self) -> set[str]:
        """What :meth:`expand` may name."""
        return {"key"}.union(*(template.groupindex for template in self._templates))

    def expand(self, text: str, key: str) -> str | None:
        """``text`` with the fields that made ``key``; None where this key does not have them."""
        needed = set(named(text))
        for template in self._templates:
            found = template.fullmatch(key)
            if found is not None:
                known = {**found.groupdict(), "key": key}
                if needed <= known.keys():
                    return _filled(text, known)
        return None


def named(text: str) -> list[str]:
    """The fields that a text names. Raises ValueError where it is no such text."""
    return _fields(text, "name")


def _fields(text: str, what: str) -> list[str]:
    names = _FIELD.findall(text)
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{what} {text!r}: {{{name}}} is no field name ([a-z][a-z0-9_]*)")
    if set(_FIELD.sub("", text)) & set("{}"):
        raise ValueError(f"{what} {text!r} has a brace that is no field")
    if len(set(names)) != len(names):
        raise ValueError(f"{what} {text!r} names a field twice")
    return names


def _compiled(text: str, one: str | None = None) -> re.Pattern[str]:
    parts, place = [], 0
    for found in _FIELD.finditer(text):
        parts.append(_literal(text[place : found.start()]))
        parts.append(f"(?P<{found[1]}>{(one or '([^/]+)')[1:-1]})")
        place = found.end()
    parts.append(_literal(text[place:]))
    return re.compile("".join(parts), re.DOTALL)


def _literal(text: str) -> str:
    return ".*".join(re.escape(part) for part in text.split("*"))


def _filled(text: str, known: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: known[found[1]], text)
