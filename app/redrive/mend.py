"""Mending the payload of a record that failed, and showing it to a person."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.redrive.letters import Letter
from models.errors import ConfigError, PlantstreamError

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Mend:
    """What is changed of a record before it is sent back."""

    #: The whole payload.
    payload: bytes | None = None
    #: Values by path in a JSON payload: ``items[0].v``.
    changes: tuple[tuple[str, Any], ...] = ()
    #: Headers to set.
    headers: Mapping[str, bytes] = field(default_factory=dict)

    def __call__(self, letter: Letter) -> Letter:
        """The letter with a mended record.

        Raises ConfigError where a path leads nowhere, and where there is no payload to mend.
        """
        if self.payload is None:
            letter.check_whole()
        value = letter.dead.value if self.payload is None else self.payload
        if self.changes:
            try:
                content = json.loads(value or b"")
            except ValueError as error:
                raise ConfigError(
                    f"the payload of {letter.address} is not JSON ({error}): give --replace or"
                    " --edit instead",
                    field="--change",
                ) from None
            for path, new in self.changes:
                content = changed(content, path, new)
            value = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        head = {**letter.dead.headers, **self.headers}
        return replace(letter, dead=replace(letter.dead, value=value, headers=head))


def change(text: str) -> tuple[str, Any]:
    """``items[0].v=12.5`` as path and value; a value that is no JSON is text.

    Raises ConfigError.
    """
    path, equals, given = text.partition("=")
    if not path or not equals:
        raise ConfigError(
            "must be PATH=VALUE, such as items[0].v=12.5", field="--change", value=text
        )
    try:
        return path, json.loads(given)
    except ValueError:
        return path, given


def changed(content: Any, path: str, new: Any) -> Any:
    """JSON content with another value at a path. Raises ConfigError that says how far it leads."""
    parts = [name if name else int(index) for name, index in _PART.findall(path)]
    spelled = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)
    if not parts or spelled.lstrip(".") != path.lstrip("."):
        raise ConfigError("is no path such as items[0].v", field="--change", value=path)
    here = content
    for part in parts[:-1]:
        here = _inner(here, part, path)
    last = parts[-1]
    if not isinstance(here, dict) or isinstance(last, int):
        _inner(here, last, path)
    here[last] = new
    return content


def _inner(here: Any, part: str | int, path: str) -> Any:
    if isinstance(part, int) and isinstance(here, list) and part < len(here):
        return here[part]
    if isinstance(part, str) and isinstance(here, dict) and part in here:
        return here[part]
    if isinstance(here, dict):
        there = f"there are {', '.join(map(str, here)) or 'no fields'}"
    elif isinstance(here, list):
        there = f"there are {len(here)} entries"
    else:
        there = f"there is {here!r:.40}"
    raise ConfigError(f"{part!r} is not in the payload; {there}", field="--change", value=path)


def edited(payload: bytes | None) -> bytes:
    """What the person makes of a payload in $VISUAL or $EDITOR. Raises PlantstreamError."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    before = payload or b""
    with tempfile.TemporaryDirectory(prefix="plantstream-") as folder:
        file = Path(folder) / "payload.json"
        file.write_bytes(before)
        try:
            done = subprocess.run([*shlex.split(editor), str(file)], check=False)
        except OSError as error:
            raise PlantstreamError(f"editor {editor!r} cannot be started: {error}") from None
        if done.returncode:
            raise PlantstreamError(f"editor {editor!r} ended with code {done.returncode}")
        after = file.read_bytes()
    # Editors end a file with a line feed; the record had none.
    return after if before.endswith(b"\n") else after.removesuffix(b"\n")


def show_payload(payload: bytes | None) -> tuple[str, str]:
    """What a payload is (``json``, ``text``, ``hex``, ``none``), and it as lines for people."""
    if payload is None:
        return "none", ""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return "hex", _hex(payload)
    try:
        return "json", json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        pass
    if all(char.isprintable() or char in "\r\n\t" for char in text):
        return "text", text
    return "hex", _hex(payload)


def _hex(data: bytes) -> str:
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row.hex(' '):<47}  {shown}")
    return "\n".join(lines)
