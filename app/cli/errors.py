"""Errors as a person reads them: one line each, and an exit code that means something."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import PlantstreamError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


@contextmanager
def reported(*, debug: bool = False) -> Iterator[None]:
    """End the process with a line for an error that comes out of the block.

    ``debug`` adds the traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone, such as `head`; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:
        if debug:
            traceback.print_exc()
        for line in _lines(error):
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, PlantstreamError) else FAILED)


def _lines(error: Exception) -> list[str]:
    if isinstance(error, PlantstreamError) or type(error).__module__.startswith("app."):
        return str(error).splitlines() or [type(error).__name__]
    kind = type(error).__name__
    return [f"unexpected {kind}: {error} (--debug shows where)"]
