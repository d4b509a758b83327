"""Arithmetic on tags: parsed and checked when declared, evaluated on arrays, never by ``eval``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "log10": np.log10,
    "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "min": lambda *args: reduce(np.minimum, args),
    "max": lambda *args: reduce(np.maximum, args),
    "clip": np.clip,
}  # fmt: skip
#: How many arguments each takes; (least, most).
_ARGUMENTS = {"min": (2, 16), "max": (2, 16), "clip": (3, 3)}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide,
    ast.Pow: np.power, ast.Mod: np.mod, ast.USub: np.negative, ast.UAdd: np.positive,
}  # fmt: skip
_LONGEST = 1000
_LARGEST = 1e300
_DEEPEST = 50


#: What a part of an expression becomes: values by tag in, its values out.
Part = Callable[[Mapping[str, Floats]], Any]


class Expression:
    """``"torque * speed / 9.55"``: numbers, tags, + - * / ** %, and :data:`FUNCTIONS`.

    Raises ValueError that names what is not allowed, and what is.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise ValueError(f"an expression has at most {_LONGEST} characters, not {len(text)}")
        names: list[str] = []
        try:
            self._value = _compile(ast.parse(text.strip(), mode="eval").body, names, 0)
        except SyntaxError as error:
            raise ValueError(f"{text!r} is no expression: {error.msg}") from error
        except RecursionError as error:
            raise ValueError(_TOO_DEEP) from error
        if not names:
            raise ValueError(f"{text!r} names no tag")
        self.text = text
        #: The tags named, in order of appearance.
        self.names = tuple(dict.fromkeys(names))

    def __reduce__(self) -> tuple[type[Expression], tuple[str]]:
        """Pickled as its text: functions made here cannot be."""
        return Expression, (self.text,)

    def __call__(self, values: Mapping[str, Floats]) -> Floats:
        """The value for each element of arrays of one shape; NaN and infinities as in IEEE 754."""
        result: Floats = self._value(values)
        return result


_TOO_DEEP = f"the expression is nested more than {_DEEPEST} deep"


def _compile(node: ast.AST, names: list[str], depth: int) -> Part:
    """A part as numpy functions of its parts; adds the tags it names to ``names``.

    Raises ValueError at the first part that is not allowed.
    """
    if depth > _DEEPEST:
        raise ValueError(_TOO_DEEP)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        given: Any = node.value
        if abs(given) > _LARGEST:
            raise ValueError(f"a number is beyond ±{_LARGEST:g}")
        # Integers would overflow, or refuse negative powers, in numpy.
        number = float(given)
        return lambda values: number
    if isinstance(node, ast.Name):
        name = node.id
        names.append(name)
        return lambda values: values[name]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        binary = _OPERATORS[type(node.op)]
        left, right = (_compile(part, names, depth + 1) for part in (node.left, node.right))
        return lambda values: binary(left(values), right(values))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        unary, operand = _OPERATORS[type(node.op)], _compile(node.operand, names, depth + 1)
        return lambda values: unary(operand(values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        function = _function(node.func.id, len(node.args))
        arguments = [_compile(part, names, depth + 1) for part in node.args]
        return lambda values: function(*[argument(values) for argument in arguments])
    raise ValueError(
        f"{ast.unparse(node)!r} is not allowed: an expression is made of numbers, tags,"
        f" + - * / ** % and {', '.join(FUNCTIONS)}"
    )


def _function(name: str, arguments: int) -> Callable[..., Any]:
    if name not in FUNCTIONS:
        raise ValueError(f"there is no function {name!r}; allowed are {', '.join(FUNCTIONS)}")
    least, most = _ARGUMENTS.get(name, (1, 1))
    if not least <= arguments <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise ValueError(f"{name} takes {wanted} arguments, not {arguments}")
    return FUNCTIONS[name]
