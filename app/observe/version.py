"""The version of Plantstream that runs."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as of_package


@lru_cache(maxsize=1)
def version() -> str:
    """As the installed package says; ``0+source`` where it runs from its sources alone."""
    try:
        return of_package("plantstream")
    except PackageNotFoundError:
        return "0+source"
