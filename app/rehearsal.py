"""Compile the kernels of all topologies, once after installation: ``python -m app.rehearsal``.

Workers do it for their own topology when they start; what was compiled before is only loaded.
"""

from __future__ import annotations

import logging
import sys
import time

from topologies.core import Topology
from topologies.core.discover import find
from topologies.core.rehearsal import rehearse

LOG = logging.getLogger("plantstream.worker")
#: What takes longer was compiled, not loaded.
_LONG_S = 5.0


def prepare(topology: Topology) -> None:
    """Have a topology's kernels compiled. A rehearsal that fails leaves it to the first record."""
    begun = time.monotonic()
    try:
        rehearse(topology)
    except Exception as error:
        LOG.debug("the rehearsal of %s failed", topology.name, exc_info=error)
    spent = time.monotonic() - begun
    if spent > _LONG_S:
        LOG.info("compiled the steps of %s in %.0f s, once", topology.name, spent)


def main() -> int:
    """All topologies of the project."""
    for topology in find().values():
        prepare(topology)
    return 0


if __name__ == "__main__":
    sys.exit(main())
