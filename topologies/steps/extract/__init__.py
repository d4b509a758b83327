"""Features of samples in event-time windows."""

from topologies.steps.extract.count import CountWindow
from topologies.steps.extract.session import Session
from topologies.steps.extract.sliding import Sliding
from topologies.steps.extract.window import Window

__all__ = ["CountWindow", "Session", "Sliding", "Window"]
