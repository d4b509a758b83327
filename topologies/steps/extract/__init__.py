"""Features of samples in event-time windows."""

from topologies.steps.extract.window import Window

__all__ = ["Window"]
