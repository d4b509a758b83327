"""transform: samples to other samples. One step a file."""

from topologies.steps.transform.derive import Derive
from topologies.steps.transform.rename import Rename
from topologies.steps.transform.scale import Scale

__all__ = ["Derive", "Rename", "Scale"]
