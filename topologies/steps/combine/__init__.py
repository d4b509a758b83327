"""Streams that meet: merging under another key, joins, and aggregates over assets."""

from topologies.steps.combine.merge import Merge

__all__ = ["Merge"]
