"""The page of the public Python API, from its docstrings."""

from __future__ import annotations

import inspect
from typing import Any

from app import api
from app.reference.schema import paragraph


def markdown() -> str:
    """docs/reference/api.md."""
    about, _, example = inspect.cleandoc(api.__doc__ or "").partition("\n\n")
    code, _, rest = example.partition("\n\n    with")
    body = inspect.cleandoc(f"{code}\n\n    with{rest.split(chr(10) * 2)[0]}")
    after = rest.partition("\n\n")[2]
    lines = ["# Python API", "", paragraph(about), ""]
    lines += ["```python", body, "```", "", paragraph(after)]
    for name in api.__all__:
        lines += ["", f"## {name}", "", *_entry(getattr(api, name))]
    return "\n".join(lines) + "\n"


def _entry(value: Any) -> list[str]:
    lines = [paragraph(value.__doc__)]
    if not inspect.isclass(value):
        return [f"`{value.__name__}{inspect.signature(value)}`", "", *lines]
    if issubclass(value, Exception):
        return lines
    lines.insert(0, f"`{value.__name__}{_signature(value.__init__)}`\n")
    if value.__init__.__doc__ and value.__init__.__doc__ != object.__init__.__doc__:
        lines += ["", paragraph(value.__init__.__doc__)]
    for name, member in vars(value).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(member):
            lines += ["", f"**`{name}{_signature(member)}`** {paragraph(member.__doc__)}"]
        elif isinstance(member, property):
            lines += ["", f"**`{name}`** {paragraph(member.__doc__)}"]
    return lines


def _signature(function: Any) -> str:
    found = inspect.signature(function)
    parameters = [each for name, each in found.parameters.items() if name != "self"]
    shown = [
        each.replace(default="...") if _is_object(each.default) else each for each in parameters
    ]
    returns = found.return_annotation
    if returns == "None":
        returns = inspect.Signature.empty
    return str(inspect.Signature(shown, return_annotation=returns)).replace("'", "")


def _is_object(default: Any) -> bool:
    """Whether a default prints an address in memory."""
    return inspect.isfunction(default)
