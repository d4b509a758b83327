"""Loops over samples, compiled to machine code.

A step that goes through samples one by one in a compiled loop is easier to read than one that
avoids the loop by sorting and segments, does not care how samples were split into records, to the
last bit, and takes a microsecond or two per record instead of dozens of numpy calls.

Kernels take and return arrays and numbers only. They are compiled when first called and kept on
disk, beside the module or, where that cannot be written, in the user's cache folder. With
``NUMBA_DISABLE_JIT=1`` they run as the plain Python they are, for a debugger.

An array given to be filled costs a tenth of one that is returned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

_P = ParamSpec("_P")
_R = TypeVar("_R")


def kernel(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A compiled function. Division by zero gives infinity or NaN, as in numpy.

    Floating-point operations are never reordered: the same samples give the same bytes, on the
    same kind of processor.
    """
    compiled = numba.njit(cache=True, error_model="numpy", fastmath=False)(function)
    if compiled is not function:  # as it is with NUMBA_DISABLE_JIT
        _stamp(compiled, function)
    return cast("Callable[_P, _R]", compiled)


def _stamp(compiled: Any, function: Callable[..., Any]) -> None:
    """What is kept on disk is of no use once something that went into it has changed.

    Numba looks at a kernel's own file alone, and would go on with what it knows of kernels and
    constants of other files.
    """
    own = compiled._cache._cache_file
    stamps = [own._source_stamp]
    for name in function.__code__.co_names:
        value: Any = function.__globals__.get(name)
        if hasattr(value, "py_func"):
            stamps.append(value._cache._cache_file._source_stamp)
        elif isinstance(value, np.ndarray):
            stamps.append(value.tobytes())
        elif isinstance(value, int | float):
            stamps.append(value)
    own._source_stamp = tuple(stamps)
