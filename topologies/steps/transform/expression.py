"""Arithmetic on tags: parsed and checked when declared, evaluated on arrays, never by ``eval``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpleeval import SimpleEval

Floats = NDArray[np.float64]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "log10": np.log10,
    "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "min": lambda *args: _fold(np.minimum, args),
    "max": lambda *args: _fold(np.maximum, args),
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


def _fold(function: Any, args: tuple[Any, ...]) -> Any:
    result = args[0]
    for more in args[1:]:
        result = function(result, more)
    return result


class Expression:
    """``"torque * speed / 9.55"``: numbers, tags, + - * / ** %, and :data:`FUNCTIONS`.

    Raises ValueError that names what is not allowed, and what is.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise ValueError(f"an expression has at most {_LONGEST} characters, not {len(text)}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
            names = _check(self._tree)
        except SyntaxError as error:
            raise ValueError(f"{text!r} is no expression: {error.msg}") from error
        except RecursionError as error:
            raise ValueError("the expression is nested too deeply") from error
        if not names:
            raise ValueError(f"{text!r} names no tag")
        self.text = text
        #: The tags named, in order of appearance.
        self.names = tuple(dict.fromkeys(names))

    def __call__(self, values: Mapping[str, Floats]) -> Floats:
        """The value for each element of arrays of one shape; NaN and infinities as in IEEE 754."""
        evaluator = SimpleEval(operators=_OPERATORS, functions=FUNCTIONS, names=dict(values))
        with np.errstate(all="ignore"):
            result = evaluator.eval(self.text, previously_parsed=self._tree)
        return np.asarray(result, dtype=np.float64)


def _check(node: ast.AST) -> list[str]:
    """The names in a tree; raises ValueError at the first part that is not allowed."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number: Any = node.value
        if abs(number) > _LARGEST:
            raise ValueError(f"a number is beyond ±{_LARGEST:g}")
        # Integers would overflow, or refuse negative powers, in numpy.
        node.value = float(number)
        return []
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _check(node.left) + _check(node.right)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _check(node.operand)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        name = node.func.id
        if name not in FUNCTIONS:
            allowed = ", ".join(FUNCTIONS)
            raise ValueError(f"there is no function {name!r}; allowed are {allowed}")
        least, most = _ARGUMENTS.get(name, (1, 1))
        if not least <= len(node.args) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise ValueError(f"{name} takes {wanted} arguments, not {len(node.args)}")
        return [found for argument in node.args for found in _check(argument)]
    raise ValueError(
        f"{ast.unparse(node)!r} is not allowed: an expression is made of numbers, tags,"
        f" + - * / ** % and {', '.join(FUNCTIONS)}"
    )
