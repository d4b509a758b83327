"""MQTT topic filters and the assets that topics stand for.

A filter's wildcards are numbered: in ``solar/+/+/data`` the topic ``solar/north/7/data`` has
1 = ``north`` and 2 = ``7``; what ``#`` stands for is ``rest``. MQTT 3.1.1, section 4.7.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

#: A shared subscription: ``$share/<group>/<filter>`` (MQTT 5, section 4.8.2).
_SHARE = re.compile(r"^\$share/[^/+#]+/")


def check_filter(text: str) -> str:
    """The filter itself; raises ValueError where MQTT would refuse it."""
    levels = _SHARE.sub("", text).split("/")
    if not text or "\0" in text or len(text.encode()) > 65535:
        raise ValueError("a topic filter is text of 1 to 65535 bytes without NUL characters")
    for place, level in enumerate(levels):
        if "#" in level and (level != "#" or place != len(levels) - 1):
            raise ValueError(f"in {text!r} '#' must be the last level, and all of it")
        if "+" in level and level != "+":
            raise ValueError(f"in {text!r} '+' must be all of a level")
    return text


def wildcards(text: str) -> frozenset[str]:
    """The names of a filter's wildcards: ``1``, ``2`` … and ``rest``."""
    levels = _SHARE.sub("", text).split("/")
    names = {str(number + 1) for number in range(levels.count("+"))}
    return frozenset(names | ({"rest"} if levels[-1] == "#" else set()))


def check_asset(asset: str, filter_: str) -> str:
    """The asset pattern itself; raises ValueError where it names a wildcard the filter lacks."""
    known = wildcards(filter_) | {"topic"}
    try:
        parts = list(string.Formatter().parse(asset))
    except ValueError as error:
        raise ValueError(f"asset {asset!r}: {error}") from None
    for _, name, format_spec, conversion in parts:
        if name is None:
            continue
        if name not in known or format_spec or conversion:
            allowed = ", ".join("{" + each + "}" for each in sorted(known))
            raise ValueError(
                f"asset {asset!r} uses {{{name}}}; filter {filter_!r} gives {allowed}"
            )
    if not asset:
        raise ValueError("an asset's name is not empty")
    return asset


def fixed_asset(asset: str) -> str | None:
    """The asset of a pattern that names no wildcard; None where it does."""
    parts = list(string.Formatter().parse(asset))
    return None if any(name is not None for _, name, _, _ in parts) else _fill(asset, {})


def compile_assets(filter_: str, asset: str) -> Callable[[str], bool]:
    """Whether some topic that matches the filter stands for an asset."""
    levels = _SHARE.sub("", filter_).split("/")
    topic = re.sub(r"\(\?P<[^>]*>", "(?:", _expression(levels))
    expression = ""
    for text, name, _, _ in string.Formatter().parse(asset):
        expression += re.escape(text)
        if name is None:
            continue
        group = f"w{name}"
        if f"(?P<{group}>" in expression:
            expression += f"(?P={group})"
        elif name == "topic":
            expression += f"(?P<{group}>{topic})"
        else:
            expression += f"(?P<{group}>{'.*' if name == 'rest' else '[^/]*'})"
    match = re.compile(expression, re.DOTALL).fullmatch
    return lambda name: bool(name) and match(name) is not None


def compile_pattern(filter_: str, asset: str) -> Callable[[str], str | None]:
    """A function from topic to asset; None where the topic does not match the filter."""
    levels = _SHARE.sub("", filter_).split("/")
    match = re.compile(_expression(levels), re.DOTALL).fullmatch

    def asset_of(topic: str) -> str | None:
        found = match(topic)
        if found is None:
            return None
        values = {name.removeprefix("w"): value or "" for name, value in found.groupdict().items()}
        return _fill(asset, values | {"topic": topic})

    return asset_of


def _expression(levels: Sequence[str]) -> str:
    """A regular expression of the topics that match, with a group for each wildcard."""
    expression, number = "", 0
    for place, level in enumerate(levels):
        slash = "/" if place else ""
        if level == "+":
            number += 1
            expression += f"{slash}(?P<w{number}>[^/]*)"
        elif level == "#":
            # "#" includes the parent level: "a/#" matches "a" (4.7.1.2)
            expression += f"(?:{slash}(?P<rest>.*))?" if place else "(?P<rest>.*)"
        else:
            expression += slash + re.escape(level)
    # wildcards at the start do not match topics such as $SYS (4.7.2)
    guard = r"(?!\$)" if levels[0] in ("+", "#") else ""
    return guard + expression


def _fill(asset: str, values: dict[str, str]) -> str:
    # not str.format: it would take {1} for a positional argument
    return "".join(
        text + (values[name] if name is not None else "")
        for text, name, _, _ in string.Formatter().parse(asset)
    )
