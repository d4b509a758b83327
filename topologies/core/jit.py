"""Loops over samples, compiled to machine code: see :mod:`models.jit`."""

from models.jit import kernel

__all__ = ["kernel"]
