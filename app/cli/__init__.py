"""The command line ``plantstream``. Commands load what they need when they run.

Exit codes: 0 done, 1 failed, 2 bad input or configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from app.cli.errors import reported
from app.cli.options import hoisted


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    given = hoisted(list(sys.argv[1:] if arguments is None else arguments))
    with reported(debug="--debug" in given):
        from app.cli.app import command

        command().main(args=given, prog_name="plantstream")
